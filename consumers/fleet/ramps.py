"""
The ramps that a worker knows of, and whether it takes what is bound to no version.

It looks when it looks at the marks of pauses. What cannot be read is left as it was, and looked at
again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from effectmq.broker.client.fleet.ramps import has_ramp, ramp_of
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import AccessRefusedError
from effectmq.protocol.kinds import unprioritized, version_in
from effectmq.protocol.messages.fleet.ramps import Ramp
from effectmq.protocol.topology import Names

__all__ = ["RampLooks", "Ramps"]

logger = logging.getLogger("effectmq.worker")

#: So many looks, one each 15 s, a worker leaves a route to others whose ramp is there and cannot be
#: read, because it may be drained. A mark that stays without a ramp is none.
_PATIENT_LOOKS = 4
#: A ramp that is changed is missing for a moment, in seconds.
_AGAIN_S = 0.5


class Ramps(dict[str, Ramp]):
    """
    The ramps by route; empty in an installation that has none.

    Args:
        version: The worker's; empty when it takes part in none.
    """

    def __init__(self, version: str) -> None:
        super().__init__()
        self.version = version
        #: Routes whose ramp is there and could not be read, and at how many looks.
        self.unread: dict[str, int] = {}

    def takes(self, route: str) -> bool:
        """Whether the worker takes from a route; always from that of its version."""
        route = unprioritized(route)
        ramp = self.get(route)
        if ramp is None:
            return not 0 < self.unread.get(route, 0) <= _PATIENT_LOOKS
        return ramp.takes_unbound(self.version)


class RampLooks:
    """
    Looks at the ramps of this worker's routes.

    Args:
        transport: An open one.
        names: The namespace.
        routes: The worker's routes.
        ramps: Where the answer is noted.
    """

    def __init__(
        self, transport: Transport, names: Names, routes: Iterable[str], ramps: Ramps
    ) -> None:
        self._transport = transport
        self._names = names
        self._routes = tuple(route for route in routes if not version_in(route))
        self._ramps = ramps

    @property
    def open(self) -> bool:
        """Whether there is a ramp, which may end without a word."""
        return bool(self._ramps or self._ramps.unread)

    async def look(self, routes: Iterable[str] = ()) -> bool:
        """
        Look at the ramps of routes.

        Args:
            routes: Which of the worker's; all by default.

        Returns:
            Whether something has changed.

        Raises:
            BrokerError: When the broker cannot be asked.
        """
        wanted = set(routes) or set(self._routes)
        mine = [route for route in self._routes if route in wanted]
        return any(await asyncio.gather(*map(self._look, mine)))

    async def _look(self, route: str) -> bool:
        before = self._ramps.get(route)
        now = await self._read(route)
        if now is None and before is not None:
            await asyncio.sleep(_AGAIN_S)
            now = await self._read(route)
        took, looks = self._ramps.takes(route), self._ramps.unread.pop(route, 0)
        if now is None and await self._is_there(route):
            self._ramps.unread[route] = looks + 1
            return self._unreadable(route, took)
        if now == before:
            return self._ramps.takes(route) != took
        if now is None:
            del self._ramps[route]
        else:
            self._ramps[route] = now
        logger.warning(
            "route %s %s",
            route,
            "is shared by all versions again" if now is None else f"is {now}",
            extra={"action": "route_unramped" if now is None else "route_ramped", "route": route},
        )
        return True

    def _unreadable(self, route: str, took: bool) -> bool:
        """Say that a ramp cannot be read, when that changes something; returns whether it does."""
        takes = self._ramps.takes(route)
        if takes == took:
            return False
        logger.warning(
            "the ramp of route %s is there and cannot be read: what is bound to no version is %s",
            route,
            "taken all the same; effectmq versions clear removes it"
            if takes
            else "left to others for a minute",
            extra={"action": "ramp_unread", "route": route},
        )
        return True

    async def _read(self, route: str) -> Ramp | None:
        try:
            return await ramp_of(self._transport, self._names, route)
        except AccessRefusedError:
            # A narrow user: what it may not see cannot keep it from working.
            return None

    async def _is_there(self, route: str) -> bool:
        try:
            return await has_ramp(self._transport, self._names, route)
        except AccessRefusedError:
            return False
