"""
A pause: who asked that a route is not consumed, when, and why.

The pause of a route for all workers is a *mark* on the broker: a queue of this name exists. Its one
message says the rest, for people.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.encoding.codec import encode_tree
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import MalformedError, ProtocolError
from effectmq.protocol.messages.fleet import fields
from effectmq.protocol.messages.message import Message

__all__ = ["MARK_TYPE", "Pause", "mark_message", "optional_pause", "pause_in", "read_mark"]

#: The AMQP ``type`` of the message in a mark.
MARK_TYPE = "effect.paused.v1"


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Why a route is not consumed.

    Attributes:
        by: Who asked for it; empty when that is unknown.
        why: The reason that was given; may be empty.
        at_ms: When; milliseconds since the Unix epoch, 0 when that is unknown.
        everywhere: Whether no worker consumes it; else only the worker that reports it.
    """

    by: str = ""
    why: str = ""
    at_ms: int = 0
    everywhere: bool = True

    @property
    def tree(self) -> dict[str, object]:
        """Its members as plain data."""
        return {
            "by": self.by,
            "why": self.why,
            "at_ms": self.at_ms,
            "everywhere": self.everywhere,
        }

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        why = f": {self.why}" if self.why else ""
        return f"paused{by}{'' if self.everywhere else ' on this worker'}{why}"


def pause_in(members: dict[str, object]) -> Pause:
    """
    A pause out of members.

    Raises:
        MalformedError: When one of them is something else.
    """
    return Pause(
        fields.text(members, "by"),
        fields.text(members, "why"),
        fields.whole(members, "at_ms"),
        fields.flag(members, "everywhere"),
    )


def optional_pause(members: dict[str, object], key: str) -> Pause | None:
    """
    A pause in a member, or none.

    Raises:
        MalformedError: When it is something else.
    """
    value = members.get(key)
    if value is None:
        return None
    if not is_object(value):
        raise MalformedError(key, "expected a pause or null")
    return pause_in(value)


def mark_message(pause: Pause) -> Message:
    """The message that a mark holds."""
    return Message(
        body=encode_tree(pause.tree, fields.JSON), content_type=fields.JSON, type=MARK_TYPE
    )


def read_mark(message: Message) -> Pause:
    """The pause in a mark's message; one that says nothing when it cannot be read."""
    try:
        return pause_in(fields.object_of(message) | {"everywhere": True})
    except ProtocolError:
        return Pause()
