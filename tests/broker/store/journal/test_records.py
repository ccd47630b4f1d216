"""What the journal writes down of a request."""

from __future__ import annotations

from effectmq.broker.store.journal.records import (
    FINISHED,
    STATUSES,
    Cancel,
    Claim,
    effect_of,
    public_status,
)
from effectmq.broker.store.journal.records import reference_of as cause_of
from effectmq.protocol.encoding.canonical import sha256_hex
from effectmq.protocol.identity import invocations
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeInvocation


def invocation(number: str) -> RuntimeInvocation:
    return invocations.turn_effect(
        "exec_code", number, session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )


def test_an_effect_is_described_by_its_request() -> None:
    """The envelope is kept whole, and hashes to its hash."""
    envelope = RuntimeEffectEnvelope(
        invocation=invocation("1"), command=RuntimeEffectCommandExecCode(code="ä")
    )
    request = Request.seal(envelope)
    effect = effect_of(request)
    assert effect.identity == request.identity
    assert (effect.kind, effect.session_id, effect.turn_id) == ("exec_code", "s", "t")
    assert effect.effect_id == request.effect_id
    assert effect.hash == request.hash == sha256_hex(effect.envelope_json.encode())
    assert effect.caused_by == ""


def test_a_cause_is_found_by_the_effect_that_caused() -> None:
    """What a parent is called is what stands in its children."""
    parent = invocation("1")
    cause = {"caused_by": invocations.causal_ref(parent)}
    child = invocation("2").model_copy(update=cause)
    envelope = RuntimeEffectEnvelope(
        invocation=child, command=RuntimeEffectCommandExecCode(code="1")
    )
    assert effect_of(Request.seal(envelope)).caused_by == cause_of(parent)


def test_claims_and_cancels_are_about_the_effect_that_they_name() -> None:
    """Every operation has an identity."""
    request = Request.seal(
        RuntimeEffectEnvelope(
            invocation=invocation("1"), command=RuntimeEffectCommandExecCode(code="1")
        )
    )
    effect = effect_of(request)
    assert Claim(effect, "w", "t", 1).identity == effect.identity
    assert Cancel(effect, "{}").identity == effect.identity


def test_every_final_status_is_one_that_is_explained() -> None:
    """The documentation lists them from here."""
    assert set(map(public_status, FINISHED)) < set(STATUSES)
