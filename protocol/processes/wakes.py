"""Wakes on their way from a process to the session that waits for it."""

from __future__ import annotations

from effectmq.protocol.errors import ProcessRegistryError
from effectmq.protocol.identity.digests import process_scope_id, wake_id
from effectmq.protocol.wire.messages import MessageOriginProcess, TurnCause
from effectmq.protocol.wire.process_events import ProcessEvent, ProcessWakeDelivery, SystemTime
from effectmq.protocol.wire.process_registration import ProcessScope
from effectmq.protocol.wire.processes import ProcessRecord

__all__ = ["epoch_ms", "wake_delivery", "wake_turn_cause"]


def epoch_ms(time: SystemTime) -> int:
    """Unix milliseconds."""
    return time.secs_since_epoch * 1_000 + time.nanos_since_epoch // 1_000_000


def wake_delivery(
    record: ProcessRecord, event: ProcessEvent, target: ProcessScope | None
) -> ProcessWakeDelivery | None:
    """
    The wake of an event, if it has one.

    Args:
        record: The process.
        event: The event.
        target: The scope that is woken.

    Raises:
        ProcessRegistryError: When there is a wake but no target.
    """
    wake = event.semantics.wake
    if wake is None:
        return None
    if target is None:
        raise ProcessRegistryError(
            f"process `{record.id}` emitted wake event `{event.event_type}` without a wake target "
            "scope"
        )
    scope_id = process_scope_id(target)
    return ProcessWakeDelivery(
        wake_id=wake_id(scope_id, wake.dedupe_key),
        target_session_id=target.session_id,
        target_scope_id=scope_id,
        process_id=record.id,
        sequence=event.sequence,
        event_type=event.event_type,
        event_invocation=event.invocation,
        process_caused_by=record.provenance.caused_by,
        dedupe_key=wake.dedupe_key,
        input=wake.input,
        created_at_ms=epoch_ms(event.occurred_at),
    )


def wake_turn_cause(delivery: ProcessWakeDelivery) -> TurnCause:
    """The cause of the woken session's next turn."""
    return TurnCause(
        id=delivery.wake_id,
        event_type=delivery.event_type,
        origin=MessageOriginProcess(
            process_id=delivery.process_id,
            event_type=delivery.event_type,
            sequence=delivery.sequence,
            wake_id=delivery.wake_id,
            caused_by=delivery.process_caused_by,
        ),
        text=(
            f"Background process wake\nProcess: {delivery.process_id}\n"
            f"Event: {delivery.event_type} #{delivery.sequence}\nWake input:\n{delivery.input}"
        ),
    )
