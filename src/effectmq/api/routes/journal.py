"""The journal in numbers, and its pruning."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter

from effectmq.api.context import Asking, Here
from effectmq.api.models.effects import Pruned, PruneOneAsked
from effectmq.api.models.journal import JournalReport, PruneAsked
from effectmq.api.models.letters import Operation
from effectmq.api.names import effect_name
from effectmq.api.operations import Running
from effectmq.api.problems import ProblemError
from effectmq.api.routes.effects import meant
from effectmq.api.views.effects import effect_view
from effectmq.broker.store.letters.audit import AuditLog
from effectmq.protocol.errors import DatabaseError

__all__ = ["router"]

router = APIRouter(tags=["journal"])

_MOST_DAMAGES = 100


@router.get("/journal")
async def journal(here: Here) -> JournalReport:
    """The journal in numbers, as ``effectmq journal stats`` has them."""
    archive = await here.connections.archive()
    stats = await archive.stats()
    oldest = stats.oldest
    return JournalReport.model_validate(
        {
            "where": archive.where,
            "size_bytes": stats.size_bytes,
            "effects": stats.effects,
            "counts": [
                {"kind": kind, "status": status, "effects": count}
                for (kind, status), count in sorted(stats.counts.items())
            ],
            "parked": stats.parked,
            "letters_unsent": stats.letters_unsent,
            "unheld": stats.unheld,
            "oldest_in_progress": None if oldest is None else effect_view(oldest),
            "now_ms": stats.now_ms,
        }
    )


@router.post("/journal/verify", status_code=202)
async def verify(here: Here, who: Asking) -> Operation:
    """
    Read everything and find what is inconsistent, as ``effectmq journal verify`` does. It changes
    nothing; ``report.damages`` has the first hundred.
    """
    archive = await here.connections.archive()

    async def act(running: Running) -> dict[str, Any]:
        damages: list[dict[str, str]] = []
        found = 0
        looking = archive.verify(
            on_progress=lambda checked: running.progress(running.done + checked)
        )
        async for damage in looking:
            found += 1
            if len(damages) < _MOST_DAMAGES:
                damages.append({"id": effect_name(damage.identity), "problem": damage.problem})
        return {"checked": running.done, "damaged": found, "damages": damages}

    running = here.operations.begin("verify", who.name, {}, act)
    return Operation.model_validate(running.facts())


@router.post("/effects/prune", tags=["effects"])
async def prune_effect(here: Here, who: Asking, asked: PruneOneAsked) -> Pruned:
    """Prune one finished effect, whatever its age, as ``effectmq effects prune`` does."""
    archive = await here.connections.archive()
    effect = await meant(archive, asked.id)
    name = effect_name(effect.identity)
    problem = archive.why_not_prune(effect, keep_key=asked.keep_key, parked=asked.parked)
    if problem:
        raise ProblemError(409, "not_pruned", f"this effect is not pruned: {problem}")
    audit = AuditLog(await here.connections.letters(), who.name)
    line = await audit.begin("prune", {"id": name, "keep_keys": asked.keep_key})
    done = await archive.prune_one(effect, keep_key=asked.keep_key, parked=asked.parked)
    await audit.end(line, "prune", {"pruned": int(done)})
    return Pruned(id=name, pruned=done)


@router.post("/journal/prune", status_code=202)
async def prune(here: Here, who: Asking, asked: PruneAsked) -> Operation:
    """
    Prune finished effects that are old, as ``effectmq journal prune`` does.

    With ``keep_keys`` an effect loses envelope and outcome, and asking for it again is an error;
    without, it is removed, and asking for it again runs it again.
    """
    archive = await here.connections.archive()
    audit = AuditLog(await here.connections.letters(), who.name)
    choice = asked.model_dump(exclude={"dry_run"})

    async def act(running: Running) -> dict[str, Any]:
        line = "" if asked.dry_run else await audit.begin("prune", choice)
        facts: dict[str, Any] = {"interrupted": True}
        try:
            report = await archive.prune(
                older_than_s=asked.older_than_s,
                keep_keys=asked.keep_keys,
                parked=asked.parked,
                dry_run=asked.dry_run,
                on_progress=lambda done: running.progress(running.done + done),
            )
            facts = {
                "dry_run": asked.dry_run,
                "pruned": report.pruned,
                "payload_bytes": report.payload_bytes,
                "parked": report.parked,
            }
            return facts
        finally:
            if line:
                with suppress(DatabaseError):
                    await audit.end(line, "prune", facts)

    running = here.operations.begin("prune", who.name, choice, act, dry_run=asked.dry_run)
    return Operation.model_validate(running.facts())
