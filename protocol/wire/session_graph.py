"""The graph of everything that happened in a session."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from effectmq.protocol.encoding.narrowing import is_just_dict
from effectmq.protocol.encoding.opaque import last_values
from effectmq.protocol.encoding.serde.model import (
    EXTERNAL,
    FROM_WIRE,
    ExternalVariant,
    Json,
    OrAbsent,
    WireModel,
)
from effectmq.protocol.wire.invocation import CausalRef
from effectmq.protocol.wire.messages import MessageOrigin, MessageRole, Part
from effectmq.protocol.wire.tools import ToolCallRecord

__all__ = [
    "ConversationRecord",
    "ProtocolEvent",
    "SessionEventRecord",
    "SessionEventRecordConversation",
    "SessionEventRecordProtocol",
    "SessionEventRecordTool",
    "SessionGraph",
    "SessionNodePayload",
    "SessionNodePayloadEvent",
    "SessionNodePayloadPlugin",
    "SessionNodeRecord",
    "SharedJsonValue",
    "ToolEvent",
    "ToolEventInvocation",
]

SharedJsonValue = Json


class ProtocolEvent(WireModel):
    """An event that a protocol plugin understands; it is read as a JSON value first."""

    wire_through_value = True

    plugin_id: str
    payload: Json

    @model_validator(mode="before")
    @classmethod
    def _read_value(cls, value: Any) -> Any:
        return last_values(value)


class ConversationRecord(WireModel):
    """A message of the conversation."""

    id: str
    role: MessageRole
    parts: list[Part]
    origin: OrAbsent[MessageOrigin] = None


class ToolEventInvocation(ExternalVariant):
    """
    A tool was called.

    Attributes:
        stable_key: Names the call across replays.
    """

    wire_name: ClassVar[str] = "Invocation"

    stable_key: str
    record: ToolCallRecord


#: A union of one: calls are the only tool event so far, but the tag is required all the same.
ToolEvent = Annotated[ToolEventInvocation, EXTERNAL]


class SessionEventRecordConversation(WireModel):
    """A message of the conversation was recorded."""

    wire_name: ClassVar[str] = "Conversation"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[ConversationRecord, Field(alias="Conversation")]


class SessionEventRecordTool(WireModel):
    """An event of a tool was recorded."""

    wire_name: ClassVar[str] = "Tool"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[ToolEvent, Field(alias="Tool")]


class SessionEventRecordProtocol(WireModel):
    """A protocol plugin recorded something."""

    wire_name: ClassVar[str] = "Protocol"
    wire_newtype: ClassVar[bool] = True

    value: Annotated[ProtocolEvent, Field(alias="Protocol")]


SessionEventRecord = Annotated[
    SessionEventRecordConversation | SessionEventRecordTool | SessionEventRecordProtocol, EXTERNAL
]


class SessionNodePayloadEvent(WireModel):
    """The node holds an event."""

    kind: Literal["event"] = "event"
    event: SessionEventRecord


class SessionNodePayloadPlugin(WireModel):
    """The node holds data of a plugin."""

    kind: Literal["plugin"] = "plugin"
    plugin_type: str
    body: SharedJsonValue


SessionNodePayload = Annotated[
    SessionNodePayloadEvent | SessionNodePayloadPlugin, Field(discriminator="kind")
]


class SessionNodeRecord(WireModel):
    """
    One node of the graph.

    Attributes:
        timestamp: RFC 3339.
        payload: Its members are written beside those of the node.
    """

    wire_parts = ("payload",)

    node_id: str
    parent_node_id: OrAbsent[str] = None
    caused_by: OrAbsent[CausalRef] = None
    agent_frame_id: OrAbsent[str] = None
    timestamp: str
    payload: SessionNodePayload

    @model_validator(mode="before")
    @classmethod
    def _split(cls, value: Any, info: ValidationInfo) -> Any:
        # Only the wire form is flat; each part ignores the members of the other.
        if info.context is FROM_WIRE and is_just_dict(value):
            return {**value, "payload": value}
        return value

    @model_serializer(mode="wrap")
    def _join(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        members: dict[str, Any] = write(self)
        payload = members.pop("payload")
        return {**members, **payload}


class SessionGraph(WireModel):
    """
    The graph of a session.

    Attributes:
        leaf_node_id: The node where the session goes on.
    """

    nodes: list[SessionNodeRecord] = Field(default_factory=list[SessionNodeRecord])
    leaf_node_id: OrAbsent[str] = None
