"""
The tools of one MCP server, and the connection that they share.

The connection is made when the worker starts, so that a server that is not there is found out then.
One that is lost later is made again by the next call; until the server is back, calls fail as
``unavailable``, which can be tried again. The server's list is read anew with each connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.mcp.connection import (
    ConnectionLostError,
    ServerAnswerError,
    check_installed,
)
from effectmq.consumers.mcp.line import Line, NoConnectionError
from effectmq.consumers.mcp.results import value_of
from effectmq.consumers.mcp.servers import McpServer
from effectmq.consumers.tools import BadArgumentsError, Tool, is_tool_name
from effectmq.protocol.errors import ConfigurationError, ToolCallError
from effectmq.protocol.text import printable

__all__ = ["McpTools"]

logger = logging.getLogger("effectmq.mcp")

#: A server that could not be reached is left alone for so long, however many calls want it.
_PAUSE_S = 1.0


class McpTools:
    """
    Use as an asynchronous context manager.

    Args:
        server: Whose tools.

    Raises:
        MissingExtraError: When the extra ``mcp`` is not installed.
    """

    def __init__(self, server: McpServer) -> None:
        check_installed()
        self._server = server
        self._line: Line | None = None
        self._listed: Line | None = None
        self._lines: set[Line] = set()
        self._pause_until = 0.0
        self._tools: dict[str, Tool] = {}

    def __str__(self) -> str:
        """For sentences."""
        return str(self._server)

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Its tools by name, as the server told them last; empty until it is entered."""
        return self._tools

    @property
    def lane(self) -> str:
        """The lane that their calls take."""
        return self._server.lane

    @property
    def time_limit_s(self) -> float | None:
        """How long one attempt of any of them may run, in seconds."""
        return self._server.time_limit_s

    async def __aenter__(self) -> Self:
        """
        Connect and find out which tools there are.

        Raises:
            ConfigurationError: When the server cannot be reached, or has not what is asked for.
        """
        try:
            await self._connected()
            self._check_names()
        except NoConnectionError as problem:
            await self.__aexit__()
            raise ConfigurationError(f"{self._unreachable(problem)}; then start again") from None
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Disconnect; a server that was started is stopped."""
        self._line = self._listed = None
        for line in self._lines:
            line.mourned = True
        await asyncio.gather(*(line.close() for line in list(self._lines)))

    async def call(
        self, name: str, args: dict[str, Any], *, repeatable: bool, harmless: bool
    ) -> object:
        """
        Call one of its tools, by the server's name for it.

        Args:
            name: Without prefix.
            args: By name; whether they fit is for the server to say.
            repeatable: Whether a failure may be tried again.
            harmless: Whether the tool may run again when nobody knows how far it came.

        Raises:
            ToolCallError: When the tool failed, or the server cannot be reached.
            BadArgumentsError: When the server says that the arguments do not fit.
        """
        try:
            line = await self._connected()
            try:
                result = await line.call(name, args)
            except ConnectionLostError:
                self._mourn(line)
                raise
            return value_of(result, repeatable=repeatable)
        except NoConnectionError as problem:
            raise _unavailable(self._unreachable(problem), retry=True) from None
        except ConnectionLostError:
            raise _unavailable(
                f"the connection to {self} was lost while the tool ran, and nobody knows how far "
                "it came",
                retry=repeatable or harmless,
            ) from None
        except ServerAnswerError as problem:
            if problem.about_arguments:
                raise BadArgumentsError([problem.message]) from None
            raise ToolCallError(
                f"{self} answered: {problem.message}",
                code="mcp_error",
                class_="external",
                retry=repeatable,
            ) from None

    async def _connected(self) -> Line:
        loop = asyncio.get_running_loop()
        line = self._line
        if line is None or (line.lost and loop.time() >= self._pause_until):
            line = self._line = self._dial()
        try:
            await line.connected()
        except NoConnectionError:
            if self._pause_until < loop.time():
                self._pause_until = loop.time() + _PAUSE_S
            raise
        if self._listed is not line:
            self._listed = line
            self._list(line)
        return line

    def _dial(self) -> Line:
        line = Line(self._server)
        self._lines.add(line)

        def ended(task: asyncio.Task[None]) -> None:
            self._lines.discard(line)
            if self._listed is line:
                self._mourn(line)

        line.task.add_done_callback(ended)
        return line

    def _mourn(self, line: Line) -> None:
        """Say once that a connection is lost, whoever notices it first."""
        if line.mourned:
            return
        line.mourned = True
        logger.warning(
            "the connection to %s is lost; the next call of a tool makes it again",
            self,
            extra={"action": "mcp_lost", "server": self._server.where},
        )

    def _list(self, line: Line) -> None:
        server = self._server
        tools: dict[str, Tool] = {}
        for one in line.listing:
            offered = str(one["name"])
            if server.only is not None and offered not in server.only:
                continue
            if not is_tool_name(f"{server.prefix}{offered}"):
                logger.warning(
                    "the tool %r of %s is left out: no tool can have such a name",
                    printable(offered, 100),
                    self,
                    extra={"action": "mcp_tool_left_out"},
                )
                continue
            tools[f"{server.prefix}{offered}"] = self._tool(offered, one)
        self._tools = tools
        logger.info(
            "connected to %s, which has %d tool(s)",
            self,
            len(tools),
            extra={"action": "mcp_connected", "server": server.where, "tools": sorted(tools)},
        )

    def _tool(self, offered: str, listed: dict[str, Any]) -> Tool:
        server = self._server
        hints = cast("dict[str, object]", listed.get("annotations") or {})
        harmless = bool(hints.get("readOnlyHint") or hints.get("idempotentHint"))
        return Tool(
            name=f"{server.prefix}{offered}",
            description=str(listed.get("description") or ""),
            input_schema=cast("dict[str, Any]", listed["inputSchema"]),
            body=McpBody(self, offered, server.retry_policy.type != "never", harmless),
            retry_policy=server.retry_policy,
            time_limit_s=server.time_limit_s,
            on_uncertain=server.on_uncertain,
            lane=server.lane,
            output_schema=cast("dict[str, Any]", listed.get("outputSchema") or {}),
        )

    def _check_names(self) -> None:
        wanted = self._server.only or frozenset[str]()
        prefix = self._server.prefix
        missing = sorted(name for name in wanted if f"{prefix}{name}" not in self._tools)
        if missing:
            raise ConfigurationError(
                f"{self} has no tool {printable(missing[0], 100)!r}, which only= asks for; correct "
                "the name, or leave it out"
            )

    def _unreachable(self, problem: NoConnectionError) -> str:
        what = "cannot be reached" if self._server.url else "cannot be started"
        return f"{self} {what}: {problem}; check its address or command, and that it works"


@dataclass(frozen=True, slots=True)
class McpBody:
    """
    What runs when a tool of an MCP server is called.

    Attributes:
        source: The server.
        offered: The server's name for the tool.
        repeatable: Whether a failure may be tried again, because it has a retry policy.
        harmless: Whether the server says that running it again does no harm.
    """

    source: McpTools
    offered: str
    repeatable: bool
    harmless: bool

    async def __call__(self, args: object, context: EffectContext) -> object:
        """Call it on the server."""
        if not isinstance(args, Mapping):
            raise BadArgumentsError(
                [f"found {type(args).__name__}, expected an object of named arguments"]
            )
        named = dict(cast("Mapping[str, Any]", args))
        return await self.source.call(
            self.offered, named, repeatable=self.repeatable, harmless=self.harmless
        )


def _unavailable(message: str, *, retry: bool) -> ToolCallError:
    return ToolCallError(
        message, code="mcp_unavailable", class_="unavailable", source="runtime", retry=retry
    )
