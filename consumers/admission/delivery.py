"""An effect out of the room, in the form of a delivery."""

from __future__ import annotations

from collections.abc import Callable

from effectmq.broker.store.admission.records import Claimed
from effectmq.protocol.messages.message import Message

__all__ = ["RoomDelivery"]


class RoomDelivery:
    """
    A ``Delivery`` whose message is in the room until it is settled.

    Args:
        claimed: What was taken.
        queue: The queue of its route, for logs.
        forget: Called once when it is settled.
        reject: Called instead when the message must go to limbo.
    """

    redelivered = False

    def __init__(
        self,
        claimed: Claimed,
        queue: str,
        forget: Callable[[Claimed], None],
        reject: Callable[[Claimed], None],
    ) -> None:
        self._claimed = claimed
        self._forget = forget
        self._reject = reject
        self._settled = False
        self.queue = queue

    @property
    def message(self) -> Message:
        """The message as it arrived, with what was known when it was held."""
        return self._claimed.message

    @property
    def routing_key(self) -> str:
        """The key that it was published with."""
        return self._claimed.home

    def ack(self) -> None:
        """Forget it."""
        self._settle(self._forget)

    def reject(self) -> None:
        """Pass it to limbo."""
        self._settle(self._reject)

    def _settle(self, settle: Callable[[Claimed], None]) -> None:
        if not self._settled:
            self._settled = True
            settle(self._claimed)
