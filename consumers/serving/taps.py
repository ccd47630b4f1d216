"""
One queue of a worker, opened and shut while the worker runs.

A consumer's prefetch cannot be changed, and a consumer that was stopped still holds what it has
delivered. So a tap may have several consumers: those that take, and stopped ones with deliveries
that are not settled yet. Together they never have more than the tap's slots. When a stopped one has
nothing left, it is closed, and not before: closing gives back what is unsettled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, NamedTuple

from effectmq.broker.transports.port import Consumer, Delivery, Transport
from effectmq.consumers.pipeline.job import Job
from effectmq.consumers.pipeline.route import Route

if TYPE_CHECKING:
    from effectmq.consumers.serving.slots import Slots

__all__ = ["Source", "Tap"]

#: So many consumers a queue has at most, about, while slots move between priorities.
_CHUNKS = 8
#: Of a shared route, so many deliveries may be on their way into the room.
_AHEAD = 200
#: They come only when no worker has a slot for them.
_AFTER_OTHERS = -1


class Source(NamedTuple):
    """
    One queue, and how its deliveries are carried out.

    Attributes:
        route: What its jobs share.
        queue: Its name.
        prefetch: How many of its deliveries may be unsettled at a time.
        road: Carries out one delivery.
        limbo: Whether it is limbo, the queue of what the broker gave up on.
        counted: The slots of a shared route; ``None`` for others.
    """

    route: Route[Job]
    queue: str
    prefetch: int
    road: Callable[[Job], Coroutine[object, object, None]]
    limbo: bool = False
    counted: Slots | None = None


class _Taking(NamedTuple):
    """A consumer that takes, and how many it may hold."""

    consumer: Consumer
    prefetch: int


class Tap:
    """
    One queue of a worker.

    Args:
        source: The queue.
        transport: An open one.
        take: Called with each delivery.
    """

    def __init__(
        self, source: Source, transport: Transport, take: Callable[[Source, Delivery], None]
    ) -> None:
        self.source = source
        self._slots = source.prefetch
        self._transport = transport
        self._take = take
        self._taking: list[_Taking] = []
        self._stopped: list[Consumer] = []
        #: Of a shared route: takes what no worker has a slot for, and those that did before.
        self._ahead: Consumer | None = None
        self._former: list[Consumer] = []
        self._pumps: set[asyncio.Task[None]] = set()
        #: The most effects that were held at once since the last look; ``None`` while nobody looks.
        self.peak: int | None = None

    @property
    def key(self) -> str:
        """The route."""
        return self.source.route.key

    @property
    def slots(self) -> int:
        """Effects of it that may run at a time; ``fill`` makes a change of it count."""
        return self._slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._slots = slots
        if self.source.counted is not None:
            self.source.counted.most = slots

    @property
    def consumers(self) -> int:
        """Consumers that take."""
        return len(self._taking)

    @property
    def consuming(self) -> bool:
        """Whether the broker serves it, or it holds as much as it may."""
        return all(one.consumer.consuming for one in self._taking) and bool(
            self._taking or self._left() < 1
        )

    @property
    def pumps(self) -> list[asyncio.Task[None]]:
        """The tasks that take."""
        return list(self._pumps)

    @property
    def free(self) -> int:
        """Slots in which nothing runs at the moment, whoever holds deliveries for them."""
        if self.source.counted is not None:
            return self.source.counted.free
        busy = sum(
            job.attempt is not None or job.permit is not None for job in self.source.route.jobs
        )
        return max(0, self.slots - busy)

    @property
    def held(self) -> int:
        """Effects that are carried out, or about to be."""
        counted = self.source.counted
        # What waits for a place in the room has no slot.
        return len(self.source.route.jobs) if counted is None else counted.used

    def used(self) -> int:
        """The most slots that were used at once since the last look, and now."""
        used = max(self.peak or 0, self.held)
        self.peak = self.held
        return used

    def _open(self) -> int:
        return sum(one.prefetch for one in self._taking)

    def _left(self) -> int:
        """Slots that neither a consumer that takes nor a stopped one has."""
        return self.slots - self._open() - sum(one.held for one in self._stopped)

    async def fill(self) -> bool:
        """
        Take as many deliveries as there are slots.

        Slots that stopped consumers hold are used when they are free. So that few consumers are
        made, that is half of what is missing, or more; where slots move between priorities, an
        eighth of all is enough, and for the first consumer any.

        Returns:
            Whether all slots are used; otherwise fill again a little later.

        Raises:
            BrokerError: When the broker refuses.
        """
        while self._open() > self.slots:
            await self._stop_last()
        await self._sweep()
        left, missing = self._left(), self.slots - self._open()
        if left >= 1 and left >= self._worth_it(missing):
            consumer = await self._transport.consume(self.source.queue, prefetch=left)
            self._taking.append(_Taking(consumer, left))
            self._take_from(consumer)
            missing -= left
        if self.source.counted is not None and self._ahead is None:
            self._ahead = await self._transport.consume(
                self.source.queue, prefetch=_AHEAD, priority=_AFTER_OTHERS
            )
            self._take_from(self._ahead)
        return not missing

    def _worth_it(self, missing: int) -> float:
        """For how many slots a consumer is made."""
        if self.peak is None:
            return missing / 2
        return min(missing, self.slots / _CHUNKS) if self._taking else 1

    def _take_from(self, consumer: Consumer) -> None:
        pump = asyncio.get_running_loop().create_task(
            self._pump(consumer) if self.peak is None else self._watched(consumer),
            name=f"effectmq {self.source.queue}",
        )
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _pump(self, consumer: Consumer) -> None:
        async for delivery in consumer:
            self._take(self.source, delivery)

    async def _watched(self, consumer: Consumer) -> None:
        """``_pump``, for a route whose slots are divided by what is used."""
        async for delivery in consumer:
            self._take(self.source, delivery)
            self.peak = max(self.peak or 0, self.held)

    async def shut(self) -> None:
        """Take no more; what was delivered can still be settled."""
        while self._taking:
            await self._stop_last()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._former.append(ahead)
            await ahead.stop()

    async def _stop_last(self) -> None:
        consumer = self._taking.pop().consumer
        self._stopped.append(consumer)
        await consumer.stop()

    async def _sweep(self) -> None:
        for stopped in (self._stopped, self._former):
            for consumer in [one for one in stopped if not one.held]:
                stopped.remove(consumer)
                await consumer.close()
