"""Whether an event may be appended to a process, and what that changes."""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.errors import ProcessRegistryError
from effectmq.protocol.identity import invocations
from effectmq.protocol.identity.digests import event_payload_hash
from effectmq.protocol.processes.outputs import status_of
from effectmq.protocol.processes.schema_check import payload_problem
from effectmq.protocol.processes.semantics import event_semantics
from effectmq.protocol.processes.wakes import wake_delivery
from effectmq.protocol.wire.process_event_types import ProcessEventType
from effectmq.protocol.wire.process_events import (
    ProcessEvent,
    ProcessEventAppendRequest,
    ProcessWakeDelivery,
    SystemTime,
)
from effectmq.protocol.wire.processes import ProcessRecord, ProcessStatusRunning

__all__ = ["Append", "Recorded", "Replayed", "is_terminal", "plan_append"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    An event that is stored under the replay key of a request.

    Attributes:
        payload_hash: The hash of its type and payload.
        event: The event.
    """

    payload_hash: str
    event: ProcessEvent


@dataclass(frozen=True, slots=True)
class Append:
    """
    Store an event.

    Attributes:
        event: The event to store.
        payload_hash: The hash to store with it.
        record: The process after it.
        wake: The wake of the event.
    """

    event: ProcessEvent
    payload_hash: str
    record: ProcessRecord
    wake: ProcessWakeDelivery | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    The event is stored already; nothing changes.

    Attributes:
        event: The stored event.
        wake: The wake of the event, for the target of this request.
    """

    event: ProcessEvent
    wake: ProcessWakeDelivery | None


def is_terminal(record: ProcessRecord) -> bool:
    """Tell whether a process has ended."""
    return not isinstance(record.status, ProcessStatusRunning)


def plan_append(
    record: ProcessRecord,
    request: ProcessEventAppendRequest,
    *,
    sequence: int,
    recorded: Recorded | None,
    now_ms: int,
) -> Append | Replayed:
    """
    Decide on a request to append.

    Args:
        record: The process.
        request: The event.
        sequence: The number that the event would get.
        recorded: The event that is stored under the request's replay key.
        now_ms: Unix milliseconds.

    Raises:
        ProcessRegistryError: When it may not be appended.
    """
    payload_hash = event_payload_hash(request.event_type, request.payload)
    if request.replay is not None and recorded is not None:
        if recorded.payload_hash != payload_hash:
            raise ProcessRegistryError(
                f"process `{record.id}` event replay key `{request.replay.key}` conflicts with an "
                "existing event"
            )
        event = recorded.event
        return Replayed(event, wake_delivery(record, event, request.wake_target_scope))
    return _planned(record, request, sequence, payload_hash, now_ms)


def _planned(
    record: ProcessRecord,
    request: ProcessEventAppendRequest,
    sequence: int,
    payload_hash: str,
    now_ms: int,
) -> Append:
    declared = _declared(record, request)
    problem = payload_problem(declared.payload_schema.schema_, request.payload)
    if problem is not None:
        raise ProcessRegistryError(f"invalid `{request.event_type}` payload: {problem}")
    semantics = event_semantics(record.id, sequence, request.payload, declared.semantics)
    if semantics.terminal and is_terminal(record):
        raise ProcessRegistryError(f"process `{record.id}` is already terminal")
    event = ProcessEvent(
        process_id=record.id,
        sequence=sequence,
        event_type=request.event_type,
        payload=request.payload,
        invocation=invocations.process_event(
            record.provenance.owner_scope.session_id,
            record.id,
            sequence,
            request.event_type,
            request.replay,
        ),
        semantics=semantics,
        occurred_at=SystemTime(
            secs_since_epoch=now_ms // 1_000, nanos_since_epoch=now_ms % 1_000 * 1_000_000
        ),
    )
    changes: dict[str, object] = {"updated_at_ms": now_ms}
    if semantics.terminal:
        changes["status"] = status_of(semantics.terminal)
    wake = wake_delivery(record, event, request.wake_target_scope)
    return Append(event, payload_hash, record.model_copy(update=changes), wake)


def _declared(record: ProcessRecord, request: ProcessEventAppendRequest) -> ProcessEventType:
    """The declared type of the event; checks the replay key that the type may require."""
    name = request.event_type
    declared = next((one for one in record.event_types if one.name == name), None)
    if declared is None:
        raise ProcessRegistryError(f"process `{record.id}` emitted undeclared event type `{name}`")
    keyed = request.replay is not None and bool(request.replay.key)
    if not keyed and (declared.semantics.terminal or name == "process.cancel_requested"):
        raise ProcessRegistryError(
            f"process `{record.id}` event `{name}` requires a deterministic replay key"
        )
    return declared
