"""
One connection and the task that keeps it.

The library wants a connection to be left by the task that entered it, and calls come from many. So
a task of its own holds the connection open until it is told to leave, or until it is lost.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from effectmq.consumers.mcp.connection import Connection, ConnectionLostError, reason_of
from effectmq.consumers.mcp.servers import McpServer

__all__ = ["Line", "NoConnectionError"]


class NoConnectionError(Exception):
    """The server cannot be reached; nothing was called."""


class Line:
    """
    Started by being made.

    Args:
        server: Where to connect to.
    """

    def __init__(self, server: McpServer) -> None:
        loop = asyncio.get_running_loop()
        self._server = server
        self._leave = asyncio.Event()
        self._connected: asyncio.Future[Connection] = loop.create_future()
        self._connected.add_done_callback(_retrieve)
        self.listing: list[dict[str, Any]] = []
        self.lost = False
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
            ConnectionLostError: When it was lost while the call was under way.
            ServerAnswerError: When the server answered with an error of the protocol.
        """
        connection = await asyncio.shield(self._connected)
        try:
            return await connection.call(name, args)
        except ConnectionLostError:
            self.drop()
            raise

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
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._server.connect_timeout_s):
                    connection = await stack.enter_async_context(Connection(self._server))
                    self.listing = await connection.tools()
                self._connected.set_result(connection)
                await self._leave.wait()
        except Exception as caught:
            # After the connection was there: the way in which it was lost. Calls that were under
            # way know already.
            problem = caught
        finally:
            self.lost = True
            if not self._connected.done():
                reason = reason_of(problem, self._server.connect_timeout_s)
                self._connected.set_exception(NoConnectionError(reason))


def _retrieve(future: asyncio.Future[Connection]) -> None:
    """Nobody may be waiting any more."""
    if not future.cancelled():
        future.exception()
