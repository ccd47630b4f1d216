"""
The tools of one MCP server, and the connection that they share.

The worker connects when it starts, so that a missing server is found then. A connection that is
lost later is made again by the next call. Until the server is back, calls fail as ``unavailable``,
which can be tried again. When a server has forgotten a session, the call that finds it out connects
again. The list of tools is read after each connection, and when the server says that it has
changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.tools.mcp.connection import (
    CallTroubleError,
    SessionForgottenError,
    check_installed,
)
from effectmq.consumers.tools.mcp.line import Line, NoConnectionError
from effectmq.consumers.tools.mcp.results import value_of
from effectmq.consumers.tools.mcp.servers import McpServer
from effectmq.consumers.tools.mcp.troubles import failure_of, unavailable
from effectmq.consumers.tools.registry import BadArgumentsError, Tool, is_tool_name
from effectmq.protocol.encoding.narrowing import is_object, members_of
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["McpTools"]

logger = logging.getLogger("effectmq.mcp")

#: The pause after a server could not be reached, for all calls, in seconds. It doubles after each
#: further failure, until a call is answered.
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
#: Statuses of a server that is there and refuses this worker.
_NOT_ALLOWED = frozenset({401, 403})


class McpTools:
    """
    The tools of one MCP server. Use it as an asynchronous context manager.

    Args:
        server: The server.

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
        self._failures = 0
        self._why = NoConnectionError("its connections are lost before a call is answered")
        self._tools: dict[str, Tool] = {}
        self._left_out: dict[str, str] = {}

    def __str__(self) -> str:
        """The server as a phrase, for errors and the log."""
        return str(self._server)

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Its tools by name, as the server last listed them; empty until it is entered."""
        return self._tools

    @property
    def lane(self) -> str:
        """The lane of their calls."""
        return self._server.lane

    @property
    def time_limit_s(self) -> float | None:
        """How long one attempt of any of its tools may run, in seconds."""
        return self._server.time_limit_s

    async def __aenter__(self) -> Self:
        """
        Connect, and list the tools.

        Raises:
            ConfigurationError: When the server cannot be reached, or has no tool that ``only=``
                names.
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
        """Disconnect; stops a server that was started."""
        self._line = self._listed = None
        for line in self._lines:
            line.mourned = True
        await asyncio.gather(*(line.close() for line in list(self._lines)))

    async def call(
        self, name: str, args: dict[str, Any], *, repeatable: bool, harmless: bool, room: int | None
    ) -> object:
        """
        Call one of its tools, by the server's name for it.

        Args:
            name: The name without prefix.
            args: The arguments by name; the server checks them.
            repeatable: Whether a failure may be tried again.
            harmless: Whether the tool may run again when it is unknown how far it came.
            room: How many bytes an attachment may have; ``None`` without a store for attachments.

        Raises:
            ToolCallError: When the tool failed, or the server cannot be reached.
            BadArgumentsError: When the server says that the arguments are wrong.
        """
        try:
            try:
                result = await self._called(name, args)
            except SessionForgottenError:
                # Nothing was called, and the next connection has a new session.
                result = await self._called(name, args)
        except SessionForgottenError:
            raise unavailable(f"{self} forgets its sessions at once", retry=True) from None
        except NoConnectionError as problem:
            if problem.refused is not None and problem.refused.status in _NOT_ALLOWED:
                raise failure_of(
                    str(self), problem.refused, repeatable=repeatable, harmless=harmless
                ) from None
            raise unavailable(
                self._unreachable(problem), retry=True, after_s=problem.after_s
            ) from None
        except CallTroubleError as problem:
            if problem.about_arguments:
                raise BadArgumentsError([problem.trouble.reason]) from None
            raise failure_of(
                str(self), problem.trouble, repeatable=repeatable, harmless=harmless
            ) from None
        return value_of(result, repeatable=repeatable, room_bytes=room)

    async def _called(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        line = await self._connected()
        try:
            return await line.call(name, args)
        finally:
            if line.proven:
                self._failures = 0
            if line.lost:
                self._lost(line)

    def _lost(self, line: Line) -> None:
        """Note the loss of a line, once."""
        if self._line is line and not line.mourned and not line.proven:
            # The first loss may be chance, so the next call tries at once.
            self._pause(self._failures - 1)
        self._mourn(line)

    def _pause(self, doublings: int) -> None:
        self._failures += 1
        if doublings >= 0:
            pause_s = min(_PAUSE_S * 2 ** min(doublings, 10), _LONGEST_PAUSE_S)
            self._pause_until = asyncio.get_running_loop().time() + pause_s

    async def _connected(self) -> Line:
        loop = asyncio.get_running_loop()
        if self._line is not None:
            await self._line.certain()
        line = self._line
        if line is None or line.lost:
            rest_s = self._pause_until - loop.time()
            if rest_s > 0:
                raise NoConnectionError(str(self._why), rest_s, self._why.refused)
            line = self._line = self._dial()
        try:
            await line.connected()
        except NoConnectionError as problem:
            if self._line is line and self._pause_until < loop.time():
                self._why = problem
                self._pause(self._failures)
            raise
        if self._listed is not line:
            self._listed = line
            self._list(line)
        return line

    def _dial(self) -> Line:
        line = Line(self._server, self._list)
        self._lines.add(line)

        def ended(task: asyncio.Task[None]) -> None:
            self._lines.discard(line)
            if self._listed is line:
                self._mourn(line)

        line.task.add_done_callback(ended)
        return line

    def _mourn(self, line: Line) -> None:
        """Log once that a connection is lost."""
        if line.mourned:
            return
        line.mourned = True
        logger.warning(
            "the connection to %s is lost; the next call of a tool connects again",
            self,
            extra={"action": "mcp_lost", "server": self._server.where},
        )

    def _list(self, line: Line) -> None:
        server = self._server
        tools: dict[str, Tool] = {}
        left_out = list(line.left_out)
        for one in line.listing:
            offered = str(one["name"])
            name = f"{server.prefix}{offered}"
            if server.only is not None and offered not in server.only:
                continue
            if not is_tool_name(name):
                left_out.append((offered, "its name is not allowed for a tool"))
            elif name in tools:
                left_out.append((offered, "an earlier tool has the same name"))
            else:
                tools[name] = self._tool(offered, one)
        for offered, why in left_out:
            if server.only is None or offered in server.only:
                logger.warning(
                    "the tool %r of %s is left out: %s",
                    printable(offered, 100),
                    self,
                    why,
                    extra={"action": "mcp_tool_left_out"},
                )
        self._left_out = dict(left_out)
        self._tools = tools
        logger.info(
            "connected to %s, which has %d tool(s)",
            self,
            len(tools),
            extra={"action": "mcp_connected", "server": server.where, "tools": sorted(tools)},
        )

    def _tool(self, offered: str, listed: dict[str, Any]) -> Tool:
        server = self._server
        hints = members_of(listed.get("annotations"))
        harmless = bool(hints.get("readOnlyHint") or hints.get("idempotentHint"))
        return Tool(
            name=f"{server.prefix}{offered}",
            description=str(listed.get("description") or ""),
            input_schema=members_of(listed["inputSchema"]),
            body=McpBody(self, offered, server.retry_policy.type != "never", harmless),
            retry_policy=server.retry_policy,
            time_limit_s=server.time_limit_s,
            on_uncertain=server.on_uncertain,
            lane=server.lane,
            output_schema=members_of(listed.get("outputSchema")),
        )

    def _check_names(self) -> None:
        wanted = self._server.only or frozenset[str]()
        prefix = self._server.prefix
        missing = sorted(name for name in wanted if f"{prefix}{name}" not in self._tools)
        if missing and missing[0] in self._left_out:
            raise ConfigurationError(
                f"the tool {printable(missing[0], 100)!r} of {self}, which only= asks for, cannot "
                f"be used: {self._left_out[missing[0]]}; mend the server, or leave it out"
            )
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
    The body of a tool that an MCP server runs.

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
        """Call the tool on the server."""
        if not is_object(args):
            raise BadArgumentsError(
                [f"found {type(args).__name__}, expected an object of named arguments"]
            )
        return await self.source.call(
            self.offered,
            dict(args),
            repeatable=self.repeatable,
            harmless=self.harmless,
            room=_room(context),
        )


def _room(context: EffectContext) -> int | None:
    """How large an attachment may be, in bytes; ``None`` without a store."""
    store = context.attachments if isinstance(context, ToolContext) else None
    return None if store is None else store.settings.max_attachment_bytes
