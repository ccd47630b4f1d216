"""
What was settled lately: how many effects of each kind, in buckets of time.

A bucket that is over does not change any more, so who asks again asks for the last ones only. Each
kind and status is one range of an index, and of each so many rows are counted and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import number, text
from effectmq.broker.store.journal.steps import OPEN, SETTLED
from effectmq.protocol.kinds import EFFECT_KINDS

__all__ = ["Activity", "activity", "newest_change"]

#: What counts as settled, and whether it failed; as the database names them.
_STATUSES = {"completed": False, "failed": True, "unsuccessful": True}
#: So many of one kind and status are counted at one look, the newest.
_COUNTED = 20_000
_BY = {"sqlite": " INDEXED BY effectmq_effects_{}", "postgres": ""}
_BUCKETS = (
    "SELECT (updated_at_ms - ?) / ?, count(*) FROM (SELECT updated_at_ms FROM effectmq_effects{by} "
    f"WHERE namespace = ? AND status = ? AND kind = ? AND updated_at_ms >= ? AND {SETTLED} "
    "ORDER BY updated_at_ms DESC LIMIT ?) AS t GROUP BY 1"
)
_RUNNING = (
    "SELECT kind, count(*), min(updated_at_ms) FROM effectmq_effects{by} "
    f"WHERE namespace = ? AND {OPEN} GROUP BY kind"
)
_NEWEST = (
    "SELECT updated_at_ms, replay_key FROM effectmq_effects{by} WHERE namespace = ? AND {where} "
    "ORDER BY updated_at_ms DESC, scope_id DESC, replay_key DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Activity:
    """
    What happens in a journal.

    Attributes:
        settled: By kind, bucket and whether they failed: how many were settled.
        running: By kind: how many are in progress, and when the one changed that has not changed
            for the longest, Unix milliseconds.
    """

    settled: dict[tuple[str, int, bool], int]
    running: dict[str, tuple[int, int]]


def activity(tx: Transaction, *, since_ms: int, bucket_ms: int) -> Activity:
    """
    What happened since a moment.

    Args:
        tx: The transaction.
        since_ms: The beginning of bucket 0, Unix milliseconds.
        bucket_ms: How long a bucket is, in milliseconds.
    """
    settled: dict[tuple[str, int, bool], int] = {}
    sql = _BUCKETS.format(by=_BY[tx.dialect].format("status"))
    for kind in EFFECT_KINDS:
        for status, failed in _STATUSES.items():
            for row in tx.execute(
                sql, (since_ms, bucket_ms, tx.namespace, status, kind, since_ms, _COUNTED)
            ):
                key = (kind, number(row[0]), failed)
                settled[key] = settled.get(key, 0) + number(row[1])
    rows = tx.execute(_RUNNING.format(by=_BY[tx.dialect].format("open")), (tx.namespace,))
    running = {text(row[0]): (number(row[1]), number(row[2])) for row in rows}
    return Activity(settled, running)


def newest_change(tx: Transaction) -> tuple[object, ...]:
    """Something that differs when an effect has changed since."""
    found: list[object] = []
    for index, where in (("time", SETTLED), ("open", OPEN)):
        sql = _NEWEST.format(by=_BY[tx.dialect].format(index), where=where)
        found += tx.execute(sql, (tx.namespace,))
    return tuple(found)
