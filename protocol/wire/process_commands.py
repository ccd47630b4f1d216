"""Operations on processes as effects, and their results."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from effectmq.protocol.encoding.serde.model import OrAbsent, WireModel
from effectmq.protocol.errors import MalformedError
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
from effectmq.protocol.wire.transfers import transfer_digest

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
    "transfer_digest",
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

    def effect_id(self) -> str:
        """Return the effect id of the operation."""
        return f"process:start:{self.registration.id}"


class ProcessCommandList(WireModel):
    """List the handles of a scope."""

    op: Literal["list"] = "list"
    owner_scope: ProcessScope
    mode: ProcessListMode = "live"

    def effect_id(self) -> str:
        """Return the effect id of the operation."""
        return f"process:list:{self.owner_scope.id()}:{self.mode}"


class ProcessCommandTransfer(WireModel):
    """Move handles from one scope to another."""

    op: Literal["transfer"] = "transfer"
    from_scope: ProcessScope
    to_scope: ProcessScope
    process_ids: list[str]

    def effect_id(self) -> str:
        """Return the effect id; it has ``unhashable`` in place of ids without a JSON form."""
        try:
            named = transfer_digest(self.process_ids)
        except MalformedError:
            named = "unhashable"
        return f"process:transfer:{self.from_scope.id()}:{self.to_scope.id()}:{named}"


class ProcessCommandDeleteSession(WireModel):
    """Remove every handle of a session, and cancel processes without another holder."""

    op: Literal["delete_session"] = "delete_session"
    session_id: str

    def effect_id(self) -> str:
        """Return the effect id of the operation."""
        # A hyphen here, but an underscore in the tag.
        return f"process:delete-session:{self.session_id}"


class ProcessCommandAwait(WireModel):
    """Wait for the output of a process."""

    op: Literal["await"] = "await"
    process_id: str

    def effect_id(self) -> str:
        """Return the effect id of the operation."""
        return f"process:await:{self.process_id}"


class ProcessCommandCancel(WireModel):
    """Ask a process to stop."""

    op: Literal["cancel"] = "cancel"
    process_id: str
    reason: str | None = None

    def effect_id(self) -> str:
        """Return the effect id of the operation; the reason is not part of it."""
        return f"process:cancel:{self.process_id}"


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

    def effect_id(self) -> str:
        """Return the effect id of the operation."""
        return f"process:signal:{self.process_id}:{self.signal_id}"


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
    """The handles of the session are removed."""

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
