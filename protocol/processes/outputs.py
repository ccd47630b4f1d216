"""The output of a process: as a status, as the event that ends it, and as a tool's output."""

from __future__ import annotations

from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.identity.digests import terminal_event_key
from effectmq.protocol.wire.invocation import RuntimeReplay
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
    ProcessEventAppendRequest,
    ProcessTerminalSemantics,
)
from effectmq.protocol.wire.processes import (
    ProcessStatus,
    ProcessStatusCancelled,
    ProcessStatusCompleted,
    ProcessStatusFailed,
    ProcessStatusRunning,
)
from effectmq.protocol.wire.tool_value import encode_tool_value
from effectmq.protocol.wire.tools import (
    ToolCallOutcome,
    ToolCallOutcomeCancelled,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolCancellation,
    ToolFailure,
    ToolRetryDispositionNever,
)

__all__ = ["completion_request", "from_tool_output", "output_of", "status_of", "to_tool_output"]


def status_of(terminal: ProcessTerminalSemantics) -> ProcessStatus:
    """The status after a terminal event, in the state that the event's type declares."""
    output = terminal.await_output
    if terminal.state == "completed":
        return ProcessStatusCompleted(await_output=output)
    if terminal.state == "failed":
        return ProcessStatusFailed(await_output=output)
    return ProcessStatusCancelled(await_output=output)


def output_of(status: ProcessStatus) -> ProcessAwaitOutput | None:
    """The output of a process that has ended; ``None`` while it runs."""
    return None if isinstance(status, ProcessStatusRunning) else status.await_output


def completion_request(process_id: str, output: ProcessAwaitOutput) -> ProcessEventAppendRequest:
    """The event that ends a process with this output; the same one for the same output."""
    event_type = _EVENT_TYPES[type(output)]
    return ProcessEventAppendRequest(
        event_type=event_type,
        payload={"await_output": to_tree(output)},
        replay=RuntimeReplay(key=terminal_event_key(process_id, event_type)),
    )


_EVENT_TYPES: dict[type, str] = {
    ProcessAwaitOutputSuccess: "process.completed",
    ProcessAwaitOutputFailure: "process.failed",
    ProcessAwaitOutputCancelled: "process.cancelled",
}


def from_tool_output(output: ToolCallOutput) -> ProcessAwaitOutput:
    """
    The output of a process that ran one tool; source and retry disposition are lost.

    Raises:
        MalformedError: When the tool's value was changed into something that is not JSON.
    """
    outcome, control = output.outcome, output.control
    if isinstance(outcome, ToolCallOutcomeSuccess):
        return ProcessAwaitOutputSuccess(value=encode_tool_value(outcome.payload), control=control)
    raw = encode_tool_value(outcome.payload.raw)
    message = outcome.payload.message
    if isinstance(outcome, ToolCallOutcomeCancelled):
        return ProcessAwaitOutputCancelled(message=message, raw=raw, control=control)
    failure = outcome.payload
    return ProcessAwaitOutputFailure(
        class_=failure.class_, code=failure.code, message=message, raw=raw, control=control
    )


def to_tool_output(output: ProcessAwaitOutput) -> ToolCallOutput:
    """The output of a tool that waited for a process; its values are data, never attachments."""
    outcome: ToolCallOutcome
    match output:
        case ProcessAwaitOutputSuccess():
            outcome = ToolCallOutcomeSuccess(payload=output.value)
        case ProcessAwaitOutputFailure():
            outcome = ToolCallOutcomeFailure(
                payload=ToolFailure(
                    class_=output.class_,
                    code=output.code,
                    message=output.message,
                    source="tool",
                    retry=ToolRetryDispositionNever(),
                    raw=output.raw,
                )
            )
        case _:
            outcome = ToolCallOutcomeCancelled(
                payload=ToolCancellation(
                    message=output.message, source="cancellation", raw=output.raw
                )
            )
    return ToolCallOutput(outcome=outcome, control=output.control)
