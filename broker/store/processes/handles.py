"""Rows of handles: which session may see and steer which process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from effectmq.broker.store.database.port import Transaction, Value
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.processes.records import COLUMNS, lock, read, record_from
from effectmq.broker.store.processes.tables import key, stored, text, tree
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree
from effectmq.protocol.errors import ProcessRegistryError
from effectmq.protocol.identity.digests import process_scope_id
from effectmq.protocol.wire.process_registration import ProcessScope
from effectmq.protocol.wire.processes import (
    ProcessHandleDescriptor,
    ProcessHandleGrant,
    ProcessListMode,
    ProcessRecord,
    ProcessSessionDeleteReport,
)

__all__ = ["delete_session", "grant", "grants_of", "list_of", "revoke", "transfer"]


def grant(
    tx: Transaction, scope: ProcessScope, process_id: str, descriptor: ProcessHandleDescriptor
) -> ProcessHandleGrant:
    """
    Give a scope a handle, or give its handle another descriptor.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    # Locked, so that a deletion of the session at the same time misses no handle.
    lock(tx, process_id)
    _put(tx, scope, process_id, canonical_bytes(descriptor))
    return ProcessHandleGrant(
        session_id=scope.session_id, process_id=process_id, descriptor=descriptor
    )


def _put(tx: Transaction, scope: ProcessScope, process_id: str, descriptor: bytes) -> None:
    scope_id = process_scope_id(scope)
    tx.execute(
        "INSERT INTO effectmq_process_handles "
        "(namespace, scope, process, session, scope_id, session_id, descriptor) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, scope, process) "
        "DO UPDATE SET session = excluded.session, "
        "session_id = excluded.session_id, descriptor = excluded.descriptor",
        (
            tx.namespace,
            key(scope_id),
            key(process_id),
            key(scope.session_id),
            stored(scope_id),
            stored(scope.session_id),
            descriptor,
        ),
    )


def revoke(tx: Transaction, scope: ProcessScope, process_id: str) -> None:
    """Remove a handle, if there is one."""
    tx.execute(
        "DELETE FROM effectmq_process_handles WHERE namespace = ? AND scope = ? AND process = ?",
        (tx.namespace, key(process_scope_id(scope)), key(process_id)),
    )


def list_of(
    tx: Transaction, scope: ProcessScope, mode: ProcessListMode
) -> list[tuple[ProcessHandleGrant, ProcessRecord]]:
    """The handles of exactly this scope with their processes, ordered by process id."""
    live = " AND p.running = 1" if mode == "live" else ""
    rows = tx.execute(
        f"SELECT {COLUMNS}, h.session_id, h.descriptor FROM effectmq_process_handles h "
        "JOIN effectmq_processes p ON p.namespace = h.namespace AND p.process = h.process "
        f"WHERE h.namespace = ? AND h.scope = ?{live} ORDER BY p.process_id",
        (tx.namespace, key(process_scope_id(scope))),
    )
    entries: list[tuple[ProcessHandleGrant, ProcessRecord]] = []
    for row in rows:
        record = record_from(row)
        descriptor = from_tree(ProcessHandleDescriptor, tree(row[8]))
        handle = ProcessHandleGrant(
            session_id=text(row[7]), process_id=record.id, descriptor=descriptor
        )
        entries.append((handle, record))
    return entries


def grants_of(tx: Transaction, process_id: str) -> list[ProcessHandleGrant]:
    """
    Every handle to a process, ordered by session id and scope id.

    Raises:
        ProcessRegistryError: When the process is not registered.
    """
    read(tx, process_id)
    rows = tx.execute(
        "SELECT session_id, descriptor FROM effectmq_process_handles "
        "WHERE namespace = ? AND process = ? ORDER BY session_id, scope_id",
        (tx.namespace, key(process_id)),
    )
    return [
        ProcessHandleGrant(
            session_id=text(row[0]),
            process_id=process_id,
            descriptor=from_tree(ProcessHandleDescriptor, tree(row[1])),
        )
        for row in rows
    ]


def transfer(
    tx: Transaction, source: ProcessScope, target: ProcessScope, process_ids: Iterable[str]
) -> None:
    """
    Move handles from one scope to another, all of them or none.

    Raises:
        ProcessRegistryError: When the source has no handle to one of the processes.
    """
    source_key = key(process_scope_id(source))
    for process_id in process_ids:
        where = (tx.namespace, source_key, key(process_id))
        _lock_rows(tx, "process = ?", (key(process_id),))
        rows = tx.execute(
            "SELECT descriptor FROM effectmq_process_handles "
            "WHERE namespace = ? AND scope = ? AND process = ?",
            where,
        )
        if not rows:
            raise ProcessRegistryError(
                f"process handle `{process_id}` is not granted to session `{source.session_id}`"
            )
        tx.execute(
            "DELETE FROM effectmq_process_handles "
            "WHERE namespace = ? AND scope = ? AND process = ?",
            where,
        )
        descriptor = rows[0][0]
        assert isinstance(descriptor, bytes)
        _put(tx, target, process_id, descriptor)


def delete_session(tx: Transaction, session_id: str) -> ProcessSessionDeleteReport:
    """Remove every handle of a session, in all frames, and report what remains."""
    session = key(session_id)
    affected = _lock_rows(
        tx,
        "process IN "
        "(SELECT process FROM effectmq_process_handles WHERE namespace = ? AND session = ?)",
        (tx.namespace, session),
    )
    revoked, sole, shared = 0, list[str](), list[str]()
    for process_id, running in affected:
        process = key(process_id)
        revoked += _count(tx, "session = ? AND process = ?", (session, process))
        tx.execute(
            "DELETE FROM effectmq_process_handles "
            "WHERE namespace = ? AND session = ? AND process = ?",
            (tx.namespace, session, process),
        )
        if running:
            (shared if _count(tx, "process = ?", (process,)) else sole).append(process_id)
    return ProcessSessionDeleteReport(
        session_id=session_id,
        revoked_handle_count=revoked,
        deleted_wake_count=0,
        cancel_process_ids=sole,
        preserved_process_ids=shared,
    )


def _lock_rows(tx: Transaction, where: str, values: Sequence[Value]) -> list[tuple[str, bool]]:
    """Lock processes; returns their ids in order, and whether they still run."""
    rows = tx.execute(
        f"SELECT process_id, running FROM effectmq_processes WHERE namespace = ? AND {where} "
        f"ORDER BY process_id{tx.for_update}",
        (tx.namespace, *values),
    )
    return [(text(row[0]), bool(row[1])) for row in rows]


def _count(tx: Transaction, where: str, values: Sequence[bytes]) -> int:
    rows = tx.execute(
        f"SELECT count(*) FROM effectmq_process_handles WHERE namespace = ? AND {where}",
        (tx.namespace, *values),
    )
    return number(rows[0][0])
