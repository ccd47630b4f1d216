"""What becomes of a publish: the broker's answer, or the end of the channel, and our error."""

from __future__ import annotations

from typing import Literal, NamedTuple

from effectmq.broker.transports.rabbitmq.driver.errors import channel_error
from effectmq.broker.transports.rabbitmq.driver.refused import names_exchange, names_topic
from effectmq.protocol.errors import (
    BrokerError,
    PublishError,
    PublishUnknownError,
    QueueFullError,
    UnroutableError,
)

__all__ = ["Closed", "Fate", "Publish", "publish_error"]

_ACCESS_REFUSED = 403
_NOT_FOUND = 404
_PRECONDITION_FAILED = 406


class Closed(NamedTuple):
    """
    The fate of a publish that will have no answer: the channel is closed.

    Attributes:
        code: The broker's reason; 0 when it gave none.
        alone: Whether nothing else was unanswered, so that the reason must be about this publish.
    """

    code: int
    alone: bool


#: The broker's answer to a publish, or that there will be none.
Fate = Literal["taken", "refused", "returned"] | Closed


class Publish:
    """
    One publish on its way.

    Attributes:
        message_id: The id under which it was sent, when that is not one of the channel's own.
        fate: What became of it; ``None`` before.
    """

    __slots__ = ("fate", "message_id")

    def __init__(self) -> None:
        self.message_id = ""
        self.fate: Fate | None = None

    def decided(self, fate: Fate) -> None:
        """The broker has answered, or will not: the channel is lost. Called once."""
        self.fate = fate


def publish_error(
    fate: Fate, reason: str, exchange: str, routing_key: str
) -> PublishError | BrokerError:
    """
    The error of a publish that was not taken.

    Args:
        fate: What became of it.
        reason: Why the channel was closed, in the broker's words.
        exchange: Where it was published.
        routing_key: For whom.
    """
    if fate == "returned":
        return UnroutableError(
            f"no queue takes messages for {routing_key!r}"
            + (f" on exchange {exchange!r}" if exchange else "")
        )
    if fate == "refused":
        return QueueFullError(
            f"the queue for {routing_key!r} refused the message: it is full, or has lost its "
            "majority. Start more workers of this kind, raise the length limit of its policy, "
            "or look at the queue's members (rabbitmq-queues quorum_status)"
        )
    if isinstance(fate, Closed) and _is_about(fate, reason, exchange, routing_key):
        if fate.code == _NOT_FOUND:
            return UnroutableError(
                f"there is no exchange {exchange!r}, so no queue takes messages for "
                f"{routing_key!r}. Start a worker that declares it, or run: effectmq topology "
                "apply"
            )
        doing = f"publishing for {routing_key!r}"
        doing += f" on exchange {exchange!r}" if exchange else " on the default exchange"
        return channel_error(fate.code, reason, doing, "publish")
    return PublishUnknownError(
        f"the connection was lost before the broker confirmed a message for {routing_key!r}"
        + (f" on exchange {exchange!r}" if exchange else "")
        + (f" ({reason})" if reason else "")
        + "; it may have arrived. Publishing the same effect again is safe"
    )


def _is_about(fate: Closed, reason: str, exchange: str, routing_key: str) -> bool:
    """
    Whether the broker closed the channel because of a publish like this.

    The broker names the exchange, at times the topic too. Whatever else was unanswered on the
    channel may have arrived.
    """
    if fate.code not in (_NOT_FOUND, _ACCESS_REFUSED):
        return fate.alone and fate.code == _PRECONDITION_FAILED
    topic = names_topic(reason)
    if topic is not None and topic != routing_key:
        return False
    named = names_exchange(reason)
    return named == exchange if named is not None else fate.alone
