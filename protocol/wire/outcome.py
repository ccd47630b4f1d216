"""What an effect gave."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from effectmq.protocol.encoding.model import OmitEmpty, Result, WireModel
from effectmq.protocol.wire.execution import CheckpointDelivery, ExecResponse, ExecutionSurfaceSync
from effectmq.protocol.wire.llm_response import LlmCallError, LlmResponse
from effectmq.protocol.wire.process_commands import ProcessEffectOutcome
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
]


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


class RuntimeEffectOutcomeLlmCall(WireModel):
    """
    The model answered, or its provider failed.

    Attributes:
        text_streamed: Some text of the answer went out on the stream.
    """

    type: Literal["llm_call"] = "llm_call"
    result: Result[LlmResponse, LlmCallError]
    text_streamed: bool


class RuntimeEffectOutcomeDirect(WireModel):
    """The model answered, or its provider failed."""

    type: Literal["direct"] = "direct"
    result: Result[LlmResponse, LlmCallError]


class RuntimeEffectOutcomeToolCall(WireModel):
    """
    The tool ran; how it went is in its output.

    Attributes:
        host_events: What the tool told its host while it ran.
    """

    type: Literal["tool_call"] = "tool_call"
    result: CompletedToolCall
    host_events: OmitEmpty[list[ToolHostEventEffectOutcome]] = Field(
        default_factory=list[ToolHostEventEffectOutcome]
    )


class RuntimeEffectOutcomeProcess(WireModel):
    """The registry did what was asked of it."""

    type: Literal["process"] = "process"
    result: ProcessEffectOutcome


class RuntimeEffectOutcomeExecCode(WireModel):
    """The code ran, or there was nobody to run it."""

    type: Literal["exec_code"] = "exec_code"
    result: Result[ExecResponse, str]


class RuntimeEffectOutcomeCheckpoint(WireModel):
    """What the checkpoint brought, or why it failed."""

    type: Literal["checkpoint"] = "checkpoint"
    result: Result[CheckpointDelivery, RuntimeEffectControllerError]


class RuntimeEffectOutcomeSyncExecutionSurface(WireModel):
    """The new surface; ``Ok(None)`` when nothing changed."""

    type: Literal["sync_execution_surface"] = "sync_execution_surface"
    result: Result[ExecutionSurfaceSync | None, str]


class RuntimeEffectOutcomeSleep(WireModel):
    """The time is over."""

    type: Literal["sleep"] = "sleep"


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


class ToolCallEffectOutcome(WireModel):
    """
    The outcome of a tool call as its host sees it, without the tag.

    Attributes:
        host_events: What the tool told its host while it ran.
    """

    result: CompletedToolCall
    host_events: OmitEmpty[list[ToolHostEventEffectOutcome]] = Field(
        default_factory=list[ToolHostEventEffectOutcome]
    )


class RecordedRuntimeEffect(WireModel):
    """
    What a durable host records of an effect.

    Attributes:
        envelope_hash: The hash of the envelope that was carried out.
    """

    envelope_hash: str
    outcome: Result[RuntimeEffectOutcome, RuntimeEffectControllerError]
