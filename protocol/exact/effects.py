"""
The parts of the envelope of an effect, made of plain values without validation.

Each function returns what the models would have made, and asks them when a value is not exactly of
the type: they convert it, or refuse it with their sentence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from effectmq.protocol.encoding.opaque import MAX_DEPTH, ordered
from effectmq.protocol.exact import compact
from effectmq.protocol.exact.shapes import MAX_COUNT, NotExact, is_unicode
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefEffect,
    RuntimeEffectKind,
    RuntimeInvocation,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = [
    "causal_ref",
    "effect_invocation",
    "prepared_tool_call",
    "tool_call_envelope",
    "turn_scope",
]


def turn_scope(
    session_id: str, turn_id: str, turn_index: int, protocol_iteration: int
) -> RuntimeScope:
    """
    ``RuntimeScope.for_turn``.

    Raises:
        MalformedError: When an argument is not of its type.
    """
    if not (
        is_unicode(session_id)
        and is_unicode(turn_id)
        and _is_count(turn_index)
        and _is_count(protocol_iteration)
    ):
        return RuntimeScope.for_turn(session_id, turn_id, turn_index, protocol_iteration)
    return _scope(session_id, turn_id, turn_index, protocol_iteration)


# Thousands of effects of one turn may wait, and their scope is one.
@lru_cache(maxsize=64)
def _scope(session_id: str, turn_id: str, turn_index: int, protocol_iteration: int) -> RuntimeScope:
    return compact.scope(session_id, turn_id, turn_index, protocol_iteration)


def causal_ref(invocation: RuntimeInvocation) -> CausalRef:
    """
    ``RuntimeInvocation.causal_ref``.

    Raises:
        MalformedError: When somebody has put a value of another type into the invocation.
    """
    scope, subject = invocation.scope, invocation.subject
    if not (
        type(invocation) is RuntimeInvocation
        and type(scope) is RuntimeScope
        and type(subject) is RuntimeSubjectEffect
        and is_unicode(scope.session_id)
        and (scope.turn_id is None or is_unicode(scope.turn_id))
        and is_unicode(subject.effect_id)
    ):
        return invocation.causal_ref()
    return compact.cause(scope.session_id, scope.turn_id, subject.effect_id)


def effect_invocation(
    scope: RuntimeScope,
    effect_id: str,
    kind: RuntimeEffectKind,
    replay_key: str,
    caused_by: CausalRef | None = None,
) -> RuntimeInvocation:
    """
    ``RuntimeInvocation.effect``.

    Raises:
        MalformedError: When an argument is not of its type.
    """
    if not (
        type(scope) is RuntimeScope
        and is_unicode(effect_id)
        and type(kind) is str
        and kind in EFFECT_KINDS
        and is_unicode(replay_key)
        and (caused_by is None or _is_effect(caused_by))
    ):
        return RuntimeInvocation.effect(scope, effect_id, kind, replay_key, caused_by)
    subject = compact.subject(effect_id, kind)
    replay = compact.replay(replay_key)
    return compact.invocation(scope, subject, caused_by, replay)


def prepared_tool_call(call_id: str, tool_name: str, args: dict[str, Any]) -> PreparedToolCall:
    """
    A tool call.

    Raises:
        MalformedError: When the arguments are not JSON, or a name is not text.
    """
    try:
        if not (is_unicode(call_id) and is_unicode(tool_name)):
            raise NotExact
        plain = ordered(args, MAX_DEPTH)
    except Exception:
        # What the arguments raise is told in the sentence of the models, or is the caller's own.
        return PreparedToolCall(call_id=call_id, tool_name=tool_name, args=args)
    return compact.call(call_id, tool_name, plain)


def tool_call_envelope(
    invocation: RuntimeInvocation, call: PreparedToolCall
) -> RuntimeEffectEnvelope:
    """
    The envelope of a tool call.

    Raises:
        MalformedError: When these are something else.
    """
    if not (type(invocation) is RuntimeInvocation and type(call) is PreparedToolCall):
        command = RuntimeEffectCommandToolCall(call=call)
        return RuntimeEffectEnvelope(invocation=invocation, command=command)
    return compact.envelope(invocation, compact.command(call))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_effect(cause: CausalRef) -> bool:
    return type(cause) is CausalRefEffect and cause.type == "effect"
