"""Schedulers are killed one after the other: each time has one outcome, and none is left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.store.database import open_database
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.timetable.schedule import session_of, turn_of
from tests.brokers.provide import Broker
from tests.brokers.sweep import sweep
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_APP = "tests.scenarios.schedules_app:app"
_SECOND_MS = 1_000


async def test_each_time_has_one_outcome_whoever_dies(
    broker: Broker, namespace: str, tmp_path: Path, shared_database_url: str
) -> None:
    """One dies between publishing a time and noting it, one is killed at any moment."""
    claim = {"SCENARIO_CLAIM_MS": "300"}
    with Fleet(
        tmp_path, broker.url, namespace, journal=shared_database_url, environment=claim
    ) as fleet:
        dying = fleet.worker(app=_APP, crash_at="after_schedule_publish:1")
        assert await dying.ended() == CRASH_EXIT_CODE
        killed, heir = fleet.worker(app=_APP), fleet.worker(app=_APP)
        await fleet.ready(killed, heir)
        await eventually(lambda: len(fleet.ledger.runs()) >= 2)
        killed.kill9()
        before = len(fleet.ledger.runs())
        await eventually(lambda: len(fleet.ledger.runs()) > before)
        async with open_database(shared_database_url, namespace=namespace) as database:
            table = ScheduleTable(database)
            assert await table.pause("tick")

            async def all_carried_out() -> bool:
                """Every second from the first to the last, and nothing else."""
                row = await table.row("tick")
                assert row is not None
                async with open_archive(shared_database_url, namespace=namespace) as archive:
                    found = await archive.session(session_of("tick"), limit=1_000)
                done = {each.turn_id for each in found if each.status == "completed"}
                first = min((each.turn_id for each in found), default="")
                times = range(row.last_ms, 0, -_SECOND_MS)
                wanted = next(
                    (times[: n + 1] for n in range(200) if turn_of(times[n]) == first), []
                )
                assert row.missed == 0
                return done == {turn_of(time_ms) for time_ms in wanted} != set()

            await eventually(all_carried_out)
        assert heir.alive
    await asyncio.to_thread(sweep, broker.url, namespace)
