"""What became of a publish that was not confirmed, and why a broker could not be used."""

from __future__ import annotations

from effectmq.protocol.errors.base import EffectmqError, UnavailableError

__all__ = [
    "AccessRefusedError",
    "BrokerBlockedError",
    "BrokerError",
    "BrokerUnreachableError",
    "PayloadTooLargeError",
    "PublishError",
    "PublishUnknownError",
    "QueueFullError",
    "ReplyQueueInUseError",
    "TopologyError",
    "TransportClosedError",
    "UnroutableError",
    "VirtualHostError",
]


class PublishError(EffectmqError):
    """One publish was not confirmed by the broker."""


class UnroutableError(PublishError):
    """The broker has no queue for this exchange and routing key."""


class QueueFullError(PublishError):
    """The broker refused the message, because the queue is at its limit."""


class PayloadTooLargeError(PublishError):
    """
    The message is over the size limit; nothing was sent.

    Args:
        what: Which part is too large, as a noun phrase.
        size_bytes: Its size.
        limit_bytes: The limit.
    """

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        self.what = what
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"{what} is {size_bytes} bytes and the limit is {limit_bytes}; nothing was sent. "
            "Keep large data outside the effect and pass a reference, or raise the limit"
        )


class BrokerBlockedError(PublishError):
    """The broker has stopped accepting publishes because of a memory or disk alarm."""


class PublishUnknownError(PublishError):
    """The connection was lost or time ran out before the broker confirmed the message."""


class BrokerError(EffectmqError):
    """The broker could not be used at all."""


class BrokerUnreachableError(BrokerError, UnavailableError):
    """
    No connection to the broker's host and port could be made, or it was lost.

    Args:
        problem: What was found and what to do.
        lasting: Whether trying again is useless until somebody changes an address or a setting.
    """


class AccessRefusedError(BrokerError):
    """
    The broker refused the user, the password, or an operation for lack of permission.

    Nothing of the operation was done. Trying again helps once the missing permission is granted.

    Args:
        problem: What was refused, and the command that grants it.
        permission: ``configure``, ``write`` or ``read``; empty when the broker did not say.
        resource: The exchange or queue, as a noun phrase; empty for a login.
        user: The refused user.
        vhost: The virtual host.
        parts: The single refusals, when there were several.
    """

    def __init__(
        self,
        problem: str,
        *,
        permission: str = "",
        resource: str = "",
        user: str = "",
        vhost: str = "",
        parts: tuple[AccessRefusedError, ...] = (),
    ) -> None:
        self.permission = permission
        self.resource = resource
        self.user = user
        self.vhost = vhost
        self.parts = parts
        super().__init__(problem)


class VirtualHostError(BrokerError):
    """The virtual host does not exist, or the user may not use it."""


class TopologyError(BrokerError):
    """A queue or an exchange is missing, or exists with other arguments."""


class ReplyQueueInUseError(BrokerError):
    """Another live producer reads the reply queue of this identity."""


class TransportClosedError(BrokerError):
    """The transport was used before it was opened or after it was closed."""
