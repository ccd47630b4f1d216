"""Derived ids and hashes, against the examples of the contract."""

from __future__ import annotations

import hashlib

import pytest

from effectmq.protocol.encoding.serde.model import stable_hash, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.identity.digests import (
    attachment_content_id,
    cancel_request,
    direct_discriminator,
    effect_scope_id_of,
    effect_scope_of,
    event_key,
    event_payload_hash,
    lease_token,
    prepared_registration,
    process_operation_id,
    process_scope_id,
    registration_hash,
    run_name,
    scope_id,
    scope_session_id,
    signal_key,
    terminal_event_key,
    tool_host_event_id,
    transfer_digest,
    wake_dedupe_key,
    wake_id,
    wake_source_key,
)
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
    RuntimeScope,
    RuntimeSubjectEffect,
    RuntimeSubjectProcess,
)
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES, STANDARD_EVENT_TYPES
from effectmq.protocol.wire.process_registration import ProcessScope
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
from tests.protocol.documents import example, examples


def test_a_registration_is_hashed_after_the_standard_event_types_were_appended() -> None:
    """M7 is prepared already; without its event types it has the same hash."""
    prepared = example("M7")
    bare = prepared.model_copy(update={"event_types": []})
    assert registration_hash(prepared) == registration_hash(bare) == examples()["M7"]["sha256"]
    assert prepared_registration(prepared) is prepared
    assert prepared_registration(bare) == prepared


def test_missing_standard_event_types_are_appended_in_order_by_name() -> None:
    """What is there already stays where it is, whatever it means there."""
    own = example("M9").model_copy(update={"name": "process.failed"})
    registration = example("M7").model_copy(update={"event_types": [own]})
    found = prepared_registration(registration).event_types
    assert found[0] is own
    assert [event_type.name for event_type in found[1:]] == [
        "process.cancel_requested",
        "process.completed",
        "process.cancelled",
    ]


def test_the_event_types_of_languages_are_those_of_the_contract() -> None:
    """P3 has all seven, the standard ones first."""
    found = example("P3").command.command.registration.event_types
    assert tuple(found) == STANDARD_EVENT_TYPES + LANGUAGE_EVENT_TYPES


def test_the_digests_are_those_of_the_contract() -> None:
    """Section 6.3."""
    payload_hash = event_payload_hash("process.signal", {"go": 1})
    assert (payload_hash[:8], payload_hash[-7:]) == ("d4d0dfdf", "bbb45ca")
    expected = "0a28944dab55ca77f6772f5c895d8db7e84f8b3dcd1c5d4d2a01b14f60dbae7e"
    assert transfer_digest(["p1", "p2"]) == expected
    assert wake_id("session:s1", "p1:2") == example("M3").wake_delivery.wake_id
    content = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a"
    assert attachment_content_id(b"\x01\x02\x03\x04") == content
    assert lease_token("p", "o", 5, 1) == hashlib.sha256(b"p:o:5:1").hexdigest()


def test_a_direct_request_is_named_by_its_hash() -> None:
    """C3; an empty key of the caller counts as none."""
    request = example("C3").command.request
    expected = f"sha256:{stable_hash(request)}"
    assert direct_discriminator(request) == expected
    assert direct_discriminator(request, replay_key="") == expected
    assert expected.startswith("sha256:a1289db7")


def test_payloads_are_hashed_in_canonical_form() -> None:
    """The order in which a program wrote the members does not matter."""
    assert event_payload_hash("t", {"b": 1, "a": 2}) == event_payload_hash("t", {"a": 2, "b": 1})
    with pytest.raises(MalformedError):
        event_payload_hash("t", float("nan"))


@pytest.mark.parametrize("label", [f"P{number}" for number in range(1, 13)])
def test_operation_ids_are_the_effect_ids_of_the_examples(label: str) -> None:
    """Section 6.1, every operation."""
    envelope = example(label)
    assert process_operation_id(envelope.command.command) == envelope.invocation.subject.effect_id


def test_the_request_to_cancel_is_that_of_the_contract() -> None:
    """M4 with a reason, M5 without one."""
    assert cancel_request("p1", "stop") == example("M4")
    assert to_tree(cancel_request("p1", None)) == to_tree(example("M5"))


def test_process_scopes_name_the_frame_when_there_is_one() -> None:
    """An empty frame id counts as none."""
    assert process_scope_id(ProcessScope(session_id="s")) == "session:s"
    assert process_scope_id(ProcessScope(session_id="s", agent_frame_id="")) == "session:s"
    assert process_scope_id(ProcessScope(session_id="s", agent_frame_id="f")) == "session:s/frame:f"


@pytest.mark.parametrize(
    ("scope", "id_", "session_id"),
    [
        (EffectScopeTurn(session_id="s", turn_id="t"), "t", "s"),
        (EffectScopeProcess(process_id="p"), "p", None),
        (EffectScopeHostEvent(session_id="s", event_id="e"), "e", "s"),
        (EffectScopeQueueDrain(session_id="s", drain_id="d"), "d", "s"),
        (EffectScopeCron(job_id="j", execution_id="x"), "x", None),
        (EffectScopeSessionDelete(session_id="s"), "s", "s"),
        (EffectScopeRuntimeOperation(operation_id="o"), "o", None),
    ],
)
def test_a_scope_is_named_by_one_of_its_ids(
    scope: EffectScope, id_: str, session_id: str | None
) -> None:
    """Section 6.2."""
    assert scope_id(scope) == id_
    assert scope_session_id(scope) == session_id


def test_the_scope_of_a_foreign_envelope_is_its_turn_or_its_session() -> None:
    """A blank turn id is none: no scope may have one."""
    assert effect_scope_of(example("C1").invocation) == EffectScopeTurn(
        session_id="s1", turn_id="t1"
    )
    session = EffectScopeRuntimeOperation(operation_id="s1")
    assert effect_scope_of(example("P1").invocation) == session
    subject = RuntimeSubjectEffect(effect_id="1", kind="sleep")
    blank = RuntimeInvocation(scope=RuntimeScope(session_id="s1", turn_id=" "), subject=subject)
    assert effect_scope_of(blank) == session


def test_the_id_of_the_derived_scope_needs_no_scope() -> None:
    """For every recorded envelope, and for a turn id that is blank or missing."""
    subject = RuntimeSubjectEffect(effect_id="1", kind="sleep")
    invocations = [
        RuntimeInvocation(scope=RuntimeScope(session_id="s1", turn_id=turn_id), subject=subject)
        for turn_id in (None, "", " ", "\x1c", "t1")
    ]
    for invocation in [*invocations, example("C1").invocation, example("P1").invocation]:
        assert effect_scope_id_of(invocation) == scope_id(effect_scope_of(invocation))


def test_fixed_keys_are_those_of_the_contract() -> None:
    """Section 6.4, word for word."""
    assert terminal_event_key("p", "process.failed") == "process:p:terminal:process.failed"
    assert signal_key("p", "s") == "process:p:signal:s"
    assert event_key("p", 0) == "process:p:event:0"
    assert wake_source_key("p", 2) == "process:p:event:2:wake"
    assert wake_dedupe_key("p", 2) == "p:2"


def test_a_journaled_run_is_named_by_key_then_by_id() -> None:
    """The name says what is known."""
    scope = RuntimeScope(session_id="s")
    effect = RuntimeSubjectEffect(effect_id="e", kind="sleep")
    process = RuntimeSubjectProcess(process_id="p")
    assert run_name(example("C8").invocation) == "lash:s1:t1:0:0:checkpoint:5"
    assert run_name(RuntimeInvocation(scope=scope, subject=effect)) == "lash:sleep:e"
    assert run_name(RuntimeInvocation(scope=scope, subject=process)) == "lash:runtime-invocation"


def test_an_event_of_a_tool_is_handled_under_its_call_or_its_content() -> None:
    """The scope's event id; the payload counts only when there is no call id."""
    assert tool_host_event_id("ui.pressed", {"x": 1}, "c") == "tool:c:ui.pressed"
    digest = hashlib.sha256(b'["ui.pressed",{"x":1}]').hexdigest()
    assert tool_host_event_id("ui.pressed", {"x": 1}) == f"tool:ui.pressed:sha256:{digest}"
