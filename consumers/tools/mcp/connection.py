"""
One connection to an MCP server. Only this module and the wires below it use the MCP library.

Its inputs and outputs are names and plain data. The reason why a call has no result is told by the
place that found it, never by a number or a text that a server could have sent: see
``messages.Trouble``.
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
#: How long a server may take to say whether it knows a session, in seconds; part of the call's
#: time.
_QUESTION_S = 5.0
_QUESTION_PART = 0.25
#: A busy process does not always read, and no call waits for its answer to this; in seconds.
_PATIENT_QUESTION_S = 30.0
_MAX_PAGES = 100
_BAD_ARGUMENTS = -32602
_CLOSED = -32000
#: Loggers that log addresses.
_TALKATIVE = ("httpx2", "mcp.client.streamable_http")


class CallTroubleError(Exception):
    """
    A call has no result.

    Args:
        trouble: Why.
        about_arguments: Whether the server said that the call's arguments, or its name, were wrong.
        line: Whether the line can still be used; when that is not known yet, the refusal to ask the
            server about.
    """

    def __init__(
        self, trouble: Trouble, line: Verdict | Refusal, *, about_arguments: bool = False
    ) -> None:
        self.trouble = trouble
        self.line: Verdict | Refusal = line
        self.about_arguments = about_arguments
        super().__init__(trouble.reason)


class SessionForgottenError(Exception):
    """The server no longer knows the session, so nothing was called."""


def check_installed() -> None:
    """
    Check that the MCP library is installed.

    Raises:
        MissingExtraError: When it is not.
    """
    if find_spec("mcp") is None:
        raise MissingExtraError("an MCP server", "mcp")


class Connection:
    """
    A connection. Use it as an asynchronous context manager, in one task; other tasks may call.

    Args:
        server: Where to connect to.
        changed: Called when the server says that its tools have changed.
    """

    def __init__(self, server: McpServer, changed: Callable[[], None]) -> None:
        self._server = server
        self._changed = changed
        self._seal = Seal()
        self._stack = AsyncExitStack()
        self._wire: HttpWire | StdioWire | None = None

    async def __aenter__(self) -> Self:
        """Connect, or start the server, and agree on a version of the protocol."""
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
        """Disconnect; stops a server that was started."""
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
        """Wait for changed tools of servers that tell only on request, until cancelled."""
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
        """The server's tools as plain data, and those that cannot be used, each with the reason."""
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
        Call a tool; cancelling this cancels the call on the server as well.

        Raises:
            SessionForgottenError: When the server no longer knows the session; nothing was called.
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
            # Checks of the library: the form of a result, and the tool's output schema.
            unfit = Trouble("unreadable", _first_line(problem))
            raise CallTroubleError(unfit, "alive") from None
        passed = passed_result(result.meta, self._seal)
        return _plain(result) if passed is None else passed

    def why(self, problem: BaseException) -> str:
        """Why there is no connection, as a phrase without secrets."""
        from mcp import MCPError

        problem = _innermost(problem)
        if not isinstance(problem, MCPError):
            return reason_of(problem, self._server.connect_timeout_s)
        trouble = self._trouble(problem)
        if trouble.origin == "lost" and self._server.command:
            return f"it ended at once: {trouble.reason}"
        return told(trouble)

    def refused(self, problem: BaseException) -> Trouble | None:
        """
        The HTTP status with which the server refused the connection; ``None`` for other reasons.
        """
        from mcp import MCPError

        problem = _innermost(problem)
        trouble = self._trouble(problem) if isinstance(problem, MCPError) else None
        return trouble if trouble is not None and trouble.origin == "http" else None

    def _trouble(self, problem: MCPError) -> Trouble:
        found = self._seal.opened(problem.data)
        if found is not None:
            return found
        # Without a seal the error is the library's own: the line is closed, or the library did not
        # understand a message.
        ended = getattr(self._wire, "ended", "")
        if problem.code == _CLOSED or ended:
            return Trouble("lost", ended or "it closed the connection")
        return Trouble("unreadable", printable(problem.message.partition("?")[0], 200))

    async def asked(self, call: Refusal | None) -> Verdict:
        """
        Ask the server whether it still knows the session.

        Args:
            call: The error of the call; ``None`` when the end of the call was not waited for.
        """
        found = known(call, in_session=self._in_session)
        if found is not None:
            return found
        refused: list[Refusal] = []
        try:
            async with asyncio.timeout(self._question_s):
                # Not every server knows ping; but one that has listed something can list it again.
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
        """The refusal of a question; ``None`` when it was answered."""
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
    """Why there is no connection, as a phrase without secrets."""
    problem = _innermost(problem)
    if isinstance(problem, TimeoutError):
        return f"it did not answer within {timeout_s:g} s"
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    # Texts of the libraries may have addresses, or received data.
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
    """Removes the query from addresses in logs, because it may hold a key."""

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
