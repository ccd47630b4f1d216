"""Workers die under limits of the fleet: these hold, and no share of them is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.looking import LimitState
from effectmq.broker.store.admission.records import Admitted, Ask, Worker
from effectmq.broker.store.admission.store import AdmissionStore, LimitDesk
from effectmq.broker.store.journal.journal import Journal
from effectmq.protocol.messages.message import Message
from tests.brokers.provide import Broker
from tests.scenarios.checker import conclude
from tests.scenarios.conftest import IDENTITY, removed
from tests.scenarios.effects import calls
from tests.scenarios.fleet import Fleet
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

#: Between the answer of the room, the release of the lease and the acknowledgement.
ROOM_POINTS = ("after_room", "after_room_release")

_LIMIT = 3
_LEVELS_MS = (1_100,)
#: Longer than a busy machine keeps a worker from renewing.
_SETTINGS = {"lease_s": 3.0}


@pytest.fixture
async def journal(shared_database_url: str, namespace: str) -> AsyncGenerator[Journal]:
    """A journal in which a limit is set."""
    async with Journal(shared_database_url, namespace=namespace) as journal:
        desk = LimitDesk(journal.database)
        await desk.ensure()
        await desk.set(Limit.of("tool_call", key="tool", concurrency=_LIMIT, name="l"), "anna")
        yield journal


@pytest.fixture
async def limited_fleet(
    broker: Broker, namespace: str, tmp_path: Path, shared_database_url: str, journal: Journal
) -> AsyncGenerator[Fleet]:
    """Processes whose workers have that journal."""
    with Fleet(
        tmp_path / "fleet",
        broker.url,
        namespace,
        delay_levels_ms=_LEVELS_MS,
        journal=shared_database_url,
    ) as fleet:
        yield fleet
    await removed(broker, namespace)


async def state_of(journal: Journal) -> LimitState:
    """The limit, as people see it."""
    (state,) = await LimitDesk(journal.database).states()
    return state


async def admitted(journal: Journal, count: int) -> int:
    """How many of so many new effects may start at a time."""
    store = AdmissionStore(journal.database, Worker("test", 60_000))
    asked = [
        Ask(f"e{n}", f"t{n}", (Line("l", "held"),), "tool_call", Message(body=b""), "tool_call")
        for n in range(count)
    ]
    answers = await asyncio.gather(*map(store.ask, asked))
    await store.close()
    return sum(isinstance(answer, Admitted) for answer in answers)


def open_bodies(fleet: Fleet) -> Counter[int]:
    """How many bodies run in each living process."""
    living = {worker.pid for worker in fleet.live_workers}
    found: Counter[int] = Counter()
    for entry in fleet.ledger.entries():
        if entry.pid in living:
            found[entry.pid] += 1 if entry.event == "begin" else -1
    return +found


async def settle(fleet: Fleet, journal: Journal, waiting: int) -> None:
    """Wait until as many run as may, and the others wait; no more than may ever do."""

    async def settled() -> bool:
        running = open_bodies(fleet).total()
        assert running <= _LIMIT
        return running == _LIMIT and (await state_of(journal)).waiting == waiting

    await eventually(settled, 60)


async def test_workers_killed_under_a_limit(limited_fleet: Fleet, journal: Journal) -> None:
    """Their share comes back after their leases; then all of it is there, and nothing is lost."""
    fleet, effects = limited_fleet, 30
    for _ in range(4):
        await fleet.ready(fleet.worker(settings=_SETTINGS))
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    producing = asyncio.create_task(run(fleet.plan(calls("held", effects)), client))
    await settle(fleet, journal, effects - _LIMIT)
    ((victim, lost),) = open_bodies(fleet).most_common(1)
    next(worker for worker in fleet.live_workers if worker.pid == victim).kill9()
    assert open_bodies(fleet).total() == _LIMIT - lost
    # What it had is delivered again, and asks again.
    await settle(fleet, journal, effects - _LIMIT)
    fleet.gate.touch()
    await producing

    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == report.acknowledged == effects

    async def given_back() -> bool:
        state = await state_of(journal)
        return (state.running, state.waiting) == (0, 0)

    await eventually(given_back, 60)
    assert await admitted(journal, _LIMIT + 1) == _LIMIT


@pytest.mark.parametrize("point", ROOM_POINTS)
async def test_a_worker_that_dies_between_room_and_acknowledgement(
    limited_fleet: Fleet, journal: Journal, point: str
) -> None:
    """The effect is in the room and with the broker: it runs once."""
    fleet, effects = limited_fleet, 12
    dying = fleet.worker(crash_at=f"{point}:2", settings=_SETTINGS)
    await fleet.ready(dying)
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    producing = asyncio.create_task(run(fleet.plan(calls("held", effects)), client))
    assert await dying.ended() == CRASH_EXIT_CODE
    begun = fleet.ledger.runs().total()
    fleet.worker(settings=_SETTINGS)
    await settle(fleet, journal, effects - _LIMIT)
    fleet.gate.touch()
    await producing
    report = await conclude(fleet, IDENTITY)
    assert report.problems() == []
    assert report.ok == effects
    assert report.bodies <= effects + begun
