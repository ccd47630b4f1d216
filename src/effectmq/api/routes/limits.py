"""Limits that hold for all workers: looked at, set and cleared."""

from __future__ import annotations

import time

from fastapi import APIRouter

from effectmq.api.context import Asking, Context, Here
from effectmq.api.models.limits import (
    LimitAsked,
    LimitChosen,
    LimitCleared,
    LimitReport,
    Limits,
)
from effectmq.api.problems import ProblemError
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.facts import limit_facts
from effectmq.broker.store.admission.store import LimitDesk
from effectmq.broker.store.letters.audit import AuditLog
from effectmq.protocol.errors import ConfigurationError

__all__ = ["router"]

router = APIRouter(tags=["limits"])


async def _desk(here: Context) -> LimitDesk:
    desk = LimitDesk((await here.connections.archive()).database)
    await desk.ensure()
    return desk


@router.get("/limits")
async def limits(here: Here) -> Limits:
    """Every limit, what runs under it and what waits for it, as ``effectmq limits list`` does."""
    desk = await _desk(here)
    return Limits.model_validate(
        {
            "limits": [limit_facts(state) for state in await desk.states()],
            "waiting": [
                {"route": one.route, "waiting": one.waiting, "oldest_ms": one.oldest_ms}
                for one in await desk.waiting()
            ],
            "now_ms": time.time_ns() // 1_000_000,
        }
    )


@router.post("/limits")
async def set_limit(here: Here, who: Asking, asked: LimitAsked) -> LimitReport:
    """Set a limit, in place of the one of its name; workers heed it within about a second."""
    try:
        limit = Limit.of(**asked.model_dump(), source="operator")
    except ConfigurationError as problem:
        raise ProblemError(422, "no_limit", str(problem)) from None
    desk = await _desk(here)
    audit = AuditLog(await here.connections.letters(), who.name)
    line = await audit.begin("set limit", asked.model_dump())
    await desk.set(limit, who.name)
    await audit.end(line, "set limit", {"name": limit.name})
    found = [state for state in await desk.states() if state.limit.name == limit.name]
    if not found:
        raise ProblemError(409, "limit_cleared", "somebody else has cleared the limit meanwhile")
    return LimitReport.model_validate(limit_facts(found[0]))


@router.post("/limits/clear")
async def clear_limit(here: Here, who: Asking, asked: LimitChosen) -> LimitCleared:
    """Remove a limit; what waits for it alone may start."""
    desk = await _desk(here)
    audit = AuditLog(await here.connections.letters(), who.name)
    line = await audit.begin("clear limit", {"name": asked.name})
    cleared = await desk.clear(asked.name)
    await audit.end(line, "clear limit", {"cleared": cleared})
    if not cleared:
        raise ProblemError(404, "no_such_limit", "there is no limit of this name")
    return LimitCleared(name=asked.name)
