"""How much of what a journal holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectSummary, find
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


@dataclass(frozen=True, slots=True)
class JournalStats:
    """
    A journal in numbers.

    Attributes:
        size_bytes: What it takes on the disk, all namespaces together; without SQLite's
            write-ahead log.
        counts: Effects by kind and status.
        parked: Parked effects by reason.
        letters_unsent: Parked effects whose dead letter is not known to be out.
        unheld: Effects in progress that nobody holds: their worker died, or left.
        oldest: The effect in progress that has been so for the longest; ``None`` when none is.
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
        """All of them."""
        return sum(self.counts.values())


def journal_stats(tx: Transaction) -> JournalStats:
    """The numbers of the namespace; reads what is parked or in progress, and counts the rest."""
    lease = tx.lease_time()
    counts = cast("list[Any]", tx.execute(_COUNTS[tx.dialect], (tx.namespace,)))
    counts += cast("list[Any]", tx.execute(_OPEN_COUNTS, (tx.namespace,)))
    parked = cast("list[Any]", tx.execute(_PARKED, (tx.namespace,)))
    (unheld,) = cast("Any", tx.execute(_UNHELD, (tx.namespace, lease.clock, lease.now_ms))[0])
    (size_bytes,) = cast("Any", tx.execute(_SIZE[tx.dialect])[0])
    # By its last change: a lease that is renewed is a sign of life.
    oldest = find(tx, EffectFilter(statuses=("in_progress",)), limit=1, oldest_first=True)
    return JournalStats(
        size_bytes=size_bytes,
        counts={(kind, status): count for kind, status, count in counts},
        parked={reason: count for reason, count, _ in parked},
        letters_unsent=sum(unsent for _, _, unsent in parked),
        unheld=unheld,
        oldest=oldest[0] if oldest else None,
        now_ms=tx.now_ms(),
    )
