"""Messages of a session, as plugins deliver them and as the session keeps them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    EXTERNAL,
    U8,
    U64,
    UNIT,
    ExternalVariant,
    OmitEmpty,
    OrAbsent,
    OrFalse,
    WireModel,
)
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.invocation import CausalRef
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)

__all__ = [
    "MessageOrigin",
    "MessageOriginPlugin",
    "MessageOriginProcess",
    "MessageRole",
    "Part",
    "PartAttachment",
    "PartKind",
    "PluginMessage",
    "PruneState",
    "PruneStateDeleted",
    "PruneStateSummarized",
    "TurnCause",
]

MessageRole = Annotated[Literal["User", "Assistant", "System", "Event"], UNIT]

PartKind = Annotated[
    Literal[
        "Text",
        "Image",
        "Code",
        "Output",
        "Error",
        "Prose",
        "ToolCall",
        "ToolResult",
        "Reasoning",
    ],
    UNIT,
]


class MessageOriginPlugin(WireModel):
    """
    A plugin wrote the message.

    Attributes:
        transient: Whether the message is not kept.
    """

    kind: Literal["plugin"] = "plugin"
    plugin_id: str
    transient: OrFalse = False


class MessageOriginProcess(WireModel):
    """
    An event of a process led to the message.

    Attributes:
        sequence: The event's number in its process, from 1.
    """

    kind: Literal["process"] = "process"
    process_id: str
    event_type: str
    sequence: U64
    wake_id: OrAbsent[str] = None
    caused_by: OrAbsent[CausalRef] = None


MessageOrigin = Annotated[MessageOriginPlugin | MessageOriginProcess, Field(discriminator="kind")]


class PartAttachment(WireModel):
    """The attachment of a part, by reference."""

    reference: AttachmentRef


class PruneStateDeleted(ExternalVariant):
    """
    The content was removed to save room.

    Attributes:
        breadcrumb: The text in its place.
        archive_hash: The hash under which it is kept.
    """

    wire_name: ClassVar[str] = "Deleted"

    breadcrumb: str
    archive_hash: str


class PruneStateSummarized(ExternalVariant):
    """
    The content was replaced by a summary.

    Attributes:
        archive_hash: The hash under which it is kept.
    """

    wire_name: ClassVar[str] = "Summarized"

    summary: str
    archive_hash: str


PruneState = Annotated[
    Literal["Intact", "Cleared"] | PruneStateDeleted | PruneStateSummarized, EXTERNAL
]


class Part(WireModel):
    """One part of a message."""

    id: str
    kind: PartKind
    content: str
    attachment: OrAbsent[PartAttachment] = None
    tool_call_id: OrAbsent[str] = None
    tool_name: OrAbsent[str] = None
    tool_replay: OrAbsent[ProviderReplayMeta] = None
    prune_state: PruneState
    reasoning_meta: OrAbsent[ProviderReasoningReplay] = None
    response_meta: OrAbsent[ResponseTextMeta] = None


class PluginMessage(WireModel):
    """
    A message that enters a session from outside of the conversation.

    Attributes:
        images: Each the bytes of an image file, as numbers.
    """

    role: MessageRole
    content: str
    origin: OrAbsent[MessageOrigin] = None
    parts: OmitEmpty[list[Part]] = Field(default_factory=list[Part])
    images: OmitEmpty[list[list[U8]]] = Field(default_factory=list[list[int]])


class TurnCause(WireModel):
    """Why a turn goes on, or starts, without a message of the user."""

    id: str
    event_type: str
    origin: MessageOrigin
    text: str
