"""The effect scope, within which replay keys are unique: what an effect belongs to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import WireModel

__all__ = [
    "EffectScope",
    "EffectScopeCron",
    "EffectScopeHostEvent",
    "EffectScopeProcess",
    "EffectScopeQueueDrain",
    "EffectScopeRuntimeOperation",
    "EffectScopeSessionDelete",
    "EffectScopeTurn",
]


class EffectScopeTurn(WireModel):
    """A turn of a session."""

    type: Literal["turn"] = "turn"
    session_id: str
    turn_id: str


class EffectScopeProcess(WireModel):
    """A run of a process."""

    type: Literal["process"] = "process"
    process_id: str


class EffectScopeHostEvent(WireModel):
    """The handling of an event of the host."""

    type: Literal["host_event"] = "host_event"
    session_id: str
    event_id: str


class EffectScopeQueueDrain(WireModel):
    """The handling of queued work."""

    type: Literal["queue_drain"] = "queue_drain"
    session_id: str
    drain_id: str


class EffectScopeCron(WireModel):
    """One execution of a scheduled job."""

    type: Literal["cron"] = "cron"
    job_id: str
    execution_id: str


class EffectScopeSessionDelete(WireModel):
    """The deletion of a session."""

    type: Literal["session_delete"] = "session_delete"
    session_id: str


class EffectScopeRuntimeOperation(WireModel):
    """Any other operation of the runtime."""

    type: Literal["runtime_operation"] = "runtime_operation"
    operation_id: str


EffectScope = Annotated[
    EffectScopeTurn
    | EffectScopeProcess
    | EffectScopeHostEvent
    | EffectScopeQueueDrain
    | EffectScopeCron
    | EffectScopeSessionDelete
    | EffectScopeRuntimeOperation,
    Field(discriminator="type"),
]
