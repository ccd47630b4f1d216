"""
A provider to ask over real HTTP: it listens on 127.0.0.1, answers what a test told it to, and
remembers what it was asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

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


class FakeProvider:
    """Use as an asynchronous context manager; the last answer is repeated."""

    def __init__(self, *answers: Play) -> None:
        self.answers: list[Play] = list(answers)
        self.seen: list[Seen] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # A client that has enough goes away, which is no matter.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = await _read(reader)
        self.seen.append(seen)
        play = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = play(seen) if callable(play) else play
        if answer.silent:
            await asyncio.Event().wait()
        await _send(writer, answer)


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(first.split()[1], headers, json.loads(body) if body else None)


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
