"""
An MCP server over HTTP of no library: it answers calls with whatever bytes a test gives it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.local_server import LocalServer, read_request

__all__ = ["Answer", "OddHttp", "event", "json_answer", "result"]


@dataclass(frozen=True)
class Answer:
    """
    One answer over HTTP.

    Attributes:
        breaks: Close the connection in the middle of the body.
        hold: Wait for this before the body.
        endless: Send the body again and again, until the client goes away.
    """

    status: int = 200
    body: bytes = b""
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    breaks: bool = False
    hold: asyncio.Event | None = None
    endless: bool = False


Play = Callable[[dict[str, Any]], Answer]


def json_answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """JSON, or bytes that say that they are; ``retry_after="1"`` is the header ``retry-after``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, data, headers=named)


def result(message: dict[str, Any], found: Any) -> dict[str, Any]:
    """What answers a request."""
    return {"jsonrpc": "2.0", "id": message["id"], "result": found}


def event(*datas: str, **more: Any) -> Answer:
    """A stream of events."""
    body = "".join(f"event: message\ndata: {data}\n\n" for data in datas)
    return Answer(200, body.encode(), "text/event-stream", **more)


class OddHttp(LocalServer):
    """
    Use as an asynchronous context manager.

    Args:
        play: Answers calls of tools in a session that is known.
        sessions: Whether it gives sessions.
    """

    def __init__(self, play: Play, *, sessions: bool = True) -> None:
        super().__init__()
        self.play = play
        self.sessions = sessions
        #: Answers requests in a session that is not known; the number says which session is.
        self.unknown: Play = lambda message: Answer(404)
        #: Answers notifications.
        self.heard: Play = lambda message: Answer(202)
        #: Answers whatever else is asked with GET or DELETE.
        self.others = Answer(405)
        self.tools = ["do", "other"]
        self.generation = 1
        self.connected = 0
        self.calls: list[str] = []
        self.methods: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{super().url}/mcp"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other."""
        while await self._one(reader, writer):
            pass

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        if request.method != "POST":
            answer = self.others
        else:
            answer = self._answer(json.loads(request.body), request.headers.get("mcp-session-id"))
        if answer.hold is not None:
            await _held(answer.hold, reader)
        if answer.endless:
            writer.write(f"HTTP/1.1 200 X\r\ncontent-type: {answer.type}\r\n\r\n".encode())
            while True:
                writer.write(answer.body)
                await writer.drain()
                await asyncio.sleep(0.01)
        size = len(answer.body) + (10 if answer.breaks else 0)
        told = {"content-type": answer.type, "content-length": str(size), **answer.headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{text}\r\n".encode() + answer.body)
        await writer.drain()
        return not answer.breaks

    def _answer(self, message: dict[str, Any], session: str | None) -> Answer:
        method = message["method"]
        self.methods.append(method)
        mine = f"session-{self.generation}"
        if method == "initialize":
            self.connected += 1
            server = {"name": "odd", "version": "1"}
            found = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": server,
            }
            answer = json_answer(result(message, found))
            if self.sessions:
                answer.headers["mcp-session-id"] = mine
            return answer
        if self.sessions and session is not None and session != mine:
            return self.unknown(message)
        if method == "tools/call":
            self.calls.append(message["params"]["name"])
            return self.play(message)
        if "id" not in message:
            return self.heard(message)
        if method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]
            return json_answer(result(message, {"tools": tools}))
        if method == "ping":
            return json_answer(result(message, {}))
        error = {"code": -32601, "message": "no such method"}
        return json_answer({"jsonrpc": "2.0", "id": message["id"], "error": error})


async def _held(event: asyncio.Event, reader: asyncio.StreamReader) -> None:
    """Wait for an event, or until the client goes away."""
    waiting = asyncio.create_task(event.wait())
    gone = asyncio.create_task(reader.read(1))
    await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, gone):
        task.cancel()
    if not event.is_set():
        raise ConnectionError
