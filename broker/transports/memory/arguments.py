"""The arguments of a queue, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.topology import ArgumentValue, Queue

__all__ = ["QueueArguments"]

_NUMBERS = ("x-message-ttl", "x-delivery-limit", "x-expires", "x-max-length")
_TEXTS = (
    "x-queue-type",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-overflow",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueArguments:
    """
    The arguments with which a queue was declared.

    Attributes:
        message_ttl_ms: How long a message waits before it is dead-lettered.
        expires_ms: How long the queue lives without a consumer.
        delivery_limit: The number of returns that a message survives.
        max_length: The number of ready messages that it holds.
        dead_letter_exchange: The exchange for expired and given-up messages.
        dead_letter_routing_key: Their routing key; ``None`` keeps the message's own.
        rejects_when_full: Whether to refuse the newest message instead of dropping the oldest.
        keeps_dead_letters: At-least-once: whether to hold a dead letter until its exchange takes
            it.
    """

    message_ttl_ms: int | None
    expires_ms: int | None
    delivery_limit: int | None
    max_length: int | None
    dead_letter_exchange: str | None
    dead_letter_routing_key: str | None
    rejects_when_full: bool
    keeps_dead_letters: bool

    @classmethod
    def of(cls, queue: Queue) -> QueueArguments:
        """
        Read the arguments of a queue.

        Raises:
            ConfigurationError: One is unknown here or has a value of the wrong type. RabbitMQ
                stores arguments that it does not know; a memory broker that ignored one would make
                tests wrong.
        """
        for name, value in queue.arguments.items():
            _check(queue.name, name, value)
        numbers = {name: _number(queue.arguments, name) for name in _NUMBERS}
        texts = {name: _text(queue.arguments, name) for name in _TEXTS}
        rejects = texts["x-overflow"] == "reject-publish"
        return cls(
            message_ttl_ms=numbers["x-message-ttl"],
            expires_ms=numbers["x-expires"],
            delivery_limit=numbers["x-delivery-limit"],
            max_length=numbers["x-max-length"],
            dead_letter_exchange=texts["x-dead-letter-exchange"],
            dead_letter_routing_key=texts["x-dead-letter-routing-key"],
            rejects_when_full=rejects,
            # RabbitMQ silently uses at-most-once when the overflow is another one.
            keeps_dead_letters=rejects and texts["x-dead-letter-strategy"] == "at-least-once",
        )


def _check(queue: str, name: str, value: ArgumentValue) -> None:
    if name not in _NUMBERS + _TEXTS:
        raise ConfigurationError(
            f"the queue {queue!r} has the argument {name!r}, which memory:// does not know; "
            f"expected one of {', '.join(sorted(_NUMBERS + _TEXTS))}"
        )
    if name in _NUMBERS and (not isinstance(value, int) or value < 0):
        raise ConfigurationError(
            f"the queue {queue!r} has {name}={value!r}; expected an integer, 0 or more"
        )


def _number(arguments: Mapping[str, ArgumentValue], name: str) -> int | None:
    return int(arguments[name]) if name in arguments else None


def _text(arguments: Mapping[str, ArgumentValue], name: str) -> str | None:
    return str(arguments[name]) if name in arguments else None
