"""Processes as the registry keeps them and shows them: records, handles, leases."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from effectmq.protocol.encoding.serde.model import (
    U32,
    U64,
    UNIT,
    Json,
    OrAbsent,
    Usize,
    WireModel,
    is_none,
)
from effectmq.protocol.wire.invocation import RuntimeInvocation
from effectmq.protocol.wire.process_event_types import ProcessEventType
from effectmq.protocol.wire.process_events import ProcessAwaitOutput
from effectmq.protocol.wire.process_registration import (
    ProcessInput,
    ProcessProvenance,
    ProcessScope,
)

__all__ = [
    "ProcessCancelSummary",
    "ProcessDefinitionSummary",
    "ProcessExecutionContext",
    "ProcessExternalRef",
    "ProcessHandleDescriptor",
    "ProcessHandleGrant",
    "ProcessHandleGrantEntry",
    "ProcessHandleSummary",
    "ProcessLease",
    "ProcessLeaseCompletion",
    "ProcessLifecycleStatus",
    "ProcessListMode",
    "ProcessRecord",
    "ProcessSessionDeleteReport",
    "ProcessStartGrant",
    "ProcessStartRequest",
    "ProcessStatus",
    "ProcessStatusCancelled",
    "ProcessStatusCompleted",
    "ProcessStatusFailed",
    "ProcessStatusRunning",
]

#: Only processes that have not ended, or all of them.
ProcessListMode = Annotated[Literal["live", "all"], UNIT]

ProcessLifecycleStatus = Annotated[Literal["running", "completed", "failed", "cancelled"], UNIT]


class ProcessHandleDescriptor(WireModel):
    """The description of a handle for its holder."""

    kind: OrAbsent[str] = None
    label: OrAbsent[str] = None


class ProcessStartGrant(WireModel):
    """The handle that is granted together with the start."""

    owner_scope: ProcessScope
    descriptor: ProcessHandleDescriptor


class ProcessExecutionContext(WireModel):
    """
    The context of the start of a process.

    Attributes:
        causal_invocation: The invocation that started it.
        wake_target_scope: The scope that gets its wakes.
    """

    causal_invocation: OrAbsent[RuntimeInvocation] = None
    wake_target_scope: OrAbsent[ProcessScope] = None


class ProcessExternalRef(WireModel):
    """
    The place where a process runs, when it is another system.

    Attributes:
        backend: The system that runs it.
        id: Its name there.
    """

    backend: str
    id: str
    metadata: Annotated[Json, Field(exclude_if=is_none)] = None


class ProcessStatusRunning(WireModel):
    """The process has not ended."""

    state: Literal["running"] = "running"


class ProcessStatusCompleted(WireModel):
    """The process ended well."""

    state: Literal["completed"] = "completed"
    await_output: ProcessAwaitOutput


class ProcessStatusFailed(WireModel):
    """The process failed."""

    state: Literal["failed"] = "failed"
    await_output: ProcessAwaitOutput


class ProcessStatusCancelled(WireModel):
    """The process was cancelled."""

    state: Literal["cancelled"] = "cancelled"
    await_output: ProcessAwaitOutput


ProcessStatus = Annotated[
    ProcessStatusRunning | ProcessStatusCompleted | ProcessStatusFailed | ProcessStatusCancelled,
    Field(discriminator="state"),
]


class ProcessRecord(WireModel):
    """
    A process as the registry keeps it.

    Attributes:
        registration_hash: From ``digests.registration_hash``.
        created_at_ms: Unix time in milliseconds.
        updated_at_ms: Unix time in milliseconds.
    """

    id: str
    registration_hash: str
    input: ProcessInput
    event_types: list[ProcessEventType] = Field(default_factory=list[ProcessEventType])
    provenance: ProcessProvenance
    created_at_ms: U64 = 0
    updated_at_ms: U64 = 0
    external_ref: OrAbsent[ProcessExternalRef] = None
    status: ProcessStatus = Field(default_factory=ProcessStatusRunning)


class ProcessHandleGrant(WireModel):
    """A session's right to see and steer a process."""

    session_id: str
    process_id: str
    descriptor: ProcessHandleDescriptor


#: A JSON array of two. Lax for the container only, so that a list is accepted as the pair.
ProcessHandleGrantEntry = Annotated[tuple[ProcessHandleGrant, ProcessRecord], Strict(False)]


class ProcessSessionDeleteReport(WireModel):
    """
    The result of deleting a session, for its handles.

    Attributes:
        cancel_process_ids: Running processes to which no handle is left; sorted.
        preserved_process_ids: Running processes to which others still have handles; sorted.
    """

    session_id: str
    revoked_handle_count: Usize
    deleted_wake_count: Usize
    cancel_process_ids: list[str]
    preserved_process_ids: list[str]


class ProcessLease(WireModel):
    """
    A worker's exclusive right to run a process for a while.

    Attributes:
        schema_version: 1.
        fencing_token: Grows with every lease of the process; the largest one wins.
        claimed_at_epoch_ms: Unix time in milliseconds.
        expires_at_epoch_ms: Unix time in milliseconds.
    """

    schema_version: U32
    process_id: str
    owner_id: str
    lease_token: str
    fencing_token: U64
    claimed_at_epoch_ms: U64
    expires_at_epoch_ms: U64


class ProcessLeaseCompletion(WireModel):
    """Gives a lease back."""

    process_id: str
    lease_token: str


class ProcessDefinitionSummary(WireModel):
    """The definition that a process runs."""

    name: str


class ProcessHandleSummary(WireModel):
    """
    A handle as its holder sees it.

    Attributes:
        handle_type: ``__handle__`` on the wire; always ``process``.
        process_id: The same as ``id``.
    """

    handle_type: Annotated[str, Field(alias="__handle__")]
    id: str
    process_id: str
    descriptor: ProcessHandleDescriptor
    definition: OrAbsent[ProcessDefinitionSummary] = None
    status: ProcessLifecycleStatus


class ProcessCancelSummary(WireModel):
    """The result of a request to cancel."""

    process_id: str
    status: ProcessLifecycleStatus


class ProcessStartRequest(WireModel):
    """A host's request for a process, before its provenance is known."""

    id: str
    input: ProcessInput
    descriptor: ProcessHandleDescriptor
    event_types: list[ProcessEventType] = Field(default_factory=list[ProcessEventType])
