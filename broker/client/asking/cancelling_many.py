"""
Cancelling every effect that a filter means, unless it is finished.

Each of them is decided in the journal, as one alone is: its cancelling and its outcome are two
writes to one row, and exactly one of them wins. So it can be interrupted and run again, and two
operators who do it at once cancel each effect once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectSummary, Place
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.recall import cancel_error
from effectmq.broker.store.journal.records import Cancel, Cancelled, Effect
from effectmq.broker.store.letters.audit import AuditLog, choice_of
from effectmq.broker.store.letters.steps import LETTERS_SCHEMA
from effectmq.protocol.encoding.serde.model import canonical_bytes
from effectmq.protocol.errors import DatabaseError
from effectmq.protocol.messages.request import Identity

__all__ = ["CancelReport", "cancel_and_note", "cancel_many"]

_PAGE = 200
#: Effects change while they are cancelled, and so their places in the order of changes; what a
#: first pass missed is found by the next.
_PASSES = 3


@dataclass(slots=True)
class CancelReport:
    """
    What became of the effects that were chosen.

    Attributes:
        dry_run: Nothing was changed; ``done`` is what would have been.
        chosen: Effects in progress that matched.
        by_kind: The same by kind.
        done: Cancelled.
        finished: Whose outcome came first.
    """

    dry_run: bool = False
    chosen: int = 0
    by_kind: Counter[str] = field(default_factory=Counter[str])
    done: int = 0
    finished: int = 0

    def facts(self) -> dict[str, Any]:
        """The counts, as JSON data."""
        return {
            "dry_run": self.dry_run,
            "chosen": self.chosen,
            "by_kind": dict(self.by_kind),
            "cancelled": self.done,
            "finished": self.finished,
        }


async def cancel_many(
    archive: Archive,
    journal: Journal,
    chosen: EffectFilter,
    reason: str,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    announce: Callable[[Effect], Awaitable[None]] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> CancelReport:
    """
    Cancel what is in progress and meant.

    Args:
        archive: Finds the effects.
        journal: Decides; of the same database and namespace.
        chosen: Which; of any status that it names only ``in_progress`` counts.
        reason: Goes into the error of each.
        limit: How many altogether; all when not given.
        dry_run: Only say how many.
        announce: Tells the workers of one that was cancelled.
        on_progress: Called after each, with how many were decided.

    Raises:
        DatabaseUnavailableError: When the journal cannot be used; what was cancelled is.
    """
    report = CancelReport(dry_run)
    meant = replace(
        chosen,
        statuses=("in_progress",),
    )
    decided: set[Identity] = set()
    for _ in range(1 if dry_run else _PASSES):
        before = len(decided)
        after: Place | None = None
        while limit is None or len(decided) < limit:
            page = await archive.find(meant, limit=_PAGE, after=after)
            fresh = [effect for effect in page if effect.identity not in decided]
            if limit is not None:
                fresh = fresh[: limit - len(decided)]
            decided.update(effect.identity for effect in fresh)
            report.chosen += len(fresh)
            report.by_kind.update(effect.kind for effect in fresh)
            if dry_run:
                report.done += len(fresh)
            else:
                await _cancelled(journal, fresh, reason, report, announce)
            if on_progress is not None:
                on_progress(len(decided))
            if len(page) < _PAGE:
                break
            after = page[-1].place
        if len(decided) == before:
            break
    return report


async def cancel_and_note(
    archive: Archive,
    journal: Journal,
    chosen: EffectFilter,
    reason: str,
    *,
    who: str,
    limit: int | None = None,
    dry_run: bool = False,
    announce: Callable[[Effect], Awaitable[None]] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> CancelReport:
    """
    Cancel what is in progress and meant, and write down who did it; see ``cancel_many``.

    Args:
        archive: Finds the effects.
        journal: Decides; of the same database and namespace.
        chosen: Which.
        reason: Goes into the error of each.
        who: Who does it.
        limit: How many altogether; all when not given.
        dry_run: Only say how many, which is not written down.
        announce: Tells the workers of one that was cancelled.
        on_progress: Called after each, with how many were decided.

    Raises:
        DatabaseUnavailableError: When the journal cannot be used; what was cancelled is.
    """

    async def act() -> CancelReport:
        return await cancel_many(
            archive,
            journal,
            chosen,
            reason,
            limit=limit,
            dry_run=dry_run,
            announce=announce,
            on_progress=on_progress,
        )

    if dry_run:
        return await act()
    await LETTERS_SCHEMA.ensure(journal.database)
    audit = AuditLog(journal.database, who)
    line = await audit.begin("cancel", {**choice_of(chosen), "reason": reason, "limit": limit})
    facts: dict[str, object] = {"interrupted": True}
    try:
        report = await act()
        facts = report.facts()
        return report
    finally:
        # It is in the log, whatever becomes of the database; what was done is done.
        with suppress(DatabaseError):
            await audit.end(line, "cancel", facts)


async def _cancelled(
    journal: Journal,
    effects: list[EffectSummary],
    reason: str,
    report: CancelReport,
    announce: Callable[[Effect], Awaitable[None]] | None,
) -> None:
    meant = [
        Effect(each.identity, each.hash, kind=each.kind, effect_id=each.effect_id)
        for each in effects
    ]
    answers = await asyncio.gather(
        *(
            journal.cancel(Cancel(each, canonical_bytes(cancel_error(each.kind, reason)).decode()))
            for each in meant
        )
    )
    for effect, answer in zip(meant, answers, strict=True):
        if isinstance(answer, Cancelled):
            report.done += 1
            if announce is not None:
                await announce(effect)
        else:
            report.finished += 1
