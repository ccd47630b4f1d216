"""The outcomes of effects, one class for each kind."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import Err, Ok, OmitEmpty, Result, WireModel
from effectmq.protocol.errors import WrongOutcomeError
from effectmq.protocol.wire.by_kind import (
    CheckpointDelivery,
    ExecResponse,
    ExecutionSurfaceSync,
    ProcessEffectOutcome,
)
from effectmq.protocol.wire.invocation import HasKind, OfAKind
from effectmq.protocol.wire.llm_response import LlmCallError, LlmResponse
from effectmq.protocol.wire.outcome_values import (
    OutcomeFailure,
    Valued,
    block_value,
    model_value,
    result_value,
    tool_value,
)
from effectmq.protocol.wire.tools import CompletedToolCall, ToolHostEventEffectOutcome

__all__ = [
    "OUTCOME_CLASSES",
    "RecordedRuntimeEffect",
    "RuntimeEffectControllerError",
    "RuntimeEffectOutcome",
    "RuntimeEffectOutcomeCheckpoint",
    "RuntimeEffectOutcomeDirect",
    "RuntimeEffectOutcomeExecCode",
    "RuntimeEffectOutcomeLlmCall",
    "RuntimeEffectOutcomeProcess",
    "RuntimeEffectOutcomeSleep",
    "RuntimeEffectOutcomeSyncExecutionSurface",
    "RuntimeEffectOutcomeToolCall",
    "ToolCallEffectOutcome",
    "wrong_outcome",
    "wrong_process_outcome",
]


def wrong_outcome(expected_kind: str, got_kind: str) -> tuple[str, str]:
    """Return code and message for an outcome of another kind than its command."""
    return "runtime_effect_wrong_outcome", f"expected {expected_kind} outcome, got {got_kind}"


def wrong_process_outcome(op: str) -> tuple[str, str]:
    """Return code and message for the outcome of another operation on processes."""
    return "runtime_effect_wrong_outcome", f"process {op} returned the wrong outcome"


class RuntimeEffectControllerError(WireModel):
    """
    An effect could not be carried out at all; shown as ``{code}: {message}``.

    Attributes:
        code: For programs, for instance ``runtime_effect_wrong_outcome``.
    """

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ToolCallEffectOutcome(WireModel):
    """
    The outcome of a tool call as its host sees it, without the tag.

    Attributes:
        host_events: The events of the tool for its host.
    """

    result: CompletedToolCall
    host_events: OmitEmpty[list[ToolHostEventEffectOutcome]] = Field(
        default_factory=list[ToolHostEventEffectOutcome]
    )


class _Outcome(OfAKind):
    """
    The base of the outcomes, with the conversions into the result of each kind.

    Each kind overrides its own conversion. All others raise the error that names both kinds.

    Raises:
        WrongOutcomeError: By each conversion, for an outcome of another kind.
    """

    def into_llm_call(self: HasKind) -> tuple[Result[LlmResponse, LlmCallError], bool]:
        """Return the answer of the model, and whether some of its text was streamed."""
        raise WrongOutcomeError(*wrong_outcome("llm_call", self.type))

    def into_direct_response(self: HasKind) -> Result[LlmResponse, LlmCallError]:
        """Return the answer of a model outside of the turn's conversation."""
        raise WrongOutcomeError(*wrong_outcome("direct", self.type))

    def into_tool_call(self: HasKind) -> CompletedToolCall:
        """Return the completed tool call."""
        raise WrongOutcomeError(*wrong_outcome("tool_call", self.type))

    def into_tool_call_effect(self: HasKind) -> ToolCallEffectOutcome:
        """Return the completed tool call with the events of the tool for its host."""
        raise WrongOutcomeError(*wrong_outcome("tool_call", self.type))

    def into_process(self: HasKind) -> ProcessEffectOutcome:
        """Return the result of the operation on processes."""
        raise WrongOutcomeError(*wrong_outcome("process", self.type))

    def into_exec_code(self: HasKind) -> Result[ExecResponse, str]:
        """Return the result of the block of code."""
        raise WrongOutcomeError(*wrong_outcome("exec_code", self.type))

    def into_checkpoint(self: HasKind) -> Result[CheckpointDelivery, RuntimeEffectControllerError]:
        """Return what the checkpoint adds to the turn."""
        raise WrongOutcomeError(*wrong_outcome("checkpoint", self.type))

    def into_sync_execution_surface(self: HasKind) -> Result[ExecutionSurfaceSync | None, str]:
        """Return the new surface, if it changed."""
        raise WrongOutcomeError(*wrong_outcome("sync_execution_surface", self.type))

    def into_sleep(self: HasKind) -> None:
        """Return nothing: the time is over."""
        raise WrongOutcomeError(*wrong_outcome("sleep", self.type))


class RuntimeEffectOutcomeLlmCall(_Outcome, Valued[str]):
    """
    The model answered, or its provider failed.

    Attributes:
        text_streamed: Whether some text of the answer was streamed.
    """

    type: Literal["llm_call"] = "llm_call"
    result: Result[LlmResponse, LlmCallError]
    text_streamed: bool

    def _given(self) -> Ok[str] | Err[OutcomeFailure]:
        return model_value(self.result)

    def into_llm_call(self) -> tuple[Result[LlmResponse, LlmCallError], bool]:
        """Return the answer of the model, and whether some of its text was streamed."""
        return self.result, self.text_streamed


class RuntimeEffectOutcomeDirect(_Outcome, Valued[str]):
    """The model answered, or its provider failed."""

    type: Literal["direct"] = "direct"
    result: Result[LlmResponse, LlmCallError]

    def _given(self) -> Ok[str] | Err[OutcomeFailure]:
        return model_value(self.result)

    def into_direct_response(self) -> Result[LlmResponse, LlmCallError]:
        """Return the answer of a model outside of the turn's conversation."""
        return self.result


class RuntimeEffectOutcomeToolCall(_Outcome, Valued[Any]):
    """
    The tool ran; its output says whether it succeeded.

    Attributes:
        host_events: The events of the tool for its host.
    """

    type: Literal["tool_call"] = "tool_call"
    result: CompletedToolCall
    host_events: OmitEmpty[list[ToolHostEventEffectOutcome]] = Field(
        default_factory=list[ToolHostEventEffectOutcome]
    )

    def _given(self) -> Ok[Any] | Err[OutcomeFailure]:
        return tool_value(self.result)

    def into_tool_call(self) -> CompletedToolCall:
        """Return the completed tool call."""
        return self.result

    def into_tool_call_effect(self) -> ToolCallEffectOutcome:
        """Return the completed tool call with the events of the tool for its host."""
        return ToolCallEffectOutcome(result=self.result, host_events=self.host_events)


class RuntimeEffectOutcomeProcess(_Outcome, Valued[Any]):
    """The registry carried the operation out."""

    type: Literal["process"] = "process"
    result: ProcessEffectOutcome

    def _given(self) -> Ok[Any] | Err[OutcomeFailure]:
        # The types of processes are loaded: the result is one of them.
        from effectmq.protocol.wire.operation_values import operation_value

        return operation_value(self.result)

    def into_process(self) -> ProcessEffectOutcome:
        """Return the result of the operation on processes."""
        return self.result


class RuntimeEffectOutcomeExecCode(_Outcome, Valued[Any]):
    """The code ran, or no code runner was there."""

    type: Literal["exec_code"] = "exec_code"
    result: Result[ExecResponse, str]

    def _given(self) -> Ok[Any] | Err[OutcomeFailure]:
        return block_value(self.result)

    def into_exec_code(self) -> Result[ExecResponse, str]:
        """Return the result of the block of code."""
        return self.result


class RuntimeEffectOutcomeCheckpoint(_Outcome, Valued[CheckpointDelivery]):
    """What the checkpoint adds to the turn, or why it failed."""

    type: Literal["checkpoint"] = "checkpoint"
    result: Result[CheckpointDelivery, RuntimeEffectControllerError]

    def _given(self) -> Ok[CheckpointDelivery] | Err[OutcomeFailure]:
        if isinstance(self.result, Ok):
            return self.result
        error = self.result.err
        return Err(OutcomeFailure("the checkpoint", "execution", error.code, error.message))

    def into_checkpoint(self) -> Result[CheckpointDelivery, RuntimeEffectControllerError]:
        """Return what the checkpoint adds to the turn."""
        return self.result


class RuntimeEffectOutcomeSyncExecutionSurface(_Outcome, Valued[ExecutionSurfaceSync | None]):
    """The new surface; ``Ok(None)`` when nothing changed."""

    type: Literal["sync_execution_surface"] = "sync_execution_surface"
    result: Result[ExecutionSurfaceSync | None, str]

    def _given(self) -> Ok[ExecutionSurfaceSync | None] | Err[OutcomeFailure]:
        return result_value("the surface", "surface_failed", self.result)

    def into_sync_execution_surface(self) -> Result[ExecutionSurfaceSync | None, str]:
        """Return the new surface, if it changed."""
        return self.result


class RuntimeEffectOutcomeSleep(_Outcome, Valued[None]):
    """The time is over."""

    type: Literal["sleep"] = "sleep"

    def _given(self) -> Ok[None] | Err[OutcomeFailure]:
        return Ok(None)

    def into_sleep(self) -> None:
        """Return nothing: the time is over."""


RuntimeEffectOutcome = Annotated[
    RuntimeEffectOutcomeLlmCall
    | RuntimeEffectOutcomeDirect
    | RuntimeEffectOutcomeToolCall
    | RuntimeEffectOutcomeProcess
    | RuntimeEffectOutcomeExecCode
    | RuntimeEffectOutcomeCheckpoint
    | RuntimeEffectOutcomeSyncExecutionSurface
    | RuntimeEffectOutcomeSleep,
    Field(discriminator="type"),
]


#: The classes of the union, for ``isinstance``.
OUTCOME_CLASSES: Final = (
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeToolCall,
    RuntimeEffectOutcomeProcess,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeCheckpoint,
    RuntimeEffectOutcomeSyncExecutionSurface,
    RuntimeEffectOutcomeSleep,
)


class RecordedRuntimeEffect(WireModel):
    """
    The record of an effect at a durable host.

    Attributes:
        envelope_hash: The hash of the envelope that was carried out.
    """

    envelope_hash: str
    outcome: Result[RuntimeEffectOutcome, RuntimeEffectControllerError]
