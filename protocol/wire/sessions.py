"""Sessions: their creation, and what is kept of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import (
    U8,
    U64,
    UNIT,
    Json,
    OmitEmpty,
    OrAbsent,
    SortedMap,
    Usize,
    WireModel,
    is_empty,
)
from effectmq.protocol.wire.invocation import CausalRef
from effectmq.protocol.wire.messages import PluginMessage
from effectmq.protocol.wire.policy import SessionPolicy
from effectmq.protocol.wire.session_graph import ProtocolEvent, SessionGraph
from effectmq.protocol.wire.tool_definitions import SessionToolAccess
from effectmq.protocol.wire.turn_input import ProtocolTurnOptions
from effectmq.protocol.wire.usage import PromptUsage, TokenLedgerEntry, TokenUsage

__all__ = [
    "AgentFrameAssignment",
    "AgentFrameReason",
    "AgentFrameRecord",
    "AgentFrameStatus",
    "BlobRef",
    "PluginOptions",
    "SessionAppendNode",
    "SessionAppendNodeMessage",
    "SessionAppendNodePlugin",
    "SessionAppendNodeProtocolEvent",
    "SessionCreateRequest",
    "SessionPluginSource",
    "SessionRelation",
    "SessionRelationChild",
    "SessionRelationRoot",
    "SessionSnapshot",
    "SessionStartPoint",
    "SessionStartPointCurrentSession",
    "SessionStartPointEmpty",
    "SessionStartPointExistingSession",
    "SessionStartPointSnapshot",
    "SubagentSessionContext",
]

#: Names a blob in a session store.
BlobRef = str

#: Whether plugins start anew, or continue from the current session's state.
SessionPluginSource = Annotated[Literal["current_host_fresh", "current_session_fork"], UNIT]

AgentFrameStatus = Annotated[Literal["active", "superseded"], UNIT]

AgentFrameReason = Annotated[Literal["initial", "continue_as", "handoff", "plan_mode"], UNIT]


class SessionRelationRoot(WireModel):
    """The session is independent."""

    kind: Literal["root"] = "root"


class SessionRelationChild(WireModel):
    """The session works for another session."""

    kind: Literal["child"] = "child"
    parent_session_id: str
    caused_by: OrAbsent[CausalRef] = None


SessionRelation = Annotated[SessionRelationRoot | SessionRelationChild, Field(discriminator="kind")]


class SessionAppendNodeMessage(WireModel):
    """Appends a message."""

    kind: Literal["message"] = "message"
    message: PluginMessage
    caused_by: OrAbsent[CausalRef] = None


class SessionAppendNodeProtocolEvent(WireModel):
    """Appends an event of a protocol plugin."""

    kind: Literal["protocol_event"] = "protocol_event"
    event: ProtocolEvent
    caused_by: OrAbsent[CausalRef] = None


class SessionAppendNodePlugin(WireModel):
    """Appends data of a plugin."""

    kind: Literal["plugin"] = "plugin"
    plugin_type: str
    body: Json = None
    caused_by: OrAbsent[CausalRef] = None


SessionAppendNode = Annotated[
    SessionAppendNodeMessage | SessionAppendNodeProtocolEvent | SessionAppendNodePlugin,
    Field(discriminator="kind"),
]


class SubagentSessionContext(WireModel):
    """
    The context of a session that works as a subagent.

    Attributes:
        depth: The number of sessions above it.
        max_depth: The largest allowed depth.
    """

    parent_session_id: str
    capability: str
    depth: U8
    max_depth: U8


class PluginOptions(WireModel):
    """Settings for plugins, by plugin id."""

    plugins: Annotated[dict[str, Json], SortedMap, Field(exclude_if=is_empty)] = Field(
        default_factory=dict[str, Any]
    )


class AgentFrameAssignment(WireModel):
    """The model, tools and rules of an agent frame."""

    policy: SessionPolicy
    plugin_options: PluginOptions = Field(default_factory=PluginOptions)
    plugin_source: SessionPluginSource = "current_session_fork"
    tool_access: SessionToolAccess = Field(default_factory=SessionToolAccess)
    subagent: OrAbsent[SubagentSessionContext] = None
    usage_source: OrAbsent[str] = None


class AgentFrameRecord(WireModel):
    """
    A stretch of a session under one assignment.

    Attributes:
        created_at: RFC 3339.
        execution_state_snapshot: The bytes of the code runner's state, as numbers.
    """

    frame_id: str
    session_id: str
    previous_frame_id: OrAbsent[str] = None
    status: AgentFrameStatus = "active"
    reason: AgentFrameReason = "initial"
    caused_by: OrAbsent[CausalRef] = None
    created_at: str
    assignment: AgentFrameAssignment
    protocol_turn_options: ProtocolTurnOptions = Field(default_factory=ProtocolTurnOptions)
    execution_state_ref: OrAbsent[BlobRef] = None
    execution_state_snapshot: OrAbsent[list[U8]] = None


def _no_usage() -> TokenUsage:
    return TokenUsage(input_tokens=0, output_tokens=0, cached_input_tokens=0)


class SessionSnapshot(WireModel):
    """
    A session in a form from which it can be resumed.

    Attributes:
        turn_index: Counts the turns of the session from 0.
    """

    session_id: str
    policy: SessionPolicy = Field(default_factory=SessionPolicy)
    agent_frames: list[AgentFrameRecord] = Field(default_factory=list[AgentFrameRecord])
    current_agent_frame_id: OmitEmpty[str] = ""
    session_graph: SessionGraph = Field(default_factory=SessionGraph)
    turn_index: Usize = 0
    token_usage: TokenUsage = Field(default_factory=_no_usage)
    last_prompt_usage: OrAbsent[PromptUsage] = None
    protocol_turn_options: ProtocolTurnOptions = Field(default_factory=ProtocolTurnOptions)
    tool_state_ref: OrAbsent[BlobRef] = None
    tool_state_generation: OrAbsent[U64] = None
    plugin_snapshot_ref: OrAbsent[BlobRef] = None
    plugin_snapshot_revision: OrAbsent[U64] = None
    execution_state_ref: OrAbsent[BlobRef] = None
    token_ledger: OmitEmpty[list[TokenLedgerEntry]] = Field(default_factory=list[TokenLedgerEntry])
    checkpoint_ref: OrAbsent[BlobRef] = None


class SessionStartPointEmpty(WireModel):
    """The session starts with nothing."""

    kind: Literal["empty"] = "empty"


class SessionStartPointCurrentSession(WireModel):
    """The session starts as a copy of the current one."""

    kind: Literal["current_session"] = "current_session"


class SessionStartPointExistingSession(WireModel):
    """The session starts as a copy of another one."""

    kind: Literal["existing_session"] = "existing_session"
    session_id: str


class SessionStartPointSnapshot(WireModel):
    """The session starts from a snapshot."""

    kind: Literal["snapshot"] = "snapshot"
    snapshot: SessionSnapshot


SessionStartPoint = Annotated[
    SessionStartPointEmpty
    | SessionStartPointCurrentSession
    | SessionStartPointExistingSession
    | SessionStartPointSnapshot,
    Field(discriminator="kind"),
]


class SessionCreateRequest(WireModel):
    """
    A session to create.

    Attributes:
        policy: ``None`` to take over the current session's.
        initial_nodes: Nodes that are appended to the graph at once.
        usage_source: The name under which its tokens are counted.
    """

    session_id: OrAbsent[str] = None
    relation: SessionRelation = Field(default_factory=SessionRelationRoot)
    start: SessionStartPoint
    policy: SessionPolicy | None = None
    plugin_source: SessionPluginSource = "current_session_fork"
    initial_nodes: list[SessionAppendNode] = Field(default_factory=list[Any])
    tool_access: SessionToolAccess = Field(default_factory=SessionToolAccess)
    subagent: OrAbsent[SubagentSessionContext] = None
    plugin_options: PluginOptions = Field(default_factory=PluginOptions)
    usage_source: OrAbsent[str] = None
