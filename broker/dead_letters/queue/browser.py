"""
Reading the dead letters without removing them.

RabbitMQ cannot show the content of a queue: a reader takes messages, unsettled, and gives them back
by leaving. Every return counts towards a delivery limit, so the queue is declared with the largest
one. And the letters that one reader holds are hidden from the next, so there may be one reader at a
time: a second one gets an error instead of an empty list. Exclusive consumers do not help: quorum
queues accept them without enforcing them (seen on 3.10), and a look at many letters needs several
consumers. So a reader counts the consumers before it starts, after that, and before it reports the
end; of two that start at once, at least one sees the other and leaves.

A look ends when the end is certain: all counted letters have come, and the broker says that no more
are waiting. Silence is not the end. The broker may still be giving back the letters of an earlier
reader, and a queue that does not answer is not an empty one.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from effectmq.broker.dead_letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.dead_letters.queue.windows import Windows
from effectmq.broker.transports.port import Delivery, QueueStats, Transport
from effectmq.protocol.errors import (
    BrokerError,
    BrokerUnreachableError,
    ReplyQueueInUseError,
    TopologyError,
    TransportClosedError,
)
from effectmq.protocol.messages.dead_letter import DeadLetter, read_dead_letter

__all__ = ["AT_ONCE", "DeadBrowser", "DeadLettersInUseError", "DeadLettersLostError", "Turn"]

#: Up to so many letters are taken at once; with more, the first portion is small.
WHOLE = 2_000
FIRST_HELD = 256
#: Room for letters that are parked during a look.
_NEWCOMERS = 100
#: How long an earlier reader may take to leave, in seconds, by default.
_GRACE_S = 1.0
_POLL_S = 0.05
#: The longest pause of a reader that met another one at the queue, in seconds.
_LONGEST_PAUSE_S = 2.0
#: How long letters that were not counted may still be on their way, in seconds, when the broker has
#: no more: after all counted letters have come, and when none was counted.
_QUIET_S = 0.05
_EMPTY_S = 0.3
#: The longest pause between two questions to the broker, in seconds.
_LONGEST_POLL_S = 1.0
#: How long to wait for a counted letter that the broker no longer has, in seconds: it may be on its
#: way.
_ON_ITS_WAY_S = 5.0
#: How long the broker may have letters without sending any, in seconds.
_SILENCE_S = 60.0
_NO_LIMIT = sys.maxsize
#: How often a look is extended for letters that came, or came back, meanwhile.
_EXTENSIONS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """
    How to wait for a turn at the queue.

    Attributes:
        patience_s: How long, in seconds.
        on_wait: Called once when it takes longer than a moment.
    """

    patience_s: float = _GRACE_S
    on_wait: Callable[[], None] | None = None


#: Wait no longer than a reader who is leaving needs.
AT_ONCE = Turn()


class DeadLettersInUseError(BrokerError):
    """Another reader is reading the dead letters of this namespace."""


class DeadLettersLostError(BrokerError):
    """
    The connection was lost while dead letters were read; unsettled ones are in the queue again.

    Args:
        queue: The dead-letter queue.
        seen: How many letters were read.
        ready: How many letters were counted at the start.
    """

    def __init__(self, queue: str, seen: int, ready: int) -> None:
        super().__init__(
            f"the connection to the broker was lost after {seen} of {ready} dead letters; what was "
            "not settled is still in the queue. Try again. When it happens at the same letter "
            "again, no AMQP client for Python can read the next message (for instance because of "
            "headers nested hundreds of tables deep): remove it with 'Get messages' and 'Automatic "
            f"ack' on the page of the queue {queue!r} in RabbitMQ's management UI"
        )


class DeadBrowser:
    """
    One look at the dead letters, oldest first: an asynchronous context manager and iterator.

    It ends when all counted letters have been seen and the broker has no more. Leaving it gives
    back all letters that were not acknowledged. Letters are fetched in growing portions, so the
    first ones of a long queue come at once.

    Args:
        transport: An open transport.
        queue: The dead-letter queue.
        chosen: Which letters to return; the others are passed over.
        most: How many letters may be held by code that settles them; no limit when not given.
        turn: How to wait until another reader has left.

    Attributes:
        ready: The number of counted letters in the queue.
        seen: The number of letters taken so far, chosen or not.
    """

    def __init__(
        self,
        transport: Transport,
        queue: str,
        chosen: DeadFilter = EVERY_LETTER,
        most: int | None = None,
        turn: Turn = AT_ONCE,
    ) -> None:
        self.ready = 0
        self.seen = 0
        self._transport = transport
        self._queue = queue
        self._chosen = chosen
        self._most = most
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._windows: Windows | None = None
        self._losses = 0
        self._extensions = _EXTENSIONS

    @property
    def unseen(self) -> int:
        """How many letters were counted at the start and have not been seen."""
        return max(0, self.ready - self.seen)

    async def __aenter__(self) -> Self:
        """
        Count the letters and begin to take them.

        Raises:
            TopologyError: When there is no dead-letter queue.
            DeadLettersInUseError: When another reader is reading it.
        """
        end = self._loop.time() + self._turn.patience_s
        longest_s = 4 * _POLL_S
        while True:
            try:
                return await self._entered(end)
            except DeadLettersInUseError:
                if self._loop.time() >= end:
                    raise
            # Of those that came at once, none is to come back in step with another; and the slower
            # the broker is, the longer it takes to see that one is alone.
            await asyncio.sleep(random.uniform(_POLL_S, longest_s))
            longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)

    async def _entered(self, end: float) -> Self:
        stats = await self._until_free(end)
        self.ready = stats.ready
        self._counted = stats.ready > 0
        self._losses = self._count_losses()
        windows = Windows(
            self._transport,
            self._queue,
            self._most or _NO_LIMIT,
            self._most or (FIRST_HELD if stats.ready > WHOLE else WHOLE + _NEWCOMERS),
        )
        try:
            await windows.open()
        except ReplyQueueInUseError:
            raise self._in_use() from None
        try:
            with suppress(BrokerUnreachableError):
                # Lost already, perhaps because of a message that cannot be read: ``take`` reports
                # it.
                await self._look_around(windows)
        except BaseException:
            await windows.close()
            raise
        self._windows = windows
        return self

    async def _look_around(self, windows: Windows) -> QueueStats:
        stats = await self._stats()
        if stats.consumers > windows.count:
            raise self._in_use()
        return stats

    async def _until_free(self, end: float) -> QueueStats:
        waiting = self._loop.time() + _GRACE_S
        while (stats := await self._stats()).consumers:
            if self._loop.time() > end:
                raise self._in_use()
            if self._turn.on_wait is not None and self._loop.time() > waiting:
                waiting = math.inf
                self._turn.on_wait()
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
            f"the dead letters in {self._queue!r} are being read by another reader, and only one "
            "may read at a time, because letters that one holds are hidden from the other. Wait "
            "until that command (or dashboard) has finished, or end it"
        )

    async def __aexit__(self, *exc_info: object) -> None:
        """Give back the letters that were not acknowledged."""
        windows, self._windows = self._windows, None
        if windows is not None:
            await windows.close()

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
            DeadLettersLostError: When the connection was lost: all letters come again.
        """
        windows = self._windows
        if windows is None:
            raise TransportClosedError("the browser is not open; use it inside 'async with'")
        while (delivery := await self._next(windows)) is not None:
            self.seen += 1
            letter = read_dead_letter(delivery.message, delivery.routing_key)
            if self._chosen.matches(letter):
                return delivery, letter
        return None

    async def _next(self, windows: Windows) -> Delivery | None:
        if self.seen >= self.ready and await self._is_end(windows):
            return None
        poll_s, since = _POLL_S, self._loop.time()
        while True:
            self.check()
            if windows.received <= self.seen and windows.can_grow:
                await self._grow(windows)
            delivery = await windows.next(poll_s)
            self.check()
            if delivery is not None:
                return delivery
            poll_s = min(2 * poll_s, _LONGEST_POLL_S)
            if await self._has_gone(windows, self._loop.time() - since):
                return None

    async def _grow(self, windows: Windows) -> None:
        if windows.count and self.seen < self.ready:
            with suppress(BrokerUnreachableError):
                await windows.open()

    async def _is_end(self, windows: Windows) -> bool:
        """All counted letters have come: find out whether there are more."""
        if self._extensions == 0:
            return True
        end = self._loop.time() + (_QUIET_S if self._counted else _EMPTY_S)
        while not (stats := await self._asked(windows)).ready:
            if await windows.wait(_POLL_S):
                break
            if self._loop.time() >= end:
                return True
        self._extensions -= 1
        # Parked meanwhile, or given back by an earlier reader.
        self.ready = self.seen + windows.waiting + stats.ready
        return False

    async def _asked(self, windows: Windows) -> QueueStats:
        """
        The broker's statistics of the queue, once they are plausible.

        RabbitMQ 3.10 reports an empty queue without consumers when its leader is too busy to
        answer. This reader has consumers, so an answer without them is wrong.
        """
        begun = self._loop.time()
        end = begun + _SILENCE_S
        while True:
            try:
                stats = await self._look_around(windows)
            except BrokerUnreachableError:
                self.check()
                raise
            except DeadLettersInUseError:
                # One who came in the moment in which we did sees us, and leaves.
                if self._loop.time() > begun + _GRACE_S:
                    raise
                await asyncio.sleep(_POLL_S)
                continue
            if stats.consumers == windows.count:
                return stats
            self.check()
            if self._loop.time() > end:
                raise self._silent(stats)
            await asyncio.sleep(_POLL_S)

    def _silent(self, stats: QueueStats) -> BrokerError:
        return BrokerError(
            f"the broker has {stats.ready} letters in {self._queue!r} and has given none for "
            f"{_SILENCE_S:g} s, after {self.seen}; it is overloaded, or the queue has no leader at "
            "the moment. Nothing was changed; look at the broker, and try again"
        )

    async def _has_gone(self, windows: Windows, waited_s: float) -> bool:
        """Nothing has come for a while: find out whether missing letters are gone for good."""
        stats = await self._asked(windows)
        if not stats.ready:
            return waited_s > _ON_ITS_WAY_S
        if waited_s > _SILENCE_S:
            raise self._silent(stats)
        return False

    def settled(self) -> None:
        """Note that a taken letter was acknowledged, so that it does not come back."""
        if self._windows is not None:
            self._windows.settled += 1

    def check(self) -> None:
        """
        Check that the connection has not been lost since the look began.

        Raises:
            DeadLettersLostError: When it has: the taken letters are in the queue again.
        """
        served = self._windows is None or self._windows.served
        if self._count_losses() != self._losses or not served:
            raise DeadLettersLostError(self._queue, self.seen, self.ready)

    def _count_losses(self) -> int:
        # After a loss the transport resumes by itself, and all letters come again from the first
        # one on; only its counters show the loss.
        counters = self._transport.counters
        return counters["reconnects"] + counters["consumer_cancels"]
