"""The table of limits."""

from __future__ import annotations

from typing import NamedTuple

from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.declared.limits import Limit, Rate, Source
from effectmq.broker.store.database.port import Row, Transaction
from effectmq.broker.store.database.rows import number, text

__all__ = [
    "SetLimit",
    "clear_limit",
    "declare_limits",
    "load_limits",
    "set_limit",
    "set_limits",
    "wake_lines",
]

_COLUMNS = (
    "name, route, member, only_value, concurrency, rate_count, rate_ms, breaker, cooldown_ms, "
    "source, set_by, set_ms"
)
_SELECT = f"SELECT {_COLUMNS} FROM effectmq_limits WHERE namespace = ? ORDER BY name"
_NAMES = _COLUMNS.split(", ")
_UPSERT = (
    f"INSERT INTO effectmq_limits (namespace, {_COLUMNS}) "
    f"VALUES ({', '.join('?' * (len(_NAMES) + 1))}) ON CONFLICT (namespace, name) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])
)
#: In order, as everywhere.
_LOCK = "SELECT 1 FROM effectmq_gates WHERE namespace = ? AND name = ? ORDER BY key_value"
#: What waits in its lines is looked at anew.
_WAKE = "UPDATE effectmq_gates SET look_ms = 0 WHERE namespace = ? AND name = ? AND waits = 1"

_RANGE = "namespace = ? AND name = ? AND key_value >= ? AND key_value < ?"
_LOCK_RANGE = f"SELECT 1 FROM effectmq_gates WHERE {_RANGE} ORDER BY key_value"
_WAKE_RANGE = f"UPDATE effectmq_gates SET look_ms = 0 WHERE {_RANGE} AND waits = 1"
#: What has started still counts for a limit of the name; whoever answers counts it, too.
_OPEN = (
    "UPDATE effectmq_gates SET blocked_until_ms = 0, half_open = 0, probe = '', "
    "probe_until_ms = 0, failures = 0 WHERE namespace = ? AND name = ?"
)


class SetLimit(NamedTuple):
    """
    A limit that is set.

    Attributes:
        limit: The limit.
        set_by: Who set it, for people.
        set_ms: When, Unix milliseconds.
    """

    limit: Limit
    set_by: str
    set_ms: int


def set_limits(tx: Transaction) -> list[SetLimit]:
    """Every limit that is set, by name."""
    return [_read(row) for row in tx.execute(_SELECT, (tx.namespace,))]


def load_limits(tx: Transaction) -> dict[str, Limit]:
    """Every limit that is set, by its name."""
    return {one.limit.name: one.limit for one in set_limits(tx)}


def set_limit(tx: Transaction, limit: Limit, set_by: str) -> None:
    """Set a limit, in place of the one of its name."""
    tx.durably()
    tx.execute(
        _UPSERT,
        (
            tx.namespace,
            limit.name,
            limit.route,
            limit.key,
            limit.only,
            limit.concurrency,
            *limit.rate,
            limit.breaker,
            limit.cooldown_ms,
            limit.source,
            set_by,
            tx.now_ms(),
        ),
    )
    _wake(tx, limit.name)


def declare_limits(tx: Transaction, limits: list[Limit], set_by: str) -> None:
    """Set the limits of a program, except those that an operator has set."""
    known = load_limits(tx)
    for limit in sorted(limits, key=lambda one: one.name):
        found = known.get(limit.name)
        if found != limit and (found is None or found.source == "program"):
            set_limit(tx, limit, set_by)


def clear_limit(tx: Transaction, name: str) -> bool:
    """
    Remove a limit; what waits for it alone may start.

    One of its name that is set later begins with open gates: no wait and no failure is remembered.

    Returns:
        Whether there was one.
    """
    tx.durably()
    gone = tx.execute(
        "DELETE FROM effectmq_limits WHERE namespace = ? AND name = ? RETURNING name",
        (tx.namespace, name),
    )
    _wake(tx, name)
    tx.execute(_OPEN, (tx.namespace, name))
    return bool(gone)


def wake_lines(tx: Transaction, first: Line, behind: Line) -> None:
    """Look anew whether what waits in a range of lines may start."""
    bounds = (tx.namespace, first.name, first.value, behind.value)
    tx.execute(_LOCK_RANGE + tx.for_update, bounds)
    tx.execute(_WAKE_RANGE, bounds)


def _wake(tx: Transaction, name: str) -> None:
    tx.execute(_LOCK + tx.for_update, (tx.namespace, name))
    tx.execute(_WAKE, (tx.namespace, name))


def _read(row: Row) -> SetLimit:
    source: Source = "operator" if text(row[9]) == "operator" else "program"
    limit = Limit(
        text(row[0]),
        text(row[1]),
        text(row[2]),
        text(row[3]),
        number(row[4]),
        Rate(number(row[5]), number(row[6])),
        number(row[7]),
        number(row[8]),
        source,
    )
    return SetLimit(limit, text(row[10]), number(row[11]))
