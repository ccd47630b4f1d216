"""
The broker inside one process: exchanges, queues and bindings that several transports share.

It lives as long as its event loop. Like those of RabbitMQ, its queues survive every connection: a
producer may submit and leave before the first worker comes. Another event loop, for instance that
of the next ``asyncio.run`` or the next test, gets its own broker, because timers belong to a loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from effectmq.broker.transports.memory.arguments import QueueArguments
from effectmq.broker.transports.memory.dead_letters import DeadLetters
from effectmq.broker.transports.memory.exchanges import MemoryExchange
from effectmq.broker.transports.memory.queues import (
    Entry,
    MemoryQueue,
    Subscriber,
    Subscription,
)
from effectmq.broker.transports.port import QueueStats
from effectmq.protocol.errors import (
    QueueFullError,
    ReplyQueueInUseError,
    TopologyError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Binding, Exchange, Queue, Topology

__all__ = ["MemoryBroker", "QueueSnapshot"]

_brokers: dict[tuple[asyncio.AbstractEventLoop, str], MemoryBroker] = {}


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """
    The present content of a queue; more than any RabbitMQ client can see.

    Attributes:
        name: The queue.
        ready: The waiting messages, in order.
        unsettled: How many are handed out and not settled.
        held: How many dead letters wait for their exchange.
        consumers: Subscriptions attached to it.
    """

    name: str
    ready: tuple[Message, ...]
    unsettled: int
    held: int
    consumers: int


class MemoryBroker:
    """
    The shared state behind ``memory://name``.

    Attributes:
        counters: ``dead_lettered``, ``dropped`` (dead letters that no exchange took) and
            ``expired_queues``.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._exchanges: dict[str, MemoryExchange] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._dead_letters = DeadLetters(self._forward, self.counters)
        self._retrying = False
        self._loop = asyncio.get_running_loop()
        # Consumers without their queue, by its name: called when it may be available again.
        self._expectations: dict[str, dict[Callable[[], None], None]] = {}
        self._alarm: dict[asyncio.Future[None], None] | None = None

    @classmethod
    def named(cls, name: str) -> MemoryBroker:
        """The broker of this name on the running event loop; a new one when it is the first."""
        loop = asyncio.get_running_loop()
        for key in [key for key in list(_brokers) if key[0].is_closed()]:
            _brokers.pop(key, None)
        return _brokers.setdefault((loop, name), cls())

    def declare(self, topology: Topology) -> None:
        """
        Create missing objects and compare existing ones.

        Raises:
            TopologyError: An object exists and differs, or an end of a binding is missing.
            ConfigurationError: A queue has an argument that is unknown here.
        """
        for exchange in topology.exchanges:
            self._declare_exchange(exchange)
        for queue in topology.queues:
            self._declare_queue(queue)
        for binding in topology.bindings:
            self._bind(binding)
        self._retry_soon()

    def declare_own(self, exchange: str, name: str, connection: object) -> None:
        """
        Create a queue that belongs to a connection, and bind it.

        Raises:
            TopologyError: There is no such exchange.
            ReplyQueueInUseError: Another connection has a queue of this name.
        """
        self.check_access(name, connection)
        queue = Queue(name, {"x-queue-type": "classic"})
        self._queues[name] = MemoryQueue(queue, QueueArguments.of(queue), self, connection)
        try:
            self._bind(Binding(exchange, name, ""))
        except TopologyError:
            del self._queues[name]
            raise

    def check_access(self, queue_name: str, connection: object) -> None:
        """
        Refuse access to a queue of another connection.

        Raises:
            ReplyQueueInUseError: The queue belongs to another connection.
        """
        if self._is_locked(queue_name, connection):
            raise ReplyQueueInUseError(
                f"the queue {queue_name!r} belongs to another connection, which alone may use it"
            )

    def _is_locked(self, queue_name: str, connection: object) -> bool:
        queue = self._queues.get(queue_name)
        return queue is not None and queue.connection not in (None, connection)

    def publish(self, exchange: str, routing_key: str, message: Message) -> None:
        """
        Put a message into every bound queue.

        Raises:
            UnroutableError: No queue is bound.
            QueueFullError: At least one queue refused it.
        """
        queues = self._route(exchange, routing_key)
        if not queues:
            raise UnroutableError(_unroutable(exchange, routing_key, exchange in self._exchanges))
        refused = [queue for queue in queues if queue.is_full()]
        for queue in queues:
            if queue not in refused:
                queue.enqueue(message, routing_key)
        if refused:
            raise QueueFullError(
                f"the queue {refused[0].definition.name!r} has reached its limit of "
                f"{refused[0].arguments.max_length} messages and refuses more; wait until its "
                "workers have caught up, or start more of them"
            )

    def subscribe(
        self,
        queue_name: str,
        subscriber: Subscriber,
        *,
        prefetch: int,
        exclusive: bool,
        priority: int = 0,
    ) -> Subscription:
        """
        Attach a consumer.

        Raises:
            TopologyError: The queue does not exist.
            ReplyQueueInUseError: Another consumer has it, and one of the two is exclusive.
        """
        queue = self._queues.get(queue_name)
        if queue is None:
            raise TopologyError(f"there is no queue {queue_name!r} to consume; declare it first")
        if queue.exclusively_used or (exclusive and queue.subscriptions):
            raise ReplyQueueInUseError(
                f"another consumer reads the queue {queue_name!r}, and one of the two needs it "
                "alone; give each live producer its own identity"
            )
        subscription = Subscription(queue, subscriber, prefetch, exclusive, priority)
        queue.subscribe(subscription)
        return subscription

    def stats(self, queue_name: str, connection: object | None = None) -> QueueStats | None:
        """What a passive declaration shows; it also renews the queue's lease."""
        queue = self._queues.get(queue_name)
        if queue is None:
            return None
        if self._is_locked(queue_name, connection):
            return QueueStats(queue_name, 0, 0, locked=True)
        queue.renew_lease()
        return QueueStats(queue_name, len(queue.ready), len(queue.subscriptions))

    def has_exchange(self, name: str) -> bool:
        """Whether it was declared and not deleted."""
        return name in self._exchanges

    def is_bound(self, name: str) -> bool:
        """Whether a queue is bound to an exchange."""
        return name in self._exchanges and self._exchanges[name].bound

    def queue(self, queue_name: str) -> QueueSnapshot | None:
        """Everything about a queue, for tests; ``None`` when it does not exist."""
        queue = self._queues.get(queue_name)
        if queue is None:
            return None
        return QueueSnapshot(
            queue_name,
            tuple(entry.message for entry in queue.ready),
            queue.unsettled,
            self._dead_letters.held(queue),
            len(queue.subscriptions),
        )

    def delete_queue(self, queue_name: str) -> None:
        """Delete a queue with its messages, as an operator would; its consumers are told."""
        queue = self._queues.pop(queue_name, None)
        if queue is None:
            return
        for exchange in self._exchanges.values():
            exchange.unbind(queue_name)
        self._dead_letters.forget(queue)
        queue.delete()

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings, as an operator would."""
        self._exchanges.pop(name, None)

    def unbind(self, exchange: str, queue_name: str) -> None:
        """Remove every binding of a queue to an exchange, as an operator would."""
        if exchange in self._exchanges:
            self._exchanges[exchange].unbind(queue_name)

    def expect(self, queue_name: str, resume: Callable[[], None]) -> None:
        """Call ``resume``, once, when the queue is declared or a consumer leaves it."""
        self._expectations.setdefault(queue_name, {})[resume] = None

    def stop_expecting(self, queue_name: str, resume: Callable[[], None]) -> None:
        """Remove an expectation, if there is one."""
        waiting = self._expectations.get(queue_name, {})
        waiting.pop(resume, None)
        if not waiting:
            self._expectations.pop(queue_name, None)

    @property
    def blocked(self) -> bool:
        """Whether an alarm is on."""
        return self._alarm is not None

    def block(self) -> None:
        """Raise an alarm, as RabbitMQ does when memory or disk run out: publishes wait."""
        if self._alarm is None:
            self._alarm = {}

    def unblock(self) -> None:
        """Clear the alarm: publishes that still wait go through, in order."""
        waiting, self._alarm = self._alarm or {}, None
        for publish in waiting:
            if not publish.done():
                publish.set_result(None)

    def unblocked(self) -> asyncio.Future[None]:
        """A future that is done when the alarm is cleared; cancel it to stop waiting."""
        waiting = self._loop.create_future()
        if self._alarm is None:
            waiting.set_result(None)
        else:
            self._alarm[waiting] = None
            waiting.add_done_callback(self._leave_alarm)
        return waiting

    def dead_letter(self, queue: MemoryQueue, entry: Entry) -> None:
        """Dead-letter a message of a queue."""
        self._dead_letters.send(queue, entry)

    def room_made(self, queue: MemoryQueue) -> None:
        """A full queue may have room for dead letters that are held elsewhere."""
        if self._dead_letters.any_held:
            self._retry_soon()

    def left(self, queue: MemoryQueue) -> None:
        """An exclusive consumer that lost its place may get it back."""
        self._meet_expectations(queue.definition.name)

    def unused(self, queue: MemoryQueue) -> None:
        """Delete a queue whose lease has run out."""
        self.counters["expired_queues"] += 1
        self.delete_queue(queue.definition.name)

    def _declare_exchange(self, exchange: Exchange) -> None:
        existing = self._exchanges.setdefault(exchange.name, MemoryExchange(exchange)).definition
        if existing.type != exchange.type:
            raise TopologyError(
                f"the exchange {exchange.name!r} exists with type {existing.type!r} and "
                f"{exchange.type!r} was expected; delete it, or use another namespace"
            )

    def _declare_queue(self, queue: Queue) -> None:
        existing = self._queues.get(queue.name)
        if existing is None:
            self._queues[queue.name] = MemoryQueue(queue, QueueArguments.of(queue), self)
            self._meet_expectations(queue.name)
            return
        differences = _differences(existing.definition, queue)
        if differences:
            raise TopologyError(
                f"the queue {queue.name!r} exists with other arguments: {'; '.join(differences)}. "
                "Drain and delete it, or use another namespace"
            )
        existing.renew_lease()

    def _bind(self, binding: Binding) -> None:
        exchange = self._exchanges.get(binding.exchange)
        if exchange is None or binding.queue not in self._queues:
            kind, name = (
                ("exchange", binding.exchange) if exchange is None else ("queue", binding.queue)
            )
            raise TopologyError(
                f"there is no {kind} {name!r} to bind ({binding.exchange!r} to "
                f"{binding.queue!r}); declare it first"
            )
        exchange.bind(binding.routing_key, binding.queue)

    def _route(self, exchange_name: str, routing_key: str) -> list[MemoryQueue]:
        if not exchange_name:
            queue = self._queues.get(routing_key)
            return [] if queue is None else [queue]
        exchange = self._exchanges.get(exchange_name)
        names = () if exchange is None else exchange.route(routing_key)
        return [self._queues[name] for name in names]

    def _forward(self, exchange: str, routing_key: str, message: Message) -> bool:
        try:
            self.publish(exchange, routing_key, message)
        except (UnroutableError, QueueFullError):
            return False
        return True

    def _retry_soon(self) -> None:
        if not self._retrying and self._dead_letters.any_held:
            self._retrying = True
            self._loop.call_soon(self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self._dead_letters.retry()

    def _meet_expectations(self, queue_name: str) -> None:
        for resume in self._expectations.pop(queue_name, {}):
            self._loop.call_soon(resume)

    def _leave_alarm(self, publish: asyncio.Future[None]) -> None:
        if self._alarm is not None:
            self._alarm.pop(publish, None)


def _unroutable(exchange: str, routing_key: str, exists: bool) -> str:
    if not exchange:
        return (
            f"there is no queue {routing_key!r}: it was never declared, or it has expired; nothing "
            "was stored"
        )
    found = f"has no queue bound for {routing_key!r}" if exists else "does not exist"
    return (
        f"the exchange {exchange!r} {found}; nothing was stored. Start a worker of this kind, or "
        "run: effectmq topology apply"
    )


def _differences(existing: Queue, expected: Queue) -> list[str]:
    found, wanted = existing.arguments, expected.arguments
    return [
        f"{name} is {_shown(found.get(name))} and {_shown(wanted.get(name))} was expected"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]


def _shown(value: object) -> str:
    return "not set" if value is None else repr(value)
