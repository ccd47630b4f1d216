"""Running the command line inside a test."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from effectmq.cli import main

__all__ = ["Result", "effectmq", "envelope_line", "feed_stdin", "tool_line"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Stdout as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def effectmq(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Result:
    """Run one command in this process."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    written = capsys.readouterr()
    return Result(code, written.out, written.err)


def feed_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let the next command find these bytes on its stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))


def envelope_line(
    effect_id: str, command: dict[str, Any], *, turn: str = "t", key: str | None = None
) -> str:
    """An envelope as one line of JSON."""
    kind = command["type"]
    return json.dumps(
        {
            "invocation": {
                "scope": {"session_id": "s", "turn_id": turn},
                "subject": {"type": "effect", "effect_id": effect_id, "kind": kind},
                "replay": {"key": key or f"s:{turn}:{kind}:{effect_id}"},
            },
            "command": command,
        }
    )


def tool_line(effect_id: str, tool: str, args: dict[str, Any]) -> str:
    """A tool call as one line of JSON."""
    call = {"call_id": f"call-{effect_id}", "tool_name": tool, "args": args}
    return envelope_line(effect_id, {"type": "tool_call", "call": call})
