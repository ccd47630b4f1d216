"""Operations on processes as effects: what is asked of the registry and what it gave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.model import OrAbsent, WireModel
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessEvent,
    ProcessEventAppendRequest,
)
from effectmq.protocol.wire.process_registration import ProcessRegistration, ProcessScope
from effectmq.protocol.wire.processes import (
    ProcessExecutionContext,
    ProcessHandleGrantEntry,
    ProcessListMode,
    ProcessRecord,
    ProcessSessionDeleteReport,
    ProcessStartGrant,
)

__all__ = [
    "ProcessCommand",
    "ProcessCommandAwait",
    "ProcessCommandCancel",
    "ProcessCommandDeleteSession",
    "ProcessCommandList",
    "ProcessCommandSignal",
    "ProcessCommandStart",
    "ProcessCommandTransfer",
    "ProcessEffectOutcome",
    "ProcessEffectOutcomeAwait",
    "ProcessEffectOutcomeCancel",
    "ProcessEffectOutcomeDeleteSession",
    "ProcessEffectOutcomeList",
    "ProcessEffectOutcomeSignal",
    "ProcessEffectOutcomeStart",
    "ProcessEffectOutcomeTransfer",
]


def _is_empty_context(value: ProcessExecutionContext) -> bool:
    return value.causal_invocation is None and value.wake_target_scope is None


class ProcessCommandStart(WireModel):
    """
    Register a process.

    Attributes:
        grant: The handle to grant with it.
        execution_context: Left out when both of its members are.
    """

    op: Literal["start"] = "start"
    registration: ProcessRegistration
    grant: OrAbsent[ProcessStartGrant] = None
    execution_context: Annotated[ProcessExecutionContext, Field(exclude_if=_is_empty_context)] = (
        Field(default_factory=ProcessExecutionContext)
    )


class ProcessCommandList(WireModel):
    """List the handles of a scope."""

    op: Literal["list"] = "list"
    owner_scope: ProcessScope
    mode: ProcessListMode = "live"


class ProcessCommandTransfer(WireModel):
    """Move handles from one scope to another."""

    op: Literal["transfer"] = "transfer"
    from_scope: ProcessScope
    to_scope: ProcessScope
    process_ids: list[str]


class ProcessCommandDeleteSession(WireModel):
    """Drop every handle of a session and cancel what nobody else holds."""

    op: Literal["delete_session"] = "delete_session"
    session_id: str


class ProcessCommandAwait(WireModel):
    """Wait for the output of a process."""

    op: Literal["await"] = "await"
    process_id: str


class ProcessCommandCancel(WireModel):
    """Ask a process to stop."""

    op: Literal["cancel"] = "cancel"
    process_id: str
    reason: str | None = None


class ProcessCommandSignal(WireModel):
    """
    Send a process an event.

    Attributes:
        signal_id: Names the signal; part of the effect's id.
    """

    op: Literal["signal"] = "signal"
    process_id: str
    signal_id: str
    request: ProcessEventAppendRequest


ProcessCommand = Annotated[
    ProcessCommandStart
    | ProcessCommandList
    | ProcessCommandTransfer
    | ProcessCommandDeleteSession
    | ProcessCommandAwait
    | ProcessCommandCancel
    | ProcessCommandSignal,
    Field(discriminator="op"),
]


class ProcessEffectOutcomeStart(WireModel):
    """The process is registered."""

    op: Literal["start"] = "start"
    record: ProcessRecord


class ProcessEffectOutcomeList(WireModel):
    """The handles and their processes, ordered by process id."""

    op: Literal["list"] = "list"
    entries: list[ProcessHandleGrantEntry]


class ProcessEffectOutcomeTransfer(WireModel):
    """The handles are moved."""

    op: Literal["transfer"] = "transfer"


class ProcessEffectOutcomeDeleteSession(WireModel):
    """The handles of the session are gone."""

    op: Literal["delete_session"] = "delete_session"
    report: ProcessSessionDeleteReport


class ProcessEffectOutcomeAwait(WireModel):
    """The process has ended."""

    op: Literal["await"] = "await"
    output: ProcessAwaitOutput


class ProcessEffectOutcomeCancel(WireModel):
    """The process was asked to stop; it need not have stopped yet."""

    op: Literal["cancel"] = "cancel"
    record: ProcessRecord


class ProcessEffectOutcomeSignal(WireModel):
    """The event is appended."""

    op: Literal["signal"] = "signal"
    event: ProcessEvent


ProcessEffectOutcome = Annotated[
    ProcessEffectOutcomeStart
    | ProcessEffectOutcomeList
    | ProcessEffectOutcomeTransfer
    | ProcessEffectOutcomeDeleteSession
    | ProcessEffectOutcomeAwait
    | ProcessEffectOutcomeCancel
    | ProcessEffectOutcomeSignal,
    Field(discriminator="op"),
]
