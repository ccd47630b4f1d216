"""Registrations, appended events, outputs and wakes, as tables."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given

from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.errors import ProcessRegistryError
from effectmq.protocol.identity.digests import event_payload_hash, registration_hash
from effectmq.protocol.processes.appending import Append, Recorded, Replayed, plan_append
from effectmq.protocol.processes.outputs import (
    completion_request,
    from_tool_output,
    output_of,
    to_tool_output,
)
from effectmq.protocol.processes.registration import checked_registration
from effectmq.protocol.processes.semantics import event_semantics
from effectmq.protocol.processes.wakes import epoch_ms, wake_turn_cause
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.process_event_types import (
    STANDARD_EVENT_TYPES,
    ProcessEventSemanticsSpec,
    ProcessEventType,
    ProcessTerminalSpec,
    ProcessValueSelectorPointer,
)
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
)
from effectmq.protocol.wire.process_registration import ProcessRegistration, ProcessScope
from effectmq.protocol.wire.processes import (
    ProcessRecord,
    ProcessStatusCompleted,
    ProcessStatusFailed,
)
from effectmq.protocol.wire.tool_value import RESERVED_KEY
from effectmq.protocol.wire.tools import (
    ToolCallOutcomeCancelled,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolCancellation,
    ToolControlFinish,
    ToolFailure,
    ToolRetryDispositionExhausted,
)
from tests.conformance.process_stage import (
    TARGET,
    event_type,
    registration,
    request,
    waking,
)
from tests.protocol.strategies import wire_values

FAILURE = ProcessAwaitOutputFailure(class_="external", code="c", message="m", raw={"b": 1, "a": 2})
SUCCESS = ProcessAwaitOutputSuccess(value=1)


def spec(state: Any, pointer: str | None = "/await_output") -> ProcessTerminalSpec:
    """A terminal event."""
    selector = None if pointer is None else ProcessValueSelectorPointer(value=pointer)
    return ProcessTerminalSpec(state=state, await_output=selector)


# Registration


def test_the_standard_event_types_that_are_missing_are_appended() -> None:
    """By name, in their order; a declared one stays as it was declared."""
    own = event_type("process.completed", {"type": "object"}, terminal=spec("completed"))
    prepared = checked_registration(registration("p1", event_type("custom"), own))
    assert [one.name for one in prepared.event_types] == [
        "custom",
        "process.completed",
        "process.cancel_requested",
        "process.failed",
        "process.cancelled",
    ]
    assert prepared.event_types[1] == own
    assert checked_registration(prepared) == prepared


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (registration(" \t"), "process id must be a non-empty string"),
        (
            registration("p", owner=ProcessScope(session_id="")),
            "process `p` owner scope must include a session id",
        ),
        (
            registration("p", host_profile_id="\u3000"),
            "process `p` host profile id must be non-empty",
        ),
        (registration("p", event_type(" ")), "process `p` declares an empty event type"),
        (
            registration("p", event_type("a"), event_type("a")),
            "process `p` declares duplicate event type `a`",
        ),
        (
            registration("p", event_type("a", terminal=spec("failed", None))),
            "terminal event `a` for process `p` must declare await output",
        ),
        (
            registration("p", event_type("a", terminal=spec("cancelled", None))),
            "terminal event `a` for process `p` must declare await output",
        ),
        # The first failure wins.
        (
            registration("", event_type(""), owner=ProcessScope(session_id="")),
            "process id must be a non-empty string",
        ),
    ],
)
def test_a_registration_that_breaks_a_rule_is_refused(
    broken: ProcessRegistration, text: str
) -> None:
    """Word for word."""
    with pytest.raises(ProcessRegistryError) as caught:
        checked_registration(broken)
    assert caught.value.text == text


def test_a_blank_session_and_a_completed_end_without_output_are_fine() -> None:
    """Only the empty session id is refused."""
    blank = ProcessScope(session_id=" ")
    checked_registration(
        registration("p", event_type("a", terminal=spec("completed", None)), owner=blank)
    )


# Semantics


@pytest.mark.parametrize(
    ("terminal", "payload", "output"),
    [
        (spec("completed", None), {"x": 1}, ProcessAwaitOutputSuccess(value={"x": 1})),
        (spec("completed"), {"await_output": [1]}, ProcessAwaitOutputSuccess(value=[1])),
        (spec("completed"), {"await_output": to_tree(FAILURE)}, FAILURE),
        (
            spec("failed"),
            {"await_output": {"x": 1}},
            ProcessAwaitOutputFailure(
                class_="execution", code="process_failed", message='{"x":1}', raw={"x": 1}
            ),
        ),
        (spec("failed"), {"await_output": {"type": "success", "value": 1}}, SUCCESS),
        # A success needs a value, so this is none.
        (
            spec("failed"),
            {"await_output": {"type": "success"}},
            ProcessAwaitOutputFailure(
                class_="execution",
                code="process_failed",
                message='{"type":"success"}',
                raw={"type": "success"},
            ),
        ),
        (
            spec("cancelled"),
            {"await_output": "stop"},
            ProcessAwaitOutputCancelled(message="stop", raw="stop"),
        ),
    ],
)
def test_what_an_end_gives(
    terminal: ProcessTerminalSpec, payload: JsonValue, output: ProcessAwaitOutput
) -> None:
    """The state stays the declared one, whatever the output is."""
    semantics = event_semantics("p", 1, payload, ProcessEventSemanticsSpec(terminal=terminal))
    assert semantics.terminal is not None
    assert semantics.terminal.state == terminal.state
    assert semantics.terminal.await_output == output
    assert semantics.wake is None


# Appending


def record(*event_types: ProcessEventType) -> ProcessRecord:
    """A process that runs."""
    prepared = checked_registration(registration("p1", *event_types))
    return ProcessRecord(
        id="p1",
        registration_hash=registration_hash(prepared),
        input=prepared.input,
        event_types=prepared.event_types,
        provenance=prepared.provenance,
    )


def plan(known: ProcessRecord, asked: Any, recorded: Recorded | None = None) -> Append | Replayed:
    """Decide on the 7th event, at a moment of its own."""
    return plan_append(known, asked, sequence=7, recorded=recorded, now_ms=12_345)


def test_an_appended_event_has_everything_that_the_contract_gives_it() -> None:
    """Number, time in whole milliseconds, invocation, hash."""
    appended = plan(record(waking("note")), request("note", {"b": 1, "a": 2}, target=TARGET))
    assert isinstance(appended, Append)
    assert appended.payload_hash == event_payload_hash("note", {"a": 2, "b": 1})
    assert appended.record.updated_at_ms == epoch_ms(appended.event.occurred_at) == 12_345
    assert canonical_bytes(appended.event) == (
        b'{"process_id":"p1","sequence":7,"event_type":"note","payload":{"a":2,"b":1},'
        b'"invocation":{"scope":{"session_id":"root"},"subject":{"type":"process_event",'
        b'"process_id":"p1","sequence":7,"event_type":"note"},'
        b'"caused_by":{"type":"process","process_id":"p1"}},'
        b'"semantics":{"wake":{"input":"{\\"a\\":2,\\"b\\":1}","dedupe_key":"p1:7"}},'
        b'"occurred_at":{"secs_since_epoch":12,"nanos_since_epoch":345000000}}'
    )


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("name", [one.name for one in STANDARD_EVENT_TYPES])
def test_what_may_end_a_process_needs_a_key(name: str, key: str | None) -> None:
    """And an empty one is none; so does a request to cancel."""
    with pytest.raises(ProcessRegistryError) as caught:
        plan(record(), request(name, {"await_output": 1}, key=key))
    assert caught.value.text == f"process `p1` event `{name}` requires a deterministic replay key"


def test_checks_come_in_the_order_of_the_contract() -> None:
    """Declared, keyed, fitting, selected, not terminal yet, with somebody to wake."""
    end = event_type("end", {"type": "object"}, terminal=spec("failed", "/out"))
    ended = record(end, waking("note")).model_copy(
        update={"status": ProcessStatusCompleted(await_output=SUCCESS)}
    )
    for asked, text in [
        (request("other", 1), "process `p1` emitted undeclared event type `other`"),
        (request("end", 1), "process `p1` event `end` requires a deterministic replay key"),
        (request("end", 1, key="k"), "invalid `end` payload: arguments: expected object, got 1"),
        (request("end", {}, key="k"), "payload pointer `/out` did not match"),
        (request("end", {"out": 1}, key="k"), "process `p1` is already terminal"),
        (
            request("note", 1),
            "process `p1` emitted wake event `note` without a wake target scope",
        ),
    ]:
        with pytest.raises(ProcessRegistryError) as caught:
            plan(ended, asked)
        assert caught.value.text == text


def test_a_process_that_has_ended_still_takes_events_that_end_nothing() -> None:
    """Its status stays."""
    ended = record(event_type("a")).model_copy(
        update={"status": ProcessStatusCompleted(await_output=SUCCESS)}
    )
    appended = plan(ended, request("a"))
    assert isinstance(appended, Append)
    assert appended.record.status == ended.status


def test_a_replay_gives_the_stored_event_before_anything_is_checked() -> None:
    """A terminal event is replayed on a terminal process; another hash is a conflict."""
    asked = completion_request("p1", FAILURE)
    first = plan(record(), asked)
    assert isinstance(first, Append)
    assert first.record.status == ProcessStatusFailed(await_output=FAILURE)
    stored = Recorded(first.payload_hash, first.event)
    assert plan(first.record, asked, stored) == Replayed(first.event, None)
    with pytest.raises(ProcessRegistryError, match="conflicts with an existing event"):
        plan(first.record, asked.model_copy(update={"payload": {}}), stored)


def test_the_wake_of_a_replayed_event_is_built_again() -> None:
    """Without a target it cannot be."""
    known = record(waking("note"))
    first = plan(known, request("note", 1, key="k", target=TARGET))
    assert isinstance(first, Append)
    stored = Recorded(first.payload_hash, first.event)
    again = plan(known, request("note", 1, key="k", target=TARGET), stored)
    assert again == Replayed(first.event, first.wake)
    with pytest.raises(ProcessRegistryError, match="without a wake target scope"):
        plan(known, request("note", 1, key="k"), stored)


def test_a_wake_becomes_the_cause_of_a_turn() -> None:
    """With a text of five lines."""
    appended = plan(record(waking("note")), request("note", "hello", target=TARGET))
    assert appended.wake is not None
    cause = wake_turn_cause(appended.wake)
    assert cause.id == appended.wake.wake_id
    assert cause.text == (
        "Background process wake\nProcess: p1\nEvent: note #7\nWake input:\nhello"
    )
    assert to_tree(cause.origin) == {
        "kind": "process",
        "process_id": "p1",
        "event_type": "note",
        "sequence": 7,
        "wake_id": cause.id,
    }


# Outputs


def test_the_event_that_completes_has_sorted_keys_and_a_fixed_key() -> None:
    """Inside opaque JSON the tag does not come first."""
    asked = completion_request("p1", FAILURE)
    assert asked.event_type == "process.failed"
    assert asked.replay is not None
    assert asked.replay.key == "process:p1:terminal:process.failed"
    assert (
        canonical_bytes(asked)
        .decode()
        .startswith(
            '{"event_type":"process.failed","payload":{"await_output":{"class":"external","code":"c",'
            '"message":"m","raw":{"a":2,"b":1},"type":"failure"}}'
        )
    )


@given(wire_values(ProcessAwaitOutput))
def test_an_output_survives_the_event_that_carries_it(output: ProcessAwaitOutput) -> None:
    """What is written into the payload is what is awaited."""
    asked = completion_request("p1", output)
    semantics = event_semantics(
        "p1",
        1,
        asked.payload,
        ProcessEventSemanticsSpec(terminal=spec("completed")),
    )
    assert semantics.terminal is not None
    # What the wire itself does not keep (an explicit null) is gone on both sides.
    expected = cast("ProcessAwaitOutput", from_tree(ProcessAwaitOutput, to_tree(output)))
    assert semantics.terminal.await_output == expected


def test_a_tools_output_becomes_a_processes_without_source_and_retry() -> None:
    """And back with fixed ones."""
    control = ToolControlFinish(value="bye")
    failure = ToolCallOutput(
        outcome=ToolCallOutcomeFailure(
            payload=ToolFailure(
                class_="timeout",
                code="c",
                message="m",
                source="policy",
                retry=ToolRetryDispositionExhausted(attempts=3),
                raw={"x": 1},
            )
        ),
        control=control,
    )
    output = from_tool_output(failure)
    assert output == ProcessAwaitOutputFailure(
        class_="timeout", code="c", message="m", raw={"x": 1}, control=control
    )
    back = to_tool_output(output).outcome
    assert isinstance(back, ToolCallOutcomeFailure)
    assert (back.payload.source, back.payload.retry.type) == ("tool", "never")

    stopped = ToolCallOutput(
        outcome=ToolCallOutcomeCancelled(payload=ToolCancellation(message="m", source="policy"))
    )
    output = from_tool_output(stopped)
    assert output == ProcessAwaitOutputCancelled(message="m")
    back = to_tool_output(output).outcome
    assert isinstance(back, ToolCallOutcomeCancelled)
    assert back.payload.source == "cancellation"


def test_an_attachment_in_a_tools_value_is_data_in_the_processes() -> None:
    """Back in a tool's value it is data still, and so escaped on the wire."""
    attachment = AttachmentRef(id="sha", media_type=MediaTypeImage(type="png"), byte_len=1)
    output = from_tool_output(ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=[attachment])))
    assert isinstance(output, ProcessAwaitOutputSuccess)
    assert output.value[0][RESERVED_KEY] == "attachment"
    back = to_tree(to_tool_output(output))
    assert back["outcome"]["payload"][0][RESERVED_KEY] == "object"


def test_a_process_that_runs_has_no_output() -> None:
    """One that has ended has."""
    assert output_of(record().status) is None
    assert output_of(ProcessStatusFailed(await_output=FAILURE)) == FAILURE
