"""The journal in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import RowReader, number
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectSummary, find
from effectmq.broker.store.journal.records import Status, public_status
from effectmq.broker.store.journal.steps import OPEN, SETTLED

__all__ = ["JournalStats", "journal_stats"]

_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgres": "SELECT pg_total_relation_size('effectmq_effects')",
}
_COUNTS = {
    "sqlite": "SELECT kind, status, effects FROM effectmq_counts WHERE namespace = ? "
    "AND effects > 0",
    "postgres": "SELECT kind, status, count(*) FROM effectmq_effects WHERE namespace = ? "
    f"AND {SETTLED} GROUP BY status, kind",
}
_OPEN_COUNTS = (
    "SELECT kind, status, count(*) FROM effectmq_effects "
    f"WHERE namespace = ? AND {OPEN} GROUP BY status, kind"
)
_PARKED = (
    "SELECT park_reason, count(*), count(CASE WHEN letter_sent = 0 THEN 1 END) "
    "FROM effectmq_effects WHERE namespace = ? AND park_reason <> '' AND status = 'failed' "
    "GROUP BY park_reason"
)
_UNHELD = (
    f"SELECT count(*) FROM effectmq_effects WHERE namespace = ? AND {OPEN} AND "
    "(lease_clock <> ? OR lease_expires_at_ms <= ?)"
)


class _Count(NamedTuple):
    kind: str
    status: Status
    effects: int


class _Parked(NamedTuple):
    reason: str
    effects: int
    unsent: int


_COUNT_ROWS = RowReader(_Count)
_PARKED_ROWS = RowReader(_Parked)


@dataclass(frozen=True, slots=True)
class JournalStats:
    """
    A journal in numbers.

    Attributes:
        size_bytes: Its size on the disk, all namespaces together; without SQLite's write-ahead log.
        counts: The number of effects by kind and status.
        parked: The number of parked effects by reason.
        letters_unsent: The number of parked effects whose dead letter may not be out.
        unheld: The number of effects in progress without a holder: their worker died, or left.
        oldest: The effect that has been in progress for the longest; ``None`` for none.
        now_ms: The database's wall clock, Unix milliseconds.
    """

    size_bytes: int
    counts: dict[tuple[str, str], int]
    parked: dict[str, int]
    letters_unsent: int
    unheld: int
    oldest: EffectSummary | None
    now_ms: int

    @property
    def effects(self) -> int:
        """The number of all effects."""
        return sum(self.counts.values())


def journal_stats(tx: Transaction) -> JournalStats:
    """The numbers of the namespace; reads parked effects and those in progress, counts the rest."""
    lease = tx.lease_time()
    counts = tx.execute(_COUNTS[tx.dialect], (tx.namespace,))
    counts += tx.execute(_OPEN_COUNTS, (tx.namespace,))
    parked = _PARKED_ROWS.all(tx.execute(_PARKED, (tx.namespace,)))
    unheld = tx.execute(_UNHELD, (tx.namespace, lease.clock, lease.now_ms))
    size_bytes = tx.execute(_SIZE[tx.dialect])
    # By its last change: a renewed lease shows that its worker lives.
    oldest = find(tx, EffectFilter(statuses=("in_progress",)), limit=1, oldest_first=True)
    totals = Counter[tuple[str, str]]()
    for row in _COUNT_ROWS.all(counts):
        totals[row.kind, public_status(row.status)] += row.effects
    return JournalStats(
        size_bytes=number(size_bytes[0][0]),
        counts=dict(totals),
        parked={row.reason: row.effects for row in parked},
        letters_unsent=sum(row.unsent for row in parked),
        unheld=number(unheld[0][0]),
        oldest=oldest[0] if oldest else None,
        now_ms=tx.now_ms(),
    )
