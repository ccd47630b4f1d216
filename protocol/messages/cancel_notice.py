"""
A word to all workers: this effect was cancelled, whoever runs it should look.

The journal has decided already; a notice only makes that known before the next renewal of a lease.
So it may get lost, come twice, or be made up by a stranger: whoever hears it asks the journal.

Workers without a journal ask each other who had a message in hand (``Asked``, ``Answered``). What
they are told keeps an effect from being parked for a death that was none; nothing else depends on
it. And each says when it starts what it can do (``Able``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from effectmq.protocol.encoding.codec import JSON, Limits, decode_tree, encode_tree
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Identity

__all__ = [
    "ABLE_TYPE",
    "ANSWERED_TYPE",
    "ASKED_TYPE",
    "NOTICE_TYPE",
    "NOTICE_TYPES",
    "Able",
    "Answered",
    "Asked",
    "able_notice",
    "answered_notice",
    "asked_notice",
    "cancel_notice",
    "read_notice",
]

#: The AMQP ``type`` of a message that names a cancelled effect.
NOTICE_TYPE = "effect.cancel.v1"
#: No queue gives a message out so often.
_MOST_TIMES = 2**31
#: Those of a question to all workers, and of the answer of one.
ASKED_TYPE = "effect.who-held.v1"
ANSWERED_TYPE = "effect.held.v1"
#: That of what a worker can do.
ABLE_TYPE = "effect.able.v1"
NOTICE_TYPES = (NOTICE_TYPE, ASKED_TYPE, ANSWERED_TYPE, ABLE_TYPE)


@dataclass(frozen=True, slots=True)
class Asked:
    """
    The question to all workers who has had a message.

    Attributes:
        key: Names the message.
        number: Names the question.
        reply_to: The queue of who asks.
    """

    key: str
    number: int
    reply_to: str


@dataclass(frozen=True, slots=True)
class Answered:
    """
    I have, so many times.

    Attributes:
        number: Of the question.
        times: How often it was delivered here.
    """

    number: int
    times: int


@dataclass(frozen=True, slots=True)
class Able:
    """
    I can do this.

    Attributes:
        queue: The control queue of who says it.
        able: What it has, with the version of each; ``None`` when it leaves.
        asks: Whether whoever hears it should answer with the same.
    """

    queue: str
    able: Mapping[str, str] | None
    asks: bool = False


def able_notice(said: Able) -> Message:
    """The message that says what a worker can do."""
    able = None if said.able is None else dict(said.able)
    tree: dict[str, object] = {"queue": said.queue, "able": able, "asks": said.asks}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=ABLE_TYPE)


def asked_notice(asked: Asked) -> Message:
    """The message that asks."""
    tree: dict[str, object] = {
        "message": asked.key,
        "number": asked.number,
        "reply_to": asked.reply_to,
    }
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=ASKED_TYPE)


def answered_notice(answered: Answered) -> Message:
    """The message that answers."""
    tree: dict[str, object] = {"number": answered.number, "times": answered.times}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=ANSWERED_TYPE)


def cancel_notice(identity: Identity) -> Message:
    """The message that names an effect."""
    tree: dict[str, object] = {"scope_id": identity.scope_id, "replay_key": identity.replay_key}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=NOTICE_TYPE)


def read_notice(
    message: Message, limits: Limits | None = None
) -> Identity | Asked | Answered | Able:
    """
    What a notice says: the effect that was cancelled, a question, an answer, or abilities.

    Raises:
        MalformedError: When it names none; carries the path.
    """
    content_type = message.content_type or recognised(message.body)
    tree = decode_tree(message.body, content_type, limits or Limits())
    fields = members_of(tree)
    if message.type == ASKED_TYPE:
        match fields:
            case {"message": str(key), "number": int(number), "reply_to": str(reply_to)}:
                return Asked(key, number, reply_to)
            case _:
                raise MalformedError("", "expected an object with message, number and reply_to")
    if message.type == ANSWERED_TYPE:
        match fields:
            case {"number": int(number), "times": int(times)} if 0 <= times < _MOST_TIMES:
                return Answered(number, times)
            case _:
                raise MalformedError("", "expected an object with number and times")
    if message.type == ABLE_TYPE:
        return _able(fields)
    scope_id, replay_key = fields.get("scope_id"), fields.get("replay_key")
    if not isinstance(scope_id, str) or not isinstance(replay_key, str):
        raise MalformedError("", "expected an object with scope_id and replay_key")
    return Identity(scope_id, replay_key)


def _able(fields: dict[str, object]) -> Able:
    match fields:
        case {"queue": str(queue), "able": None}:
            return Able(queue, None)
        case {"queue": str(queue), "able": dict(), "asks": bool(asks)}:
            able = members_of(fields["able"])
            versions = {name: value for name, value in able.items() if isinstance(value, str)}
            return Able(queue, versions, asks)
        case _:
            raise MalformedError("", "expected an object with queue, able and asks")
