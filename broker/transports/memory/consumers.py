"""Deliveries and consumers of the memory transport."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from effectmq.broker.transports.memory.broker import MemoryBroker
from effectmq.broker.transports.memory.queues import Entry, Subscription
from effectmq.broker.transports.port import Delivery
from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.message import Message

__all__ = ["MemoryConsumer", "MemoryDelivery"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, repr=False)
class MemoryDelivery:
    """One message, held until it is settled."""

    message: Message
    queue: str
    routing_key: str
    redelivered: bool
    _entry: Entry
    _subscription: Subscription
    _counters: Counter[str]

    def ack(self) -> None:
        """Settle; a second call, or one for a stale delivery, is only counted."""
        if not self._subscription.settle(self._entry):
            self._counters["stale_acks"] += 1

    def reject(self) -> None:
        """Pass it to the queue's dead-letter exchange; otherwise like ``ack``."""
        if not self._subscription.reject(self._entry):
            self._counters["stale_acks"] += 1


class MemoryConsumer:
    """An asynchronous iterator over the messages of one queue."""

    def __init__(
        self,
        broker: MemoryBroker,
        queue: str,
        *,
        prefetch: int,
        exclusive: bool,
        counters: Counter[str],
        on_resumed: Callable[[bool], None] | None,
        on_cancel: Callable[[], None],
        on_close: Callable[[MemoryConsumer], None],
        own: Callable[[], str] | None = None,
        priority: int = 0,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        self._broker = broker
        self.queue = queue
        #: Makes a queue of the connection for each subscription, and returns its name.
        self._own = own
        self._on_resumed = on_resumed
        self._made_anew = False
        self._prefetch = prefetch
        self._exclusive = exclusive
        self._priority = priority
        self._counters = counters
        self._on_cancel = on_cancel
        self._on_close = on_close
        self._on_delivery = on_delivery
        self._buffer: deque[Entry] = deque()
        self._changed = asyncio.Event()
        self._stopped = False
        self._subscription: Subscription | None = self._subscribe()

    @property
    def consuming(self) -> bool:
        """Whether it has its place at the queue."""
        return self._subscription is not None and not self._stopped

    @property
    def held(self) -> int:
        """Deliveries that are not settled and not stale; see the port."""
        return len(self._subscription.unsettled) if self._subscription is not None else 0

    def __aiter__(self) -> MemoryConsumer:
        return self

    async def __anext__(self) -> MemoryDelivery:
        while not self._stopped:
            if self._buffer and self._subscription is not None:
                return self._handed_out(self._buffer.popleft(), self._subscription)
            self._changed.clear()
            await self._changed.wait()
        raise StopAsyncIteration

    async def stop(self) -> None:
        """Take no more; delivered messages can still be settled."""
        self._stop()
        if self._subscription is not None:
            self._subscription.give_back(self._buffer)
        self._buffer.clear()

    async def close(self) -> None:
        """Stop, and give everything unsettled back, buffered messages included."""
        self._stop()
        self._release()
        self._on_close(self)

    def received(self, entry: Entry) -> None:
        """Take a message from the queue."""
        self._buffer.append(entry)
        self._changed.set()
        if self._on_delivery is not None and len(self._buffer) == 1:
            # Not at once: whoever publishes it is in the middle of that.
            asyncio.get_running_loop().call_soon(self._hand_on, self._on_delivery)

    def _hand_on(self, on_delivery: Callable[[Delivery], None]) -> None:
        while self._buffer and self._subscription is not None and not self._stopped:
            on_delivery(self._handed_out(self._buffer.popleft(), self._subscription))

    def cancelled(self) -> None:
        """The queue was deleted: wait for it to come back."""
        self._subscription = None
        self._made_anew = True
        self._buffer.clear()
        self._counters["consumer_cancels"] += 1
        _log.warning("queue %r was deleted under its consumer, which waits for it", self.queue)
        self._on_cancel()
        if self._own is None:
            self._broker.expect(self.queue, self.resume)
        else:
            asyncio.get_running_loop().call_soon(self.resume)

    def lose_connection(self) -> None:
        """Give everything back; earlier deliveries are stale from now on."""
        self._release()

    def resume(self) -> None:
        """Take a place at the queue again, now or as soon as possible."""
        if self._stopped or self._subscription is not None:
            return
        try:
            self._subscription = self._subscribe()
        except BrokerError as error:
            _log.warning("the consumer of %r waits: %s", self.queue, error)
            self._broker.expect(self.queue, self.resume)
            return
        made_anew, self._made_anew = self._made_anew, False
        if self._on_resumed is not None:
            self._on_resumed(made_anew)

    def note_missing(self) -> None:
        """Its queue does not exist, and is declared again now."""
        self._made_anew = True

    def _subscribe(self) -> Subscription:
        if self._own is not None:
            self.queue = self._own()
        return self._broker.subscribe(
            self.queue,
            self,
            prefetch=self._prefetch,
            exclusive=self._exclusive,
            priority=self._priority,
        )

    def _handed_out(self, entry: Entry, subscription: Subscription) -> MemoryDelivery:
        self._counters["deliveries"] += 1
        # A copy: changes by a reader must not go back with a return.
        message = replace(entry.message, headers=dict(entry.message.headers), returns=entry.returns)
        return MemoryDelivery(
            message,
            self.queue,
            entry.routing_key,
            entry.redelivered,
            entry,
            subscription,
            self._counters,
        )

    def _stop(self) -> None:
        self._stopped = True
        self._changed.set()
        self._broker.stop_expecting(self.queue, self.resume)
        if self._subscription is not None:
            self._subscription.stop()
            self._drop_own()

    def _release(self) -> None:
        subscription, self._subscription = self._subscription, None
        self._buffer.clear()
        if subscription is not None:
            subscription.release()
            self._drop_own()

    def _drop_own(self) -> None:
        """Delete the consumer's own queue together with it."""
        if self._own is not None:
            self._broker.delete_queue(self.queue)
