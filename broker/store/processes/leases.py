"""
Rows of leases: which worker may run a process, and until when.

Whether a lease is live is measured by the clock of leases, which never jumps; the times that it
shows are those of the wall clock. Every lease of a process has a larger fencing token than the one
before.
"""

from __future__ import annotations

from effectmq.broker.store.database.port import LeaseTime, Row, Transaction
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.processes.records import lock
from effectmq.broker.store.processes.tables import key, stored, text
from effectmq.protocol.errors import ProcessLeaseLostError, ProcessRegistryError
from effectmq.protocol.identity.digests import lease_token
from effectmq.protocol.wire.processes import ProcessLease

__all__ = ["claim", "claimable", "complete", "renew", "require"]

_SCHEMA_VERSION = 1
#: Longer than any worker lives, and still below 64 bits when it is added to the time of day.
_LONGEST_MS = 2**60

_COLUMNS = "owner_id, lease_token, fencing_token, expires_at_ms, clock, clock_expires_ms"


def claim(tx: Transaction, process_id: str, owner_id: str, ttl_ms: int) -> ProcessLease:
    """
    Take the lease of a process; its present owner may take it again.

    Raises:
        ProcessRegistryError: When another owner has it, or the process is not registered.
    """
    lock(tx, process_id)
    found = _row(tx, process_id)
    fencing_token = 1
    if found is not None:
        owner, _, last, expires_at_ms, *_ = found
        if _is_live(found, tx.lease_time()) and text(owner) != owner_id:
            raise ProcessRegistryError(
                f"process `{process_id}` is already leased by `{text(owner)}` until "
                f"{number(expires_at_ms)}"
            )
        fencing_token = number(last) + 1
    ttl_ms = min(ttl_ms, _LONGEST_MS)
    now_ms = tx.now_ms()
    lease = ProcessLease(
        schema_version=_SCHEMA_VERSION,
        process_id=process_id,
        owner_id=owner_id,
        lease_token=lease_token(process_id, owner_id, now_ms, fencing_token),
        fencing_token=fencing_token,
        claimed_at_epoch_ms=now_ms,
        expires_at_epoch_ms=now_ms + ttl_ms,
    )
    _put(tx, lease, ttl_ms)
    return lease


def _put(tx: Transaction, lease: ProcessLease, ttl_ms: int) -> None:
    time = tx.lease_time()
    tx.execute(
        "INSERT INTO effectmq_process_leases (namespace, process, owner_id, lease_token, "
        "fencing_token, claimed_at_ms, expires_at_ms, clock, clock_expires_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, process) "
        "DO UPDATE SET owner_id = excluded.owner_id, "
        "lease_token = excluded.lease_token, fencing_token = excluded.fencing_token, "
        "claimed_at_ms = excluded.claimed_at_ms, expires_at_ms = excluded.expires_at_ms, "
        "clock = excluded.clock, clock_expires_ms = excluded.clock_expires_ms",
        (
            tx.namespace,
            key(lease.process_id),
            stored(lease.owner_id),
            lease.lease_token,
            lease.fencing_token,
            lease.claimed_at_epoch_ms,
            lease.expires_at_epoch_ms,
            time.clock,
            time.now_ms + ttl_ms,
        ),
    )


def renew(tx: Transaction, lease: ProcessLease, ttl_ms: int) -> ProcessLease:
    """
    Renew a lease; only its end changes.

    Raises:
        ProcessLeaseLostError: When it has run out, or another owner has taken it.
    """
    require(tx, lease)
    ttl_ms = min(ttl_ms, _LONGEST_MS)
    renewed = lease.model_copy(update={"expires_at_epoch_ms": tx.now_ms() + ttl_ms})
    _put(tx, renewed, ttl_ms)
    return renewed


def require(tx: Transaction, lease: ProcessLease) -> None:
    """
    Check a lease, and keep it until the transaction ends.

    Raises:
        ProcessLeaseLostError: When it has run out, or another owner has taken it.
    """
    found = _row(tx, lease.process_id)
    if found is None or found[1] != lease.lease_token or not _is_live(found, tx.lease_time()):
        raise ProcessLeaseLostError(f"process lease for `{lease.process_id}` is missing or expired")


def complete(tx: Transaction, process_id: str, token: str) -> None:
    """Give a lease back; does nothing for a token that is no longer valid."""
    tx.execute(
        "UPDATE effectmq_process_leases SET lease_token = NULL "
        "WHERE namespace = ? AND process = ? AND lease_token = ?",
        (tx.namespace, key(process_id), token),
    )


def claimable(tx: Transaction, limit: int) -> list[str]:
    """Processes that have not ended and have no lease, ordered by id."""
    time = tx.lease_time()
    rows = tx.execute(
        "SELECT p.process_id FROM effectmq_processes p "
        "LEFT JOIN effectmq_process_leases l "
        "ON l.namespace = p.namespace AND l.process = p.process "
        "AND l.lease_token IS NOT NULL AND l.clock = ? AND l.clock_expires_ms > ? "
        "WHERE p.namespace = ? AND p.running = 1 AND l.process IS NULL "
        "ORDER BY p.process_id LIMIT ?",
        (time.clock, time.now_ms, tx.namespace, limit),
    )
    return [text(row[0]) for row in rows]


def _row(tx: Transaction, process_id: str) -> Row | None:
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM effectmq_process_leases "
        f"WHERE namespace = ? AND process = ?{tx.for_update}",
        (tx.namespace, key(process_id)),
    )
    return rows[0] if rows else None


def _is_live(row: Row, time: LeaseTime) -> bool:
    _, token, _, _, clock, expires_ms = row
    return token is not None and clock == time.clock and number(expires_ms) > time.now_ms
