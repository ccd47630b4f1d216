"""The rules of envelopes, scopes and outcomes."""

from __future__ import annotations

import pytest

from effectmq.protocol.encoding.rust_text import WHITE_SPACE, is_blank, trimmed
from effectmq.protocol.errors import InvalidEnvelopeError
from effectmq.protocol.identity.validation import (
    envelope_problem,
    scope_problem,
    validate_envelope,
    validate_scope,
    wrong_outcome,
)
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubject,
    RuntimeSubjectEffect,
    RuntimeSubjectProcess,
)
from effectmq.protocol.wire.scopes import (
    EffectScope,
    EffectScopeCron,
    EffectScopeHostEvent,
    EffectScopeProcess,
    EffectScopeQueueDrain,
    EffectScopeRuntimeOperation,
    EffectScopeSessionDelete,
    EffectScopeTurn,
)


def _envelope(subject: RuntimeSubject, key: str | None = "k") -> RuntimeEffectEnvelope:
    replay = RuntimeReplay(key=key) if key is not None else None
    scope = RuntimeScope(session_id="s")
    invocation = RuntimeInvocation(scope=scope, subject=subject, replay=replay)
    return RuntimeEffectEnvelope(
        invocation=invocation, command=RuntimeEffectCommandSleep(duration_ms=1)
    )


_SLEEP = RuntimeSubjectEffect(effect_id="1", kind="sleep")


def test_an_envelope_that_keeps_the_rules_has_no_problem() -> None:
    """A blank replay key is a key."""
    assert envelope_problem(_envelope(_SLEEP)) is None
    validate_envelope(_envelope(_SLEEP, " "))


@pytest.mark.parametrize(
    ("envelope", "code", "message"),
    [
        (
            _envelope(RuntimeSubjectProcess(process_id="p"), None),
            "runtime_effect_invocation_subject",
            "runtime effect envelope subject must be an effect",
        ),
        (
            _envelope(RuntimeSubjectEffect(effect_id=" \u3000", kind="direct"), None),
            "runtime_effect_invocation_subject",
            "runtime effect envelope effect id must be non-empty",
        ),
        (
            _envelope(RuntimeSubjectEffect(effect_id="\x1f", kind="direct"), None),
            "runtime_effect_invocation_kind",
            "runtime effect invocation kind direct does not match command kind sleep",
        ),
        (
            _envelope(_SLEEP, None),
            "runtime_effect_replay_required",
            "runtime effect envelope requires replay.key",
        ),
        (
            _envelope(_SLEEP, ""),
            "runtime_effect_replay_required",
            "runtime effect envelope requires replay.key",
        ),
    ],
)
def test_the_first_broken_rule_is_named(
    envelope: RuntimeEffectEnvelope, code: str, message: str
) -> None:
    """Subject, effect id, kind, replay key, in this order."""
    assert envelope_problem(envelope) == (code, message)
    with pytest.raises(InvalidEnvelopeError) as caught:
        validate_envelope(envelope)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize(
    "scope",
    [
        EffectScopeTurn(session_id="", turn_id="t"),
        EffectScopeTurn(session_id="s", turn_id=" "),
        EffectScopeProcess(process_id=""),
        EffectScopeHostEvent(session_id="s", event_id=""),
        EffectScopeQueueDrain(session_id="s", drain_id="\u2003"),
        EffectScopeCron(job_id="j", execution_id=""),
        EffectScopeSessionDelete(session_id=""),
        EffectScopeRuntimeOperation(operation_id=""),
    ],
)
def test_a_scope_with_a_blank_id_is_refused(scope: EffectScope) -> None:
    """Every id of every scope must be there."""
    with pytest.raises(InvalidEnvelopeError, match="effect scopes require non-empty stable ids"):
        validate_scope(scope)


def test_a_scope_with_all_ids_has_no_problem() -> None:
    """Ids need only not be blank."""
    assert scope_problem(EffectScopeTurn(session_id="\x1f", turn_id="t")) is None
    validate_scope(EffectScopeCron(job_id="j", execution_id="x"))


def test_a_wrong_outcome_is_named_by_both_kinds() -> None:
    """Code and message are the wire format's."""
    assert wrong_outcome("sleep", "direct") == (
        "runtime_effect_wrong_outcome",
        "expected sleep outcome, got direct",
    )


def test_white_space_is_what_unicode_says() -> None:
    """25 characters; Python's strip would take four more."""
    assert len(set(WHITE_SPACE)) == 25
    assert is_blank(WHITE_SPACE)
    assert not is_blank("\x1c\x1d\x1e\x1f")
    assert trimmed("\u00a0\x1c a \u0085") == "\x1c a"
