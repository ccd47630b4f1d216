"""
A subscription that survives its connection.

Each consumer has its own channel, so that an event that closes one (the broker's consumer timeout,
a deleted queue) leaves the others alone. Losing the connection, losing the channel and being
cancelled by the broker are handled alike: the generation of deliveries ends, buffered messages are
dropped (the broker delivers them again), and the subscription is renewed, after declaring the
topology again when the queue may be gone.

Acknowledgements of one turn of the event loop are sent together: one ``multiple`` for the settled
prefix, single ones for deliveries settled out of order. The prefix has no unsettled delivery, so
``multiple`` is safe.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from effectmq.broker.transports.port import Delivery
from effectmq.broker.transports.rabbitmq.connection.backoff import ReconnectWaits
from effectmq.broker.transports.rabbitmq.connection.ending import end
from effectmq.broker.transports.rabbitmq.connection.supervisor import Supervisor
from effectmq.broker.transports.rabbitmq.driver import Channel
from effectmq.broker.transports.rabbitmq.driver.errors import SilentError
from effectmq.broker.transports.rabbitmq.own import OwnQueue
from effectmq.broker.transports.rabbitmq.sole import SoleUse
from effectmq.protocol.errors import (
    BrokerError,
    BrokerUnreachableError,
    EffectmqError,
    ReplyQueueInUseError,
    TopologyError,
    TransportClosedError,
)
from effectmq.protocol.messages.message import Message

__all__ = ["RabbitConsumer"]

logger = logging.getLogger("effectmq.rabbitmq")

_RESUBSCRIBE_MAX_S = 5.0
#: The queue of a killed producer is free at once; this covers the moment in between, in seconds.
_EXCLUSIVE_GRACE_S = 3.0
_START_WAIT_S = 0.2


class RabbitDelivery:
    """One message of one generation of a consumer."""

    __slots__ = ("_consumer", "_generation", "message", "redelivered", "routing_key", "tag")

    def __init__(
        self,
        consumer: RabbitConsumer,
        generation: int,
        tag: int,
        routing_key: str,
        redelivered: bool,
        message: Message,
    ) -> None:
        self._consumer = consumer
        self._generation = generation
        self.tag = tag
        self.routing_key = routing_key
        self.redelivered = redelivered
        self.message = message

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self._consumer.queue

    def ack(self) -> None:
        """Settle; see the port."""
        self._consumer.settle(self._generation, self.tag)

    def reject(self) -> None:
        """Pass it to the dead-letter exchange; see the port."""
        self._consumer.reject(self._generation, self.tag)


class RabbitConsumer:
    """
    The consuming side of one queue.

    Args:
        supervisor: Gives the connection.
        queue: The queue; with ``own``, its name in logs until there is one.
        prefetch: How many deliveries may be unsettled.
        exclusive: Whether to refuse to share the queue.
        lock: Held while consuming; empty for none.
        on_resumed: See the port.
        redeclare: Declares the transport's topology again, when the queue may be gone.
        counters: The transport's.
        on_closed: Called when this consumer is closed.
        own: Makes a queue for each subscription, instead of using an existing one.
        priority: See the port.
        on_mute: See the port.
        first_patience_s: How long to wait for the broker's answer at the start, in seconds.
        on_delivery: See the port.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        queue: str,
        *,
        prefetch: int,
        exclusive: bool,
        lock: str,
        on_resumed: Callable[[bool], None] | None,
        redeclare: Callable[[], Awaitable[None]],
        counters: Counter[str],
        on_closed: Callable[[RabbitConsumer], None],
        own: OwnQueue | None = None,
        priority: int = 0,
        on_mute: Callable[[float], Awaitable[bool]] | None = None,
        first_patience_s: float | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        self.queue = queue
        self._own = own
        self._priority = priority
        self._on_mute = on_mute
        self._mute = False
        self._first_patience_s = first_patience_s
        #: The queue that the broker was last asked to consume from, and has not answered yet.
        self.waits_for = ""
        self._served_s = 0.0
        self._supervisor = supervisor
        self._prefetch = prefetch
        self._exclusive = exclusive
        self.watched = on_resumed is not None and own is None
        self._on_resumed = on_resumed
        self._made_anew = False
        self._sole = SoleUse(lock, f"consuming from {queue!r}", self._step_back) if lock else None
        self._redeclare = redeclare
        self._counters = counters
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._buffer: deque[RabbitDelivery] = deque()
        self._arrived = asyncio.Event()
        self._generation = 0
        self._channel: Channel | None = None
        self._tag = ""
        self._over = asyncio.Event()
        self._cancelled = False
        self._since = 0.0
        self._outstanding: dict[int, None] = {}
        self._settled: set[int] = set()
        self._flush_scheduled = False
        self._on_delivery = on_delivery
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    @property
    def lock(self) -> str:
        """The lock that it holds while consuming; empty for none."""
        return self._sole.lock if self._sole is not None else ""

    def note_missing(self) -> None:
        """Its queue did not exist, and is declared again now."""
        self._made_anew = True

    def _step_back(self) -> None:
        """Another consumer has the lock: end the generation, and wait for the lock to renew it."""
        self._end(self._generation, cancelled=False)

    @property
    def consuming(self) -> bool:
        """Whether the broker is known to serve this consumer at the moment."""
        return bool(self._tag) and not self._over.is_set() and not self._stopped

    @property
    def held(self) -> int:
        """Deliveries that are not settled and not stale; see the port."""
        return len(self._outstanding) - len(self._settled)

    async def start(self) -> None:
        """
        Subscribe for the first time, then stay subscribed; the call has no limit of its own.

        Raises:
            TopologyError: When the queue does not exist.
            ReplyQueueInUseError: When another consumer has it exclusively.
        """
        deadline = self._loop.time() + _EXCLUSIVE_GRACE_S
        while True:
            try:
                await self._subscribe(self._first_patience_s)
                break
            except ReplyQueueInUseError:
                if self._loop.time() > deadline:
                    raise
            except BrokerUnreachableError:
                # Lost in between, when it is not mute: use the next connection.
                if self._mute and self._on_mute is not None:
                    await self._on_mute(0.0)
            await asyncio.sleep(_START_WAIT_S)
        if self._stopped:
            raise TransportClosedError(
                f"the transport was closed while subscribing to {self.queue!r}"
            )
        self._task = self._loop.create_task(self._keep(), name=f"effectmq consumer {self.queue}")

    async def _subscribe(self, patience_s: float | None = None) -> None:
        self._mute = False
        link = await self._supervisor.link()
        if self._sole is not None:
            await self._sole.take(link)
        channel = await link.channel(confirms=False)
        generation = self._begin(channel)

        def deliver(tag: int, routing_key: str, redelivered: bool, message: Message) -> None:
            if generation != self._generation:
                return
            self._counters["deliveries"] += 1
            self._outstanding[tag] = None
            delivery = RabbitDelivery(self, generation, tag, routing_key, redelivered, message)
            if self._on_delivery is not None and not self._stopped:
                self._on_delivery(delivery)
                return
            self._buffer.append(delivery)
            self._arrived.set()

        try:
            if self._own is not None:
                self.queue = await self._own.make(channel)
            self.waits_for = self.queue
            tag = await channel.consume(
                self.queue,
                prefetch=self._prefetch,
                exclusive=self._exclusive,
                priority=self._sole.next_priority() if self._sole is not None else self._priority,
                on_delivery=deliver,
                on_cancel=lambda: self._end(generation, cancelled=True),
                patience_s=patience_s,
            )
        except BaseException as failure:
            self._mute = isinstance(failure, SilentError) and not link.lost.done()
            self._end(generation, cancelled=False)
            self._channel = None
            if link.silent:
                channel.abandon("not answered")  # closing it would not be answered either
            else:
                await channel.close()
            raise
        self.waits_for = ""
        if generation == self._generation:
            self._tag = tag

    def _begin(self, channel: Channel) -> int:
        """
        Begin a new generation of deliveries.

        Before subscribing: the first delivery can be settled before the answer to the subscription
        is handled, and it needs the channel.
        """
        self._generation += 1
        generation = self._generation
        self._channel = channel
        self._tag = ""
        self._cancelled = False
        self._since = self._loop.time()
        self._over.clear()
        channel.lost.add_done_callback(lambda _: self._end(generation, cancelled=False))
        return generation

    def _end(self, generation: int, *, cancelled: bool) -> None:
        """The broker no longer serves this generation: its deliveries are stale from now on."""
        if generation != self._generation:
            return
        self._flush()
        if self._tag:
            self._served_s = max(self._served_s, self._loop.time() - self._since)
        self._drop_generation()
        self._cancelled = cancelled
        self._over.set()

    async def _keep(self) -> None:
        waits = ReconnectWaits(_RESUBSCRIBE_MAX_S)
        while True:
            await self._over.wait()
            wait_s = await self._leave(waits)
            missing = self._cancelled
            self._made_anew |= missing
            while True:
                await asyncio.sleep(wait_s)
                try:
                    if missing:
                        await self._redeclare()
                    await self._subscribe()
                    break
                except TransportClosedError:
                    return
                except Exception as failure:
                    # Any error: giving up would leave a worker that waits for ever.
                    missing = isinstance(failure, TopologyError)
                    self._made_anew |= missing
                    self._log_failure(failure)
                    if self._mute and self._on_mute is not None:
                        self._made_anew |= await self._on_mute(self._served_s)
                    wait_s = waits.after_failure_s()
            logger.info(
                "consuming from %s again",
                self.queue,
                extra={"action": "resubscribed", "queue": self.queue},
            )
            made_anew, self._made_anew = self._made_anew, False
            if made_anew:
                self._served_s = 0.0
            if self._on_resumed is not None:
                self._on_resumed(made_anew)

    async def _leave(self, waits: ReconnectWaits) -> float:
        """Close the old channel; returns the wait before the next one, in seconds."""
        channel = self._channel
        self._channel = None
        why = "consumer cancelled"
        if self._cancelled:
            self._counters["consumer_cancels"] += 1
        elif channel is not None:
            why = channel.reason or "channel lost"
        logger.warning(
            "the broker stopped serving %s (%s); subscribing again",
            self.queue,
            why,
            extra={"action": "consumer_lost", "queue": self.queue},
        )
        if channel is not None:
            await channel.close()
        wait_s = waits.after_loss_s(self._loop.time() - self._since)
        # The supervisor has already waited for the connection.
        return wait_s if self._supervisor.ready else 0.0

    def _log_failure(self, failure: Exception) -> None:
        logger.warning(
            "cannot consume from %s: %s",
            self.queue,
            failure,
            exc_info=None if isinstance(failure, EffectmqError) else failure,
            extra={"action": "resubscribe_failed", "queue": self.queue},
        )

    def _drop_generation(self) -> None:
        self._generation += 1
        self._tag = ""
        self._outstanding.clear()
        self._settled.clear()
        self._buffer.clear()

    # Settling --------------------------------------------------------------------------------

    def settle(self, generation: int, tag: int) -> None:
        """Note one acknowledgement, for the end of this turn of the loop."""
        if generation != self._generation or tag not in self._outstanding or tag in self._settled:
            self._counters["stale_acks"] += 1
            return
        self._settled.add(tag)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def reject(self, generation: int, tag: int) -> None:
        """Dead-letter one delivery at once; a later ``multiple`` must not cover it."""
        if generation != self._generation or tag not in self._outstanding or tag in self._settled:
            self._counters["stale_acks"] += 1
            return
        del self._outstanding[tag]
        if self._channel is not None:
            self._channel.reject(tag)

    def _flush(self) -> None:
        self._flush_scheduled = False
        channel, settled = self._channel, self._settled
        if channel is None or not settled:
            return
        prefix: list[int] = []
        for tag in self._outstanding:
            if tag not in settled:
                break
            prefix.append(tag)
        for tag in settled:
            del self._outstanding[tag]
        settled.difference_update(prefix)
        first = [(prefix[-1], len(prefix) > 1)] if prefix else []
        channel.ack(first + [(tag, False) for tag in settled])
        settled.clear()

    # Iterating and stopping ------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        while not self._buffer:
            if self._stopped:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        if self._stopped:
            raise StopAsyncIteration
        return self._buffer.popleft()

    async def stop(self) -> None:
        """Ask for no more deliveries; earlier ones can still be settled."""
        if self._stopped:
            return
        await self._halt()
        # Read now: it may have subscribed again while it ended.
        tag, channel = self._tag, self._channel
        if channel is not None and tag:
            with suppress(BrokerError, TimeoutError):
                await channel.cancel(tag)
        self._give_back()

    def _give_back(self) -> None:
        """Give messages that were never delivered back at once, for other consumers."""
        buffered, self._buffer = self._buffer, deque()
        for delivery in buffered:
            tag = delivery.tag
            if self._channel is not None and self._outstanding.pop(tag, tag) is None:
                self._channel.reject(tag, requeue=True)

    async def _halt(self) -> None:
        """End the iteration and the renewing."""
        self._stopped = True
        self._arrived.set()
        if self._task is not None:
            await end(self._task)

    async def close(self) -> None:
        """Stop, send the acknowledgements, and give everything unsettled back to the queue."""
        await self._halt()
        self._flush()
        # The acknowledgements are queued for the connection's next write. Closing the channel is a
        # request after them, so its answer shows that they have been received.
        await asyncio.sleep(0)
        channel, self._channel = self._channel, None
        self._drop_generation()
        if channel is not None:
            await channel.close()
        if self._sole is not None:
            await self._sole.release(self._supervisor.current)
        self._on_closed(self)
