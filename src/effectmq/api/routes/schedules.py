"""Schedules: effects that are asked for again and again."""

from __future__ import annotations

import json
import logging
from typing import Annotated

from fastapi import APIRouter, Path

from effectmq.api.context import Asking, Here
from effectmq.api.models.schedules import ScheduleAsked, ScheduleList, ScheduleReport
from effectmq.api.problems import ProblemError
from effectmq.broker.schedules.effects import made_schedule
from effectmq.broker.store.schedules.rows import ScheduleRow
from effectmq.broker.timetable.schedule import timing_of
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.text import printable

__all__ = ["router"]

logger = logging.getLogger("effectmq.api")

router = APIRouter(tags=["schedules"])

Name = Annotated[str, Path(max_length=200, description="The name of the schedule.")]


@router.get("/schedules")
async def schedules(here: Here) -> ScheduleList:
    """The schedules, each with its next time, its last one, and what is wrong with it."""
    table = await here.connections.schedules()
    rows = await table.rows()
    _, now_ms = await table.soonest()
    return ScheduleList(schedules=[_report(row) for row in rows], now_ms=now_ms)


@router.put("/schedules/{name}")
async def put(here: Here, who: Asking, name: Name, asked: ScheduleAsked) -> ScheduleReport:
    """Make a schedule, or change the one of this name; it counts within ten seconds."""
    # As text again: what a JSON document means is decided in one place.
    args = parse_json(json.dumps(asked.args))
    schedule = made_schedule(
        name,
        timing_of(
            asked.cron, asked.zone, None if asked.every_s is None else round(asked.every_s * 1_000)
        ),
        tool=asked.tool,
        args=args if is_object(args) else {},
        kind=asked.kind,
        lane=asked.lane,
        missed=asked.missed,
    )
    row = await (await here.connections.schedules()).put(schedule, "operator")
    _note(who, "put", name)
    return _report(row)


@router.post("/schedules/{name}/pause")
async def pause(here: Here, who: Asking, name: Name) -> ScheduleReport:
    """Let it not fire until it is resumed."""
    row = _found(await (await here.connections.schedules()).pause(name), name)
    _note(who, "paused", name)
    return _report(row)


@router.post("/schedules/{name}/resume")
async def resume(here: Here, who: Asking, name: Name) -> ScheduleReport:
    """Let it fire again from now on; times that fell into the pause are not carried out."""
    row = _found(await (await here.connections.schedules()).resume(name), name)
    _note(who, "resumed", name)
    return _report(row)


@router.delete("/schedules/{name}")
async def remove(here: Here, who: Asking, name: Name) -> ScheduleReport:
    """Remove it; its effects stay. Answers with what it was."""
    table = await here.connections.schedules()
    row = _found(await table.row(name), name)
    if not await table.remove(name):
        _found(None, name)
    _note(who, "removed", name)
    return _report(row)


def _found(row: ScheduleRow | None, name: str) -> ScheduleRow:
    if row is None:
        raise ProblemError(
            404, "not_found", f"there is no schedule {printable(name, 100)!r} in this namespace"
        )
    return row


def _report(row: ScheduleRow) -> ScheduleReport:
    return ScheduleReport.model_validate(row.facts())


def _note(who: Asking, did: str, name: str) -> None:
    logger.info(
        "%s has %s schedule %s",
        who.name,
        did,
        printable(name, 100),
        extra={"action": "schedule_changed", "who": who.name, "did": did, "schedule": name},
    )
