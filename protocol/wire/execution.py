"""The results of code, of checkpoints, and of updates of what the model may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    U8,
    U32,
    U64,
    UNIT,
    Json,
    OmitEmpty,
    OrAbsent,
    Usize,
    WireModel,
)
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.llm_request import LlmToolSpec
from effectmq.protocol.wire.messages import PluginMessage, TurnCause
from effectmq.protocol.wire.tools import ToolCallRecord

__all__ = [
    "CheckpointDelivery",
    "CheckpointKind",
    "ExecImage",
    "ExecResponse",
    "ExecutionSurfaceSync",
    "TextProjectionMetadata",
]

CheckpointKind = Annotated[Literal["after_work", "before_completion"], UNIT]


class TextProjectionMetadata(WireModel):
    """
    How much of a long text was kept.

    Attributes:
        limit: The cap, in the unit of ``limit_mode``.
    """

    truncated: bool
    original_chars: Usize
    projected_chars: Usize
    original_lines: Usize
    projected_lines: Usize
    limit: Usize
    limit_mode: str
    max_lines: Usize


class ExecImage(WireModel):
    """
    An image that code produced.

    Attributes:
        mime: For instance ``image/png``.
        data: The bytes as numbers, when they are not in a store.
        width: The width in pixels.
        height: The height in pixels.
    """

    mime: str
    reference: OrAbsent[AttachmentRef] = None
    data: OmitEmpty[list[U8]] = Field(default_factory=list[int])
    label: str
    width: OrAbsent[U32] = None
    height: OrAbsent[U32] = None


class ExecResponse(WireModel):
    """
    The result of a block of code.

    Attributes:
        observations: What it printed.
        observation_truncation: How each observation was cut.
        tool_calls: The calls of tools, in order.
        error: Why it stopped, when it failed.
        duration_ms: How long it ran, in milliseconds.
        terminal_finish: The value it ended the turn with, if it did.
    """

    observations: list[str]
    observation_truncation: list[TextProjectionMetadata]
    tool_calls: list[ToolCallRecord]
    images: list[ExecImage]
    printed_images: list[AttachmentRef]
    error: str | None = None
    duration_ms: U64
    terminal_finish: Json = None


class ExecutionSurfaceSync(WireModel):
    """The system prompt and the tools for the model from now on."""

    system_prompt: str
    tool_specs: list[LlmToolSpec]


class CheckpointDelivery(WireModel):
    """
    What a checkpoint adds to the turn.

    Attributes:
        transient_messages: For the next model call only.
        turn_causes: Why the turn goes on.
    """

    messages: list[PluginMessage]
    transient_messages: list[PluginMessage]
    turn_causes: list[TurnCause]
