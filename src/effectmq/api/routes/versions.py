"""Two versions of the workers at once: which takes what, and how much of it."""

from __future__ import annotations

from fastapi import APIRouter

from effectmq.api.context import Asking, Here
from effectmq.api.models.versions import (
    ClearRampAsked,
    DrainVersionAsked,
    RampAsked,
    VersionList,
)
from effectmq.api.models.workers import HeardReport
from effectmq.api.routes.workers import asked_fleet, heard_report
from effectmq.broker.client.fleet.answers import Roster
from effectmq.broker.client.fleet.versions import version_rows

__all__ = ["router"]

router = APIRouter(tags=["versions"])


@router.get("/versions")
async def versions(here: Here) -> VersionList:
    """The versions of each route that has one, ordered by route and version."""
    seen = await here.fleet.seen()
    roster = Roster(tuple(seen.workers), seen.silent, {})
    transport = await here.connections.transport()
    rows = await version_rows(roster, transport, here.connections.names)
    return VersionList.model_validate(
        {"versions": [row.facts for row in rows], "silent": seen.silent}
    )


@router.post("/versions/ramp")
async def ramp(here: Here, who: Asking, asked: RampAsked) -> HeardReport:
    """
    Let workers of a version take a share of what is bound to none, and all others the rest.

    Which effects these are goes by their session.
    """
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.ramp(asked.route, asked.version, asked.share, why=asked.why)
    return heard_report(heard)


@router.post("/versions/drain")
async def drain_version(here: Here, who: Asking, asked: DrainVersionAsked) -> HeardReport:
    """Let workers of a version take only what is bound to it; a ramp with share 0."""
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.ramp(asked.route, asked.version, 0.0, why=asked.why)
    return heard_report(heard)


@router.post("/versions/clear")
async def clear_ramp(here: Here, who: Asking, asked: ClearRampAsked) -> HeardReport:
    """Let workers of all versions take what is bound to none."""
    async with asked_fleet(here, who) as fleet:
        heard = await fleet.clear_ramp(asked.route)
    return heard_report(heard)
