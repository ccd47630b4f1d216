"""
The rules of envelopes, effect scopes and outcomes that decoding does not check.

Decoding never applies them: a recorded envelope that breaks one can still be read and shown.
"""

from __future__ import annotations

from effectmq.protocol.encoding.rust_text import is_blank
from effectmq.protocol.errors import InvalidEnvelopeError
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope, envelope_problem
from effectmq.protocol.wire.outcome import wrong_outcome
from effectmq.protocol.wire.scopes import EffectScope

__all__ = [
    "envelope_problem",
    "scope_problem",
    "validate_envelope",
    "validate_scope",
    "wrong_outcome",
]

_SCOPE = "missing_effect_scope_id"


def validate_envelope(envelope: RuntimeEffectEnvelope) -> None:
    """
    Refuse an envelope that breaks a rule.

    Raises:
        InvalidEnvelopeError: With the code and message of the first rule that is broken.
    """
    problem = envelope_problem(envelope)
    if problem is not None:
        raise InvalidEnvelopeError(*problem)


def scope_problem(scope: EffectScope) -> tuple[str, str] | None:
    """
    Find out whether one of an effect scope's ids is blank.

    Returns:
        Code and message as the wire format fixes them, or ``None`` when no id is blank.
    """
    # Every member but the tag is an id, and the tag is never blank.
    if any(is_blank(value) for _, value in scope):
        return _SCOPE, "effect scopes require non-empty stable ids"
    return None


def validate_scope(scope: EffectScope) -> None:
    """
    Refuse an effect scope with a blank id.

    Raises:
        InvalidEnvelopeError: With code ``missing_effect_scope_id``.
    """
    problem = scope_problem(scope)
    if problem is not None:
        raise InvalidEnvelopeError(*problem)
