"""A program that is run, edited and run again: whose result the second run has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import asyncio
from effectmq import Client, Worker

app = Worker()

@app.tool
def greet(name: str) -> str:
    return f"{GREETING} {name}"

async def main() -> None:
    async with app, Client() as client:
        turn = client.turn(session_id="s1", turn_id="t1")
        outcome = await turn.tool_call("greet", {"name": "you"}, call_id="call-1")
        print(outcome.value)

asyncio.run(main())
"""


def _run(tmp_path: Path, greeting: str, **variables: str) -> str:
    program = tmp_path / "hello.py"
    program.write_text(_PROGRAM.replace("{GREETING}", greeting))
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, **home, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_edited_tool_gives_its_new_result(tmp_path: Path) -> None:
    """Without any setting nothing is left of the first run, in memory or on the disk."""
    assert _run(tmp_path, "hello") == "hello you"
    assert _run(tmp_path, "good day") == "good day you"
    assert [one.name for one in tmp_path.iterdir()] == ["hello.py"]


@pytest.mark.parametrize("journal", ["sqlite:///{}/named.db"])
def test_with_a_journal_that_was_named_the_record_answers(tmp_path: Path, journal: str) -> None:
    """That is what it was named for: the same effect is not carried out twice."""
    named = {"EFFECTMQ_JOURNAL": journal.format(tmp_path)}
    assert _run(tmp_path, "hello", **named) == "hello you"
    assert _run(tmp_path, "good day", **named) == "hello you"
