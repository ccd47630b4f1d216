"""
One connection to an MCP server: the one file that knows the MCP library.

What goes in and out are names and plain data. What goes wrong is one of three things: there is no
connection, it was lost while a call was under way, or the server answered with an error.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self, TextIO, cast
from urllib.parse import urlsplit

from effectmq.consumers.mcp.servers import McpServer
from effectmq.protocol.errors import MissingExtraError
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client import Transport

__all__ = [
    "Connection",
    "ConnectionLostError",
    "ServerAnswerError",
    "check_installed",
    "reason_of",
]

_HTTP_TIMEOUT_S = 10.0
_MAX_PAGES = 100
#: JSON-RPC says nothing was called, or what the call was wrong about.
_BAD_ARGUMENTS = -32602
_CLOSED = -32000
_NO_SUCH_SESSION = (-32600, "Session terminated")
#: Who logs addresses.
_TALKATIVE = ("httpx2", "mcp.client.streamable_http")


class ConnectionLostError(Exception):
    """The connection ended while a call was under way; nobody knows how far the call came."""


class ServerAnswerError(Exception):
    """
    The server answered a call with an error of the protocol.

    Args:
        message: The server's.
        about_arguments: Whether it is the call's arguments, or its name, that were wrong.
    """

    def __init__(self, message: str, *, about_arguments: bool) -> None:
        self.message = message
        self.about_arguments = about_arguments
        super().__init__(message)


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
    """

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect, or start the server; and agree on a version of the protocol."""
        from mcp import Client

        async with AsyncExitStack() as stack:
            transport = await self._transport(stack)
            self._client: Client = await stack.enter_async_context(Client(transport, cache=None))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        """Disconnect; a server that was started is stopped."""
        return await self._stack.__aexit__(*exc_info)

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        server = self._server
        if not server.url:
            from mcp import StdioServerParameters, stdio_client

            parameters = StdioServerParameters(
                command=server.command[0],
                args=list(server.command[1:]),
                env=dict(server.env),
                cwd=server.cwd,
            )
            return stdio_client(parameters, errlog=_errors_of_servers(stack))
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        _hide(urlsplit(server.url).query)
        # No limit for reading: how long a call may take is for the limit of its tool to say.
        client = httpx2.AsyncClient(
            headers=dict(server.headers), timeout=httpx2.Timeout(_HTTP_TIMEOUT_S, read=None)
        )
        await stack.enter_async_context(client)
        return streamable_http_client(server.url, http_client=client)

    async def tools(self) -> list[dict[str, Any]]:
        """What the server offers, as plain data."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            found += [_plain(tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def call(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """
        Call a tool; being cancelled cancels the call on the server, too.

        Raises:
            ConnectionLostError: When the connection is gone, or went.
            ServerAnswerError: When the server answered with an error of the protocol.
        """
        from mcp import MCPError

        try:
            return _plain(await self._client.call_tool(name, args))
        except MCPError as problem:
            if problem.code == _CLOSED or (problem.code, problem.message) == _NO_SUCH_SESSION:
                raise ConnectionLostError(printable(problem.message)) from None
            raise ServerAnswerError(
                printable(problem.message), about_arguments=problem.code == _BAD_ARGUMENTS
            ) from None


def reason_of(problem: BaseException, timeout_s: float) -> str:
    """Why there is no connection, as a phrase without anything that may be secret."""
    while isinstance(problem, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", problem)
        problem = group.exceptions[0]
    if isinstance(problem, TimeoutError):
        return f"it did not answer within {timeout_s:g} s"
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    from mcp import MCPError

    if isinstance(problem, MCPError):
        if problem.code == _CLOSED:
            return "it ended at once"
        return f"it answered: {printable(problem.message, 300)}"
    # Texts of the libraries below tell addresses, or print what was received.
    name = type(problem).__name__
    return "no connection could be made" if name == "ConnectError" else name


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def _errors_of_servers(stack: AsyncExitStack) -> TextIO:
    """Where servers write what people should read: our own stderr, if there is one."""
    if sys.__stderr__ is not None and not sys.__stderr__.closed:
        return sys.__stderr__
    return stack.enter_context(open(os.devnull, "w"))


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
