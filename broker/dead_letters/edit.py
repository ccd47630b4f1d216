"""
Editing a dead letter: the effect keeps its name and gets another envelope and hash.

The producer's reply queue, its effect scope and its trace stay. Effect id and replay key are part
of the envelope, so they stay unless the edit changes them. The hash changes, and a producer that
waits for the outcome finds it under the new hash. ``effect-edited-from`` keeps the old one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from effectmq.broker.dead_letters.content import read_content
from effectmq.protocol.encoding.codec import Limits
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.identity.digests import effect_scope_of, scope_id
from effectmq.protocol.kinds import kind_of
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import known_body
from effectmq.protocol.messages.chosen.priority import read_priority
from effectmq.protocol.messages.chosen.tenant import known_tenant
from effectmq.protocol.messages.chosen.version import known_version
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.messages.message import HeaderValue, Message, content_type_of
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.scopes import EffectScope

__all__ = ["DeadEdit", "edit_letter"]


@dataclass(frozen=True, slots=True)
class DeadEdit:
    """
    A letter, and the effect that is published in its place.

    Attributes:
        letter: The letter as it was parked.
        request: The edited effect.
        message: Its message.
        route: The route to which it is published: the letter's route, or the kind of the edited
            envelope when the edit changed the kind.
        edited_from: The hash before the edit.
    """

    letter: DeadLetter
    request: Request
    message: Message
    route: str
    edited_from: str


def edit_letter(
    letter: DeadLetter, document: bytes | str, limits: Limits | None = None
) -> DeadEdit:
    """
    Put another envelope into a letter.

    Args:
        letter: Any dead letter; one that cannot be read can be repaired this way.
        document: The whole envelope as JSON.
        limits: The limits of a worker.

    Raises:
        MalformedError: When it is not JSON, or not an envelope; carries the path. When the letter
            holds an outcome, which is delivered as it is.
        InvalidEnvelopeError: When it breaks a rule of the envelope.
        PayloadTooLargeError: When it is over the size cap.
    """
    if letter.is_outcome:
        raise MalformedError(
            "",
            f"the letter {letter.id} holds an outcome and no envelope to edit; replay it unchanged "
            "to deliver it, or submit the edited envelope as a separate effect",
        )
    envelope = from_tree(RuntimeEffectEnvelope, parse_json(document))
    old = letter.message
    request = Request.seal(
        envelope,
        reply_to=old.reply_to,
        content_type=content_type_of(old),
        scope=_kept_scope(letter, envelope),
        tenant=known_tenant(old.headers),
        version=known_version(old.headers),
        priority=read_priority(old.headers),
        timestamp_s=old.timestamp,
        traceparent=_text(old, names.TRACEPARENT),
        tracestate=_text(old, names.TRACESTATE),
        out_of_line=old.headers.get(names.OUT_OF_LINE) is True,
        limits=limits,
    )
    before = _hash_before(letter, limits)
    # The headers of the new envelope replace those that a replay of the old one would keep.
    numbers = _numbers(letter) if _is_same_effect(letter, request, limits) else {}
    headers = {**request.message.headers, **numbers, names.EDITED_FROM: before}
    message = replace(request.message, headers=headers)
    same_kind = request.kind == kind_of(letter.route)
    return DeadEdit(letter, request, message, letter.route if same_kind else request.kind, before)


def _numbers(letter: DeadLetter) -> dict[str, HeaderValue]:
    """The number of the parking, and the deaths before it."""
    return {
        name: value
        for name, value in names.revived(letter.message.headers).items()
        if name in (names.PARK_NUMBER, names.FORMER_DEATHS)
    }


def _is_same_effect(letter: DeadLetter, edited: Request, limits: Limits | None) -> bool:
    """
    Whether the edit left the effect its name.

    The number of a parking allows a worker to replace the record under the effect's name. Under the
    name of another effect, which may have been parked as often, it would replace the record of
    that.
    """
    before = read_content(letter, limits).request
    if before is not None:
        return before.identity == edited.identity
    return _text(letter.message, names.REPLAY_KEY) == edited.replay_key


def _text(message: Message, name: str) -> str:
    value = message.headers.get(name, "")
    return value if isinstance(value, str) else ""


def _kept_scope(letter: DeadLetter, envelope: RuntimeEffectEnvelope) -> EffectScope | None:
    """The scope that was sent along, if it can be read; it is part of the identity."""
    given = letter.message.headers.get(names.SCOPE)
    if not isinstance(given, str):
        return None
    try:
        scope: EffectScope = from_tree(EffectScope, parse_json(given))
    except MalformedError:
        # It may be the reason of the parking; without it the invocation gives the scope.
        return None
    return None if scope_id(scope) == scope_id(effect_scope_of(envelope.invocation)) else scope


def _hash_before(letter: DeadLetter, limits: Limits | None) -> str:
    if letter.hash:
        return letter.hash
    request = read_content(letter, limits).request
    return request.hash if request is not None else f"body:{known_body(letter.message)[0]}"
