"""Workers, producers and the broker are killed, stopped and frozen; nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from signal import SIGCONT, SIGTERM

import aiormq
import pytest

from effectmq import Client, TransportSettings
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import Names
from tests.brokers.node import BrokerNode
from tests.freezing import freeze
from tests.scenarios.chaos import Chaos, run_chaos
from tests.scenarios.checker import conclude
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.effects import Call, calls, effect_id, envelopes
from tests.scenarios.fleet import Fleet
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = pytest.mark.scenario

_HELD = 8


def _client(fleet: Fleet) -> Client:
    return Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)


def _submitting(fleet: Fleet, plan: list[Call]) -> asyncio.Task[None]:
    """A producer in this process; its records are the fleet's."""
    return asyncio.create_task(run(fleet.plan(plan), _client(fleet)))


async def _begun(fleet: Fleet, count: int) -> None:
    await eventually(lambda: fleet.ledger.runs().total() >= count)


async def test_a_worker_killed_amid_eight_effects_is_inherited(fleet: Fleet) -> None:
    """All eight run once more somewhere else and are answered; that is all it costs."""
    go = fleet.folder / "go"
    victim, heir = fleet.worker(concurrency=_HELD), fleet.worker(standby=go)
    await fleet.ready(victim)
    producing = _submitting(fleet, calls("held", _HELD))
    await _begun(fleet, _HELD)

    victim.kill9()
    fleet.gate.touch()
    go.touch()
    await producing

    assert heir.alive
    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == _HELD
    assert report.bodies == 2 * _HELD
    assert report.duplicated == 0


async def test_a_worker_that_is_asked_to_stop_finishes_what_it_runs(fleet: Fleet) -> None:
    """It takes nothing new, runs nothing twice, and ends by the signal that it was sent."""
    leaving = fleet.worker(concurrency=_HELD)
    await fleet.ready(leaving)
    producing = _submitting(fleet, calls("held", _HELD))
    await _begun(fleet, _HELD)

    leaving.send(SIGTERM)
    await eventually(lambda: "send the signal again" in leaving.log_tail())
    later = calls("work", 4)
    async with Client(fleet.broker, namespace=fleet.namespace) as client:
        handles = [await client.submit(envelope) for envelope in envelopes(later)]
        fleet.gate.touch()
        await producing
        assert await leaving.ended() == -SIGTERM
        assert fleet.ledger.workers() == {leaving.pid: _HELD}

        await fleet.ready(fleet.worker())
        for handle in handles:
            await handle.outcome(20)
    runs = fleet.ledger.runs()
    assert set(runs.values()) == {1}
    assert runs.total() == _HELD + len(later)


async def test_a_worker_that_is_asked_twice_leaves_at_once(fleet: Fleet) -> None:
    """What it runs goes to another worker, well before its grace is over."""
    go = fleet.folder / "go"
    leaving = fleet.worker(concurrency=_HELD, settings={"shutdown_grace_s": 600})
    heir = fleet.worker(standby=go)
    await fleet.ready(leaving)
    producing = _submitting(fleet, calls("held", _HELD))
    await _begun(fleet, _HELD)

    leaving.send(SIGTERM)
    await eventually(lambda: "send the signal again" in leaving.log_tail())
    leaving.send(SIGTERM)
    assert await leaving.ended(timeout_s=10) == -SIGTERM
    fleet.gate.touch()
    go.touch()
    await producing

    assert heir.alive
    report = await conclude(fleet, IDENTITY)
    assert report.problems() == []
    assert report.ok == _HELD
    assert report.bodies == 2 * _HELD


async def test_everybody_outlives_the_broker(
    private_broker: BrokerNode, private_fleet: Fleet
) -> None:
    """The broker is killed under load and comes back; the same processes answer everything."""
    chaos = Chaos(effects=500, workers=2, broker_kills=1)
    report = await run_chaos(private_broker, private_fleet, chaos)
    print(report)
    assert report.problems() == []
    assert report.ok == chaos.effects
    assert report.about["workers that ended by themselves"] == 0
    assert len(private_fleet.workers) == chaos.workers


async def test_an_effect_that_kills_its_workers_is_parked(fleet: Fleet) -> None:
    """Its caller is told why, and the innocent effects that were taken with it are done."""

    def start() -> None:
        fleet.worker(concurrency=4, settings={"max_deaths": 3})

    async def keep_one_running() -> None:
        while True:
            if not fleet.live_workers:
                start()
            await asyncio.sleep(0.02)

    start()
    await fleet.ready(*fleet.workers)
    supervising = asyncio.create_task(keep_one_running())
    plan = [*calls("fatal", 1, after_ms=150), *calls("work", 40, ms=20)]
    try:
        await _submitting(fleet, plan)
    finally:
        supervising.cancel()

    deaths = [worker.code for worker in fleet.workers if not worker.alive]
    report = await conclude(fleet, IDENTITY)
    print(report, f"after {len(deaths)} deaths")
    assert set(deaths) == {3}
    assert report.problems() == []
    assert report.ok == 40
    assert report.told == {"effectmq_crash_looping": 1}
    assert report.parked == {"crash_looping": 1}
    assert len(deaths) == fleet.ledger.runs()[effect_id(plan[0])] == 3


async def test_innocent_effects_come_back_from_limbo(fleet: Fleet) -> None:
    """
    Three workers in a row are killed with them, which is more than the broker puts up with.

    The broker then moves them to limbo; the next worker collects them there and sends them home.
    """
    environment, settings = {"EFFECTMQ_DELIVERY_LIMIT": "2"}, {"max_deaths": 10}
    standby = [fleet.folder / f"go-{number}" for number in range(4)]
    standby[0].touch()
    workers = [
        fleet.worker(standby=go, settings=settings, environment=environment) for go in standby
    ]
    await fleet.ready(workers[0])
    producing = _submitting(fleet, calls("held", _HELD))
    for number, worker in enumerate(workers[:3], start=1):
        await _begun(fleet, number * _HELD)
        worker.kill9()
        standby[number].touch()
    fleet.gate.touch()
    await producing

    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == _HELD
    assert report.parked.total() == 0
    assert report.bodies == 4 * _HELD


async def test_outcomes_wait_for_a_producer_that_was_killed(fleet: Fleet) -> None:
    """Restarted under its identity it finds them, and nothing runs again."""
    plan = calls("held", 5)
    await fleet.ready(fleet.worker())
    producer = fleet.producer(IDENTITY, plan)
    await eventually(lambda: len(fleet.records.effects("acknowledged")) == len(plan))
    await _begun(fleet, len(plan))
    producer.kill9()
    fleet.gate.touch()

    async with _client(fleet) as client:
        await eventually(lambda: len(client.unclaimed()) == len(plan))
        first, second, *rest = envelopes(plan)
        await client.attach(first).outcome(1)
        await client.attach(second).outcome(1)
        for envelope in rest:
            await client.execute(envelope, timeout=1)
        assert client.unclaimed() == []
        assert client.counters["submitted"] == 0
    assert fleet.ledger.runs().total() == len(plan)


async def test_outcomes_without_a_receiver_are_parked_with_themselves_inside(fleet: Fleet) -> None:
    """The producer's reply queue is deleted meanwhile; the worker says so and goes on."""
    worker = fleet.worker(settings={"reply_keep_s": 0.5})
    await fleet.ready(worker)
    async with _client(fleet) as client:
        for envelope in envelopes(calls("held", 3)):
            await client.submit(envelope)
    await _begun(fleet, 3)
    await _delete(fleet.broker, Names(fleet.namespace).reply_queue(IDENTITY))
    fleet.gate.touch()

    def unanswered() -> list[str]:
        lines = [line for line in worker.log() if line.get("action") == "reply_unroutable"]
        return [effect for line in lines for effect in line["effect_ids"]]

    await eventually(lambda: len(unanswered()) == 3)
    async with Client(fleet.broker, namespace=fleet.namespace) as client:
        await client.execute(*envelopes(calls("work", 1)), timeout=10)
    assert worker.alive
    assert fleet.ledger.runs().total() == 4
    await eventually(
        lambda: sum(line.get("action") == "outcome_parked" for line in worker.log()) == 3
    )
    report = await conclude(fleet)
    assert report.parked == {"undelivered": 3}


async def _delete(url: str, queue: str) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_delete(queue)
    await connection.close()


async def test_two_fleets_of_one_namespace_share_the_work(fleet: Fleet, tmp_path: Path) -> None:
    """Neither knows of the other; both run some, and nothing runs twice."""
    with Fleet(
        tmp_path / "other",
        fleet.broker,
        fleet.namespace,
        delay_levels_ms=fleet.delay_levels_ms,
        environment={"SCENARIO_LEDGER": str(fleet.ledger.path)},
    ) as other:
        ours = [fleet.worker(), fleet.worker()]
        theirs = [other.worker(), other.worker()]
        await fleet.ready(*ours)
        await other.ready(*theirs)
        await _submitting(fleet, calls("work", 200, ms=20))
        shares = fleet.ledger.workers()
        report = await conclude(fleet, IDENTITY)
    assert report.problems() == []
    assert report.ok == report.bodies == 200
    assert sum(shares[worker.pid] for worker in ours) > 0
    assert sum(shares[worker.pid] for worker in theirs) > 0


async def test_a_frozen_worker_is_inherited_and_does_no_harm_when_it_thaws(fleet: Fleet) -> None:
    """Heartbeats missing, its effects go elsewhere; thawed, it repeats itself and works on."""
    impatient = {"heartbeat_s": 1, "reconnect_max_s": 1}
    go = fleet.folder / "go"
    frozen = fleet.worker(transport=impatient)
    heir = fleet.worker(standby=go)
    await fleet.ready(frozen)
    producing = _submitting(fleet, calls("held", _HELD))
    await _begun(fleet, _HELD)

    freeze(frozen.pid)
    fleet.gate.touch()
    go.touch()
    await producing
    assert fleet.ledger.workers() == {frozen.pid: _HELD, heir.pid: _HELD}

    heir.send(SIGTERM)
    await heir.ended()
    frozen.send(SIGCONT)
    await eventually(lambda: frozen.actions()["resubscribed"] >= 1)
    await _submitting(fleet, calls("work", 4))
    assert fleet.ledger.workers()[frozen.pid] == _HELD + 4

    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == _HELD + 4
    assert report.bodies == 2 * _HELD + 4
    # It answers what it had done before it learned that it had lost it.
    assert report.duplicated == _HELD


async def test_the_broker_sees_a_namespace_without_leftovers(fleet: Fleet) -> None:
    """Ordinary work leaves no message behind, neither in a queue nor among the dead."""
    await fleet.ready(fleet.worker())
    await _submitting(fleet, [*calls("work", 20), *calls("flaky", 3)])
    report = await conclude(fleet, IDENTITY)
    assert report.problems() == []
    assert report.ok == 23
    assert report.parked.total() == report.extra_bodies - 3 == report.duplicated == 0
    async with open_transport(fleet.broker, TransportSettings(name="checker")) as transport:
        stats = await transport.stats(Names(fleet.namespace).reply_queue(IDENTITY))
    assert stats is not None
    assert stats.ready == 0
