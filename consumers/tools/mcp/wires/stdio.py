"""
A server as a process of ours, below the library: lines in, lines out, and how it ended.

What is on a line is read here, so that each call gets an answer when its server has given one,
readable or not, and so that one spoilt line does not end the others' calls. What the server writes
to its stderr goes to our log, without the secrets that it was given; it is always read, so that a
server never waits for us.
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
#: How long a server may take to end by itself, and how long once it was asked to.
_GRACE_S = 2.0
#: How long the rest of what an ended server wrote is waited for.
_REST_S = 1.0
_POLL_S = 0.01
#: A call whose server wrote something else waits so long for its answer before we ask.
_DOUBT_S = 1.0
_MAX_LOGGED = 1_000
#: Shorter values are no secrets, and would blacken the log.
_SECRET_CHARS = 6
_PING = "effectmq-ping-"
#: How a line begins that was meant to be a message; ``[info] …`` is none.
_MEANT = re.compile(rb"(\xef\xbb\xbf)?(\{\s*([\"}]|$)|\[\s*([{\]]|$))")

_Streams = tuple[MemoryObjectReceiveStream[Any], MemoryObjectSendStream[Any]]


class StdioWire:
    """
    The wire to a server that is a process of ours.

    Args:
        server: What to start.
        seal: Of the connection.
    """

    def __init__(self, server: McpServer, seal: Seal) -> None:
        self._server = server
        self._seal = seal
        self._pending = Pending()
        self._talkative = False
        self._pings = 0
        #: Of each ping: the calls in doubt, and why.
        self._doubts: dict[str, tuple[set[str], str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Of the protocol, once both sides have agreed on one.
        self.version = "2025-11-25"
        #: How the server ended, as a phrase; empty while it runs.
        self.ended = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[_Streams]:
        """Start the server; it is stopped at the end."""
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
                # Whoever inherited the pipes may hold them open; we do not.
                library: Any = process
                library._transport.close()

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A defect of ours must not leave calls waiting.
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
            # It reads no more; that it ended is noticed where it is listened to.
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
            # Of a line that is too long enough is kept to be found so, and the rest is passed over.
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
                    f"its id is {printable(repr(id_), 60)}, which is that of no call"
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
        """An answer as the library may read it."""
        error, result = message.get("error"), message.get("result")
        if is_object(error) and "result" not in message:
            trouble = Trouble("answer", str(error.get("message", "")))
            return self._error(message["id"], trouble, error)
        if not is_object(result) or "error" in message or message.get("jsonrpc") != "2.0":
            reason = "it is no JSON-RPC answer; expected either a result or an error, as an object"
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
                "%s sent a message that is no JSON-RPC; it is left out",
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
        """An error without an id: the server could not read one of our requests."""
        said = printable(str(members_of(message["error"]).get("message", "")), 200)
        self._pending.spoil(f"it answered with an error to no call in particular: {said}")
        await self._settle()

    async def _settle(self) -> None:
        hopeless, reason = self._pending.hopeless()
        for id_ in hopeless:
            await self._hear(self._error(id_, Trouble("unreadable", reason)))

    def _doubt(self, line: bytes) -> None:
        """
        A line that does not look like an answer: many servers print such, though they must not.

        It may have been meant as one all the same. A server that answers the next question and
        not the call has nothing more to say to it; unless it is known to print.
        """
        waiting = self._pending.waiting()
        if not waiting:
            self._talkative = True
        if self._talkative:
            return
        text = printable(line[:100].decode(errors="replace"), 100)
        reason = (
            f"it wrote {text!r} to its output, which is no JSON-RPC message; a server has to "
            "write to stderr what is for people"
        )
        self._spawn(self._ask(waiting, reason))

    async def _ask(self, suspects: set[str], reason: str) -> None:
        await asyncio.sleep(_DOUBT_S)
        if not suspects <= self._pending.waiting():
            # It went on to answer, so it only printed.
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
        """A process that ended may have left its pipes to others, so nobody waits for their end."""
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
        """Its children, too: it leads a group of its own."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _by_signal(number: int) -> str:
    try:
        return f"its process was ended by {signal.Signals(number).name}"
    except ValueError:
        return f"its process was ended by signal {number}"
