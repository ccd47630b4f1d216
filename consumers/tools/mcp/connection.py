"""
One connection to an MCP server: with the wires below it, all that knows the MCP library.

What goes in and out are names and plain data. Why a call has no result is told by where that was
found out, never by a number or a text that a server could have sent: see ``messages.Trouble``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from effectmq.consumers.tools.mcp.doubts import (
    Refusal,
    Verdict,
    known,
    refused_unread,
    says_nothing,
    verdict,
)
from effectmq.consumers.tools.mcp.listing import LeftOut, left_out_of, passed_result
from effectmq.consumers.tools.mcp.messages import Seal, Trouble
from effectmq.consumers.tools.mcp.servers import McpServer
from effectmq.protocol.errors import MissingExtraError
from effectmq.protocol.text import is_group, printable

if TYPE_CHECKING:
    from mcp import Client, MCPError

    from effectmq.consumers.tools.mcp.wires.http import HttpWire
    from effectmq.consumers.tools.mcp.wires.stdio import StdioWire

__all__ = [
    "CallTroubleError",
    "Connection",
    "SessionForgottenError",
    "check_installed",
    "reason_of",
    "status_of",
    "told",
]

_HTTP_TIMEOUT_S = 10.0
#: How long a server may take to say whether it knows a session; a part of what a call may take.
_QUESTION_S = 5.0
_QUESTION_PART = 0.25
#: A process that works does not always listen, and nobody waits for what it says to this.
_PATIENT_QUESTION_S = 30.0
_MAX_PAGES = 100
_BAD_ARGUMENTS = -32602
_CLOSED = -32000
#: Who logs addresses.
_TALKATIVE = ("httpx2", "mcp.client.streamable_http")


class CallTroubleError(Exception):
    """
    A call has no result.

    Args:
        trouble: Why.
        about_arguments: Whether the server said that the call's arguments, or its name, were wrong.
        line: Whether the line that it came over is still of use; a refusal to ask the server about
            when that is not known yet.
    """

    def __init__(
        self, trouble: Trouble, line: Verdict | Refusal, *, about_arguments: bool = False
    ) -> None:
        self.trouble = trouble
        self.line: Verdict | Refusal = line
        self.about_arguments = about_arguments
        super().__init__(trouble.reason)


class SessionForgottenError(Exception):
    """The server does not know the session any more, so nothing was called."""


def check_installed() -> None:
    """
    Find out whether there is an MCP library.

    Raises:
        MissingExtraError: When there is none.
    """
    if find_spec("mcp") is None:
        raise MissingExtraError("an MCP server", "mcp")


class Connection:
    """
    Use as an asynchronous context manager, entered and left by one task; others may call.

    Args:
        server: Where to connect to.
        changed: Called when the server says that its tools are others now.
    """

    def __init__(self, server: McpServer, changed: Callable[[], None]) -> None:
        self._server = server
        self._changed = changed
        self._seal = Seal()
        self._stack = AsyncExitStack()
        self._wire: HttpWire | StdioWire | None = None

    async def __aenter__(self) -> Self:
        """Connect, or start the server; and agree on a version of the protocol."""
        from mcp import Client

        async with AsyncExitStack() as stack:
            transport = await self._transport(stack)
            client = Client(transport, cache=None, message_handler=self._hear)
            self._client: Client = await stack.enter_async_context(client)
            if self._wire is not None:
                self._wire.version = self._client.protocol_version
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        """Disconnect; a server that was started is stopped."""
        return await self._stack.__aexit__(*exc_info)

    async def _transport(self, stack: AsyncExitStack) -> Any:
        server = self._server
        if not server.url:
            from effectmq.consumers.tools.mcp.wires.stdio import StdioWire

            self._wire = StdioWire(server, self._seal)
            return self._wire.open()
        from mcp.client.streamable_http import streamable_http_client

        from effectmq.consumers.tools.mcp.wires.http import HttpWire

        _hide(urlsplit(server.url).query)
        wire = HttpWire(self._seal, server.headers, _HTTP_TIMEOUT_S)
        self._wire = await stack.enter_async_context(wire)
        return streamable_http_client(server.url, http_client=wire, max_sse_event_size=None)

    async def _hear(self, message: object) -> None:
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._changed()

    async def follow(self) -> None:
        """Hear of changed tools from servers that tell only those who ask; until cancelled."""
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        if self._client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        tools = self._client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        async with self._client.listen(tools_list_changed=True) as events:
            async for _ in events:
                self._changed()

    async def tools(self) -> tuple[list[dict[str, Any]], list[LeftOut]]:
        """What the server offers, as plain data; and which of it nobody could use, and why."""
        found: list[dict[str, Any]] = []
        left_out: list[LeftOut] = []
        cursor: str | None = None
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            found += [_plain(tool) for tool in page.tools]
            left_out += left_out_of(page.meta, self._seal)
            cursor = page.next_cursor
            if cursor is None:
                return found, left_out
            if cursor in seen:
                break
            seen.add(cursor)
        left_out.append(("…", f"the list of tools does not end after {len(seen) + 1} pages"))
        return found, left_out

    async def call(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """
        Call a tool; being cancelled cancels the call on the server, too.

        Raises:
            SessionForgottenError: When the server does not know the session; nothing was called.
            CallTroubleError: When there is no result for another reason.
        """
        from mcp import MCPError
        from pydantic import ValidationError

        try:
            result = await self._client.call_tool(name, args)
        except MCPError as problem:
            refusal = Refusal(self._trouble(problem), problem.code)
            line: Verdict | Refusal = refusal
            if refused_unread(refusal):
                line = await self.asked(refusal)
            if line == "forgotten":
                raise SessionForgottenError from None
            origin = refusal.trouble.origin
            bad = problem.code == _BAD_ARGUMENTS and origin in ("answer", "http")
            raise CallTroubleError(refusal.trouble, line, about_arguments=bad) from None
        except (ValidationError, RuntimeError) as problem:
            # The library's own checks: the form of a result, and the tool's output schema.
            unfit = Trouble("unreadable", _first_line(problem))
            raise CallTroubleError(unfit, "alive") from None
        passed = passed_result(result.meta, self._seal)
        return _plain(result) if passed is None else passed

    def why(self, problem: BaseException) -> str:
        """Why there is no connection, as a phrase without anything that may be secret."""
        from mcp import MCPError

        problem = _innermost(problem)
        if not isinstance(problem, MCPError):
            return reason_of(problem, self._server.connect_timeout_s)
        trouble = self._trouble(problem)
        if trouble.origin == "lost" and self._server.command:
            return f"it ended at once: {trouble.reason}"
        return told(trouble)

    def refused(self, problem: BaseException) -> Trouble | None:
        """The status with which the server refused the connection; ``None`` for other reasons."""
        from mcp import MCPError

        problem = _innermost(problem)
        trouble = self._trouble(problem) if isinstance(problem, MCPError) else None
        return trouble if trouble is not None and trouble.origin == "http" else None

    def _trouble(self, problem: MCPError) -> Trouble:
        found = self._seal.opened(problem.data)
        if found is not None:
            return found
        # Without a seal it is the library's own: either there is no line any more, or it did not
        # understand what came over it.
        ended = getattr(self._wire, "ended", "")
        if problem.code == _CLOSED or ended:
            return Trouble("lost", ended or "it closed the connection")
        return Trouble("unreadable", printable(problem.message.partition("?")[0], 200))

    async def asked(self, call: Refusal | None) -> Verdict:
        """
        Ask the server whether it still knows the line.

        Args:
            call: What went wrong on it; ``None`` when nobody waited for the end of the call.
        """
        found = known(call, in_session=self._in_session)
        if found is not None:
            return found
        refused: list[Refusal] = []
        try:
            async with asyncio.timeout(self._question_s):
                # Not all know a ping; what a server has listed before it can list again.
                for question in (self._client.session.send_ping, self._client.list_tools):
                    refusal = await self._refusal(question)
                    if refusal is None or says_nothing(refusal):
                        return "alive"
                    refused.append(refusal)
        except TimeoutError:
            return "dead"
        return verdict(call, refused)

    @property
    def _in_session(self) -> bool:
        return bool(getattr(self._wire, "in_session", False))

    @property
    def _question_s(self) -> float:
        if self._server.command:
            return _PATIENT_QUESTION_S
        limit_s = self._server.time_limit_s
        return _QUESTION_S if limit_s is None else min(_QUESTION_S, limit_s * _QUESTION_PART)

    async def _refusal(self, question: Callable[[], Awaitable[object]]) -> Refusal | None:
        """How a question was not answered well; ``None`` when it was."""
        from mcp import MCPError

        try:
            await question()
        except MCPError as problem:
            return Refusal(self._trouble(problem), problem.code)
        except TimeoutError:
            raise
        except Exception as problem:
            return Refusal(Trouble("unreadable", type(problem).__name__))
        return None


def reason_of(problem: BaseException, timeout_s: float) -> str:
    """Why there is no connection, as a phrase without anything that may be secret."""
    problem = _innermost(problem)
    if isinstance(problem, TimeoutError):
        return f"it did not answer within {timeout_s:g} s"
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    # Texts of the libraries below tell addresses, or print what was received.
    return type(problem).__name__


def _innermost(problem: BaseException) -> BaseException:
    while is_group(problem):
        problem = problem.exceptions[0]
    return problem


def told(trouble: Trouble) -> str:
    """A trouble as a phrase."""
    if trouble.origin == "answer":
        return f"it answered: {printable(trouble.reason, 300)}"
    if trouble.origin == "http":
        words = f": {printable(trouble.reason, 300)}" if trouble.reason else ""
        return f"it answered HTTP {status_of(trouble.status)}{words}"
    if trouble.origin == "unreadable":
        return f"its answer cannot be read: {printable(trouble.reason, 300)}"
    return trouble.reason


def status_of(status: int) -> str:
    """An HTTP status with its name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _first_line(problem: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        return printable(f"{path}: {first['msg']}", 200)
    return printable(str(problem).partition("\n")[0], 200)


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


class _Hiding(logging.Filter):
    """Takes the query out of addresses that others log; it may hold a key."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for query in self.queries:
            if query in text:
                record.msg, record.args = text.replace(query, "***"), ()
                text = record.getMessage()
        return True


_hiding = _Hiding()


def _hide(query: str) -> None:
    if query:
        _hiding.queries.add(query)
        for name in _TALKATIVE:
            logging.getLogger(name).addFilter(_hiding)
