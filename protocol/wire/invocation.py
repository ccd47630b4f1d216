"""Who asks for an effect, under which key, and why: the invocation half of an envelope."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.model import U64, UNIT, OrAbsent, Usize, WireModel

__all__ = [
    "CausalRef",
    "CausalRefEffect",
    "CausalRefProcess",
    "CausalRefProcessEvent",
    "CausalRefSessionNode",
    "CausalRefToolCall",
    "CausalRefTurn",
    "RuntimeEffectKind",
    "RuntimeInvocation",
    "RuntimeReplay",
    "RuntimeScope",
    "RuntimeSubject",
    "RuntimeSubjectEffect",
    "RuntimeSubjectProcess",
    "RuntimeSubjectProcessEvent",
    "RuntimeSubjectSessionNode",
]

RuntimeEffectKind = Annotated[
    Literal[
        "llm_call",
        "direct",
        "tool_call",
        "process",
        "exec_code",
        "checkpoint",
        "sync_execution_surface",
        "sleep",
    ],
    UNIT,
]


class RuntimeScope(WireModel):
    """
    Where in a session's life something happens.

    Attributes:
        turn_id: Absent outside of turns.
        turn_index: Counts the turns of the session from 0.
        protocol_iteration: Counts the model calls of the turn from 0.
    """

    session_id: str
    turn_id: OrAbsent[str] = None
    turn_index: OrAbsent[Usize] = None
    protocol_iteration: OrAbsent[Usize] = None


class RuntimeReplay(WireModel):
    """
    The name under which an effect is recorded for ever.

    Attributes:
        key: Unique within the effect scope; two requests with one key are one effect.
    """

    key: str


class RuntimeSubjectEffect(WireModel):
    """The invocation is about an effect, the only subject an envelope may have."""

    type: Literal["effect"] = "effect"
    effect_id: str
    kind: RuntimeEffectKind


class RuntimeSubjectProcess(WireModel):
    """The invocation is about a process."""

    type: Literal["process"] = "process"
    process_id: str


class RuntimeSubjectProcessEvent(WireModel):
    """
    The invocation is about one event of a process.

    Attributes:
        sequence: The event's number in its process, from 1.
    """

    type: Literal["process_event"] = "process_event"
    process_id: str
    sequence: U64
    event_type: str


class RuntimeSubjectSessionNode(WireModel):
    """The invocation is about a node of the session graph."""

    type: Literal["session_node"] = "session_node"
    node_id: str


RuntimeSubject = Annotated[
    RuntimeSubjectEffect
    | RuntimeSubjectProcess
    | RuntimeSubjectProcessEvent
    | RuntimeSubjectSessionNode,
    Field(discriminator="type"),
]


class CausalRefTurn(WireModel):
    """Caused by a turn."""

    type: Literal["turn"] = "turn"
    session_id: str
    turn_id: str


class CausalRefEffect(WireModel):
    """Caused by another effect."""

    type: Literal["effect"] = "effect"
    session_id: str
    turn_id: OrAbsent[str] = None
    effect_id: str


class CausalRefToolCall(WireModel):
    """Caused by a tool call."""

    type: Literal["tool_call"] = "tool_call"
    session_id: str
    call_id: str


class CausalRefProcess(WireModel):
    """Caused by a process."""

    type: Literal["process"] = "process"
    process_id: str


class CausalRefProcessEvent(WireModel):
    """
    Caused by one event of a process.

    Attributes:
        sequence: The event's number in its process, from 1.
    """

    type: Literal["process_event"] = "process_event"
    process_id: str
    sequence: U64


class CausalRefSessionNode(WireModel):
    """Caused by a node of a session graph."""

    type: Literal["session_node"] = "session_node"
    session_id: str
    node_id: str


CausalRef = Annotated[
    CausalRefTurn
    | CausalRefEffect
    | CausalRefToolCall
    | CausalRefProcess
    | CausalRefProcessEvent
    | CausalRefSessionNode,
    Field(discriminator="type"),
]


class RuntimeInvocation(WireModel):
    """
    Who asks, for what, why, and under which replay key.

    Attributes:
        caused_by: What led to this, when something did.
        replay: Absent on invocations that are not recorded; an envelope must have it.
    """

    scope: RuntimeScope
    subject: RuntimeSubject
    caused_by: OrAbsent[CausalRef] = None
    replay: OrAbsent[RuntimeReplay] = None
