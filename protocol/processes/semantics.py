"""The effects of an event: it may end its process, and it may wake a session."""

from __future__ import annotations

from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import from_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.identity.digests import wake_dedupe_key
from effectmq.protocol.processes.selectors import is_truthy, select, text_of
from effectmq.protocol.wire.process_event_types import (
    ProcessEventSemanticsSpec,
    ProcessTerminalSpec,
    ProcessTerminalState,
    ProcessWakeDedupeKeyConst,
    ProcessWakeDedupeKeySelector,
    ProcessWakeSpec,
)
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
    ProcessEventSemantics,
    ProcessTerminalSemantics,
    ProcessWake,
)

__all__ = ["event_semantics"]


def event_semantics(
    process_id: str, sequence: int, payload: JsonValue, spec: ProcessEventSemanticsSpec
) -> ProcessEventSemantics:
    """
    The effects of an event.

    Args:
        process_id: The process.
        sequence: The number that the event gets in it.
        payload: Canonical opaque JSON.
        spec: The effects that its type declares.

    Raises:
        ProcessRegistryError: When a pointer names no part of the payload.
    """
    terminal = _terminal(payload, spec.terminal) if spec.terminal else None
    wake = _wake(process_id, sequence, payload, spec.wake) if spec.wake else None
    return ProcessEventSemantics(terminal=terminal, wake=wake)


def _terminal(payload: JsonValue, spec: ProcessTerminalSpec) -> ProcessTerminalSemantics:
    if spec.await_output is None:
        output: ProcessAwaitOutput = ProcessAwaitOutputSuccess(value=payload)
    else:
        output = _await_output(spec.state, select(spec.await_output, payload))
    return ProcessTerminalSemantics(state=spec.state, await_output=output)


def _await_output(state: ProcessTerminalState, value: JsonValue) -> ProcessAwaitOutput:
    """The value read as an output; another value becomes an output of the declared state."""
    try:
        output: ProcessAwaitOutput = from_tree(ProcessAwaitOutput, value)
    except MalformedError:
        return _declared(state, value)
    return output


def _declared(state: ProcessTerminalState, value: JsonValue) -> ProcessAwaitOutput:
    if state == "completed":
        return ProcessAwaitOutputSuccess(value=value)
    if state == "failed":
        return ProcessAwaitOutputFailure(
            class_="execution", code="process_failed", message=text_of(value), raw=value
        )
    return ProcessAwaitOutputCancelled(message=text_of(value), raw=value)


def _wake(
    process_id: str, sequence: int, payload: JsonValue, spec: ProcessWakeSpec
) -> ProcessWake | None:
    if spec.when is not None and not is_truthy(select(spec.when, payload)):
        return None
    text = text_of(select(spec.input, payload))
    match spec.dedupe_key:
        case ProcessWakeDedupeKeySelector():
            key = text_of(select(spec.dedupe_key.value, payload))
        case ProcessWakeDedupeKeyConst():
            key = spec.dedupe_key.value
        case _:
            key = wake_dedupe_key(process_id, sequence)
    return ProcessWake(input=text, dedupe_key=key)
