"""The methods that the seed has on invocations, scopes, envelopes and commands."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.protocol.encoding.serde.model import Err, Ok, stable_hash
from effectmq.protocol.errors import InvalidEnvelopeError, MalformedError
from effectmq.protocol.identity import invocations
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandSleep,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import (
    CausalRefEffect,
    CausalRefProcess,
    RuntimeInvocation,
    RuntimeScope,
    RuntimeSubjectProcess,
)
from effectmq.protocol.wire.outcome import RuntimeEffectControllerError
from effectmq.protocol.wire.process_commands import ProcessCommandTransfer, transfer_digest
from effectmq.protocol.wire.process_registration import ProcessScope
from tests.protocol.documents import example, examples

_SCOPE = RuntimeScope.for_turn("s", "t", 1, 2)
_SLEEP = RuntimeEffectCommandSleep(duration_ms=5)


def _sleep(key: str = "k") -> RuntimeInvocation:
    return RuntimeInvocation.effect(_SCOPE, "1", "sleep", key)


def test_a_scope_is_of_a_session_or_of_a_turn() -> None:
    assert RuntimeScope.new("s") == RuntimeScope(session_id="s")
    assert RuntimeScope(session_id="s", turn_id="t", turn_index=1, protocol_iteration=2) == _SCOPE


def test_an_invocation_of_an_effect_tells_what_it_is() -> None:
    """The same as the helper for a turn makes, whose key is made of the scope."""
    found = RuntimeInvocation.effect(_SCOPE, "7", "exec_code", "s:t:1:2:exec_code:7")
    assert found == invocations.turn_effect(
        "exec_code", "7", session_id="s", turn_id="t", turn_index=1, protocol_iteration=2
    )
    assert (found.effect_id(), found.effect_kind()) == ("7", "exec_code")
    assert found.replay_key() == "s:t:1:2:exec_code:7"
    assert found.causal_ref() == CausalRefEffect(session_id="s", turn_id="t", effect_id="7")


def test_an_invocation_of_something_else_has_no_effect() -> None:
    found = RuntimeInvocation(scope=_SCOPE, subject=RuntimeSubjectProcess(process_id="p"))
    assert (found.effect_id(), found.effect_kind(), found.replay_key()) == (None, None, None)
    assert found.causal_ref() == CausalRefProcess(process_id="p")


def test_a_cause_is_given_and_taken_away() -> None:
    """The invocation itself stays as it is."""
    plain, cause = _sleep(), CausalRefProcess(process_id="p")
    caused = plain.with_caused_by(cause)
    assert (plain.caused_by, caused.caused_by) == (None, cause)
    assert caused == RuntimeInvocation.effect(_SCOPE, "1", "sleep", "k", cause)
    assert caused.with_caused_by(None) == plain


def test_arguments_of_another_type_are_refused_by_their_place() -> None:
    nap: Any = "nap"
    with pytest.raises(MalformedError) as refused:
        RuntimeInvocation.effect(_SCOPE, "1", nap, "k")
    assert refused.value.path == "subject.kind"


def test_an_envelope_that_keeps_the_rules_is_built() -> None:
    envelope = RuntimeEffectEnvelope(invocation=_sleep(), command=_SLEEP)
    assert RuntimeEffectEnvelope.new(_sleep(), _SLEEP) == envelope
    assert RuntimeEffectEnvelope.try_new(_sleep(), _SLEEP) == Ok(envelope)


@pytest.mark.parametrize(
    ("invocation", "code", "message"),
    [
        (
            RuntimeInvocation(scope=_SCOPE, subject=RuntimeSubjectProcess(process_id="p")),
            "runtime_effect_invocation_subject",
            "runtime effect envelope subject must be an effect",
        ),
        (
            RuntimeInvocation.effect(_SCOPE, " ", "sleep", "k"),
            "runtime_effect_invocation_subject",
            "runtime effect envelope effect id must be non-empty",
        ),
        (
            RuntimeInvocation.effect(_SCOPE, "1", "direct", "k"),
            "runtime_effect_invocation_kind",
            "runtime effect invocation kind direct does not match command kind sleep",
        ),
        (
            _sleep(""),
            "runtime_effect_replay_required",
            "runtime effect envelope requires replay.key",
        ),
    ],
)
def test_an_envelope_that_breaks_a_rule_is_not_built(
    invocation: RuntimeInvocation, code: str, message: str
) -> None:
    """One constructor raises, the other returns the error; calling the class checks nothing."""
    with pytest.raises(InvalidEnvelopeError) as refused:
        RuntimeEffectEnvelope.new(invocation, _SLEEP)
    assert (refused.value.code, refused.value.message) == (code, message)
    expected = RuntimeEffectControllerError(code=code, message=message)
    assert RuntimeEffectEnvelope.try_new(invocation, _SLEEP) == Err(expected)
    assert RuntimeEffectEnvelope(invocation=invocation, command=_SLEEP).command == _SLEEP


def test_the_hash_of_an_envelope_is_the_recorded_one() -> None:
    labels = [label for label, row in examples().items() if row["type"] == "RuntimeEffectEnvelope"]
    assert len(labels) > 10
    for label in labels:
        assert example(label).stable_hash() == examples()[label]["sha256"]


def test_an_envelope_without_a_wire_form_has_no_hash() -> None:
    """Half a surrogate pair can be put in only behind the back of the class."""
    code = RuntimeEffectCommandExecCode.model_construct(code="\ud800")
    envelope = RuntimeEffectEnvelope.model_construct(invocation=_sleep(), command=code)
    with pytest.raises(MalformedError):
        stable_hash(envelope)
    with pytest.raises(InvalidEnvelopeError) as refused:
        envelope.stable_hash()
    assert refused.value.code == "runtime_effect_envelope_hash"
    assert refused.value.message.startswith("failed to serialize runtime effect envelope: ")


def test_a_command_tells_its_kind() -> None:
    """One example of each."""
    commands = [
        example(label).command
        for label, row in examples().items()
        if row["type"] == "RuntimeEffectEnvelope"
    ]
    assert {command.kind() for command in commands} == set(EFFECT_KINDS)
    assert all(command.kind() == command.type for command in commands)


def test_a_transfer_of_ids_that_cannot_be_hashed_still_has_an_effect_id() -> None:
    one, other = ProcessScope(session_id="a"), ProcessScope(session_id="b", agent_frame_id="f")
    sound = ProcessCommandTransfer(from_scope=one, to_scope=other, process_ids=["p"])
    start = "process:transfer:session:a:session:b/frame:f:"
    assert sound.effect_id() == start + transfer_digest(["p"])
    odd = sound.model_copy(update={"process_ids": ["\ud800"]})
    assert odd.effect_id() == start + "unhashable"
