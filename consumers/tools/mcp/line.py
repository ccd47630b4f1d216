"""
One connection, and the task that holds it open.

The library requires that the task that enters a connection also leaves it, but calls come from many
tasks. So a separate task holds the connection open until it is told to leave, or until it is lost.
The same task reads the server's list of tools again when the server says that it has changed.
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

#: The shortest time between two readings of a list that always changes, in seconds.
_BETWEEN_LISTS_S = 1.0
#: How long the end of a line waits for the last messages to the server, in seconds.
_LAST_WORDS_S = 1.0


class NoConnectionError(Exception):
    """
    The server cannot be reached; nothing was called.

    Args:
        reason: Why.
        after_s: How long to wait before another try, in seconds.
        refused: The HTTP status of the refusal; 0 for none.
    """

    def __init__(
        self, reason: str, after_s: float | None = None, refused: Trouble | None = None
    ) -> None:
        self.after_s = after_s
        self.refused = refused
        super().__init__(reason)


class Line:
    """
    A connection with its task; it starts when the object is made.

    Args:
        server: Where to connect to.
        listed: Called with this line after its list of tools was read again.
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
        #: Whether any call was answered on it, well or not.
        self.proven = False
        #: Whether its loss has been logged.
        self.mourned = False
        self.task = loop.create_task(self._live(), name=f"effectmq {server.where}")

    async def connected(self) -> None:
        """
        Wait for the connection.

        Raises:
            NoConnectionError: When it cannot be made.
        """
        # Shielded, because many calls may wait for it, and each of them may be cancelled.
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
        """Wait for the answer of a server that was asked whether it still knows the session."""
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
        Cancel a call for which nobody waits; the server is told.

        The caller must not wait until the server has heard of it.
        """
        self._let_go.add(calling)
        calling.add_done_callback(self._let_go.discard)
        calling.add_done_callback(_retrieve)
        calling.cancel()

    def _ask(self, connection: Connection, call: Refusal | None) -> None:
        """Find out whether the line can still be used; if not, the next call makes another one."""
        if self.lost or (self._doubt is not None and not self._doubt.done()):
            return

        async def ask() -> None:
            if await connection.asked(call) != "alive":
                # Calls under way may still end.
                self.retire()

        self._doubt = asyncio.create_task(ask())
        self._doubt.add_done_callback(_retrieve)

    def retire(self) -> None:
        """Take no new calls; those under way may end."""
        self.lost = True
        if self._under_way <= 0:
            self._leave.set()

    def drop(self) -> None:
        """Stop using the line: its task ends when it has closed the connection."""
        self.lost = True
        self._leave.set()

    async def close(self) -> None:
        """Leave, and wait until that is done; when there is no time for it, leave at once."""
        self.drop()
        if not self._connected.done():
            # A server that does not answer even this is not waited for.
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
            # After the connection was made: the reason of its loss. Calls under way have been told
            # already.
            problem = caught
        finally:
            self.lost = True
            if not self._connected.done():
                self._connected.set_exception(
                    NoConnectionError(connection.why(problem), refused=connection.refused(problem))
                )

    async def _follow(self, connection: Connection) -> None:
        """Read the list again whenever the server says that it has changed."""
        asking = asyncio.create_task(_quietly(connection))
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                # A server that can no longer list its tools keeps the earlier ones.
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
    """Cancel the tasks; each may send one last message to the server."""
    waited = set(tasks)
    for task in waited:
        task.cancel()
    await asyncio.wait(waited, timeout=_LAST_WORDS_S)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Mark the exception as read: perhaps nobody waits any more."""
    if not future.cancelled():
        future.exception()
