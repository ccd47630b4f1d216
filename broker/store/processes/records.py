"""Rows of processes: registered, read, locked, changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from effectmq.broker.inheritance import Inheritance
from effectmq.broker.store.database.port import Row, Transaction
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.processes.tables import key, stored, text, tree
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.narrowing import members_of
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.identity.digests import registration_hash
from effectmq.protocol.messages.chosen.priority import NORMAL, checked_priority
from effectmq.protocol.messages.headers import (
    PRIORITY,
    TENANT,
    TRACEPARENT,
    TRACESTATE,
    VERSION,
)
from effectmq.protocol.processes.appending import is_terminal
from effectmq.protocol.processes.registration import (
    checked_registration,
    hash_conflict,
    unknown_process,
)
from effectmq.protocol.wire.process_registration import ProcessRegistration
from effectmq.protocol.wire.processes import (
    ProcessExecutionContext,
    ProcessExternalRef,
    ProcessRecord,
    ProcessStatus,
    ProcessStatusRunning,
)

__all__ = [
    "COLUMNS",
    "Locked",
    "execution_context",
    "last_sequences",
    "lock",
    "non_terminal",
    "read",
    "record_from",
    "register",
    "save",
    "set_external_ref",
    "trace_of",
]

#: The trace context is kept beside the members that the wire has in a context.
_TRACE = "effectmq_trace"

#: The columns for ``record_from``, of ``effectmq_processes p``.
COLUMNS = (
    "p.registration_hash, p.registration, p.external_ref, p.status, p.created_at_ms, "
    "p.updated_at_ms, p.last_sequence"
)


@dataclass(frozen=True, slots=True)
class Locked:
    """
    A process whose row is locked until the transaction ends.

    Attributes:
        record: The process.
        last_sequence: The number of its last event, 0 for none.
    """

    record: ProcessRecord
    last_sequence: int


def register(
    tx: Transaction,
    registration: ProcessRegistration,
    context: ProcessExecutionContext,
    trace: Inheritance | None = None,
) -> ProcessRecord:
    """
    Store a process, unless it is stored already.

    Raises:
        ProcessRegistryError: When it breaks a rule, or the id is registered with other content.
    """
    prepared = checked_registration(registration)
    hash_ = registration_hash(prepared)
    now_ms = tx.now_ms()
    # Two registrations of the same id at once must not fail: one stores it, both then read it.
    tx.execute(
        "INSERT INTO effectmq_processes (namespace, process, process_id, registration_hash, "
        "registration, execution_context, status, running, last_sequence, created_at_ms, "
        "updated_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?) "
        "ON CONFLICT (namespace, process) DO NOTHING",
        (
            tx.namespace,
            key(prepared.id),
            stored(prepared.id),
            hash_,
            canonical_bytes(prepared),
            _taken_along(context, trace),
            canonical_bytes(ProcessStatusRunning()),
            now_ms,
            now_ms,
        ),
    )
    record = lock(tx, prepared.id).record
    if record.registration_hash != hash_:
        raise hash_conflict(prepared.id, record.registration_hash, hash_)
    return record


def read(tx: Transaction, process_id: str) -> ProcessRecord:
    """
    Read a process.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    return record_from(_row(tx, process_id, ""))


def lock(tx: Transaction, process_id: str) -> Locked:
    """
    Read a process and lock its row until the transaction ends.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    row = _row(tx, process_id, tx.for_update)
    return Locked(record_from(row), number(row[6]))


def _row(tx: Transaction, process_id: str, behind: str) -> Row:
    rows = tx.execute(
        f"SELECT {COLUMNS} FROM effectmq_processes p "
        f"WHERE p.namespace = ? AND p.process = ?{behind}",
        (tx.namespace, key(process_id)),
    )
    if not rows:
        raise unknown_process(process_id)
    return rows[0]


def record_from(row: Row) -> ProcessRecord:
    """The process in a row that starts with ``COLUMNS``."""
    hash_, registration, external_ref, status, created_at_ms, updated_at_ms = row[:6]
    registered = from_tree(ProcessRegistration, tree(registration))
    return ProcessRecord(
        id=registered.id,
        registration_hash=str(hash_),
        input=registered.input,
        event_types=registered.event_types,
        provenance=registered.provenance,
        created_at_ms=number(created_at_ms),
        updated_at_ms=number(updated_at_ms),
        external_ref=from_tree(ProcessExternalRef, tree(external_ref)) if external_ref else None,
        status=from_tree(ProcessStatus, tree(status)),
    )


def save(tx: Transaction, record: ProcessRecord, last_sequence: int) -> None:
    """Store the changeable part of a locked process."""
    external_ref = canonical_bytes(record.external_ref) if record.external_ref else None
    tx.execute(
        "UPDATE effectmq_processes SET external_ref = ?, status = ?, running = ?, "
        "last_sequence = ?, updated_at_ms = ? WHERE namespace = ? AND process = ?",
        (
            external_ref,
            canonical_bytes(record.status),
            0 if is_terminal(record) else 1,
            last_sequence,
            record.updated_at_ms,
            tx.namespace,
            key(record.id),
        ),
    )


def set_external_ref(tx: Transaction, process_id: str, ref: ProcessExternalRef) -> ProcessRecord:
    """
    Note in which other system a process runs; replaces an earlier note.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    locked = lock(tx, process_id)
    record = locked.record.model_copy(update={"external_ref": ref, "updated_at_ms": tx.now_ms()})
    save(tx, record, locked.last_sequence)
    return record


def execution_context(tx: Transaction, process_id: str) -> ProcessExecutionContext:
    """
    The context of the start of a process.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    return from_tree(ProcessExecutionContext, _taken(tx, process_id))


def trace_of(tx: Transaction, process_id: str) -> Inheritance:
    """
    What the effect that started a process passes on: trace, tenant, version and priority.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    known = members_of(_taken(tx, process_id).get(_TRACE))
    return Inheritance(
        0,
        str(known.get(TRACEPARENT, "")),
        str(known.get(TRACESTATE, "")),
        str(known.get(TENANT, "")),
        str(known.get(VERSION, "")),
        checked_priority(known[PRIORITY]) if PRIORITY in known else "",
    )


def _taken(tx: Transaction, process_id: str) -> dict[str, object]:
    rows = tx.execute(
        "SELECT execution_context FROM effectmq_processes WHERE namespace = ? AND process = ?",
        (tx.namespace, key(process_id)),
    )
    if not rows:
        raise unknown_process(process_id)
    return members_of(tree(rows[0][0]))


def _taken_along(context: ProcessExecutionContext, trace: Inheritance | None) -> bytes:
    """The context in its stored form, with what is passed on beside the members of the wire."""
    kept: dict[str, str] = {}
    if trace is not None and trace.traceparent:
        kept |= {TRACEPARENT: trace.traceparent, TRACESTATE: trace.tracestate}
    if trace is not None and trace.tenant:
        kept[TENANT] = trace.tenant
    if trace is not None and trace.version:
        kept[VERSION] = trace.version
    if trace is not None and trace.priority not in ("", NORMAL):
        kept[PRIORITY] = trace.priority
    if not kept:
        return canonical_bytes(context)
    return canonical_json({**members_of(to_tree(context)), _TRACE: kept})


def non_terminal(tx: Transaction) -> list[ProcessRecord]:
    """The processes that have not ended, ordered by id."""
    rows = tx.execute(
        f"SELECT {COLUMNS} FROM effectmq_processes p "
        "WHERE p.namespace = ? AND p.running = 1 ORDER BY p.process_id",
        (tx.namespace,),
    )
    return [record_from(row) for row in rows]


def last_sequences(tx: Transaction, process_ids: Sequence[str]) -> dict[str, int]:
    """The number of the last event of each of these processes, if it exists."""
    # Filled up to a power of two, so that there are few different statements to prepare.
    keys = [key(process_id) for process_id in process_ids]
    keys += keys[-1:] * ((1 << (len(keys) - 1).bit_length()) - len(keys))
    marks = ", ".join("?" * len(keys))
    rows = tx.execute(
        "SELECT process_id, last_sequence FROM effectmq_processes "
        f"WHERE namespace = ? AND process IN ({marks})",
        [tx.namespace, *keys],
    )
    return {text(row[0]): number(row[1]) for row in rows}
