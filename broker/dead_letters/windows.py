"""
Taking more messages off one queue, unsettled and in order, than one consumer can hold.

AMQP counts the unsettled deliveries of a channel in 16 bits, so a look at a long queue needs
several consumers, each on a channel of its own. They are opened one after the other, each when all
before it are full: then everything that waits comes to the last one, and the order is the queue's.
The first ones are small, so that whoever wants one page of a long queue does not wait for all of it
to come and to go back.

RabbitMQ puts what is given back behind what was given back before. A queue that is taken whole
keeps its order by that; one that is left early goes on, next time, where it was left. So a queue
that is not long is taken whole at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from effectmq.broker.transports.port import Consumer, Delivery, Transport
from effectmq.protocol.errors import BrokerError

__all__ = ["Windows"]

#: AMQP counts unsettled deliveries in 16 bits.
MAX_HELD = 65_535

_GROWTH = 4

#: How long the broker may take to put back what was held, in seconds, and how often it is asked.
_BACK_S = 15.0
_FIRST_POLL_S = 0.005
_LAST_POLL_S = 0.2


class Windows:
    """
    The consumers of one look.

    Args:
        transport: An open transport.
        queue: What to look at.
        most: How many messages may be held altogether.
        first: How many the first consumer may hold, if it can.
    """

    def __init__(self, transport: Transport, queue: str, most: int, first: int) -> None:
        self._transport = transport
        self._queue = queue
        self._most = most
        self._next_size = first
        self._consumers: list[Consumer] = []
        self._counts: list[int] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._arrived: deque[Delivery] = deque()
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        #: How many the open ones may hold, and how many that came were settled.
        self.capacity = 0
        self.settled = 0

    @property
    def received(self) -> int:
        """How many have come."""
        return sum(self._counts)

    @property
    def count(self) -> int:
        """How many consumers are ours."""
        return len(self._consumers)

    @property
    def waiting(self) -> int:
        """How many have come and were not taken."""
        return len(self._arrived)

    @property
    def served(self) -> bool:
        """Whether the broker serves all of them; what came from one that it lost is not ours."""
        return all(consumer.consuming for consumer in self._consumers)

    @property
    def can_grow(self) -> bool:
        """Whether everything that may be held came, or was settled, and more may be."""
        return self.capacity <= self.received and self.capacity < self._most

    async def open(self) -> None:
        """
        Open one more.

        Raises:
            ReplyQueueInUseError: When an exclusive consumer has the queue.
        """
        size = min(self._next_size, MAX_HELD, self._most - self.capacity)
        consumer = await self._transport.consume(self._queue, prefetch=size)
        self._next_size = size * _GROWTH
        self.capacity += size
        self._consumers.append(consumer)
        self._counts.append(0)
        self._pumps.append(self._loop.create_task(self._pump(consumer, len(self._counts) - 1)))

    async def _pump(self, consumer: Consumer, index: int) -> None:
        async for delivery in consumer:
            self._counts[index] += 1
            self._arrived.append(delivery)
            self._event.set()

    async def wait(self, wait_s: float) -> bool:
        """Wait for the next one, so many seconds at most; say whether it is there."""
        if not self._arrived:
            # A timer, and not a timeout: that would throw through everybody who awaits us.
            timer = self._loop.call_later(wait_s, self._event.set)
            await self._event.wait()
            timer.cancel()
        self._event.clear()
        return bool(self._arrived)

    async def next(self, wait_s: float) -> Delivery | None:
        """The next one; ``None`` when none came for so many seconds."""
        return self._arrived.popleft() if await self.wait(wait_s) else None

    async def close(self) -> None:
        """
        Give back what was not settled, and wait until the queue has it.

        One after the other, so that the order stays, and the last consumer at the very end: who
        looks in between sees that somebody is there.
        """
        served = self.served
        for pump in self._pumps:
            pump.cancel()
        for pump in self._pumps:
            with suppress(asyncio.CancelledError):
                await pump
        # What is given back must not come to another of ours. Those that are full take nothing.
        for consumer in self._consumers if self.settled else self._consumers[-1:]:
            await consumer.stop()
        end = self._loop.time() + _BACK_S
        held = await self._ready(end) - self.settled
        for consumer, count in zip(self._consumers, self._counts, strict=True):
            await consumer.close()
            held += count
            if served and held > 0:
                await self._until(held, 0, end)
        self._consumers.clear()

    async def _ready(self, end: float) -> int:
        """How many wait that we do not hold; known only while others of ours are counted."""
        others = len(self._consumers) - 1
        return await self._until(0, others, end) if others and not self.settled else 0

    async def _until(self, ready: int, consumers: int, end: float) -> int:
        """Ask until there are so many at least, or until the time is over."""
        poll_s, found = _FIRST_POLL_S, 0
        with suppress(BrokerError):
            while self._loop.time() < end:
                stats = await self._transport.stats(self._queue)
                found = 0 if stats is None else stats.ready
                if stats is None or (found >= ready and stats.consumers >= consumers):
                    break
                await asyncio.sleep(poll_s)
                poll_s = min(2 * poll_s, _LAST_POLL_S)
        return found
