"""
Messages to all workers over the control exchange.

The notice of a cancellation: the journal has decided already, and the notice makes that known
before the next renewal of a lease. So it may get lost, arrive twice, or be forged: a worker that
gets it asks the journal.

Workers without a journal ask each other which of them has held a message (``Asked``,
``Answered``). The answers keep an effect from being parked for a death that did not happen; nothing
else depends on them. And each worker announces its abilities when it starts (``Able``).
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
#: No queue delivers a message more often.
_MOST_TIMES = 2**31
#: The types of a question to all workers, and of one worker's answer.
ASKED_TYPE = "effect.who-held.v1"
ANSWERED_TYPE = "effect.held.v1"
#: The type of an announcement of abilities.
ABLE_TYPE = "effect.able.v1"
NOTICE_TYPES = (NOTICE_TYPE, ASKED_TYPE, ANSWERED_TYPE, ABLE_TYPE)


@dataclass(frozen=True, slots=True)
class Asked:
    """
    The question to all workers whether they have held a message.

    Attributes:
        key: Names the message.
        number: Names the question.
        reply_to: The control queue of the worker that asks.
    """

    key: str
    number: int
    reply_to: str


@dataclass(frozen=True, slots=True)
class Answered:
    """
    The answer of a worker that has held the message.

    Attributes:
        number: The number of the question.
        times: How often the message was delivered to this worker.
    """

    number: int
    times: int


@dataclass(frozen=True, slots=True)
class Able:
    """
    The announcement of a worker's abilities.

    Attributes:
        queue: The control queue of the worker.
        able: Its abilities, each with its version; ``None`` when the worker leaves.
        asks: Whether other workers should answer with theirs.
    """

    queue: str
    able: Mapping[str, str] | None
    asks: bool = False


def able_notice(said: Able) -> Message:
    """The message that announces abilities."""
    able = None if said.able is None else dict(said.able)
    tree: dict[str, object] = {"queue": said.queue, "able": able, "asks": said.asks}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=ABLE_TYPE)


def asked_notice(asked: Asked) -> Message:
    """The message with a question."""
    tree: dict[str, object] = {
        "message": asked.key,
        "number": asked.number,
        "reply_to": asked.reply_to,
    }
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=ASKED_TYPE)


def answered_notice(answered: Answered) -> Message:
    """The message with an answer."""
    tree: dict[str, object] = {"number": answered.number, "times": answered.times}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=ANSWERED_TYPE)


def cancel_notice(identity: Identity) -> Message:
    """The message that says that an effect was cancelled."""
    tree: dict[str, object] = {"scope_id": identity.scope_id, "replay_key": identity.replay_key}
    return Message(body=encode_tree(tree, JSON), content_type=JSON, type=NOTICE_TYPE)


def read_notice(
    message: Message, limits: Limits | None = None
) -> Identity | Asked | Answered | Able:
    """
    Read a notice: a cancelled effect, a question, an answer, or abilities.

    Raises:
        MalformedError: When it is none of these; carries the path.
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
