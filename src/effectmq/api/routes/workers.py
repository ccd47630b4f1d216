"""Workers: who they are, and how they are steered while they run."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import APIRouter

from effectmq.api.context import Asking, Context, Here
from effectmq.api.models.workers import (
    ConcurrencyAsked,
    DrainAsked,
    HeardReport,
    PauseAsked,
    ResumeAsked,
    WorkerList,
)
from effectmq.api.problems import ProblemError
from effectmq.api.routes.fleet import checked_routes
from effectmq.api.views.fleet import pauses_of
from effectmq.broker.client.fleet.answers import Heard
from effectmq.broker.client.fleet.facts import worker_facts
from effectmq.broker.client.fleet.fleet import Fleet

__all__ = ["asked_fleet", "heard_report", "router"]

router = APIRouter(tags=["workers"])


@router.get("/workers")
async def workers(here: Here) -> WorkerList:
    """Every worker that answers, and those that answered before and do not any more."""
    seen = await here.fleet.seen()
    return WorkerList.model_validate(
        {
            "workers": [worker_facts(each) for each in seen.workers],
            "silent": seen.silent,
            "paused": {route: asdict(pause) for route, pause in pauses_of(seen).items()},
            "now_ms": round(time.time() * 1_000),
        }
    )


@router.post("/workers/pause")
async def pause(here: Here, who: Asking, asked: PauseAsked) -> HeardReport:
    """
    Let routes be taken by nobody, until they are resumed; or let workers take no more. What they
    hold goes on.
    """
    _refuse_nothing([*asked.routes, *asked.workers], everything=asked.all)
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.pause(
            checked_routes(asked.routes), workers=asked.workers, why=asked.why
        )
    return heard_report(heard)


@router.post("/workers/resume")
async def resume(here: Here, who: Asking, asked: ResumeAsked) -> HeardReport:
    """Let routes, or workers, take effects again."""
    _refuse_nothing([*asked.routes, *asked.workers], everything=asked.all)
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.resume(checked_routes(asked.routes), workers=asked.workers)
    return heard_report(heard)


@router.post("/workers/drain")
async def drain(here: Here, who: Asking, asked: DrainAsked) -> HeardReport:
    """Let workers finish what they hold, and end."""
    _refuse_nothing(asked.workers, everything=asked.all)
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.drain(asked.workers, why=asked.why)
    return heard_report(heard)


@router.post("/workers/concurrency")
async def concurrency(here: Here, who: Asking, asked: ConcurrencyAsked) -> HeardReport:
    """Change how many effects of a route run at a time in each worker."""
    _refuse_nothing([*asked.routes, *asked.workers], everything=asked.all)
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.set_concurrency(
            asked.slots, checked_routes(asked.routes), workers=asked.workers
        )
    return heard_report(heard)


def _refuse_nothing(named: list[str], *, everything: bool) -> None:
    if not named and not everything:
        raise ProblemError(
            422, "nothing_chosen", "which workers? Name some, or a route, or give all: true"
        )


@asynccontextmanager
async def asked_fleet(here: Context, who: Asking) -> AsyncGenerator[Fleet]:
    """The workers of the namespace, for who asks; what is known of them is looked at anew after."""
    transport, names = await here.connections.transport(), here.connections.names
    if not await transport.has_exchange(names.control):
        raise ProblemError(
            409,
            "no_worker",
            f"no worker was ever started in namespace {names.namespace!r} on this broker; start "
            "one, or check namespace and broker",
        )
    async with Fleet(transport, names, by=who.name) as fleet:
        yield fleet
    here.fleet.changed()


def heard_report(heard: Heard) -> HeardReport:
    """Who heard it, as it is answered."""
    return HeardReport.model_validate(
        {
            "answers": [
                {"worker": each.worker.name, "did": each.did, "detail": each.detail}
                for each in heard.replies
            ],
            "silent": heard.silent,
            "changed": list(heard.changed),
            "unknown": list(heard.unknown),
        }
    )
