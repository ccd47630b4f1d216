"""What was spent, and ceilings."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce

from fastapi import APIRouter

from effectmq.api.context import Asking, Here
from effectmq.api.models.spend import (
    By,
    CeilingAsked,
    CeilingCleared,
    CeilingMeant,
    SpendReport,
)
from effectmq.api.models.spend import Ceiling as CeilingShown
from effectmq.api.problems import ProblemError
from effectmq.api.routes.parameters import Age, Limit, since_until
from effectmq.broker.store.letters.audit import AuditLog
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.ceilings import Ceiling
from effectmq.broker.store.spend.facts import ceiling_facts, sums_facts
from effectmq.broker.store.spend.records import Sums, budget_nanos
from effectmq.protocol.errors import ConfigurationError

__all__ = ["router"]

router = APIRouter(tags=["spend"])

_DAY_S = 86_400


@router.get("/spend")
async def spend(
    here: Here, by: By = "model", newer_than_s: Age = None, limit: Limit = 100
) -> SpendReport:
    """
    What effects have spent, as ``effectmq spend show`` has it, and the ceilings.

    Days are those of UTC, and the first one counts as a whole.
    """
    archive = await here.connections.archive()
    now_ms = await archive.now_ms()
    since_ms = max(0, since_until(now_ms, newer_than_s, None)[0] or 0)
    book = SpendBook(archive.database)
    rows = await book.by(by, since_ms=since_ms, limit=limit)
    days = await book.days(since_ms=since_ms)
    return SpendReport.model_validate(
        {
            "by": by,
            "rows": [{"name": row.name or None, **sums_facts(row.sums)} for row in rows],
            "days": [{"day": _date(day), **sums_facts(sums)} for day, sums in days.items()],
            "total": sums_facts(reduce(Sums.plus, days.values(), Sums())),
            "ceilings": [ceiling_facts(each) for each in await book.ceilings()],
            "now_ms": now_ms,
        }
    )


@router.post("/spend/ceilings")
async def set_ceiling(here: Here, who: Asking, asked: CeilingAsked) -> CeilingShown:
    """Set a ceiling, or change it, as ``effectmq spend limit set`` does."""
    try:
        ceiling = Ceiling(
            by=asked.by,
            name=asked.name,
            per=asked.per,
            nanos=None if asked.usd is None else budget_nanos(asked.usd),
            tokens=asked.tokens,
            on_exceeded=asked.on_exceeded,
        )
    except ConfigurationError as problem:
        raise ProblemError(422, "not_valid", str(problem)) from None
    archive = await here.connections.archive()
    audit = AuditLog(await here.connections.letters(), who.name)
    line = await audit.begin("ceiling", asked.model_dump())
    await SpendBook(archive.database).set(ceiling)
    await audit.end(line, "ceiling", {"done": 1})
    return CeilingShown.model_validate(
        {**ceiling_facts(ceiling), "changed_ms": await archive.now_ms()}
    )


@router.post("/spend/ceilings/clear")
async def clear_ceiling(here: Here, who: Asking, meant: CeilingMeant) -> CeilingCleared:
    """Remove a ceiling, as ``effectmq spend limit clear`` does."""
    archive = await here.connections.archive()
    audit = AuditLog(await here.connections.letters(), who.name)
    line = await audit.begin("ceiling", {**meant.model_dump(), "clear": True})
    cleared = await SpendBook(archive.database).clear(meant.by, meant.name, meant.per)
    await audit.end(line, "ceiling", {"done": int(cleared)})
    return CeilingCleared(cleared=cleared)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()
