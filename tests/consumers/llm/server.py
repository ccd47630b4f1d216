"""
A provider to ask over real HTTP: it listens on 127.0.0.1, answers what a test told it to, and
remembers what it was asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.local_server import LocalServer, read_request

__all__ = ["Answer", "FakeProvider", "Seen", "events", "json_answer"]


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """
    How to answer.

    Attributes:
        pieces: The body, sent one by one.
        drops: Close the connection after the pieces, in the middle of the body.
        hold: Wait for this before each piece but the first; for ever when it is never set.
        silent: Never answer at all.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: Sequence[bytes] = ()
    drops: bool = False
    hold: asyncio.Event | None = None
    silent: bool = False


Play = Answer | Callable[[Seen], Answer]


def json_answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON body; ``retry_after="1"`` is the header ``retry-after``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(
        status, {"content-type": "application/json", **named}, [json.dumps(body).encode()]
    )


def events(*bodies: Any, names: bool = False, end: bytes = b"", **options: Any) -> Answer:
    """Server-sent events; with ``names`` each is named by the ``type`` in it."""
    pieces = [
        (f"event: {body['type']}\n" if names else "").encode()
        + f"data: {json.dumps(body)}\n\n".encode()
        for body in bodies
    ]
    return Answer(
        headers={"content-type": "text/event-stream"},
        pieces=[*pieces, end] if end else pieces,
        **options,
    )


class FakeProvider(LocalServer):
    """Use as an asynchronous context manager; the last answer is repeated."""

    def __init__(self, *answers: Play) -> None:
        super().__init__()
        self.answers: list[Play] = list(answers)
        self.seen: list[Seen] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        request = await read_request(reader)
        body = json.loads(request.body) if request.body else None
        seen = Seen(request.path, request.headers, body)
        self.seen.append(seen)
        play = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = play(seen) if callable(play) else play
        if answer.silent:
            await asyncio.Event().wait()
        await _send(writer, answer)


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    lines = [f"HTTP/1.1 {answer.status} whatever", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode())
    for number, piece in enumerate(answer.pieces):
        if number and answer.hold is not None:
            await answer.hold.wait()
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    if not answer.drops:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
