"""
One connection and the task that keeps it.

The library wants a connection to be left by the task that entered it, and calls come from many. So
a task of its own holds the connection open until it is told to leave, or until it is lost. The same
task reads the server's list of tools again when the server says that it is another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from effectmq.consumers.tools.mcp.connection import (
    CallTroubleError,
    Connection,
    SessionForgottenError,
)
from effectmq.consumers.tools.mcp.listing import LeftOut
from effectmq.consumers.tools.mcp.servers import McpServer

__all__ = ["Line", "NoConnectionError"]

#: A list that changes all the time is read this often, in seconds.
_BETWEEN_LISTS_S = 1.0


class NoConnectionError(Exception):
    """
    The server cannot be reached; nothing was called.

    Args:
        reason: Why.
        after_s: How long it makes sense to wait, in seconds.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        self.after_s = after_s
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
        try:
            result = await connection.call(name, args)
            self.proven = True
            return result
        except SessionForgottenError:
            self.retire()
            raise
        except CallTroubleError as problem:
            origin = problem.trouble.origin
            self.proven = self.proven or origin in ("answer", "http")
            if origin == "not_called" or (origin == "lost" and self._server.command):
                self.drop()
            elif origin == "lost" and not self.lost and not await connection.answers():
                # The next call makes a connection of its own; those under way may still end.
                self.retire()
            raise
        finally:
            self._under_way -= 1
            if self.lost and not self._under_way:
                self._leave.set()

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
                    following.cancel()
                    await asyncio.wait({following})
        except Exception as caught:
            # After the connection was there: the way in which it was lost. Calls that were under
            # way know already.
            problem = caught
        finally:
            self.lost = True
            if not self._connected.done():
                self._connected.set_exception(NoConnectionError(connection.why(problem)))

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


def _retrieve(future: asyncio.Future[Connection]) -> None:
    """Nobody may be waiting any more."""
    if not future.cancelled():
        future.exception()
