"""What the store of admission is asked, and what it answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from effectmq.broker.store.admission.deciding.gates import SAYS_NOTHING, Verdict
from effectmq.broker.store.admission.declared.keys import Line, Turn
from effectmq.protocol.messages.headers import HASH
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Identity

__all__ = [
    "Admitted",
    "Answer",
    "Ask",
    "Claimed",
    "End",
    "Ended",
    "NotAdmitted",
    "Operation",
    "Settle",
    "Worker",
    "digest_of",
]


def digest_of(identity: Identity) -> str:
    """An effect as the tables name it, however long its key is."""
    scope_id, key = identity.scope_id, identity.replay_key
    whole = f"{len(scope_id)}:{scope_id}{key}"
    return hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Worker:
    """
    Who asks.

    Attributes:
        owner: Names the running worker; unique.
        lease_ms: How long what it has lasts without being renewed.
    """

    owner: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Ask:
    """
    Ask to start an attempt; what is not admitted waits in the room.

    Attributes:
        effect: The effect, see ``digest_of``.
        token: Names the permit; unique.
        lines: The lines that it counts for, sorted.
        route: The route that it arrived on.
        message: The message, which comes back from the room.
        home: Its routing key.
        deadline_ms: When its outcome is no longer wanted, Unix milliseconds; 0 for never.
        may_enter: Whether the room has space for one more; what has a place there keeps it.
        look_ms: Wait in the first line in any case, and look again after so many milliseconds; 0 to
            ask.
        turn: On a shared route, whose turn it takes when it waits; its lines have the route's then.
        full: Whether it waits for its turn in any case, because no slot is free.
    """

    effect: str
    token: str
    lines: tuple[Line, ...]
    route: str
    message: Message
    home: str
    deadline_ms: int = 0
    may_enter: bool = True
    look_ms: int = 0
    turn: Turn | None = None
    full: bool = False

    @property
    def room_id(self) -> str:
        """
        Names its ticket in the room: one for each reply queue that wants its outcome.

        And for each hash that a message says: with another one it is a conflict, which is found
        when it is claimed.
        """
        said = f"{self.effect}{self.message.reply_to}"
        hash_ = self.message.headers.get(HASH, "")
        return hashlib.sha256(f"{said} {hash_}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class End:
    """
    An admitted attempt has ended.

    Attributes:
        effect: The effect.
        token: That of its permit.
        lines: Its lines.
        verdict: How it ended.
    """

    effect: str
    token: str
    lines: tuple[Line, ...]
    verdict: Verdict = SAYS_NOTHING


@dataclass(frozen=True, slots=True)
class Settle:
    """
    Forget an effect of the room that is settled.

    Attributes:
        room_id: Its ticket.
        token: From ``Claimed``; a ticket that was taken again has another.
    """

    room_id: str
    token: str


Operation = Ask | End | Settle


@dataclass(frozen=True, slots=True)
class Admitted:
    """The attempt may start."""


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """
    The effect waits in the room.

    Attributes:
        line: The line that it waits in.
        full: Whether it has found no place in the room, and is not kept.
    """

    line: Line
    full: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """
    It is noted.

    Attributes:
        waited_for: Whether others wait for what became free.
        copies: Whether the same effect is in the room, too, for another reply queue.
    """

    waited_for: bool = False
    copies: bool = False


Answer = Admitted | NotAdmitted | Ended


@dataclass(frozen=True, slots=True)
class Claimed:
    """
    An effect that this worker takes out of the room.

    Attributes:
        room_id: Its ticket.
        token: Names this claim of it, and its permit.
        effect: The effect.
        lines: The lines of limits for which it is admitted; may be empty.
        route: Its route.
        home: Its routing key.
        message: Its message.
        waited_ms: How long it waited.
        in_turn: Whether it waited for its turn on a shared route, and has it now.
    """

    room_id: str
    token: str
    effect: str
    lines: tuple[Line, ...]
    route: str
    home: str
    message: Message
    waited_ms: int
    in_turn: bool = False
