"""
A ramp: which share of the effects of a route that are bound to no version goes to which version.

It is a mark on the broker: a queue of this name exists, and its one message says the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.encoding.codec import encode_tree
from effectmq.protocol.errors import ConfigurationError, MalformedError, ProtocolError
from effectmq.protocol.messages.chosen.version import checked_version
from effectmq.protocol.messages.fleet import fields
from effectmq.protocol.messages.message import Message

__all__ = ["RAMP_TYPE", "Ramp", "ramp_message", "read_ramp"]

#: The AMQP ``type`` of the message in the mark.
RAMP_TYPE = "effect.ramp.v1"


@dataclass(frozen=True, slots=True)
class Ramp:
    """
    How the effects of a route are shared out that are bound to no version.

    Attributes:
        version: The version that gets the share; all other workers get the rest.
        share: From 0, so that it takes only what is bound to it, to 1, so that it takes all.
        by: Who asked for it; empty when that is unknown.
        why: The reason that was given; may be empty.
        at_ms: When; milliseconds since the Unix epoch, 0 when that is unknown.
    """

    version: str
    share: float
    by: str = ""
    why: str = ""
    at_ms: int = 0

    def __post_init__(self) -> None:
        if not checked_version(self.version):
            raise ConfigurationError("the version of a ramp is empty; name the one to share with")
        if not 0 <= self.share <= 1:
            raise ConfigurationError(
                f"the share is {self.share}; expected 0 to 1, such as 0.1 for a tenth"
            )

    @property
    def tree(self) -> dict[str, object]:
        """Its members as plain data."""
        return {
            "version": self.version,
            "share": self.share,
            "by": self.by,
            "why": self.why,
            "at_ms": self.at_ms,
        }

    def takes_unbound(self, version: str) -> bool:
        """Whether workers of a version, or without one, take what is bound to no version."""
        return (version == self.version) == (self.share >= 1)

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        why = f": {self.why}" if self.why else ""
        return f"shared out{by}, {self.share:g} of it to version {self.version}{why}"


def ramp_message(ramp: Ramp) -> Message:
    """The message that the mark holds."""
    return Message(
        body=encode_tree(ramp.tree, fields.JSON), content_type=fields.JSON, type=RAMP_TYPE
    )


def read_ramp(message: Message) -> Ramp | None:
    """The ramp in a mark's message; ``None`` when it cannot be read."""
    try:
        members = fields.object_of(message)
        return Ramp(
            fields.name(members, "version"),
            fields.number(members, "share"),
            fields.text(members, "by"),
            fields.text(members, "why"),
            fields.whole(members, "at_ms"),
        )
    except (ProtocolError, MalformedError, ConfigurationError):
        return None
