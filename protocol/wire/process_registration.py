"""The registration of a process: what it runs, who owns it, what it may emit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import U32, Json, OrAbsent, SortedMap, WireModel
from effectmq.protocol.wire.invocation import CausalRef
from effectmq.protocol.wire.process_event_types import ProcessEventType
from effectmq.protocol.wire.sessions import SessionCreateRequest
from effectmq.protocol.wire.tool_definitions import ToolOutputContract
from effectmq.protocol.wire.tools import PreparedToolCall
from effectmq.protocol.wire.turn_input import TurnInput

__all__ = [
    "ContentHash",
    "LashlangProcessRef",
    "ModuleRef",
    "ProcessInput",
    "ProcessInputExternal",
    "ProcessInputLashlangProcess",
    "ProcessInputSessionTurn",
    "ProcessInputToolCall",
    "ProcessProvenance",
    "ProcessRegistration",
    "ProcessScope",
    "ProcessScopeId",
    "RequiredSurfaceRef",
]

#: Hex digits of a SHA-256.
ContentHash = str

#: ``lashlang:v1:sha256:{hex}``.
ModuleRef = str

#: ``lashlang-surface:v1:sha256:{hex}``.
RequiredSurfaceRef = str

#: From ``ProcessScope.id``.
ProcessScopeId = str


class ProcessScope(WireModel):
    """
    The owner of a process: a session, or one agent frame of it.

    Attributes:
        agent_frame_id: Absent and empty mean the session itself.
    """

    session_id: str
    agent_frame_id: OrAbsent[str] = None

    def id(self) -> ProcessScopeId:
        """Return the scope's id as an owner of processes; nothing is escaped."""
        if self.agent_frame_id:
            return f"session:{self.session_id}/frame:{self.agent_frame_id}"
        return f"session:{self.session_id}"


class LashlangProcessRef(WireModel):
    """
    A process definition inside a module.

    Attributes:
        pos: Its position in the component, from 0.
    """

    component: ContentHash
    pos: U32


class ProcessInputToolCall(WireModel):
    """The process runs one tool call."""

    type: Literal["tool_call"] = "tool_call"
    call: PreparedToolCall


class ProcessInputLashlangProcess(WireModel):
    """The process runs a definition in the agents' language."""

    type: Literal["lashlang_process"] = "lashlang_process"
    module_ref: ModuleRef
    process_ref: LashlangProcessRef
    required_surface_ref: RequiredSurfaceRef
    process_name: str
    args: Annotated[dict[str, Json], SortedMap] = Field(default_factory=dict[str, Any])


class ProcessInputSessionTurn(WireModel):
    """The process runs one turn of a new session."""

    type: Literal["session_turn"] = "session_turn"
    create_request: SessionCreateRequest
    turn_input: TurnInput
    output_contract: ToolOutputContract


class ProcessInputExternal(WireModel):
    """Somebody else runs the process and reports its events."""

    type: Literal["external"] = "external"
    metadata: Json = None


ProcessInput = Annotated[
    ProcessInputToolCall
    | ProcessInputLashlangProcess
    | ProcessInputSessionTurn
    | ProcessInputExternal,
    Field(discriminator="type"),
]


class ProcessProvenance(WireModel):
    """
    Where a process comes from.

    Attributes:
        host_profile_id: Only hosts with this profile run the process.
    """

    owner_scope: ProcessScope
    host_profile_id: str
    caused_by: OrAbsent[CausalRef] = None


class ProcessRegistration(WireModel):
    """
    A request to register a process.

    Attributes:
        event_types: The types that it may emit; the registry appends the standard ones.
    """

    id: str
    input: ProcessInput
    event_types: list[ProcessEventType] = Field(default_factory=list[ProcessEventType])
    provenance: ProcessProvenance
