"""Tool calls: the request to a tool, its output, and what the model is told of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    U32,
    U64,
    UNIT,
    AdjacentlyTagged,
    Json,
    OmitEmpty,
    OrAbsent,
    WireModel,
    is_none,
)
from effectmq.protocol.wire.attachments import AttachmentId, MediaType
from effectmq.protocol.wire.provider_meta import ProviderReplayMeta
from effectmq.protocol.wire.tool_value import ToolValue

__all__ = [
    "CompletedToolCall",
    "ModelToolReturn",
    "ModelToolReturnPart",
    "ModelToolReturnPartAttachment",
    "ModelToolReturnPartText",
    "PendingToolCall",
    "PreparedToolCall",
    "ToolCallOutcome",
    "ToolCallOutcomeCancelled",
    "ToolCallOutcomeFailure",
    "ToolCallOutcomeSuccess",
    "ToolCallOutput",
    "ToolCallRecord",
    "ToolCancellation",
    "ToolControl",
    "ToolControlFail",
    "ToolControlFinish",
    "ToolControlSwitchAgentFrame",
    "ToolFailure",
    "ToolFailureClass",
    "ToolFailureSource",
    "ToolHostEventEffectOutcome",
    "ToolRetryDisposition",
    "ToolRetryDispositionExhausted",
    "ToolRetryDispositionNever",
    "ToolRetryDispositionSafe",
]


class PreparedToolCall(WireModel):
    """
    One tool call, ready to run.

    Attributes:
        prepared_payload: Data of the tool's prepare step for its run; ``None`` for none.
    """

    call_id: str
    tool_name: str
    args: Json
    replay: OrAbsent[ProviderReplayMeta] = None
    prepared_payload: Annotated[Json, Field(exclude_if=is_none)] = None


ToolFailureClass = Annotated[
    Literal[
        "invalid_request",
        "unavailable",
        "permission_denied",
        "timeout",
        "execution",
        "external",
        "resource_limit",
        "internal",
    ],
    UNIT,
]

ToolFailureSource = Annotated[Literal["runtime", "tool", "plugin", "policy", "cancellation"], UNIT]


class ToolRetryDispositionNever(WireModel):
    """Running the tool again is not safe, or would not help."""

    type: Literal["never"] = "never"


class ToolRetryDispositionSafe(WireModel):
    """
    The tool may be run again.

    Attributes:
        after_ms: The wait before that, in milliseconds.
    """

    type: Literal["safe"] = "safe"
    after_ms: OrAbsent[U64] = None


class ToolRetryDispositionExhausted(WireModel):
    """
    The tool was run as often as its policy allows.

    Attributes:
        attempts: The number of attempts.
    """

    type: Literal["exhausted"] = "exhausted"
    attempts: U32


ToolRetryDisposition = Annotated[
    ToolRetryDispositionNever | ToolRetryDispositionSafe | ToolRetryDispositionExhausted,
    Field(discriminator="type"),
]


class ToolFailure(WireModel):
    """
    How a tool failed.

    Attributes:
        class_: ``class`` on the wire.
        code: For programs, for instance ``invalid_tool_args``.
        message: For the model and for people.
        raw: The failure in the form of the tool.
    """

    class_: Annotated[ToolFailureClass, Field(alias="class")]
    code: str
    message: str
    source: ToolFailureSource
    retry: ToolRetryDisposition
    raw: Annotated[ToolValue, Field(exclude_if=is_none)] = None


class ToolCancellation(WireModel):
    """
    A tool call that was cancelled.

    Attributes:
        raw: What the tool said about it.
    """

    message: str
    source: ToolFailureSource
    raw: Annotated[ToolValue, Field(exclude_if=is_none)] = None


class ToolCallOutcomeSuccess(WireModel):
    """The tool returned a value."""

    status: Literal["success"] = "success"
    payload: ToolValue


class ToolCallOutcomeFailure(WireModel):
    """The tool failed."""

    status: Literal["failure"] = "failure"
    payload: ToolFailure


class ToolCallOutcomeCancelled(WireModel):
    """The tool was cancelled."""

    status: Literal["cancelled"] = "cancelled"
    payload: ToolCancellation


ToolCallOutcome = Annotated[
    ToolCallOutcomeSuccess | ToolCallOutcomeFailure | ToolCallOutcomeCancelled,
    Field(discriminator="status"),
    AdjacentlyTagged("status"),
]


class ToolControlSwitchAgentFrame(WireModel):
    """
    The tool asks the session to go on in another agent frame.

    Attributes:
        initial_nodes: The data of the new frame at its start.
        task: The task of the new frame.
    """

    type: Literal["switch_agent_frame"] = "switch_agent_frame"
    frame_id: str
    initial_nodes: OmitEmpty[list[Json]] = Field(default_factory=list)
    task: OrAbsent[str] = None


class ToolControlFinish(WireModel):
    """The tool ends the turn with a value."""

    type: Literal["finish"] = "finish"
    value: ToolValue


class ToolControlFail(WireModel):
    """The tool ends the turn with a failure."""

    type: Literal["fail"] = "fail"
    failure: ToolFailure


ToolControl = Annotated[
    ToolControlSwitchAgentFrame | ToolControlFinish | ToolControlFail,
    Field(discriminator="type"),
]


class ToolCallOutput(WireModel):
    """
    The result of a tool call.

    Attributes:
        control: The request of the tool to its session, if any.
    """

    outcome: ToolCallOutcome
    control: OrAbsent[ToolControl] = None


class ModelToolReturnPartText(WireModel):
    """Text for the model."""

    type: Literal["text"] = "text"
    text: str


class ModelToolReturnPartAttachment(WireModel):
    """
    An attachment for the model; the members of an ``AttachmentRef`` after the tag.

    Attributes:
        width: The width in pixels.
        height: The height in pixels.
    """

    type: Literal["attachment"] = "attachment"
    id: AttachmentId
    media_type: MediaType
    byte_len: U64
    width: OrAbsent[U32] = None
    height: OrAbsent[U32] = None
    label: OrAbsent[str] = None


ModelToolReturnPart = Annotated[
    ModelToolReturnPartText | ModelToolReturnPartAttachment, Field(discriminator="type")
]


class ModelToolReturn(WireModel):
    """The text and attachments of a tool's output for the model."""

    call_id: str
    tool_name: str
    parts: list[ModelToolReturnPart]


class CompletedToolCall(WireModel):
    """
    One tool call that has run.

    Attributes:
        duration_ms: How long the tool ran, in milliseconds.
        replay: Written as ``null`` when there is none, unlike in ``PreparedToolCall``.
    """

    call_id: str
    tool_name: str
    args: Json
    output: ToolCallOutput
    model_return: ModelToolReturn
    duration_ms: U64
    replay: ProviderReplayMeta | None = None


class ToolCallRecord(WireModel):
    """
    A tool call as sessions and code runs keep it.

    Attributes:
        tool: The tool's name.
        duration_ms: How long the tool ran, in milliseconds.
    """

    call_id: OrAbsent[str] = None
    tool: str
    args: Json
    output: ToolCallOutput
    duration_ms: U64


class ToolHostEventEffectOutcome(WireModel):
    """
    An event that a tool emitted to its host while it ran.

    Attributes:
        source_type: ``{alias}.{event}``.
        started_process_ids: The processes that the event started.
    """

    resource_type: str
    alias: str
    event: str
    source_type: str
    payload: Json = None
    started_process_ids: list[str]


class PendingToolCall(WireModel):
    """A tool call as the model asked for it, before it is prepared."""

    call_id: str
    tool_name: str
    args: Json
    replay: ProviderReplayMeta | None = None
