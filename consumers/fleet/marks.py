"""
Follows the marks of paused routes on the broker.

A worker looks at its start, when it is told that something has changed, and when it may have missed
that because its connection was lost. While a route is paused it looks every so often, so that a
resumed route is consumed again even when nobody could be told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from effectmq.broker.client.fleet.marks import has_mark, pause_of
from effectmq.broker.transports.port import Transport
from effectmq.consumers.fleet.pauses import Pauses
from effectmq.consumers.fleet.ramps import RampLooks
from effectmq.protocol.errors import AccessRefusedError, BrokerError
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.topology import EVERY_ROUTE, Names

__all__ = ["Marks"]

logger = logging.getLogger("effectmq.worker")

_AGAIN_S = 15.0


class Marks:
    """
    What the broker says about the routes of this worker.

    Args:
        transport: An open one.
        names: The namespace.
        routes: The worker's routes.
        pauses: Where the answer is noted.
        ramps: Looks at the ramps of the same routes.
    """

    def __init__(
        self,
        transport: Transport,
        names: Names,
        routes: Iterable[str],
        pauses: Pauses,
        ramps: RampLooks | None = None,
    ) -> None:
        self._transport = transport
        self._names = names
        self._routes = (EVERY_ROUTE, *routes)
        self._pauses = pauses
        self._ramps = ramps

    def follow_also(self, route: str) -> None:
        """Look at the mark of one more route."""
        self._routes += (route,)

    async def look(
        self, routes: Iterable[str] = (), told: Mapping[str, Pause] | None = None
    ) -> bool:
        """
        Look at the marks of routes.

        Args:
            routes: Which of the worker's; all by default.
            told: What is known of new pauses already, so that their marks need not be read.

        Returns:
            Whether something has changed.

        Raises:
            BrokerError: When the broker cannot be asked.
        """
        wanted = set(routes) or set(self._routes)
        mine = [route for route in self._routes if route in wanted]
        found = await asyncio.gather(
            *(self._look(route, (told or {}).get(route)) for route in mine)
        )
        if self._ramps is not None and await self._ramps.look(wanted):
            return True
        return any(found)

    async def _look(self, route: str, told: Pause | None) -> bool:
        before = self._pauses.everywhere.get(route)
        if before is not None or told is not None:
            marked = await has_mark(self._transport, self._names, route)
            now = (before or told) if marked else None
        else:
            now = await self._read(route)
        if (now is None) == (before is None):
            return False
        if now is None:
            del self._pauses.everywhere[route]
        else:
            self._pauses.everywhere[route] = now
        logger.warning(
            "%s %s",
            f"route {route}" if route else "every route",
            "is taken again" if now is None else f"is {now}; it is consumed by no worker",
            extra={"action": "route_resumed" if now is None else "route_paused", "route": route},
        )
        return True

    async def _read(self, route: str) -> Pause | None:
        try:
            return await pause_of(self._transport, self._names, route)
        except AccessRefusedError as problem:
            # A narrow user: what it may not see cannot keep it from working.
            logger.warning(
                "whether %s is paused cannot be seen, so it is consumed: %s",
                route or "every route",
                problem,
                extra={"action": "pause_unseen"},
            )
            return None

    async def follow(self, changed: asyncio.Event) -> None:
        """
        Look again every so often while something is paused; ends by being cancelled.

        Args:
            changed: Set when a look has changed something.
        """
        while True:
            await asyncio.sleep(_AGAIN_S)
            paused = list(self._pauses.everywhere)
            try:
                if paused and await self.look(paused):
                    changed.set()
                if self._ramps is not None and self._ramps.open and await self._ramps.look():
                    changed.set()
            except BrokerError as problem:
                logger.info("the marks of paused routes cannot be read: %s", problem)
