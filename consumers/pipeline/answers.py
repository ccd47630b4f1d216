"""What a caller is told: built from an outcome, an error or a record, and encoded within limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

from effectmq.broker.store.journal.records import Recorded
from effectmq.consumers.decisions.delivery import Park
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message, content_type_of
from effectmq.protocol.messages.reply import Answer, encode_reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.outcome_values import OutcomeFailure

__all__ = [
    "KnownAnswer",
    "Ready",
    "encoded_answer",
    "error_json_of",
    "error_of",
    "failure_json",
    "ready_answer",
    "recorded_result",
    "to_caller",
]

#: What a message adds to the one answer in it, in bytes.
_LIST_BYTES = 8


class Ready(NamedTuple):
    """An outcome that is ready to be sent: as an answer, as bytes, and as its record."""

    answer: Answer
    encoded: bytes
    recorded: str


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """
    An answer that can be given now, with its parking when the effect was given up.

    Attributes:
        answer: The answer.
        park_reason: Why the effect was given up, when its dead letter may not be out yet.
        parks: The number of that parking; 0 where no journal counts them.
    """

    answer: Answer
    park_reason: str = ""
    parks: int = 0

    @property
    def error(self) -> tuple[str, str]:
        """Code and message of the controller error."""
        match self.answer.result:
            case {"Err": {"code": str(code), "message": str(message)}}:
                return code, message
            case _:
                return "", ""


def error_of(action: Park) -> dict[str, object]:
    """The controller error of an effect that is given up on, as a result."""
    return {"Err": {"code": printable(action.code, 200), "message": printable(action.message)}}


def error_json_of(result: dict[str, object]) -> str:
    """The controller error of a result, as it is recorded."""
    return canonical_json(cast("JsonValue", result["Err"])).decode()


def failure_json(failure: OutcomeFailure) -> str:
    """Code and message of an outcome that is a failure, as they are recorded beside it."""
    return error_json_of(error_of(Park("rejected", failure.code, failure.message)))


def recorded_result(recorded: Recorded) -> dict[str, object]:
    """The result that stands in the journal."""
    if recorded.outcome_json:
        return {"Ok": parse_json(recorded.outcome_json)}
    return {"Err": parse_json(recorded.error_json)}


def to_caller(
    request: Request | None,
    message: Message,
    result: dict[str, object],
    *,
    attempt: int = 1,
    replayed: bool = False,
) -> Answer:
    """
    The answer for the sender of a message, who is known even when the body cannot be read.

    Args:
        request: What was read of it, if it could be read.
        message: The message.
        result: ``{"Ok": …}`` or ``{"Err": …}``.
        attempt: The number of the attempt that gave the result.
        replayed: Whether the result comes from the journal.
    """
    if request is not None:
        return Answer(
            request.effect_id, request.replay_key, request.hash, result, attempt, replayed
        )
    known = message.headers
    return Answer(
        message.correlation_id,
        str(known.get(names.REPLAY_KEY, "")),
        str(known.get(names.HASH, "")),
        result,
    )


def ready_answer(
    request: Request,
    message: Message,
    outcome: RuntimeEffectOutcome | WrittenOutcome,
    limits: Limits,
    *,
    recorded: bool,
) -> Ready | Park:
    """
    An outcome in the forms in which it is sent and recorded, or why it cannot be sent.

    Args:
        request: The effect.
        message: What arrived.
        outcome: Of the handler.
        limits: What an answer may be.
        recorded: Whether its record is wanted.
    """
    try:
        tree, finite = _tree_of(outcome)
        printed = canonical_json(tree, finite=finite) if recorded else b""
    except MalformedError as problem:
        return Park("rejected", "effectmq_outcome_unencodable", describe(problem))
    answer = Answer(
        request.effect_id, request.replay_key, request.hash, {"Ok": tree}, request.attempt
    )
    encoded = encoded_answer(answer, content_type_of(message), limits.max_body_bytes, printed)
    return encoded if isinstance(encoded, Park) else Ready(answer, encoded, printed.decode())


def _tree_of(outcome: RuntimeEffectOutcome | WrittenOutcome) -> tuple[dict[str, object], bool]:
    """The tree of an outcome, and whether its numbers are known to be finite."""
    if isinstance(outcome, WrittenOutcome):
        return outcome.tree, True
    return to_tree(outcome), False


def encoded_answer(
    answer: Answer, content_type: str, limit: int, printed: bytes = b""
) -> bytes | Park:
    """
    The answer as bytes, or what to do when it cannot be sent.

    Args:
        answer: The answer.
        content_type: Its encoding.
        limit: The largest body, in bytes.
        printed: The canonical JSON of its outcome, when it is at hand.
    """
    try:
        encoded = encode_reply(answer, content_type, printed)
    except MalformedError as problem:
        return Park("rejected", "effectmq_outcome_unencodable", describe(problem))
    if len(encoded) + _LIST_BYTES <= limit:
        return encoded
    return Park(
        "rejected",
        "effectmq_outcome_too_large",
        f"the outcome is {len(encoded)} bytes and the limit is {limit}; keep large results "
        "outside and return a reference",
    )
