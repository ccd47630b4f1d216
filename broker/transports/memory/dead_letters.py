"""
What becomes of messages that a queue is done with: expired, returned too often, dropped for room.

At-least-once means here what it means in RabbitMQ: a dead letter that its exchange cannot take is
held, counted by nobody, until the exchange, the binding or the room is there. RabbitMQ tries
again every three minutes; this broker does when something was declared or a full queue drained.
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
    """Offers a message to an exchange; false when it cannot go anywhere now."""

    def __call__(self, exchange: str, routing_key: str, message: Message) -> bool:
        """Whether the message has been taken."""
        ...


class DeadLetters:
    """The dead letters of all queues of one broker, on their way."""

    def __init__(self, forward: Forward, counters: Counter[str]) -> None:
        self._forward = forward
        self._counters = counters
        # By routing key, so that one key without a queue does not hold up the others.
        self._held: dict[MemoryQueue, dict[str, deque[Message]]] = {}

    def send(self, queue: MemoryQueue, entry: Entry) -> None:
        """Pass one message on, or hold it, or drop it, as the queue was declared."""
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
        """Offer what is held again."""
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
        """Whether anything waits for an exchange, a binding or room."""
        return bool(self._held)

    def held(self, queue: MemoryQueue) -> int:
        """How many dead letters of a queue wait."""
        return sum(map(len, self._held.get(queue, {}).values()))

    def forget(self, queue: MemoryQueue) -> None:
        """Drop what is held for a queue that was deleted, as RabbitMQ does."""
        self._held.pop(queue, None)

    def _retry_key(self, queue: MemoryQueue, routing_key: str, messages: deque[Message]) -> None:
        exchange = queue.arguments.dead_letter_exchange or ""
        while messages and self._forward(exchange, routing_key, messages[0]):
            messages.popleft()
            self._counters["dead_lettered"] += 1

    def _drop(self, queue: MemoryQueue, message: Message) -> None:
        """At-most-once: RabbitMQ drops it without a word; here it is at least counted and said."""
        self._counters["dropped"] += 1
        _log.warning(
            "queue %r dropped a message, because it has no dead-letter exchange that takes it: "
            "effect %r",
            queue.definition.name,
            message.correlation_id,
        )
