"""The outcome of a tool call, made of its output."""

from __future__ import annotations

from collections.abc import Sequence

from effectmq.protocol.tool_calls.to_model import model_tool_return
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    CompletedToolCall,
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolFailure,
    ToolFailureClass,
    ToolFailureSource,
    ToolHostEventEffectOutcome,
    ToolRetryDisposition,
    ToolRetryDispositionNever,
)

__all__ = ["completed", "failure"]


def failure(
    class_: ToolFailureClass,
    code: str,
    message: str,
    *,
    source: ToolFailureSource = "tool",
    retry: ToolRetryDisposition | None = None,
    raw: object = None,
) -> ToolCallOutput:
    """The output of a call that failed; ``retry`` says whether another attempt is safe."""
    return ToolCallOutput(
        outcome=ToolCallOutcomeFailure(
            payload=ToolFailure(
                class_=class_,
                code=code,
                message=message,
                source=source,
                retry=retry or ToolRetryDispositionNever(),
                raw=raw,
            )
        )
    )


def completed(
    call: PreparedToolCall | CompletedToolCall,
    output: ToolCallOutput,
    duration_ms: int,
    host_events: Sequence[ToolHostEventEffectOutcome] = (),
) -> RuntimeEffectOutcomeToolCall:
    """The outcome of a call, with the texts for the model and the events for the host."""
    result = CompletedToolCall(
        call_id=call.call_id,
        tool_name=call.tool_name,
        args=call.args,
        output=output,
        model_return=model_tool_return(call.call_id, call.tool_name, output),
        duration_ms=duration_ms,
        replay=call.replay,
    )
    return RuntimeEffectOutcomeToolCall(result=result, host_events=list(host_events))
