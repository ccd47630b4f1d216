"""One publish on its way through the window, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from effectmq.broker.transports.rabbitmq.driver import Channel, Fate, Publish
from effectmq.protocol.messages.message import Message

__all__ = ["Office", "Sending"]


class Office(Protocol):
    """The publisher, as one publish knows it."""

    def sent_in_turn(self, sending: Sending) -> bool:
        """Send what waited for a place; returns whether it has one now."""
        ...

    def is_decided(self, sending: Sending) -> None:
        """The fate of a publish is known."""
        ...

    async def see_through(self, sending: Sending, given_s: float) -> None:
        """Wait for the confirmation of what was posted; see ``Posted.confirmed``."""
        ...

    def leave(self, sending: Sending, *, arrived: bool) -> None:
        """Nobody waits for it any more; see ``Posted.leave``."""
        ...


class Sending(Publish):
    """
    One publish, from its caller's request until the broker has answered it.

    Args:
        office: Is told of its fate.
        exchange: Where it is published.
        routing_key: For whom.
        message: What is published.
        awaited: Gets a result when the caller is to look: the publish failed, or its time is over.
        end: The time of the event loop until which it may take.
        on_taken: Called in place of that when the broker has the message.

    Attributes:
        channel: On which it was sent; ``None`` before.
        last: Whether nothing more is tried when ``awaited`` expires.
        has_place: Whether it gives a place back when its fate is known.
        left: Whether its caller no longer waits.
        given_up: Whether that was before anybody knew of its fate.
    """

    __slots__ = (
        "_office",
        "awaited",
        "channel",
        "end",
        "exchange",
        "given_up",
        "has_place",
        "last",
        "left",
        "message",
        "on_taken",
        "routing_key",
    )

    def __init__(
        self,
        office: Office,
        exchange: str,
        routing_key: str,
        message: Message,
        awaited: asyncio.Future[Any],
        end: float,
        on_taken: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._office = office
        self.exchange = exchange
        self.routing_key = routing_key
        self.message = message
        self.awaited = awaited
        self.end = end
        self.on_taken = on_taken
        self.channel: Channel | None = None
        self.last = True
        self.has_place = False
        self.left = False
        self.given_up = False

    def enter(self) -> bool:
        """See ``Entrant``."""
        return self._office.sent_in_turn(self)

    def decided(self, fate: Fate) -> None:
        """See ``Publish``."""
        self.fate = fate
        self._office.is_decided(self)

    def wake(self) -> None:
        """Let the caller look."""
        if not self.awaited.done():
            self.awaited.set_result(None)

    def wait_on(self) -> None:
        """Wait for the same publish once more, after ``awaited`` has expired."""
        self.awaited = self.awaited.get_loop().create_future()
        if self.fate is not None:
            self.awaited.set_result(None)

    # The port's ``Posted`` -----------------------------------------------------------------------

    @property
    def taken(self) -> bool:
        """See the port."""
        return self.fate == "taken"

    async def confirmed(self, given_s: float) -> None:
        """See the port."""
        await self._office.see_through(self, given_s)

    def leave(self, *, arrived: bool) -> None:
        """See the port."""
        self._office.leave(self, arrived=arrived)
