"""
One connection and the task that keeps it.

The library wants a connection to be left by the task that entered it, and calls come from many. So
a task of its own holds the connection open until it is told to leave, or until it is lost. The same
task reads the server's list of tools again when the server says that it is another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any

from effectmq.consumers.tools.mcp.connection import (
    CallTroubleError,
    Connection,
    SessionForgottenError,
)
from effectmq.consumers.tools.mcp.doubts import Refusal
from effectmq.consumers.tools.mcp.listing import LeftOut
from effectmq.consumers.tools.mcp.messages import Trouble
from effectmq.consumers.tools.mcp.servers import McpServer

__all__ = ["Line", "NoConnectionError"]

#: A list that changes all the time is read this often, in seconds.
_BETWEEN_LISTS_S = 1.0
#: How long the end of a line waits for what is told to the server.
_LAST_WORDS_S = 1.0


class NoConnectionError(Exception):
    """
    The server cannot be reached; nothing was called.

    Args:
        reason: Why.
        after_s: How long it makes sense to wait, in seconds.
        refused: The HTTP status that said so.
    """

    def __init__(
        self, reason: str, after_s: float | None = None, refused: Trouble | None = None
    ) -> None:
        self.after_s = after_s
        self.refused = refused
        super().__init__(reason)


class Line:
    """
    Started by being made.

    Args:
        server: Where to connect to.
        listed: Called with this line whenever its list of tools was read again.
    """

    def __init__(self, server: McpServer, listed: Callable[[Line], None]) -> None:
        loop = asyncio.get_running_loop()
        self._server = server
        self._listed = listed
        self._leave = asyncio.Event()
        self._changed = asyncio.Event()
        self._connected: asyncio.Future[Connection] = loop.create_future()
        self._connected.add_done_callback(_retrieve)
        self._under_way = 0
        self._doubt: asyncio.Task[None] | None = None
        self._let_go: set[asyncio.Task[dict[str, Any]]] = set()
        self.listing: list[dict[str, Any]] = []
        self.left_out: list[LeftOut] = []
        self.lost = False
        #: Whether a call was answered on it, well or not.
        self.proven = False
        #: Whether it has been said that it is lost.
        self.mourned = False
        self.task = loop.create_task(self._live(), name=f"effectmq {server.where}")

    async def connected(self) -> None:
        """
        Wait for the connection.

        Raises:
            NoConnectionError: When it cannot be made.
        """
        # Shielded, because many may wait for it, and each of them may be cancelled.
        await asyncio.shield(self._connected)

    async def call(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        """
        Call a tool.

        Raises:
            NoConnectionError: When there is no connection.
            SessionForgottenError: When the server forgot the session; nothing was called.
            CallTroubleError: When there is no result for another reason.
        """
        connection = await asyncio.shield(self._connected)
        self._under_way += 1
        calling = asyncio.create_task(connection.call(name, args))
        try:
            result = await asyncio.shield(calling)
            self.proven = True
            return result
        except SessionForgottenError:
            self.retire()
            raise
        except CallTroubleError as problem:
            self._hear_of(problem, connection)
            raise
        except asyncio.CancelledError:
            self._release(calling)
            self._ask(connection, None)
            raise
        finally:
            self._under_way -= 1
            if self.lost and not self._under_way:
                self._leave.set()

    async def certain(self) -> None:
        """Wait until it is known whether a server that was asked about the line still knows it."""
        if self._doubt is not None and self._server.url:
            await asyncio.wait({self._doubt})

    def _hear_of(self, problem: CallTroubleError, connection: Connection) -> None:
        origin = problem.trouble.origin
        self.proven = self.proven or origin in ("answer", "http")
        if origin == "not_called" or (origin == "lost" and self._server.command):
            self.drop()
        elif isinstance(problem.line, Refusal):
            self._ask(connection, problem.line)
        elif problem.line == "dead" and not self.lost:
            self.retire()

    def _release(self, calling: asyncio.Task[dict[str, Any]]) -> None:
        """
        Let go of a call for which nobody waits; the server is told.

        How long it takes to hear of it must not keep the one who waited.
        """
        self._let_go.add(calling)
        calling.add_done_callback(self._let_go.discard)
        calling.add_done_callback(_retrieve)
        calling.cancel()

    def _ask(self, connection: Connection, call: Refusal | None) -> None:
        """Find out whether the line is still of use; the next call makes another one if not."""
        if self.lost or (self._doubt is not None and not self._doubt.done()):
            return

        async def ask() -> None:
            if await connection.asked(call) != "alive":
                # Those that are under way may still end.
                self.retire()

        self._doubt = asyncio.create_task(ask())
        self._doubt.add_done_callback(_retrieve)

    def retire(self) -> None:
        """No new calls; those that are under way may end."""
        self.lost = True
        if self._under_way <= 0:
            self._leave.set()

    def drop(self) -> None:
        """It is of no use any more: the task ends when it has cleared up."""
        self.lost = True
        self._leave.set()

    async def close(self) -> None:
        """Leave, and wait until that is done; when there is no time for it, leave at once."""
        self.drop()
        if not self._connected.done():
            # A server that does not even answer that is not waited for.
            self.task.cancel()
        try:
            await asyncio.wait({self.task})
        except asyncio.CancelledError:
            self.task.cancel()
            raise

    async def _live(self) -> None:
        problem: BaseException = ConnectionError()
        connection = Connection(self._server, self._changed.set)
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._server.connect_timeout_s):
                    await stack.enter_async_context(connection)
                    self.listing, self.left_out = await connection.tools()
                self._connected.set_result(connection)
                following = asyncio.create_task(self._follow(connection))
                try:
                    await self._leave.wait()
                finally:
                    await _ended(
                        {following, *self._let_go, *([self._doubt] if self._doubt else [])}
                    )
        except Exception as caught:
            # After the connection was there: the way in which it was lost. Calls that were under
            # way know already.
            problem = caught
        finally:
            self.lost = True
            if not self._connected.done():
                self._connected.set_exception(
                    NoConnectionError(connection.why(problem), refused=connection.refused(problem))
                )

    async def _follow(self, connection: Connection) -> None:
        """Read the list again whenever the server says that it is another one."""
        asking = asyncio.create_task(_quietly(connection))
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                # A server that cannot tell its tools any more keeps those that it told.
                with suppress(Exception):
                    async with asyncio.timeout(self._server.connect_timeout_s):
                        self.listing, self.left_out = await connection.tools()
                    if not self.lost:
                        self._listed(self)
                await asyncio.sleep(_BETWEEN_LISTS_S)
        finally:
            asking.cancel()
            await asyncio.wait({asking})


async def _quietly(connection: Connection) -> None:
    with suppress(Exception):
        await connection.follow()


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them; what they have to say to the server may be said once more, and no longer."""
    waited = set(tasks)
    for task in waited:
        task.cancel()
    await asyncio.wait(waited, timeout=_LAST_WORDS_S)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Nobody may be waiting any more."""
    if not future.cancelled():
        future.exception()
