"""
The dead letters of queues: messages that expired, were returned too often, or were dropped for
room.

At-least-once has the meaning of RabbitMQ: a dead letter that its exchange cannot take is held, in
no count, until the exchange, the binding or the room is there. RabbitMQ tries again every three
minutes; this broker does so after a declaration, or when a full queue has room.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import Protocol

from effectmq.broker.transports.memory.queues import Entry, MemoryQueue
from effectmq.protocol.messages.message import Message

__all__ = ["DeadLetters", "Forward"]

_log = logging.getLogger(__name__)


class Forward(Protocol):
    """Offers a message to an exchange; returns false when no queue can take it now."""

    def __call__(self, exchange: str, routing_key: str, message: Message) -> bool:
        """Whether the message was taken."""
        ...


class DeadLetters:
    """The dead letters of all queues of one broker."""

    def __init__(self, forward: Forward, counters: Counter[str]) -> None:
        self._forward = forward
        self._counters = counters
        # By routing key, so that one key without a queue does not delay the others.
        self._held: dict[MemoryQueue, dict[str, deque[Message]]] = {}

    def send(self, queue: MemoryQueue, entry: Entry) -> None:
        """Pass a message on, hold it, or drop it, as the queue's arguments say."""
        arguments = queue.arguments
        own_key = arguments.dead_letter_routing_key
        routing_key = entry.routing_key if own_key is None else own_key
        exchange = arguments.dead_letter_exchange
        if exchange is not None and self._forward(exchange, routing_key, entry.message):
            self._counters["dead_lettered"] += 1
        elif exchange is not None and arguments.keeps_dead_letters:
            by_key = self._held.setdefault(queue, {})
            by_key.setdefault(routing_key, deque()).append(entry.message)
        else:
            self._drop(queue, entry.message)

    def retry(self) -> None:
        """Offer held messages again."""
        for queue in list(self._held):
            by_key = self._held[queue]
            for routing_key in list(by_key):
                self._retry_key(queue, routing_key, by_key[routing_key])
                if not by_key[routing_key]:
                    del by_key[routing_key]
            if not by_key:
                del self._held[queue]

    @property
    def any_held(self) -> bool:
        """Whether any message waits for an exchange, a binding or room."""
        return bool(self._held)

    def held(self, queue: MemoryQueue) -> int:
        """How many dead letters of a queue wait."""
        return sum(map(len, self._held.get(queue, {}).values()))

    def forget(self, queue: MemoryQueue) -> None:
        """Drop the held messages of a deleted queue, as RabbitMQ does."""
        self._held.pop(queue, None)

    def _retry_key(self, queue: MemoryQueue, routing_key: str, messages: deque[Message]) -> None:
        exchange = queue.arguments.dead_letter_exchange or ""
        while messages and self._forward(exchange, routing_key, messages[0]):
            messages.popleft()
            self._counters["dead_lettered"] += 1

    def _drop(self, queue: MemoryQueue, message: Message) -> None:
        """At-most-once: RabbitMQ drops it silently; here it is counted and logged."""
        self._counters["dropped"] += 1
        _log.warning(
            "queue %r dropped a message, because it has no dead-letter exchange that takes it: "
            "effect %r",
            queue.definition.name,
            message.correlation_id,
        )
