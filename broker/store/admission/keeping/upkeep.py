"""
Upkeep of admission: leases are renewed, what dead workers had is freed, old gates are forgotten.

Gates are locked first, in the order of their lines, as everywhere. Permits and tickets that
somebody else has locked are being changed by that one; a worker waits for them only when it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.keeping.book import LOOK_MS
from effectmq.broker.store.admission.keeping.room import unlocked
from effectmq.broker.store.admission.records import Worker
from effectmq.broker.store.database.port import Transaction, Value
from effectmq.broker.store.database.rows import text

__all__ = ["leave", "left_over", "look_anew", "recover", "renew"]

#: A gate that has said nothing for so long is forgotten: keys may have very many values.
_QUIET_MS = 600_000
#: One that is shut, or has counted failures, is remembered for longer.
_FORGET_MS = 86_400_000

_LEFT_OVER = (
    "SELECT 1 FROM effectmq_room WHERE namespace = ? AND owner <> '' "
    "AND (clock <> ? OR expires_ms <= ?) LIMIT 1"
)
_PERMIT = "namespace, effect, name, key_value"
_TICKET = "namespace, room_id"
_RENEW = (
    "UPDATE {table} SET clock = ?, expires_ms = ? WHERE ({key}) IN "
    "(SELECT {key} FROM {table} WHERE namespace = ? AND owner = ?{unlocked})"
)
_RUN_OUT = "(clock <> ? OR expires_ms <= ?)"
_LINES = (
    "SELECT DISTINCT name, key_value FROM {table} WHERE namespace = ? AND owner <> '' AND {which}"
)
_OF_LINE = "namespace = ? AND name = ? AND key_value = ? AND owner <> '' AND {which}{unlocked}"
_FREE = (
    "UPDATE effectmq_room SET owner = '', clock = '', expires_ms = 0, token = '' "
    f"WHERE ({_TICKET}) IN (SELECT {_TICKET} FROM effectmq_room WHERE {_OF_LINE})"
)
_END = (
    f"DELETE FROM effectmq_permits WHERE ({_PERMIT}) IN "
    f"(SELECT {_PERMIT} FROM effectmq_permits WHERE {_OF_LINE})"
)
_LOOK = "UPDATE effectmq_gates SET look_ms = 0 WHERE namespace = ? AND name = ? AND key_value = ?"
#: Also for a gate that was forgotten meanwhile: nobody looks into a line without one.
_WAIT = (
    "INSERT INTO effectmq_gates (namespace, name, key_value, clock, starts, blocked_until_ms, "
    "half_open, probe, probe_until_ms, failures, waits, look_ms, used_ms) "
    "VALUES (?, ?, ?, ?, '', 0, 0, '', 0, 0, 1, 0, ?) "
    "ON CONFLICT (namespace, name, key_value) DO UPDATE SET look_ms = 0, waits = 1"
)
#: What another clock has written, or this one before it was set back; see ``LOOK_MS``.
_LOOK_ANEW = (
    "UPDATE effectmq_gates SET look_ms = 0 WHERE namespace = ? AND waits = 1 AND clock <> ?"
)
_LOOK_AHEAD = (
    "UPDATE effectmq_gates SET look_ms = 0 WHERE namespace = ? AND waits = 1 AND look_ms > ?"
)
_GATE = "namespace, name, key_value"
#: Starts count for a period, and a wait may be longer than a day.
_FORGET = (
    f"DELETE FROM effectmq_gates WHERE ({_GATE}) IN (SELECT {_GATE} FROM effectmq_gates AS g "
    "WHERE namespace = ? AND waits = 0 AND used_ms < ? AND ((half_open = 0 AND failures = 0) "
    "OR (used_ms < ? AND (clock <> ? OR blocked_until_ms < ?))) "
    "AND used_ms + COALESCE((SELECT rate_ms FROM effectmq_limits AS l "
    "WHERE l.namespace = g.namespace AND l.name = g.name), 0) < ?{unlocked})"
)


def left_over(tx: Transaction) -> bool:
    """Whether a worker is gone that had effects of the room."""
    now = tx.lease_time()
    return bool(tx.execute(_LEFT_OVER, (tx.namespace, now.clock, now.now_ms)))


def look_anew(tx: Transaction) -> None:
    """Let what waits be looked at once, when the host has been rebooted: its clock is another."""
    tx.execute(_LOOK_ANEW, (tx.namespace, tx.lease_time().clock))


def renew(tx: Transaction, worker: Worker) -> None:
    """Renew what a worker has, and forget old gates."""
    now, skipping = tx.lease_time(), unlocked(tx)
    tx.execute(_LOOK_AHEAD, (tx.namespace, now.now_ms + 2 * LOOK_MS))
    # Also what has run out and nobody has freed: it is running, and must be counted.
    for table, key in (("effectmq_room", _TICKET), ("effectmq_permits", _PERMIT)):
        tx.execute(
            _RENEW.format(table=table, key=key, unlocked=skipping),
            (now.clock, now.now_ms + worker.lease_ms, tx.namespace, worker.owner),
        )
    quiet_ms, old_ms = tx.now_ms() - _QUIET_MS, tx.now_ms() - _FORGET_MS
    # A gate that nothing ever blocked has a 0, also on a host that was started a moment ago.
    since_ms = max(1, now.now_ms - _FORGET_MS)
    tx.execute(
        _FORGET.format(unlocked=skipping),
        (tx.namespace, quiet_ms, old_ms, now.clock, since_ms, quiet_ms),
    )


def recover(tx: Transaction) -> None:
    """Free what dead workers had."""
    now = tx.lease_time()
    _give_back(tx, _RUN_OUT, (now.clock, now.now_ms), unlocked(tx))


def leave(tx: Transaction, worker: Worker) -> None:
    """Give back everything that a worker has."""
    _give_back(tx, "owner = ?", (worker.owner,), "")


def _give_back(tx: Transaction, which: str, values: Sequence[Value], skipping: str) -> None:
    waiting = _lines(tx, "effectmq_room", which, values)
    running = _lines(tx, "effectmq_permits", which, values)
    clock, wall_ms = tx.lease_time().clock, tx.now_ms()
    for line in sorted(waiting | running):
        if line in waiting:
            tx.execute(_WAIT, (tx.namespace, *line, clock, wall_ms))
        else:
            tx.execute(_LOOK, (tx.namespace, *line))
    for sql, lines in ((_FREE, waiting), (_END, running)):
        tx.execute_many(
            sql.format(which=which, unlocked=skipping),
            [(tx.namespace, *line, *values) for line in sorted(lines)],
        )


def _lines(tx: Transaction, table: str, which: str, values: Sequence[Value]) -> set[Line]:
    rows = tx.execute(_LINES.format(table=table, which=which), (tx.namespace, *values))
    return {Line(text(row[0]), text(row[1])) for row in rows}
