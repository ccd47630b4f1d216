"""
Outcomes on their way back: one message, one or more answers.

Body: a list of ``{effect_id, replay_key, hash, attempt, replayed, result}`` where ``result`` is
``{"Ok": outcome}`` or ``{"Err": {code, message}}``, in the content type of the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, Limits, decode_tree, encode_plain
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS, is_sound
from effectmq.protocol.encoding.narrowing import is_array, is_just_dict, is_object, members_of
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import MalformedError, UnsupportedVersionError
from effectmq.protocol.exact.outcomes import outcome_of
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import refuse_reference
from effectmq.protocol.messages.message import Message
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError, RuntimeEffectOutcome

__all__ = [
    "OUTCOME_TYPE",
    "Answer",
    "Reply",
    "encode_reply",
    "is_kept_outcome",
    "join_replies",
    "read_replies",
]

#: The list around the answers counts as one level and one element of the body.
_ANSWER_LIMITS = Limits(
    max_depth=DEFAULT_LIMITS.max_depth - 1, max_elements=DEFAULT_LIMITS.max_elements - 1
)

#: The AMQP ``type`` of a message that carries outcomes.
OUTCOME_TYPE = "effect.outcome.v1"

#: The first bytes of a list, in JSON and in MessagePack.
_LIST_STARTS = frozenset([b"[", b"\xdc", b"\xdd", *(bytes([0x90 | count]) for count in range(16))])


def is_kept_outcome(message: Message) -> bool:
    """
    Whether a message on a work queue or among the dead letters is an outcome on its way.

    A stranger's envelope of this type is not one: answers are a list, or are kept out of line, and
    they name their reply queue.
    """
    if message.type != OUTCOME_TYPE or not message.reply_to:
        return False
    return names.BODY in message.headers or message.body[:1] in _LIST_STARTS


@dataclass(frozen=True, slots=True)
class Reply:
    """
    The result of one effect.

    Attributes:
        effect_id: The effect's id inside its scope.
        replay_key: Its replay key.
        hash: The hash of the envelope that was carried out.
        result: The outcome, or a controller error in its place.
        attempt: The attempt that gave it, from 1.
        replayed: Whether it was answered from a record, without running.
    """

    effect_id: str
    replay_key: str
    hash: str
    result: RuntimeEffectOutcome | RuntimeEffectControllerError
    attempt: int = 1
    replayed: bool = False

    def tree(self) -> dict[str, object]:
        """The answer as plain data, in the wire's member order."""
        failed = isinstance(self.result, RuntimeEffectControllerError)
        result: dict[str, object] = {"Err" if failed else "Ok": to_tree(self.result)}
        return Answer(
            self.effect_id, self.replay_key, self.hash, result, self.attempt, self.replayed
        ).tree()


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A reply to be sent: its result is plain data, in the form in which it is recorded.

    Attributes:
        effect_id: The effect's id inside its scope.
        replay_key: Its replay key.
        hash: The hash of the envelope that was carried out.
        result: ``{"Ok": outcome}`` or ``{"Err": {code, message}}``.
        attempt: The attempt that gave it, from 1.
        replayed: Whether it was answered from a record, without running.
    """

    effect_id: str
    replay_key: str
    hash: str
    result: dict[str, object]
    attempt: int = 1
    replayed: bool = False

    @property
    def failed(self) -> bool:
        """Whether it is a controller error."""
        return "Err" in self.result

    def tree(self) -> dict[str, object]:
        """The answer as plain data, in the wire's member order."""
        return {
            "effect_id": self.effect_id,
            "replay_key": self.replay_key,
            "hash": self.hash,
            "attempt": self.attempt,
            "replayed": self.replayed,
            "result": self.result,
        }


def encode_reply(reply: Reply | Answer, content_type: str, printed: bytes = b"") -> bytes:
    """
    One answer in the form of a body, for ``join_replies``.

    Args:
        reply: The answer.
        content_type: Its encoding.
        printed: The canonical JSON of its outcome, when it is at hand; it is not printed again.

    Raises:
        MalformedError: When the outcome holds something that the wire cannot carry.
    """
    tree = reply.tree()
    if content_type == JSON and is_sound(tree, _ANSWER_LIMITS):
        try:
            return _printed(tree, printed)
        except MalformedError:
            pass  # encode_plain says where it is
    return encode_plain(tree, content_type, _ANSWER_LIMITS)


def _printed(tree: dict[str, object], outcome: bytes) -> bytes:
    if not outcome:
        return canonical_json(tree, finite=True)
    rest = {name: value for name, value in tree.items() if name != "result"}
    return b'%b,"result":{"Ok":%b}}' % (canonical_json(rest, finite=True)[:-1], outcome)


def join_replies(encoded: list[bytes], content_type: str) -> bytes:
    """The body of a message with these answers; none is encoded again."""
    if content_type == JSON:
        return b"[" + b",".join(encoded) + b"]"
    count = len(encoded)
    return b"".join((_array_header(count), *encoded))


def _array_header(count: int) -> bytes:
    """The shortest msgpack header of a list, as a packer would write it."""
    if count < 16:
        return bytes([0x90 | count])
    if count < 65_536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def read_replies(message: Message, limits: Limits | None = None) -> list[Reply]:
    """
    Read a message on a reply queue.

    Raises:
        UnsupportedVersionError: When the message type is another one.
        MalformedError: When the body is not a list of answers; carries the path.
    """
    if message.type not in ("", OUTCOME_TYPE):
        raise UnsupportedVersionError(message.type, OUTCOME_TYPE)
    refuse_reference(message)
    content_type = message.content_type or recognised(message.body)
    tree = decode_tree(message.body, content_type, limits or DEFAULT_LIMITS)
    if not is_array(tree) or not tree:
        raise MalformedError("", f"found {type(tree).__name__}, expected a list of answers")
    return [_read(index, item) for index, item in enumerate(tree)]


def _read(index: int, item: object) -> Reply:
    if not is_just_dict(item) or item.keys() != _MEMBERS:
        return _read_other(index, item)
    effect_id, replay_key, hash_, attempt, replayed, result = _members(item)
    if (
        type(effect_id) is str
        and type(replay_key) is str
        and type(hash_) is str
        and type(attempt) is int
        and is_just_dict(result)
        and [*result] == _DONE
    ):
        outcome = outcome_of(result["Ok"])
        return Reply(effect_id, replay_key, hash_, outcome, attempt, replayed is True)
    return _read_other(index, item)


_DONE = ["Ok"]
_NAMES = ("effect_id", "replay_key", "hash", "attempt", "replayed", "result")
_MEMBERS = frozenset(_NAMES)
_members = itemgetter(*_NAMES)


def _read_other(index: int, item: object) -> Reply:
    """An answer that is an error, or has other members, or is none."""
    path = f"[{index}]"
    if not is_object(item):
        raise MalformedError(path, f"found {type(item).__name__}, expected an object")
    return Reply(
        _text(path, item, "effect_id"),
        _text(path, item, "replay_key"),
        _text(path, item, "hash"),
        _result(index, item.get("result")),
        _integer(path, item, "attempt"),
        item.get("replayed") is True,
    )


def _result(index: int, found: object) -> RuntimeEffectOutcome | RuntimeEffectControllerError:
    result = members_of(found)
    if len(result) == 1 and "Ok" in result:
        return outcome_of(result["Ok"])
    if len(result) == 1 and "Err" in result:
        return from_tree(RuntimeEffectControllerError, result["Err"])
    raise MalformedError(f"[{index}].result", "expected an object with either Ok or Err")


def _text(path: str, fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise MalformedError(f"{path}.{name}", f"found {type(value).__name__}, expected text")
    return value


def _integer(path: str, fields: dict[str, object], name: str) -> int:
    value = fields.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedError(f"{path}.{name}", f"found {value!r}, expected an integer")
    return value
