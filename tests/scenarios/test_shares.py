"""Workers die on a shared route: what waited for its turn is neither lost nor done twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.store.admission.store import LimitDesk
from effectmq.broker.store.journal.journal import Journal
from tests.brokers.provide import Broker
from tests.scenarios.checker import conclude
from tests.scenarios.conftest import IDENTITY, removed
from tests.scenarios.effects import calls
from tests.scenarios.fleet import Fleet, FleetProcess
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_EFFECTS = 40
_SLOTS = 2


@pytest.fixture
async def fleet(
    broker: Broker, namespace: str, tmp_path: Path, shared_database_url: str
) -> AsyncGenerator[Fleet]:
    """Processes whose workers share the route of tool calls."""
    with Fleet(tmp_path / "fleet", broker.url, namespace, journal=shared_database_url) as fleet:
        yield fleet
    await removed(broker, namespace)


def sharing(fleet: Fleet, crash_at: str = "") -> FleetProcess:
    """A worker of the fleet."""
    return fleet.worker(
        concurrency=_SLOTS,
        crash_at=crash_at,
        settings={"lease_s": 3.0},
        environment={"SCENARIO_SHARE": "session"},
    )


async def test_workers_killed_on_a_shared_route(
    fleet: Fleet, namespace: str, shared_database_url: str
) -> None:
    """One between the room and the acknowledgement, another one while it runs what had its turn."""
    dying = sharing(fleet, crash_at="after_room:2")
    await fleet.ready(dying)
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    producing = asyncio.create_task(run(fleet.plan(calls("held", _EFFECTS)), client))
    assert await dying.ended() == CRASH_EXIT_CODE
    victim = sharing(fleet)
    await fleet.ready(victim)
    async with Journal(shared_database_url, namespace=namespace) as journal:
        desk = LimitDesk(journal.database)

        async def waits() -> bool:
            return sum(each.waiting for each in await desk.waiting()) >= _EFFECTS - 2 * _SLOTS

        await eventually(waits, 60)
        victim.kill9()
        await fleet.ready(sharing(fleet))
        fleet.gate.touch()
        await producing
        report = await conclude(fleet, IDENTITY)
        print(report)
        assert report.problems() == []
        assert report.ok == report.acknowledged == _EFFECTS

        async def nobody_waits() -> bool:
            return not await desk.waiting()

        await eventually(nobody_waits, 60)
