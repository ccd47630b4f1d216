"""
The queues and workers of a namespace: looked at by one at a time, for all who want to know within
a moment.

Every worker answers each look, so pages must not multiply them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from effectmq.api.connections import Connections
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.queues.looking import QueueLooks
from effectmq.broker.queues.management import Management
from effectmq.broker.queues.reports import QueueReport, QueuesSeen
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.fleet.pauses import Pause

__all__ = ["FleetLooks", "pauses_of", "queue_view"]

#: All that ask within so many seconds get the same answer.
_SHARED_S = 1.0
#: How long workers may take to answer, in seconds.
_ANSWER_S = 1.0
#: So many lanes that somebody asked for are looked for.
_MOST_LANES = 200


class FleetLooks:
    """
    Looks at the queues and workers of one place.

    Args:
        connections: The broker.
        management: The address of RabbitMQ's management API; empty for none.

    Raises:
        ConfigurationError: When that address cannot be used.
    """

    def __init__(self, connections: Connections, management: str = "") -> None:
        self._connections = connections
        self._management = Management(management, connections.place.broker) if management else None
        self._fleet: Fleet | None = None
        self._looks: QueueLooks | None = None
        self._lock = asyncio.Lock()
        self._lanes: dict[str, None] = {}
        self._found: tuple[float, QueuesSeen] | None = None

    async def seen(self, lanes: Iterable[str] = ()) -> QueuesSeen:
        """
        Queues and workers, as they are or were a moment ago.

        Args:
            lanes: Also these, which AMQP cannot list.

        Raises:
            AwayError: When the broker is away.
            BrokerError: When it cannot be used.
        """
        clock = asyncio.get_running_loop().time
        await self._connections.transport()
        fresh = dict.fromkeys(lanes)
        async with self._lock:
            if not fresh.keys() <= self._lanes.keys():
                self._lanes = dict(list({**fresh, **self._lanes}.items())[:_MOST_LANES])
                self._found = None
            if self._found is None or clock() - self._found[0] >= _SHARED_S:
                self._found = clock(), await self._look()
            return self._found[1]

    async def fleet(self) -> Fleet | None:
        """
        The workers; ``None`` when none ever was here.

        Raises:
            AwayError: When the broker is away.
            BrokerError: When it cannot be used.
        """
        async with self._lock:
            if self._fleet is None:
                await self._open()
            return self._fleet

    async def _look(self) -> QueuesSeen:
        if self._fleet is None:
            await self._open()
        assert self._looks is not None
        try:
            return await self._looks.look(self._lanes, timeout_s=_ANSWER_S)
        except EffectmqError:
            await self._forget()
            raise

    async def _open(self) -> None:
        transport, names = await self._connections.transport(), self._connections.names
        # Without it no worker ever was here; one may come.
        if await transport.has_exchange(names.control):
            self._fleet = await Fleet(transport, names).__aenter__()
        elif self._looks is not None:
            return
        topology = self._connections.place.topology
        self._looks = QueueLooks(transport, topology, self._fleet, self._management)

    def changed(self) -> None:
        """Something was changed, so that the next look is a new one."""
        self._found = None

    async def close(self) -> None:
        """Hear no more."""
        async with self._lock:
            await self._forget()

    async def _forget(self) -> None:
        fleet, self._fleet, self._looks = self._fleet, None, None
        if fleet is not None:
            with suppress(EffectmqError):
                await fleet.__aexit__(None, None, None)


def pauses_of(seen: QueuesSeen) -> dict[str, Pause]:
    """The routes that are paused for all workers."""
    return {each.route: each.paused for each in seen.queues if each.paused is not None}


def queue_view(report: QueueReport) -> dict[str, Any]:
    """One queue as the API shows it."""
    return {
        "queue": report.queue,
        "role": report.role,
        "route": report.route or None,
        "ready": report.ready,
        "in_flight": report.in_flight,
        "consumers": report.consumers,
        "rate_in": _rounded(report.in_per_s),
        "rate_out": _rounded(report.out_per_s),
        "oldest_s": _rounded(report.oldest_at_most_s),
        "waited_s": _rounded(report.waited_s),
        "paused": None if report.paused is None else asdict(report.paused),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
