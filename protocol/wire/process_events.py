"""Events of processes: as appended, as recorded, and their effects."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from effectmq.protocol.encoding.narrowing import is_just_dict
from effectmq.protocol.encoding.serde.model import U32, U64, Json, OrAbsent, WireModel, is_none
from effectmq.protocol.wire.invocation import (
    CausalRef,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectProcessEvent,
)
from effectmq.protocol.wire.process_event_types import ProcessTerminalState
from effectmq.protocol.wire.process_registration import ProcessScope, ProcessScopeId
from effectmq.protocol.wire.tools import ToolControl, ToolFailureClass

__all__ = [
    "ProcessAwaitOutput",
    "ProcessAwaitOutputCancelled",
    "ProcessAwaitOutputFailure",
    "ProcessAwaitOutputSuccess",
    "ProcessEvent",
    "ProcessEventAppendRequest",
    "ProcessEventAppendResult",
    "ProcessEventSemantics",
    "ProcessTerminalSemantics",
    "ProcessWake",
    "ProcessWakeDelivery",
    "SystemTime",
]

_NANOS_PER_SECOND = 1_000_000_000
_MAX_SECONDS = 2**63 - 1


class SystemTime(WireModel):
    """
    A point in time since the Unix epoch, as serde writes ``std::time::SystemTime``.

    No other members are allowed.

    Attributes:
        nanos_since_epoch: The nanoseconds within the second; Lash writes whole milliseconds.
    """

    model_config = ConfigDict(extra="forbid")

    secs_since_epoch: U64
    nanos_since_epoch: U32

    @model_validator(mode="before")
    @classmethod
    def _carry(cls, value: Any) -> Any:
        # Rust's Duration carries whole seconds over, and its clock counts them in an i64. Both
        # numbers must fit their fields as given; the fields report it when they do not.
        if not is_just_dict(value):
            return value
        seconds = value.get("secs_since_epoch")
        nanos = value.get("nanos_since_epoch")
        if type(seconds) is not int or type(nanos) is not int:
            return value
        if not 0 <= seconds < 2**64 or not 0 <= nanos < 2**32:
            return value
        seconds += nanos // _NANOS_PER_SECOND
        if seconds > _MAX_SECONDS:
            raise PydanticCustomError("wire_value", "{problem}", {"problem": _OVERFLOW})
        carried = {"secs_since_epoch": seconds, "nanos_since_epoch": nanos % _NANOS_PER_SECOND}
        return {**value, **carried}


_OVERFLOW = "found a time of more than 2^63-1 seconds since the Unix epoch, which no clock reaches"


class ProcessAwaitOutputSuccess(WireModel):
    """The process ended well."""

    type: Literal["success"] = "success"
    value: Json
    control: OrAbsent[ToolControl] = None


class ProcessAwaitOutputFailure(WireModel):
    """
    The process failed.

    Attributes:
        class_: ``class`` on the wire.
        raw: The failure in the form of its source.
    """

    type: Literal["failure"] = "failure"
    class_: Annotated[ToolFailureClass, Field(alias="class")]
    code: str
    message: str
    raw: Annotated[Json, Field(exclude_if=is_none)] = None
    control: OrAbsent[ToolControl] = None


class ProcessAwaitOutputCancelled(WireModel):
    """
    The process was cancelled.

    Attributes:
        raw: What its source said about it.
    """

    type: Literal["cancelled"] = "cancelled"
    message: str
    raw: Annotated[Json, Field(exclude_if=is_none)] = None
    control: OrAbsent[ToolControl] = None


ProcessAwaitOutput = Annotated[
    ProcessAwaitOutputSuccess | ProcessAwaitOutputFailure | ProcessAwaitOutputCancelled,
    Field(discriminator="type"),
]


class ProcessEventAppendRequest(WireModel):
    """
    An event to append to a process.

    Attributes:
        replay: Appending again under the same key returns the stored event.
        wake_target_scope: The scope that is woken, when the event wakes.
    """

    event_type: str
    payload: Json
    replay: OrAbsent[RuntimeReplay] = None
    wake_target_scope: OrAbsent[ProcessScope] = None


class ProcessTerminalSemantics(WireModel):
    """The event ended its process, with this output."""

    state: ProcessTerminalState
    await_output: ProcessAwaitOutput


class ProcessWake(WireModel):
    """
    The event wakes a session.

    Attributes:
        input: The text for the session.
        dedupe_key: Wakes with the same key count as one.
    """

    input: str
    dedupe_key: str


class ProcessEventSemantics(WireModel):
    """The effects that an event had, besides being recorded."""

    terminal: OrAbsent[ProcessTerminalSemantics] = None
    wake: OrAbsent[ProcessWake] = None


class ProcessEvent(WireModel):
    """
    An event as it is recorded.

    Attributes:
        sequence: Its number in the process, from 1 and without gaps.
    """

    process_id: str
    sequence: U64
    event_type: str
    payload: Json
    invocation: RuntimeInvocation
    semantics: ProcessEventSemantics
    occurred_at: SystemTime


def _blank_invocation() -> RuntimeInvocation:
    return RuntimeInvocation(
        scope=RuntimeScope(session_id=""),
        subject=RuntimeSubjectProcessEvent(process_id="", sequence=0, event_type="process.wake"),
    )


class ProcessWakeDelivery(WireModel):
    """
    A wake on its way to a session.

    Attributes:
        wake_id: From ``digests.wake_id``.
        event_invocation: The invocation of the event that woke.
        process_caused_by: The cause of the process itself.
        created_at_ms: Unix time in milliseconds.
    """

    wake_id: str
    target_session_id: str
    target_scope_id: ProcessScopeId
    process_id: str
    sequence: U64
    event_type: str = "process.wake"
    event_invocation: RuntimeInvocation = Field(default_factory=_blank_invocation)
    process_caused_by: OrAbsent[CausalRef] = None
    dedupe_key: str
    input: str
    created_at_ms: U64


class ProcessEventAppendResult(WireModel):
    """An appended event, and its wake."""

    event: ProcessEvent
    wake_delivery: OrAbsent[ProcessWakeDelivery] = None
