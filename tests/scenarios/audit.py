"""
What the journal says in the end, held against what producers were told and what bodies did.

* Every effect that somebody was answered has one row, and the row is finished.
* Its outcome, byte for byte, is what everybody was told.
* Nobody holds a lease, and the row counts as many attempts as were made.
* No body was begun after the outcome of its effect had been recorded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import FINISHED
from effectmq.protocol.encoding.canonical import sha256_hex
from tests.scenarios.fleet import Fleet
from tests.scenarios.ledger import Entry

__all__ = ["JournalRow", "audit", "journal_rows"]

_COLUMNS = (
    "effect_id, status, attempts, fence, lease_token, lease_expires_at_ms, due_at_ms, "
    "outcome_json, error_json, updated_at_ms"
)

#: What a producer was told of one effect: a digest for each answer, and whether it is an error.
_Answers = Mapping[str, Sequence[tuple[str, bool]]]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One row of the journal, as far as the scenarios look at it."""

    effect_id: str
    status: str
    attempts: int
    fence: int
    lease_token: str
    lease_expires_ms: int
    due_at_ms: int
    outcome_json: str
    error_json: str
    updated_ms: int

    @property
    def digest(self) -> str:
        """Names the recorded outcome or error, as ``effects.digest_of`` names an answer."""
        return sha256_hex((self.outcome_json or self.error_json).encode())[:16]


async def journal_rows(url: str) -> list[JournalRow]:
    """Everything that is in a journal."""

    def read(tx: Transaction) -> list[JournalRow]:
        rows = tx.execute(f"SELECT {_COLUMNS} FROM effectmq_effects")
        return [JournalRow(*cast("Any", row)) for row in rows]

    async with Journal(url) as journal:
        return await journal.database.read(read)


async def audit(fleet: Fleet, answers: _Answers) -> list[str]:
    """
    Sentences about what is wrong; empty when all is well.

    Args:
        fleet: Its workers have stopped, so that nothing changes any more.
        answers: For each effect all answers that arrived.
    """
    rows = await journal_rows(fleet.journal)
    return examine(rows, answers, fleet.ledger.entries())


def examine(rows: Sequence[JournalRow], answers: _Answers, ledger: Sequence[Entry]) -> list[str]:
    """The same, of what was read already."""
    begun: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger:
        if entry.event == "begin":
            begun[entry.effect_id].append(entry)
    known = {row.effect_id for row in rows}
    found: dict[str, list[str]] = defaultdict(list)
    found["answered without a row"] = sorted(set(answers) - known)
    copies = Counter(row.effect_id for row in rows)
    found["with more than one row"] = sorted(one for one, count in copies.items() if count > 1)
    for row in rows:
        for problem in _problems(row, answers.get(row.effect_id, ()), begun[row.effect_id]):
            found[problem].append(row.effect_id)
    return [
        f"{len(effects)} effects in the journal {problem}: {', '.join(effects[:5])}"
        for problem, effects in found.items()
        if effects
    ]


def _problems(
    row: JournalRow, answers: Sequence[tuple[str, bool]], begun: Sequence[Entry]
) -> list[str]:
    attempts = max((entry.attempt for entry in begun), default=1)
    wrong = {
        "unfinished": row.status not in FINISHED,
        "with another outcome than was told": any(digest != row.digest for digest, _ in answers),
        "with a lease left": bool(row.lease_token or row.lease_expires_ms),
        "with a wrong count of attempts": row.attempts != attempts,
        # The row is not written again once it has its outcome.
        "run again after their record": row.status == "completed"
        and any(entry.at_ms > row.updated_ms for entry in begun),
    }
    return [problem for problem, is_so in wrong.items() if is_so]
