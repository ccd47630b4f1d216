"""
A server as a child process, below the library: lines in, lines out, and how it ended.

Lines are read here, so that each call gets an answer when its server has given one, readable or
not, and one unreadable line does not end the other calls. The server's stderr goes to the log of
the worker, without the secrets that the server was given; it is always read, so that a server never
waits for the worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from effectmq.consumers.tools.mcp.listing import cleared_list, passed_by
from effectmq.consumers.tools.mcp.messages import (
    MAX_MESSAGE_BYTES,
    Seal,
    Trouble,
    UnreadableMessageError,
    read_messages,
)
from effectmq.consumers.tools.mcp.servers import McpServer
from effectmq.consumers.tools.mcp.wires.pending import Pending
from effectmq.protocol.encoding.narrowing import is_object, members_of
from effectmq.protocol.text import printable

__all__ = ["StdioWire"]

logger = logging.getLogger("effectmq.mcp")

_CHUNK_BYTES = 64 * 1024
#: How long a server may take to end by itself, and then after it was asked to, in seconds.
_GRACE_S = 2.0
#: How long to wait for the rest of an ended server's output, in seconds.
_REST_S = 1.0
_POLL_S = 0.01
#: How long a call waits after its server wrote something else, before the server is asked.
_DOUBT_S = 1.0
_MAX_LOGGED = 1_000
#: Shorter values are no secrets, and would remove too much from the log.
_SECRET_CHARS = 6
_PING = "effectmq-ping-"
#: The beginning of a line that was meant to be a message; ``[info] …`` was not.
_MEANT = re.compile(rb"(\xef\xbb\xbf)?(\{\s*([\"}]|$)|\[\s*([{\]]|$))")

_Streams = tuple[MemoryObjectReceiveStream[Any], MemoryObjectSendStream[Any]]


class StdioWire:
    """
    The wire to a server that is a child process.

    Args:
        server: The server to start.
        seal: The seal of the connection.
    """

    def __init__(self, server: McpServer, seal: Seal) -> None:
        self._server = server
        self._seal = seal
        self._pending = Pending()
        self._talkative = False
        self._pings = 0
        #: For each ping: the calls in doubt, and why.
        self._doubts: dict[str, tuple[set[str], str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: The version of the protocol, once both sides have agreed on one.
        self.version = "2025-11-25"
        #: How the server ended, as a phrase; empty while it runs.
        self.ended = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_Streams]:
        """Start the server; stop it at the end."""
        server = self._server
        process = await asyncio.create_subprocess_exec(
            *server.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=get_default_environment() | dict(server.env),
            cwd=server.cwd,
            start_new_session=True,
        )
        self._process = process
        self._heard, read = anyio.create_memory_object_stream[Any](0)
        write, self._said = anyio.create_memory_object_stream[Any](0)
        try:
            for work in (self._listen(), self._speak(), self._log(), self._watch()):
                self._spawn(work)
            yield read, write
        finally:
            try:
                await self._stop()
            except asyncio.CancelledError:
                self._kill(signal.SIGKILL)
                raise
            finally:
                for task in self._tasks:
                    task.cancel()
                for stream in (self._heard, read, write, self._said):
                    stream.close()
                # A process that inherited the pipes may hold them open; the worker does not wait
                # for it.
                library: Any = process
                library._transport.close()

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A defect of this code must not leave calls waiting.
            self.ended = self.ended or f"reading it failed ({type(task.exception()).__name__})"
            self._heard.close()

    # Out ---------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        with suppress(anyio.ClosedResourceError, anyio.EndOfStream):
            async for item in self._said:
                message: dict[str, Any] = item.message.model_dump(by_alias=True, exclude_unset=True)
                if "method" in message and "id" in message:
                    self._pending.asked(message["id"], message["method"])
                elif message.get("method") == "notifications/cancelled":
                    asked: Any = members_of(message.get("params")).get("requestId")
                    self._pending.answered(asked)
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                if not await self._send(text):
                    return

    async def _send(self, text: str) -> bool:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(text.encode() + b"\n")
            await stdin.drain()
        except (OSError, RuntimeError):
            # It reads no more; the reader notices that it has ended.
            return False
        return True

    # In ----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        pieces: list[bytes] = []
        size = 0
        while chunk := await stdout.read(_CHUNK_BYTES):
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                if size <= MAX_MESSAGE_BYTES:
                    await self._line(b"".join(pieces) + line)
                pieces, size = [], 0
            # Of a line that is too long, enough is kept to find that out; the rest is dropped.
            if rest and size <= MAX_MESSAGE_BYTES:
                pieces.append(rest)
                size += len(rest)
                if size > MAX_MESSAGE_BYTES:
                    await self._line(b"".join(pieces))
        await self._ended("it closed its output")

    async def _line(self, line: bytes) -> None:
        line = line.strip()
        if not line:
            return
        try:
            for message in read_messages(line):
                await self._message(message)
        except UnreadableMessageError as problem:
            await self._unreadable(line, problem)

    async def _message(self, message: dict[str, Any]) -> None:
        id_ = message.get("id")
        if "method" not in message:
            if str(id_).startswith(_PING):
                await self._pinged(str(id_))
                return
            if not self._pending.knows(id_) and not (id_ is None and "error" in message):
                raise UnreadableMessageError(
                    f"its id is {printable(repr(id_), 60)}, and no call has that id"
                )
            found = self._pending.answered(id_)
            if id_ is None:
                await self._nameless(message)
                return
            if found is None:
                return
            message = self._checked({**message, "id": found[0]}, found[1])
        await self._hear(message)
        await self._settle()

    def _checked(self, message: dict[str, Any], method: str) -> dict[str, Any]:
        """An answer in a form that the library can read."""
        error, result = message.get("error"), message.get("result")
        if is_object(error) and "result" not in message:
            trouble = Trouble("answer", str(error.get("message", "")))
            return self._error(message["id"], trouble, error)
        if not is_object(result) or "error" in message or message.get("jsonrpc") != "2.0":
            reason = "it is not a JSON-RPC answer; expected an object with a result or an error"
            return self._error(message["id"], Trouble("unreadable", reason))
        if method == "tools/list":
            return {**message, "result": cleared_list(result, self.version, self._seal)}
        if method == "tools/call":
            return {**message, "result": passed_by(result, self._seal)}
        return message

    def _error(self, id_: str | int, trouble: Trouble, error: object = None) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": id_, "error": self._seal.error(trouble, error)}

    async def _hear(self, message: dict[str, Any]) -> None:
        try:
            read = jsonrpc_message_adapter.validate_python(message, by_name=False)
        except ValidationError:
            logger.warning(
                "%s sent a message that is not JSON-RPC; it is ignored",
                self._server,
                extra={"action": "mcp_message_left_out"},
            )
            return
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._heard.send(SessionMessage(read))

    # What cannot be read ---------------------------------------------------------------------

    async def _unreadable(self, line: bytes, problem: UnreadableMessageError) -> None:
        if problem.id is not None and self._pending.knows(problem.id):
            found = self._pending.answered(problem.id)
            if found is not None:
                await self._hear(self._error(found[0], Trouble("unreadable", problem.reason)))
        elif _MEANT.match(line) or b'"jsonrpc"' in line or b"\0" in line:
            self._pending.spoil(problem.reason)
        else:
            self._doubt(line)
        await self._settle()

    async def _nameless(self, message: dict[str, Any]) -> None:
        """Handle an error without an id: the server could not read one of the requests."""
        said = printable(str(members_of(message["error"]).get("message", "")), 200)
        self._pending.spoil(f"it answered with an error without an id: {said}")
        await self._settle()

    async def _settle(self) -> None:
        hopeless, reason = self._pending.hopeless()
        for id_ in hopeless:
            await self._hear(self._error(id_, Trouble("unreadable", reason)))

    def _doubt(self, line: bytes) -> None:
        """
        Handle a line that does not look like an answer: many servers print such lines, against the
        rules.

        It may still be meant as an answer. When a server answers the next question but not the
        call, there will be no other answer; unless the server is known to print.
        """
        waiting = self._pending.waiting()
        if not waiting:
            self._talkative = True
        if self._talkative:
            return
        text = printable(line[:100].decode(errors="replace"), 100)
        reason = (
            f"it wrote {text!r} to its output, which is not a JSON-RPC message; a server must "
            "write texts for people to stderr"
        )
        self._spawn(self._ask(waiting, reason))

    async def _ask(self, suspects: set[str], reason: str) -> None:
        await asyncio.sleep(_DOUBT_S)
        if not suspects <= self._pending.waiting():
            # It went on to answer, so the line was only a print.
            self._talkative = True
            return
        self._pings += 1
        id_ = f"{_PING}{self._pings}"
        self._doubts[id_] = (suspects, reason)
        await self._send(f'{{"jsonrpc":"2.0","id":"{id_}","method":"ping"}}')

    async def _pinged(self, id_: str) -> None:
        suspects, reason = self._doubts.pop(id_, (set[str](), ""))
        if suspects and suspects <= self._pending.waiting() and not self._talkative:
            self._pending.spoil(reason)
            await self._settle()

    # The process -------------------------------------------------------------------------------

    async def _log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        rest = b""
        while chunk := await stderr.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_MAX_LOGGED:]
            for line in lines:
                self._log_line(line)
        self._log_line(rest)

    def _log_line(self, line: bytes) -> None:
        text = line[:_MAX_LOGGED].decode(errors="replace").strip()
        for secret in (*self._server.env.values(), *self._server.command[2:]):
            if len(secret) >= _SECRET_CHARS:
                text = text.replace(secret, "***")
        if text:
            logger.info(
                "%s says: %s",
                self._server,
                printable(text, _MAX_LOGGED),
                extra={"action": "mcp_stderr", "server": self._server.where},
            )

    async def _watch(self) -> None:
        """
        Notice the end of the process: other processes may hold its pipes open, so it is polled.
        """
        while not await self._gone(poll_s=0.1):
            pass
        await asyncio.sleep(_REST_S)
        await self._ended("")

    async def _ended(self, how: str) -> None:
        for _ in range(round(_REST_S / 2 / _POLL_S)):
            if self._process.returncode is not None:
                break
            await asyncio.sleep(_POLL_S)
        code = self._process.returncode
        if code is not None:
            how = f"its process ended with exit code {code}" if code >= 0 else _by_signal(-code)
        self.ended = self.ended or how
        self._heard.close()

    async def _stop(self) -> None:
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        if await self._gone():
            return
        self._kill(signal.SIGTERM)
        if not await self._gone():
            self._kill(signal.SIGKILL)
            await self._gone()

    async def _gone(self, poll_s: float = _POLL_S) -> bool:
        for _ in range(round(_GRACE_S / poll_s)):
            if self._process.returncode is not None:
                return True
            await asyncio.sleep(poll_s)
        return False

    def _kill(self, number: signal.Signals) -> None:
        """Kill its children, too: it leads its own process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _by_signal(number: int) -> str:
    try:
        return f"its process was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"its process was ended by signal {number}"
