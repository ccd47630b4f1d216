"""
A queue: its waiting messages, and the subscriptions that take them.

Messages leave a queue in the next turn of the event loop, never inside the call that made it
possible. Otherwise a consumer that settles and asks for more at once would be refilled for ever and
block the loop, which no network would allow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from effectmq.broker.transports.memory.arguments import QueueArguments
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Queue

__all__ = ["Entry", "MemoryQueue", "QueueOwner", "Subscriber", "Subscription"]


class Entry:
    """A message in a queue, with the queue's data about it."""

    __slots__ = ("expires_at", "message", "position", "redelivered", "returns", "routing_key")

    def __init__(
        self, message: Message, routing_key: str, position: int, expires_at: float
    ) -> None:
        self.message = message
        self.routing_key = routing_key
        self.position = position
        self.expires_at = expires_at
        self.returns = 0
        self.redelivered = False


class Subscriber(Protocol):
    """The holder of a subscription."""

    def received(self, entry: Entry) -> None:
        """Take a message, which is unsettled from now on."""
        ...

    def cancelled(self) -> None:
        """The queue was deleted, together with everything unsettled."""
        ...


class Subscription:
    """
    One consumer's place at a queue, until it leaves or loses it.

    A consumer that comes back gets a new subscription, so a delivery of the old one is stale.
    """

    __slots__ = ("exclusive", "in_line", "prefetch", "priority", "queue", "subscriber", "unsettled")

    def __init__(
        self,
        queue: MemoryQueue,
        subscriber: Subscriber,
        prefetch: int,
        exclusive: bool,
        priority: int = 0,
    ) -> None:
        self.queue = queue
        self.subscriber = subscriber
        self.prefetch = prefetch
        self.exclusive = exclusive
        self.priority = priority
        self.in_line = False
        self.unsettled: set[Entry] = set()

    def settle(self, entry: Entry) -> bool:
        """Forget a message; returns false when it is not held here, or no longer."""
        if entry not in self.unsettled:
            return False
        self.unsettled.discard(entry)
        self.queue.settled(self)
        return True

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Return messages to the queue that were never delivered."""
        held = [entry for entry in entries if entry in self.unsettled]
        self.unsettled.difference_update(held)
        self.queue.give_back(held)

    def reject(self, entry: Entry) -> bool:
        """Dead-letter a message; returns false when it is not held here, or no longer."""
        if not self.settle(entry):
            return False
        self.queue.reject(entry)
        return True

    def stop(self) -> None:
        """Take no more; unsettled messages stay here."""
        self.queue.unsubscribe(self)

    def release(self) -> None:
        """Take no more, and give unsettled messages back."""
        self.queue.unsubscribe(self)
        returned, self.unsettled = self.unsettled, set()
        self.queue.give_back(returned)


class QueueOwner(Protocol):
    """The broker, as its queues use it."""

    def dead_letter(self, queue: MemoryQueue, entry: Entry) -> None:
        """A message expired, was dropped for room, or was returned too often."""
        ...

    def room_made(self, queue: MemoryQueue) -> None:
        """A queue with a length limit has fewer messages than before."""
        ...

    def left(self, queue: MemoryQueue) -> None:
        """A subscription left; an exclusive one may now get in."""
        ...

    def unused(self, queue: MemoryQueue) -> None:
        """The queue was unused for as long as its arguments allow."""
        ...


class MemoryQueue:
    """A queue: its ready messages in order, and the subscriptions with room, in turn."""

    def __init__(
        self,
        definition: Queue,
        arguments: QueueArguments,
        owner: QueueOwner,
        connection: object | None = None,
    ) -> None:
        self.definition = definition
        #: The one connection that may use it; ``None`` for all.
        self.connection = connection
        self.arguments = arguments
        self.ready: deque[Entry] = deque()
        self.subscriptions: dict[Subscription, None] = {}
        self.unsettled = 0
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._line: deque[Subscription] = deque()
        self._positions = 0
        self._woken = False
        self._deleted = False
        self._expiry: asyncio.TimerHandle | None = None
        self._lease: asyncio.TimerHandle | None = None
        self.renew_lease()

    @property
    def exclusively_used(self) -> bool:
        """Whether its one subscription is exclusive."""
        return any(subscription.exclusive for subscription in self.subscriptions)

    def is_full(self) -> bool:
        """Whether it would refuse a message now."""
        limit = self.arguments.max_length
        if limit is None or not self.arguments.rejects_when_full or len(self.ready) < limit:
            return False
        # Messages that can leave in this turn of the loop need no room.
        self._dispatch()
        return len(self.ready) >= limit

    def enqueue(self, message: Message, routing_key: str) -> None:
        """Append a message; with the overflow ``drop-head`` the oldest may be dropped."""
        self._positions += 1
        ttl_ms, limit = self.arguments.message_ttl_ms, self.arguments.max_length
        expires_at = 0.0 if ttl_ms is None else self._loop.time() + ttl_ms / 1000
        self.ready.append(Entry(message, routing_key, self._positions, expires_at))
        if limit is not None and len(self.ready) > limit:
            self._owner.dead_letter(self, self.ready.popleft())
        self._await_expiry()
        self._wake()

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription as the last one in turn."""
        self.subscriptions[subscription] = None
        self._join_line(subscription)
        self.renew_lease()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription, if it is still there."""
        if subscription not in self.subscriptions:
            return
        del self.subscriptions[subscription]
        if subscription.in_line:
            self._line.remove(subscription)
            subscription.in_line = False
        self.renew_lease()
        self._owner.left(self)

    def settled(self, subscription: Subscription) -> None:
        """A subscription has room again."""
        self.unsettled -= 1
        if subscription in self.subscriptions:
            self._join_line(subscription)

    def reject(self, entry: Entry) -> None:
        """Dead-letter a message that a consumer refused."""
        if not self._deleted:
            self._owner.dead_letter(self, entry)

    def give_back(self, returned: Iterable[Entry]) -> None:
        """Put messages back to their places, or dead-letter those returned too often."""
        if self._deleted:
            return
        limit = self.arguments.delivery_limit
        kept: list[Entry] = []
        for entry in sorted(returned, key=_position):
            self.unsettled -= 1
            entry.redelivered = True
            entry.returns += 1
            if limit is not None and entry.returns > limit:
                self._owner.dead_letter(self, entry)
            else:
                kept.append(entry)
        self._put_in_front(kept)
        self._wake()

    def renew_lease(self) -> None:
        """Restart the time without a consumer, if there is none."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None
        expires_ms = self.arguments.expires_ms
        if expires_ms is not None and not self.subscriptions and not self._deleted:
            self._lease = self._loop.call_later(expires_ms / 1000, self._owner.unused, self)

    def delete(self) -> None:
        """Drop every message and cancel every subscription."""
        self._deleted = True
        self.ready.clear()
        self._line.clear()
        subscriptions, self.subscriptions = self.subscriptions, {}
        for timer in (self._expiry, self._lease):
            if timer is not None:
                timer.cancel()
        for subscription in subscriptions:
            subscription.unsettled.clear()
            subscription.subscriber.cancelled()

    def _put_in_front(self, entries: list[Entry]) -> None:
        if not entries:
            return
        # Others may have been returned before: keep the order of publishing.
        last = entries[-1].position
        while self.ready and self.ready[0].position < last:
            entries.append(self.ready.popleft())
        self.ready.extendleft(sorted(entries, key=_position, reverse=True))
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._await_expiry()

    def _join_line(self, subscription: Subscription) -> None:
        if not subscription.in_line:
            subscription.in_line = True
            self._append(subscription)
            self._wake()

    def _append(self, subscription: Subscription) -> None:
        """Put it behind the others of its priority, and before those of a lower one."""
        line, place = self._line, len(self._line)
        while place and line[place - 1].priority < subscription.priority:
            place -= 1
        if place == len(line):
            line.append(subscription)
        else:
            line.insert(place, subscription)

    def _wake(self) -> None:
        if self.ready and self._line and not self._woken:
            self._woken = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Deliver as many messages as there is room for, one to each subscription in turn."""
        self._woken = False
        before = len(self.ready)
        while self.ready and self._line:
            self._hand_out(self.ready.popleft(), self._line.popleft())
        if self.arguments.max_length is not None and len(self.ready) < before:
            self._owner.room_made(self)

    def _hand_out(self, entry: Entry, subscription: Subscription) -> None:
        self.unsettled += 1
        subscription.unsettled.add(entry)
        subscription.in_line = len(subscription.unsettled) < subscription.prefetch
        if subscription.in_line:
            self._append(subscription)
        subscription.subscriber.received(entry)

    def _await_expiry(self) -> None:
        """
        Set one timer for the first message: all have the same time to live, so it expires first.
        """
        if self.arguments.message_ttl_ms is not None and self.ready and self._expiry is None:
            self._expiry = self._loop.call_at(self.ready[0].expires_at, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = self._loop.time()
        while self.ready and self.ready[0].expires_at <= now:
            self._owner.dead_letter(self, self.ready.popleft())
        if self.arguments.max_length is not None:
            self._owner.room_made(self)
        self._await_expiry()


def _position(entry: Entry) -> int:
    return entry.position
