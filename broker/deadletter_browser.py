"""
Reading the dead letters without taking them away.

RabbitMQ has no way to look into a queue: a reader takes messages, unsettled, and gives them back
by leaving. Every return counts towards a delivery limit, which is why the queue is declared with
the largest one, and what one reader holds is hidden from the next, so there is one reader at a
time: the second one gets a sentence instead of an empty list. Quorum queues accept an exclusive
consumer and do not enforce it (seen on 3.10), so a reader also counts the consumers, before it
takes its place and after; of two that come at once, at least one sees the other and leaves.

What a reader can hold is also bounded, by AMQP, to 65,535 messages; those behind are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self

from effectmq.broker.deadletter_filter import EVERY_LETTER, DeadFilter
from effectmq.broker.transport import Consumer, Delivery, QueueStats, Transport
from effectmq.protocol.deadletter import DeadLetter, read_dead_letter
from effectmq.protocol.errors import (
    BrokerError,
    BrokerUnreachableError,
    ReplyQueueInUseError,
    TopologyError,
    TransportClosedError,
)

__all__ = ["MAX_HELD", "DeadBrowser", "DeadLettersInUseError", "DeadLettersLostError"]

#: AMQP counts unsettled deliveries in 16 bits.
MAX_HELD = 65_535

#: How long a letter that must be there may take to come, in seconds.
_IDLE_S = 5.0
#: How long to wait for more when all that were counted have come, in seconds. A reader that left
#: a moment ago may still be giving its letters back.
_QUIET_S = 0.1
#: How long the reader before us may take to be gone, in seconds.
_GRACE_S = 1.0
_POLL_S = 0.05
#: Room for letters that are parked while we look.
_NEWCOMERS = 100


class DeadLettersInUseError(BrokerError):
    """Somebody else is reading the dead letters of this namespace."""


class DeadLettersLostError(BrokerError):
    """
    The connection was lost while dead letters were read; unsettled ones are back in the queue.

    Args:
        queue: The dead-letter queue.
        seen: Letters read until then.
        ready: Letters that were counted at the start.
    """

    def __init__(self, queue: str, seen: int, ready: int) -> None:
        super().__init__(
            f"the connection to the broker was lost after {seen} of {ready} dead letters; what was "
            "not settled is still there. Try again. When it happens at the same place again, the "
            "next message cannot be read by any AMQP client for Python (headers nested hundreds of "
            "tables deep are one way to do that): take it off with 'Get messages' and 'Automatic "
            f"ack' on the page of the queue {queue!r} in RabbitMQ's management UI"
        )


class DeadBrowser:
    """
    One look at the dead letters, oldest first: an asynchronous context manager and iterator.

    It ends when all letters that were counted at the start have been seen. Leaving gives back
    whatever was not acknowledged.

    Args:
        transport: An open transport.
        queue: The dead-letter queue.
        chosen: Which letters to give; the others are passed over.
        most: How many may be held; enough for all that are there, when not given.

    Attributes:
        ready: Letters in the queue when the look began.
        seen: Letters taken so far, whether chosen or not.
    """

    def __init__(
        self,
        transport: Transport,
        queue: str,
        chosen: DeadFilter = EVERY_LETTER,
        most: int | None = None,
    ) -> None:
        self.ready = 0
        self.seen = 0
        self._transport = transport
        self._queue = queue
        self._chosen = chosen
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._consumer: Consumer | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._losses = 0

    @property
    def unseen(self) -> int:
        """Letters that were counted at the start and have not been seen."""
        return max(0, self.ready - self.seen)

    async def __aenter__(self) -> Self:
        """
        Count the letters and begin to take them.

        Raises:
            TopologyError: When there is no dead-letter queue.
            DeadLettersInUseError: When somebody else is reading it.
        """
        stats = await self._until_free()
        self.ready = stats.ready
        held = min(MAX_HELD, self._most or stats.ready + _NEWCOMERS)
        self._losses = self._count_losses()
        try:
            consumer = await self._transport.consume(self._queue, prefetch=held, exclusive=True)
        except ReplyQueueInUseError:
            raise self._in_use() from None
        try:
            with suppress(BrokerUnreachableError):
                # Lost already, by a message that cannot be read, perhaps: ``take`` says so.
                if (await self._stats()).consumers > 1:
                    raise self._in_use()
        except BaseException:
            await consumer.close()
            raise
        self._consumer = consumer
        self._deliveries: AsyncIterator[Delivery] = aiter(consumer)
        return self

    async def _until_free(self) -> QueueStats:
        end = self._loop.time() + _GRACE_S
        while (stats := await self._stats()).consumers:
            if self._loop.time() > end:
                raise self._in_use()
            await asyncio.sleep(_POLL_S)
        return stats

    async def _stats(self) -> QueueStats:
        stats = await self._transport.stats(self._queue)
        if stats is None:
            raise TopologyError(
                f"there is no queue {self._queue!r}: no worker has ever run in this namespace. "
                "Check the namespace and the broker (--namespace, --broker), or declare the queues "
                "(effectmq topology apply)"
            )
        return stats

    def _in_use(self) -> DeadLettersInUseError:
        return DeadLettersInUseError(
            f"the dead letters in {self._queue!r} are being read by somebody else, and only one "
            "may at a time, because what one holds is hidden from the other. Wait until that "
            "command (or dashboard) has finished, or end it"
        )

    async def __aexit__(self, *exc_info: object) -> None:
        """Give back what was not acknowledged."""
        consumer, self._consumer = self._consumer, None
        if self._stopping is not None:
            await self._stopping
        if consumer is not None:
            await consumer.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeadLetter:
        taken = await self.take()
        if taken is None:
            raise StopAsyncIteration
        return taken[1]

    async def take(self) -> tuple[Delivery, DeadLetter] | None:
        """
        The next chosen letter with its delivery, to acknowledge it or not; ``None`` at the end.

        Raises:
            DeadLettersLostError: When the connection was lost: everything comes again.
        """
        consumer = self._consumer
        if consumer is None:
            raise TransportClosedError("the browser is not open; use it inside 'async with'")
        while (delivery := await self._next(consumer)) is not None:
            self.seen += 1
            letter = read_dead_letter(delivery.message, delivery.routing_key)
            if self._chosen.matches(letter):
                return delivery, letter
        return None

    async def _next(self, consumer: Consumer) -> Delivery | None:
        # Time over means that the look is over, so the consumer is stopped and ends its iteration.
        # A timeout would cancel the wait instead, and throw through everybody who awaits us.
        wait_s = _QUIET_S if self.seen >= self.ready else _IDLE_S
        timer = self._loop.call_later(wait_s, self._stop, consumer)
        try:
            delivery = await anext(self._deliveries, None)
        finally:
            timer.cancel()
        self.check()
        return delivery

    def _stop(self, consumer: Consumer) -> None:
        self._stopping = self._loop.create_task(consumer.stop())

    def check(self) -> None:
        """
        Make sure that the connection has not been lost since the look began.

        Raises:
            DeadLettersLostError: When it has: nothing that was taken is ours any more.
        """
        if self._count_losses() != self._losses:
            raise DeadLettersLostError(self._queue, self.seen, self.ready)

    def _count_losses(self) -> int:
        # After a loss the transport resumes by itself and everything comes again, from the first
        # letter on; only its counters tell.
        counters = self._transport.counters
        return counters["reconnects"] + counters["consumer_cancels"]
