"""
The content of a dead letter: its body decoded as far as possible, and a record of it for export.

Nothing is refused here. A letter that is not an envelope is shown as JSON data, and one that is not
even that as bytes; a sentence says what prevents a replay.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.letters.facts import row_of
from effectmq.protocol.encoding.codec import Limits, decode_tree
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.limits import HARD_MAX_STORED_BODY_BYTES
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import AttachmentError, ProtocolError
from effectmq.protocol.kinds import kind_of
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import known_body
from effectmq.protocol.messages.dead_letter import DeadLetter, revived_message
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["MASK", "DeadContent", "dead_facts", "dead_record", "fetch_content", "read_content"]

#: The text in an export where a value was removed.
MASK = "***"

#: Showing a letter has a larger limit than carrying it out.
_LOOKING = Limits(max_body_bytes=HARD_MAX_STORED_BODY_BYTES)

#: Shorter secrets cannot be distinguished from ordinary words in an error text.
_MIN_SECRET_CHARACTERS = 4

#: Facts that have their own member in a record.
_TOLD_APART = {
    names.HASH,
    names.REPLAY_KEY,
    names.ATTEMPT,
    names.KIND,
    names.ROUTE,
    names.PARK_REASON,
    names.PARK_CODE,
    names.PARK_MESSAGE,
    names.PARKED_AT,
    names.PARKED_BY,
    names.EDITED_FROM,
}


Form = Literal["envelope", "outcome", "json", "bytes"]


@dataclass(frozen=True, slots=True)
class DeadContent:
    """
    The body of a dead letter, decoded as far as possible.

    Attributes:
        form: The form of the body: an envelope, an outcome that was not delivered, other JSON data,
            or other bytes.
        tree: The data; ``None`` for bytes.
        request: The effect in the form of its replay, when it can be replayed unchanged.
        problem: Why it cannot be replayed unchanged; empty when it can.
    """

    form: Form
    tree: JsonValue
    request: Request | None
    problem: str


def read_content(letter: DeadLetter, limits: Limits | None = None) -> DeadContent:
    """
    Decode a letter's body as far as possible.

    Args:
        letter: Any dead letter, raw ones included.
        limits: The limits of a worker.
    """
    if letter.is_outcome:
        return _outcome(letter)
    try:
        request = read_request(revived_message(letter), limits)
    except ProtocolError as problem:
        return _not_an_effect(letter, describe(problem))
    tree = to_tree(request.envelope)
    if request.kind != kind_of(letter.route):
        route = printable(letter.route, 100)
        other = f"the envelope is a {request.kind} and came on the route {route!r}"
        return DeadContent("envelope", tree, None, other)
    return DeadContent("envelope", tree, request, "")


async def fetch_content(
    letter: DeadLetter, limits: Limits | None = None, bodies: LargeBodies | None = None
) -> DeadContent:
    """
    Decode a letter's body, and fetch it first when it is kept out of line.

    Args:
        letter: Any dead letter, raw ones included.
        limits: The limits of a worker.
        bodies: Fetches bodies; without it, bodies out of line cannot be shown.
    """
    if bodies is None or names.BODY not in letter.message.headers:
        return read_content(letter, limits)
    try:
        message = await bodies.incoming(letter.message)
    except (AttachmentError, ProtocolError) as problem:
        return DeadContent("bytes", None, None, describe(problem))
    content = read_content(replace(letter, message=message), bodies.limits(limits or Limits()))
    if content.request is None:
        return content
    # A replay publishes the small message.
    request = replace(content.request, message=revived_message(letter))
    return replace(content, request=request)


def _outcome(letter: DeadLetter) -> DeadContent:
    """An outcome is replayed by delivering it unchanged."""
    message = letter.message
    try:
        tree = decode_tree(message.body, message.content_type or recognised(message.body), _LOOKING)
    except ProtocolError:
        return DeadContent("bytes", None, None, "")
    return DeadContent("outcome", tree, None, "")


def _not_an_effect(letter: DeadLetter, problem: str) -> DeadContent:
    message = letter.message
    try:
        tree = decode_tree(message.body, message.content_type or recognised(message.body), _LOOKING)
    except ProtocolError:
        return DeadContent("bytes", None, None, problem)
    try:
        envelope = to_tree(from_tree(RuntimeEffectEnvelope, tree))
    except ProtocolError:
        return DeadContent("json", tree, None, problem)
    return DeadContent("envelope", envelope, None, problem)


def dead_record(
    letter: DeadLetter, content: DeadContent, *, redact: Sequence[str] = ()
) -> tuple[dict[str, Any], set[str]]:
    """
    Everything about a letter as JSON data, always with the same members.

    Args:
        letter: The letter.
        content: Its content.
        redact: Paths whose values are masked, for instance ``user.password``, ``items.*.key`` or
            ``command.code``. They start at the arguments of a tool call, or at the envelope when
            they begin with ``command`` or ``invocation``. A body that is no envelope is left out,
            because the place of a secret in it is unknown.

    Returns:
        The record, and the paths that were found.
    """
    found: set[str] = set()
    secrets: set[str] = set()
    tree = content.tree if content.form == "envelope" or not redact else None
    for path in redact:
        tree, masked = _redacted(tree, path)
        if masked:
            found.add(path)
            secrets.update(masked)
    sha256, size_bytes = known_body(letter.message)
    hidden = content.form != "bytes" or bool(redact)
    facts = dead_facts(letter)
    record = {
        **facts,
        "detail": _without(letter.detail, secrets),
        "error": _without(facts["error"], secrets),
        "problem": _without(content.problem, secrets),
        "redacted": sorted(found),
        "form": content.form,
        "envelope": tree,
        "body_bytes": size_bytes,
        "body_sha256": sha256,
        "body_base64": None if hidden else b64encode(letter.message.body).decode(),
    }
    return record, found


def dead_facts(letter: DeadLetter) -> dict[str, Any]:
    """What a letter is, and what it is found by, as JSON data."""
    message = letter.message
    inside = row_of(letter)
    return {
        "id": letter.id,
        "effect_id": letter.effect_id,
        "replay_key": letter.replay_key,
        "hash": letter.hash,
        "kind": letter.kind,
        "route": letter.route,
        "tool": inside.tool,
        "model": inside.model,
        "session_id": inside.session_id,
        "turn_id": inside.turn_id,
        "reason": letter.reason,
        "code": letter.code,
        "detail": letter.detail,
        "error": inside.error,
        "attempts": letter.attempts,
        "deaths": letter.deaths,
        "former_deaths": letter.former_deaths,
        "parked_ms": letter.parked_ms,
        "parked_by": letter.parked_by,
        "edited_from": letter.edited_from,
        "reply_to": message.reply_to,
        "content_type": message.content_type,
        "type": message.type,
        "message_id": message.message_id,
        "timestamp_s": message.timestamp,
        "headers": {
            name: value for name, value in message.headers.items() if name not in _TOLD_APART
        },
    }


def _redacted(tree: JsonValue, path: str) -> tuple[JsonValue, set[str]]:
    steps = path.split(".")
    if steps[0] not in ("command", "invocation"):
        steps = ["command", "call", "args", *steps]
    masked: set[str] = set()
    return _masked(tree, steps, masked), masked


def _masked(value: JsonValue, steps: list[str], masked: set[str]) -> JsonValue:
    """A copy with the values of a path masked; the texts among them are added to ``masked``."""
    if not steps:
        # Something must be noted even when there is no text to look for elsewhere.
        masked.update(_texts(value) or {""})
        return MASK
    step, rest = steps[0], steps[1:]
    if isinstance(value, dict):
        return {
            name: _masked(member, rest, masked) if step in ("*", name) else member
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [
            _masked(item, rest, masked) if step in ("*", str(at)) else item
            for at, item in enumerate(value)
        ]
    return value


def _texts(value: JsonValue) -> set[str]:
    if isinstance(value, str):
        return {value}
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, list):
        inside = value
    return {text for item in inside for text in _texts(item)}


def _without(text: str, secrets: Collection[str]) -> str:
    """The text without secrets, because an error often repeats the argument that it is about."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_SECRET_CHARACTERS:
            text = text.replace(secret, MASK)
    return text
