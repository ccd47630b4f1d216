"""
Taking more messages from one queue, unsettled and in order, than one consumer can hold.

AMQP counts the unsettled deliveries of a channel in 16 bits, so a look at a long queue needs
several consumers, each on its own channel. They are opened one after the other, each when all
earlier ones are full: then every waiting message goes to the last one, in the order of the queue.
The first ones are small, so that one page of a long queue does not need all of it to come and to go
back.

RabbitMQ puts returned messages after those that were returned before. So a queue that is taken as a
whole keeps its order; one that is left early continues at the same point the next time. Therefore
a queue that is not long is taken at once.
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
#: No portion is larger, because the broker sends all of it at once: letters that are not looked at
#: yet wait in the queue, and not in memory.
_LARGEST = 8_192
#: Of the first portion, whose letters may have any size.
_LARGEST_UNKNOWN = 2_100
#: Nor has a portion more bytes, as large as the letters were so far; but so many letters at least,
#: because each portion needs a channel.
_MOST_BYTES = 128 * 1024 * 1024
_LEAST = 128

#: How long the broker may take to give back held messages, in seconds, and how often it is asked.
_BACK_S = 15.0
_FIRST_POLL_S = 0.005
_LAST_POLL_S = 0.2


class Windows:
    """
    The consumers of one look.

    Args:
        transport: An open transport.
        queue: The queue.
        most: How many messages may be held altogether.
        first: How many the first consumer may hold, if possible.
    """

    def __init__(self, transport: Transport, queue: str, most: int, first: int) -> None:
        self._transport = transport
        self._queue = queue
        self._most = most
        self._next_size = first
        self._consumers: list[Consumer] = []
        self._counts: list[int] = []
        self._bytes = 0
        self._pumps: list[asyncio.Task[None]] = []
        self._arrived: deque[Delivery] = deque()
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        #: How many messages the open consumers may hold, and how many of those that came were
        #: settled.
        self.capacity = 0
        self.settled = 0

    @property
    def received(self) -> int:
        """How many messages have come."""
        return sum(self._counts)

    @property
    def count(self) -> int:
        """How many consumers are open."""
        return len(self._consumers)

    @property
    def waiting(self) -> int:
        """How many messages have come and were not taken."""
        return len(self._arrived)

    @property
    def served(self) -> bool:
        """
        Whether the broker serves all consumers; messages of a lost one are in the queue again.
        """
        return all(consumer.consuming for consumer in self._consumers)

    @property
    def can_grow(self) -> bool:
        """Whether the consumers are full, and one more may be opened."""
        return self.capacity <= self.received and self.capacity < self._most

    @property
    def _bearable(self) -> int:
        """How many messages the broker may send at once without filling the memory."""
        if not self.received:
            return _LARGEST_UNKNOWN
        mean = max(1, self._bytes // self.received)
        return min(_LARGEST, max(_LEAST, _MOST_BYTES // mean))

    async def open(self) -> None:
        """
        Open one more consumer.

        Raises:
            ReplyQueueInUseError: When an exclusive consumer has the queue.
        """
        size = min(self._next_size, self._bearable, MAX_HELD, self._most - self.capacity)
        consumer = await self._transport.consume(self._queue, prefetch=size)
        self._next_size = size * _GROWTH
        self.capacity += size
        self._consumers.append(consumer)
        self._counts.append(0)
        self._pumps.append(self._loop.create_task(self._pump(consumer, len(self._counts) - 1)))

    async def _pump(self, consumer: Consumer, index: int) -> None:
        async for delivery in consumer:
            self._counts[index] += 1
            self._bytes += len(delivery.message.body)
            self._arrived.append(delivery)
            self._event.set()

    async def wait(self, wait_s: float) -> bool:
        """Wait for the next message, for so many seconds at most; returns whether there is one."""
        if not self._arrived:
            # A timer, not a timeout: that would raise in every task that waits here.
            timer = self._loop.call_later(wait_s, self._event.set)
            await self._event.wait()
            timer.cancel()
        self._event.clear()
        return bool(self._arrived)

    async def next(self, wait_s: float) -> Delivery | None:
        """The next message; ``None`` when none came for so many seconds."""
        return self._arrived.popleft() if await self.wait(wait_s) else None

    async def close(self) -> None:
        """
        Give back what was not settled, and wait until the queue has it.

        The consumers end one after the other, so that the order stays, and the last one at the very
        end: another reader that looks in between sees that somebody is there.
        """
        served = self.served
        for pump in self._pumps:
            pump.cancel()
        for pump in self._pumps:
            with suppress(asyncio.CancelledError):
                await pump
        # Returned messages must not go to another consumer of this look. Full ones take none.
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
        """
        How many messages wait outside of this look; known only while other consumers are counted.
        """
        others = len(self._consumers) - 1
        return await self._until(0, others, end) if others and not self.settled else 0

    async def _until(self, ready: int, consumers: int, end: float) -> int:
        """Ask until the queue has at least so many messages, or the time is over."""
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
