"""The invocation: the half of an envelope that says who asks, why, and under which key."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, Self

from pydantic import Field

from effectmq.protocol.encoding.serde.model import U64, UNIT, OrAbsent, Usize, WireModel, from_tree

__all__ = [
    "CausalRef",
    "CausalRefEffect",
    "CausalRefProcess",
    "CausalRefProcessEvent",
    "CausalRefSessionNode",
    "CausalRefToolCall",
    "CausalRefTurn",
    "HasKind",
    "OfAKind",
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


class HasKind(Protocol):
    """An object whose tag is the kind of an effect."""

    @property
    def type(self) -> RuntimeEffectKind:
        """The kind."""
        ...


class OfAKind(WireModel):
    """The base of objects with the kind of an effect as their tag: commands and outcomes."""

    def kind(self: HasKind) -> RuntimeEffectKind:
        """Return the kind of effect, which is the tag on the wire."""
        return self.type


class RuntimeScope(WireModel):
    """
    The place in a session's life where something happens.

    Attributes:
        turn_id: Absent outside of turns.
        turn_index: Counts the turns of the session from 0.
        protocol_iteration: Counts the model calls of the turn from 0.
    """

    session_id: str
    turn_id: OrAbsent[str] = None
    turn_index: OrAbsent[Usize] = None
    protocol_iteration: OrAbsent[Usize] = None

    @classmethod
    def new(cls, session_id: str) -> Self:
        """Return the scope of a session outside of any turn."""
        return cls(session_id=session_id)

    @classmethod
    def for_turn(
        cls, session_id: str, turn_id: str, turn_index: int, protocol_iteration: int
    ) -> Self:
        """
        Return the scope of one model call of a turn.

        Args:
            session_id: The session.
            turn_id: The turn.
            turn_index: Counts the turns of the session from 0.
            protocol_iteration: Counts the model calls of the turn from 0.
        """
        return cls(
            session_id=session_id,
            turn_id=turn_id,
            turn_index=turn_index,
            protocol_iteration=protocol_iteration,
        )


class RuntimeReplay(WireModel):
    """
    The name under which an effect is recorded for ever.

    Attributes:
        key: Unique within the effect scope; two requests with the same key are the same effect.
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
    Who asks for what and why, and under which replay key.

    Attributes:
        caused_by: The cause, if there is one.
        replay: Absent on invocations that are not recorded; an envelope must have it.
    """

    scope: RuntimeScope
    subject: RuntimeSubject
    caused_by: OrAbsent[CausalRef] = None
    replay: OrAbsent[RuntimeReplay] = None

    @classmethod
    def effect(
        cls,
        scope: RuntimeScope,
        effect_id: str,
        kind: RuntimeEffectKind,
        replay_key: str,
        caused_by: CausalRef | None = None,
    ) -> Self:
        """
        Return the invocation of an effect.

        Args:
            scope: The place in the session's life.
            effect_id: Names the effect inside the scope.
            kind: The effect's kind.
            replay_key: Names the effect for ever.
            caused_by: The cause.

        Raises:
            MalformedError: When an argument is not of its type.
        """
        # Validated as one document: this takes a quarter of the time of building each part, and
        # every effect of a producer is built here.
        return from_tree(
            cls,
            {
                "scope": scope,
                "subject": {"type": "effect", "effect_id": effect_id, "kind": kind},
                "caused_by": caused_by,
                "replay": {"key": replay_key},
            },
        )

    def with_caused_by(self, caused_by: CausalRef | None) -> Self:
        """Return the same invocation with another cause, or without one."""
        return type(self)(
            scope=self.scope, subject=self.subject, caused_by=caused_by, replay=self.replay
        )

    def effect_id(self) -> str | None:
        """Return the effect id, or None when the invocation is not about an effect."""
        subject = self.subject
        return subject.effect_id if isinstance(subject, RuntimeSubjectEffect) else None

    def effect_kind(self) -> RuntimeEffectKind | None:
        """Return the effect's kind, or None when the invocation is not about an effect."""
        subject = self.subject
        return subject.kind if isinstance(subject, RuntimeSubjectEffect) else None

    def replay_key(self) -> str | None:
        """Return the replay key, if there is one."""
        return self.replay.key if self.replay is not None else None

    def causal_ref(self) -> CausalRef:
        """Return the reference that names this invocation as the cause of another."""
        subject, scope = self.subject, self.scope
        match subject:
            case RuntimeSubjectEffect():
                return CausalRefEffect(
                    session_id=scope.session_id, turn_id=scope.turn_id, effect_id=subject.effect_id
                )
            case RuntimeSubjectProcess():
                return CausalRefProcess(process_id=subject.process_id)
            case RuntimeSubjectProcessEvent():
                return CausalRefProcessEvent(
                    process_id=subject.process_id, sequence=subject.sequence
                )
            case RuntimeSubjectSessionNode():
                return CausalRefSessionNode(session_id=scope.session_id, node_id=subject.node_id)
