"""
What a dead letter is found by, read out of its headers and as much of its body as can be read.

Everything here may come from a stranger, and letters that cannot be carried out are the normal
case. So nothing is refused: what is missing, or is of another shape, is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from effectmq.protocol.encoding.codec import Limits, decode_tree
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.limits import HARD_MAX_STORED_BODY_BYTES
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.errors import ProtocolError
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.text import printable

__all__ = ["LetterFacts", "clipped", "fingerprint", "read_facts", "row_of", "tree_of"]

_LOOKING = Limits(max_body_bytes=HARD_MAX_STORED_BODY_BYTES)

#: What is in an index together must stay under the 2,704 bytes that PostgreSQL has for a row.
_MAX_BYTES = {
    "session_id": 400,
    "turn_id": 400,
    "effect_id": 1_024,
    "replay_key": 1_024,
    "reply_to": 1_024,
    "detail": 2_048,
}
_MAX_NAME_BYTES = 200

#: What differs between two errors of one cause: quoted values, and words with digits in them.
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|\b\w*\d\w*\b")
_REPEATED = re.compile(r"…(?:[\s,.:/-]*…)+")
_OWN_CODES = "effectmq_"


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """
    One letter as it is listed, counted and found.

    Attributes:
        id: The letter's id.
        parked_ms: When, Unix milliseconds; 0 when unknown.
        reason: Why it was parked; ``raw`` for what the broker put there by itself.
        kind: The effect kind, empty when unknown.
        route: Where a replay is published.
        tool: The tool that a tool call is for.
        model: The model that a model call is for.
        code: The controller error's code.
        error: The error without what differs from case to case; see ``fingerprint``.
        session_id: The session of the effect.
        turn_id: Its turn.
        effect_id: The effect.
        replay_key: Its key.
        hash: Its hash.
        edited_from: The hash before an edit, if there was one.
        attempts: How many were made.
        deaths: How many workers died while they held it.
        former_deaths: How many had before an earlier replay.
        parked_by: The worker that parked it.
        reply_to: The queue that wants the outcome.
        body_bytes: The size of the body in the message.
        detail: The controller error's message.
    """

    id: str
    parked_ms: int
    reason: str
    kind: str
    route: str
    tool: str
    model: str
    code: str
    error: str
    session_id: str
    turn_id: str
    effect_id: str
    replay_key: str
    hash: str
    edited_from: str
    attempts: int
    deaths: int
    former_deaths: int
    parked_by: str
    reply_to: str
    body_bytes: int
    detail: str


def tree_of(letter: DeadLetter) -> object:
    """The body as plain data; ``None`` when it is none."""
    message = letter.message
    try:
        return decode_tree(message.body, message.content_type or recognised(message.body), _LOOKING)
    except ProtocolError:
        return None


@dataclass(frozen=True, slots=True)
class BodyFacts:
    """What the body of a letter says of it."""

    tool: str
    model: str
    session_id: str
    turn_id: str
    effect_id: str


def read_facts(tree: object) -> BodyFacts:
    """Read an envelope that may be anything."""
    members = members_of(tree)
    invocation, command = members_of(members.get("invocation")), members_of(members.get("command"))
    scope, subject = members_of(invocation.get("scope")), members_of(invocation.get("subject"))
    kind = command.get("type")
    model = members_of(command.get("request")).get("model") if kind in _OF_MODELS else None
    tool = members_of(command.get("call")).get("tool_name") if kind == "tool_call" else None
    return BodyFacts(
        tool=clipped("tool", tool),
        model=clipped("model", model),
        session_id=clipped("session_id", scope.get("session_id")),
        turn_id=clipped("turn_id", scope.get("turn_id")),
        effect_id=clipped("effect_id", subject.get("effect_id")),
    )


_OF_MODELS = ("llm_call", "direct")


def row_of(letter: DeadLetter, tree: object = None) -> LetterFacts:
    """
    What a letter is found by.

    Args:
        letter: Any dead letter.
        tree: Its body as data, when somebody has decoded it, or has it from elsewhere.
    """
    inside = read_facts(tree_of(letter) if tree is None else tree)
    return LetterFacts(
        id=letter.id,
        parked_ms=min(max(0, letter.parked_ms), _LARGEST),
        reason=clipped("reason", letter.reason),
        kind=clipped("kind", letter.kind),
        route=clipped("route", letter.route),
        tool=inside.tool,
        model=inside.model,
        code=clipped("code", letter.code),
        error=fingerprint(letter),
        session_id=inside.session_id,
        turn_id=inside.turn_id,
        # A producer in another language need not send it; the body has it.
        effect_id=clipped("effect_id", letter.effect_id) or inside.effect_id,
        replay_key=clipped("replay_key", letter.replay_key),
        hash=clipped("hash", letter.hash),
        edited_from=clipped("edited_from", letter.edited_from),
        attempts=_count(letter.attempts),
        deaths=_count(letter.deaths),
        former_deaths=_count(letter.former_deaths),
        parked_by=clipped("parked_by", letter.parked_by),
        reply_to=clipped("reply_to", letter.message.reply_to),
        body_bytes=len(letter.message.body),
        detail=clipped("detail", letter.detail),
    )


#: The largest whole number that a column holds.
_LARGEST = 2**63 - 1


def _count(value: int) -> int:
    return min(max(0, value), _LARGEST)


def fingerprint(letter: DeadLetter) -> str:
    """
    The error of a letter without what differs from case to case, so that like ones are counted.

    Quoted values and words with digits in them become an ellipsis. Our own codes repeat the
    reason, so that only those of handlers come before the text.
    """
    text = _REPEATED.sub("…", _VARIABLE.sub("…", printable(letter.detail, _MAX_BYTES["detail"])))
    code = "" if letter.code.startswith(_OWN_CODES) else letter.code
    return clipped("error", f"{code}: {text}" if code else text)


def clipped(column: str, value: object) -> str:
    """
    A text that every database keeps and no index refuses; empty for what is none.

    Args:
        column: Where it is kept; a filter asks for it in the same form.
        value: Anything.
    """
    if not isinstance(value, str):
        return ""
    most = _MAX_BYTES.get(column, _MAX_NAME_BYTES)
    return printable(value, most).encode()[:most].decode(errors="ignore")
