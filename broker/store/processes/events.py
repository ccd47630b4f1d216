"""Rows of events: appended, read, acknowledged."""

from __future__ import annotations

from effectmq.broker.store.database.port import Row, Transaction
from effectmq.broker.store.processes.records import Locked, lock, read, save
from effectmq.broker.store.processes.tables import MAX_BIGINT, key, stored, tree
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree
from effectmq.protocol.processes.appending import Append, Recorded, Replayed, plan_append
from effectmq.protocol.wire.process_events import ProcessEvent, ProcessEventAppendRequest

__all__ = ["acknowledge_wake", "append", "events_after", "first_after", "wakes_after"]


def append(
    tx: Transaction, process_id: str, request: ProcessEventAppendRequest
) -> Append | Replayed:
    """
    Append an event, or find that it was appended before.

    Raises:
        ProcessRegistryError: When it may not be appended; nothing is stored.
    """
    locked = lock(tx, process_id)
    plan = plan_append(
        locked.record,
        request,
        sequence=locked.last_sequence + 1,
        recorded=_recorded(tx, process_id, request),
        now_ms=tx.now_ms(),
    )
    if isinstance(plan, Append):
        _store(tx, locked, plan)
    return plan


def _recorded(
    tx: Transaction, process_id: str, request: ProcessEventAppendRequest
) -> Recorded | None:
    if request.replay is None:
        return None
    rows = tx.execute(
        "SELECT payload_hash, event FROM effectmq_process_events "
        "WHERE namespace = ? AND process = ? AND replay_key = ?",
        (tx.namespace, key(process_id), key(request.replay.key)),
    )
    return Recorded(str(rows[0][0]), _event(rows[0][1:])) if rows else None


def _store(tx: Transaction, locked: Locked, plan: Append) -> None:
    event = plan.event
    replay = event.invocation.replay
    tx.execute(
        "INSERT INTO effectmq_process_events "
        "(namespace, process, sequence, event_type, replay_key, payload_hash, wakes, event) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            tx.namespace,
            key(event.process_id),
            event.sequence,
            stored(event.event_type),
            key(replay.key) if replay else None,
            plan.payload_hash,
            1 if event.semantics.wake else 0,
            canonical_bytes(event),
        ),
    )
    save(tx, plan.record, event.sequence)


def events_after(tx: Transaction, process_id: str, sequence: int) -> list[ProcessEvent]:
    """
    The events after a number, in order.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    return _after(tx, process_id, sequence, "")


def wakes_after(tx: Transaction, process_id: str, sequence: int) -> list[ProcessEvent]:
    """
    The events after a number whose wake is not acknowledged, in order.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    return _after(tx, process_id, sequence, " AND wakes = 1")


def _after(tx: Transaction, process_id: str, sequence: int, which: str) -> list[ProcessEvent]:
    read(tx, process_id)
    rows = tx.execute(
        "SELECT event FROM effectmq_process_events "
        f"WHERE namespace = ? AND process = ? AND sequence > ?{which} ORDER BY sequence",
        (tx.namespace, key(process_id), min(sequence, MAX_BIGINT)),
    )
    return [_event(row) for row in rows]


def first_after(
    tx: Transaction, process_id: str, event_type: str, sequence: int
) -> ProcessEvent | None:
    """
    The first event of a type after a number; ``None`` without one.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    read(tx, process_id)
    rows = tx.execute(
        "SELECT event FROM effectmq_process_events "
        "WHERE namespace = ? AND process = ? AND event_type = ? AND sequence > ? "
        "ORDER BY sequence LIMIT 1",
        (tx.namespace, key(process_id), stored(event_type), min(sequence, MAX_BIGINT)),
    )
    return _event(rows[0]) if rows else None


def acknowledge_wake(tx: Transaction, process_id: str, sequence: int) -> None:
    """
    Acknowledge the wake of an event; does nothing when there is none.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    lock(tx, process_id)
    tx.execute(
        "UPDATE effectmq_process_events SET wakes = 0 "
        "WHERE namespace = ? AND process = ? AND sequence = ?",
        (tx.namespace, key(process_id), min(sequence, MAX_BIGINT)),
    )


def _event(row: Row) -> ProcessEvent:
    return from_tree(ProcessEvent, tree(row[0]))
