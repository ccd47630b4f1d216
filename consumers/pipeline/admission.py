"""The port through which a job asks whether its next attempt may start, by limits of the fleet."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from effectmq.broker.store.admission.deciding.gates import Verdict
from effectmq.broker.store.admission.declared.keys import Line
from effectmq.protocol.messages.request import Request

__all__ = ["Admission", "NotAdmitted", "Permit", "Room", "RoomFull"]


class Permit(NamedTuple):
    """
    The right to one attempt; to be given back when that has ended.

    Attributes:
        effect: The effect, as the store names it.
        token: Names the permit.
        lines: The lines of the effect.
        admission: Where it goes back to, also when no limit holds any more.
    """

    effect: str
    token: str
    lines: tuple[Line, ...]
    admission: Admission


class NotAdmitted(NamedTuple):
    """
    The end of a delivery whose effect waits in the room now.

    Attributes:
        line: The line that it waits in.
    """

    line: Line


class RoomFull(NamedTuple):
    """
    The answer for an effect that is not admitted and finds no place in the room.

    Attributes:
        line: The line that is shut.
    """

    line: Line


class Room(Protocol):
    """Where effects wait that may not start. ``hold`` raises as ``Leases`` do."""

    def hold(
        self, request: Request, line: Line, route: str, home: str
    ) -> Awaitable[NotAdmitted | RoomFull]:
        """Keep an effect in the room; durable when it answers."""
        ...

    def look_again(self, request: Request) -> None:
        """What keeps an effect may be over already: take it out soon."""
        ...


class Admission(Protocol):
    """The limits of one worker's routes. ``ask`` raises as ``Leases`` do."""

    def lines(self, route: str, request: Request) -> tuple[Line, ...]:
        """The lines that an effect counts for; empty when no limit holds for it."""
        ...

    def ask(
        self, request: Request, lines: tuple[Line, ...], route: str, home: str
    ) -> Awaitable[Permit | NotAdmitted | RoomFull]:
        """Ask for an attempt; what is not admitted is kept in the room, durable when it answers."""
        ...

    def give_back(self, permit: Permit, verdict: Verdict) -> None:
        """The attempt has ended."""
        ...
