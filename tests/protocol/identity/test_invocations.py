"""Invocations and replay keys, against the envelopes of the contract."""

from __future__ import annotations

import pytest

from effectmq.protocol.identity.invocations import (
    causal_ref,
    child_effect,
    delete_session,
    direct,
    effect_id_of,
    language_sleep,
    process_event,
    process_op,
    replay_key_of,
    session_node,
    tool_call,
    tool_retry_sleep,
    turn_effect,
)
from effectmq.protocol.wire.invocation import (
    CausalRef,
    CausalRefEffect,
    CausalRefProcess,
    CausalRefProcessEvent,
    CausalRefSessionNode,
    CausalRefToolCall,
    CausalRefTurn,
    RuntimeEffectKind,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
    RuntimeSubjectProcess,
)
from effectmq.protocol.wire.process_commands import ProcessCommandAwait
from tests.protocol.documents import example


def _turn(kind: RuntimeEffectKind, effect_id: str) -> RuntimeInvocation:
    return turn_effect(
        kind, effect_id, session_id="s1", turn_id="t1", turn_index=0, protocol_iteration=0
    )


@pytest.mark.parametrize(
    ("label", "kind", "effect_id"),
    [
        ("C1", "llm_call", "1"),
        ("C2", "llm_call", "3"),
        ("C7", "exec_code", "4"),
        ("C8", "checkpoint", "5"),
        ("C9", "sync_execution_surface", "1"),
    ],
)
def test_turn_effects_are_those_of_the_contract(
    label: str, kind: RuntimeEffectKind, effect_id: str
) -> None:
    """``S:T:I:P:kind:E``."""
    assert _turn(kind, effect_id) == example(label).invocation


def test_a_tool_call_is_a_child_of_its_batch() -> None:
    """C5 and C6."""
    call = tool_call(_turn("tool_call", "2"), "call-1")
    assert call == example("C5").invocation == example("C6").invocation


def test_the_pause_before_a_tool_retry_is_a_child_of_the_call() -> None:
    """C10."""
    call = tool_call(_turn("tool_call", "2"), "call-1")
    assert tool_retry_sleep("echo", 1, parent=call) == example("C10").invocation


@pytest.mark.parametrize(
    ("call_id", "name"),
    [
        ("c", "lash-tool:s:c:echo:attempt:2:sleep"),
        (None, "lash-tool:s:unknown:echo:attempt:2:sleep"),
    ],
)
def test_without_a_parent_the_pause_is_named_by_session_and_call(
    call_id: str | None, name: str
) -> None:
    """Effect id and replay key are one text, and the scope is the session alone."""
    found = tool_retry_sleep("echo", 2, session_id="s", call_id=call_id)
    assert (effect_id_of(found), replay_key_of(found)) == (name, name)
    assert found.scope == RuntimeScope(session_id="s")
    assert found.caused_by is None


def test_sleeps_of_code_are_numbered() -> None:
    """C11 without a parent, C12 with one."""
    assert language_sleep("process:p1", 0, session_id="s1") == example("C11").invocation
    parent = _turn("exec_code", "4")
    assert language_sleep("foreground", 0, parent=parent) == example("C12").invocation


@pytest.mark.parametrize("label", ["P1", "P3", "P4", "P5", "P6", "P7", "P9", "P10", "P11"])
def test_process_operations_without_a_parent_are_named_by_session(label: str) -> None:
    """``S:opid``."""
    envelope = example(label)
    assert process_op(envelope.command.command, session_id="s1") == envelope.invocation


@pytest.mark.parametrize("label", ["P2", "P8"])
def test_process_operations_with_a_parent_continue_its_key(label: str) -> None:
    """``key(x):opid``, in the parent's turn."""
    envelope = example(label)
    found = process_op(envelope.command.command, session_id="s1", parent=_turn("exec_code", "4"))
    assert found == envelope.invocation


def test_a_process_operation_outside_of_a_turn_takes_only_its_session() -> None:
    """Without a turn id nothing of the parent's scope is copied, and without a key ``process``."""
    parent = RuntimeInvocation(
        scope=RuntimeScope(session_id="other", turn_index=3),
        subject=RuntimeSubjectProcess(process_id="p"),
    )
    found = process_op(ProcessCommandAwait(process_id="q"), session_id="s", parent=parent)
    assert found.scope == RuntimeScope(session_id="s")
    assert replay_key_of(found) == "process:process:await:q"
    assert found.caused_by == CausalRefProcess(process_id="p")


def test_the_session_asks_even_when_the_parent_is_of_another() -> None:
    """Turn, index and iteration come from the parent, the session does not."""
    found = process_op(
        ProcessCommandAwait(process_id="q"), session_id="s9", parent=_turn("exec_code", "4")
    )
    assert found.scope == RuntimeScope(
        session_id="s9", turn_id="t1", turn_index=0, protocol_iteration=0
    )


def test_a_host_deletes_a_session_under_another_key() -> None:
    """P12 has the effect id of P7 and a key of its own."""
    assert delete_session("s1") == example("P12").invocation


def test_direct_requests_are_named_by_cause_and_content() -> None:
    """C3 by the hash of the request, C4 by the caller's key and its cause."""
    by_hash, by_key = example("C3"), example("C4")
    found = direct(by_hash.command.request, "summarizer", session_id="s1", turn_id="t1")
    assert found == by_hash.invocation
    cause = CausalRefToolCall(session_id="s1", call_id="call-1")
    found = direct(by_key.command.request, "tool", session_id="s1", replay_key="k1", cause=cause)
    assert found == by_key.invocation


def test_an_empty_turn_id_stands_in_the_scope_and_not_in_the_key() -> None:
    """As on the other side."""
    request = example("C3").command.request
    found = direct(request, "u", session_id="s", turn_id="", replay_key="k")
    assert found.scope.turn_id == ""
    assert replay_key_of(found) == "s:direct:u:request:k"


@pytest.mark.parametrize(
    ("cause", "prefix"),
    [
        (CausalRefTurn(session_id="s", turn_id="t"), "cause:turn:s:t:"),
        (CausalRefEffect(session_id="s", turn_id="t", effect_id="e"), "cause:effect:s:t:e:"),
        (CausalRefEffect(session_id="s", effect_id="e"), "cause:effect:s::e:"),
        (CausalRefToolCall(session_id="s", call_id="c"), "cause:tool_call:s:c:"),
        (CausalRefProcess(process_id="p"), "cause:process:p:"),
        (CausalRefProcessEvent(process_id="p", sequence=7), "cause:process_event:p:7:"),
        (CausalRefSessionNode(session_id="s", node_id="n"), "cause:session_node:s:n:"),
        (None, ""),
    ],
)
def test_the_cause_is_part_of_a_direct_requests_name(cause: CausalRef | None, prefix: str) -> None:
    """Every cause has a prefix of its own."""
    request = example("C3").command.request
    found = direct(request, "u", session_id="s", replay_key="k", cause=cause)
    assert effect_id_of(found) == f"{prefix}request:k"
    assert found.caused_by == cause


def test_causes_are_named_by_their_subject() -> None:
    """Effect, process, process event and session node."""
    assert causal_ref(_turn("exec_code", "4")) == CausalRefEffect(
        session_id="s1", turn_id="t1", effect_id="4"
    )
    process = RuntimeInvocation(
        scope=RuntimeScope(session_id="s"), subject=RuntimeSubjectProcess(process_id="p")
    )
    assert causal_ref(process) == CausalRefProcess(process_id="p")
    event = process_event("s", "p", 3, "process.signal")
    assert causal_ref(event) == CausalRefProcessEvent(process_id="p", sequence=3)
    node = session_node("s", "n")
    assert causal_ref(node) == CausalRefSessionNode(session_id="s", node_id="n")
    assert effect_id_of(node) is None


def test_a_child_falls_back_from_key_to_id_to_a_word() -> None:
    """The base of its key is the first of them that the parent has."""
    scope = RuntimeScope(session_id="s")
    keyless = RuntimeInvocation(
        scope=scope, subject=RuntimeSubjectEffect(effect_id="e", kind="sleep")
    )
    assert replay_key_of(child_effect(keyless, "sleep", "x", "y")) == "e:y"
    nameless = RuntimeInvocation(scope=scope, subject=RuntimeSubjectProcess(process_id="p"))
    found = child_effect(nameless, "sleep", "x", "y")
    assert replay_key_of(found) == "effect:y"
    assert found.caused_by == CausalRefProcess(process_id="p")
    assert effect_id_of(tool_call(nameless, "c")) == "effect:c"


def test_a_process_event_is_caused_by_its_process() -> None:
    """The invocation of O14's event."""
    found = process_event(
        "root", "p1", 1, "process.signal", RuntimeReplay(key="process:p1:signal:sig-1")
    )
    assert found == example("O14").result.event.invocation
