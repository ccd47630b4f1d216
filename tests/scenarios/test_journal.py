"""With a journal there is one outcome: whoever dies, freezes, asks twice or takes the file away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from signal import SIGCONT

import aiormq
import pytest

from effectmq import Client
from effectmq.protocol.topology import Names
from tests.brokers.node import BrokerNode
from tests.freezing import freeze
from tests.scenarios.audit import audit, journal_rows
from tests.scenarios.checker import conclude, received, settle_queues
from tests.scenarios.conftest import IDENTITIES, IDENTITY
from tests.scenarios.effects import Call, calls, effect_id, envelopes
from tests.scenarios.fleet import Fleet, FleetProcess
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = pytest.mark.scenario

_HELD = 8
_LATER = 32


def _submitting(fleet: Fleet, plan: list[Call], identity: str = IDENTITY) -> asyncio.Task[None]:
    """A producer in this process, without the journal in reach; its records are the fleet's."""
    client = Client(fleet.broker, namespace=fleet.namespace, identity=identity)
    return asyncio.create_task(run(fleet.plan(plan), client))


async def _begun(fleet: Fleet, count: int) -> None:
    await eventually(lambda: fleet.ledger.runs().total() >= count, 30)


# Workers that die or freeze -----------------------------------------------------------------------


async def test_what_must_not_run_twice_is_parked_when_its_worker_is_killed(
    recording_fleet: Fleet,
) -> None:
    """Its caller is told that nobody knows how far it came."""
    fleet = recording_fleet
    victim = fleet.worker(concurrency=_HELD)
    await fleet.ready(victim)
    producing = _submitting(fleet, calls("once", _HELD))
    await _begun(fleet, _HELD)

    victim.kill9()
    fleet.gate.touch()
    fleet.worker()
    await producing

    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.told == {"effectmq_uncertain": _HELD}
    assert report.parked == {"uncertain": _HELD}
    assert report.bodies == _HELD


async def test_the_result_of_a_frozen_worker_is_discarded(recording_fleet: Fleet) -> None:
    """Its lease runs out, another one takes over; what it brings when it thaws is too late."""
    fleet = recording_fleet
    frozen = fleet.worker(transport={"heartbeat_s": 1, "reconnect_max_s": 1}, concurrency=_HELD)
    await fleet.ready(frozen)
    producing = _submitting(fleet, calls("draw", _HELD, hold=True))
    await _begun(fleet, _HELD)

    freeze(frozen.pid)
    fleet.gate.touch()
    heir = fleet.worker()
    await producing
    assert fleet.ledger.workers() == {frozen.pid: _HELD, heir.pid: _HELD}
    before = await journal_rows(fleet.journal)
    assert all(f'"pid":{heir.pid}' in row.outcome_json for row in before)

    frozen.send(SIGCONT)
    await eventually(lambda: frozen.actions()["resubscribed"] >= 1, 30)
    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == _HELD
    assert report.bodies == 2 * _HELD
    assert await journal_rows(fleet.journal) == before


# One effect, asked for many times -----------------------------------------------------------------


async def test_an_effect_that_is_asked_for_a_hundred_times_runs_once(
    recording_fleet: Fleet,
) -> None:
    """Four processes ask for the same at once: one row, a hundred equal answers."""
    fleet = recording_fleet
    await fleet.ready(fleet.worker(concurrency=16), fleet.worker(concurrency=16))
    same = calls("draw", 1, ms=200) * 25
    producers = [fleet.producer(identity, same) for identity in IDENTITIES[1:]]
    for producer in producers:
        assert await producer.ended(30) == 0, producer.log_tail()

    report = await conclude(fleet, *IDENTITIES)
    print(report)
    told = [line["digest"] for line in fleet.records.lines() if line["event"] == "outcome"]
    assert len(told) == 100
    assert len(set(told)) == 1
    assert report.problems() == []
    assert report.bodies == 1
    assert len(await journal_rows(fleet.journal)) == 1


async def test_two_workers_that_take_the_same_effect_at_once_run_it_once(
    recording_fleet: Fleet,
) -> None:
    """One runs it; the other, which was given the second message, waits and answers the same."""
    fleet = recording_fleet
    await fleet.ready(fleet.worker(concurrency=1), fleet.worker(concurrency=1))
    same = calls("draw", 1, hold=True)
    first = _submitting(fleet, same)
    await _begun(fleet, 1)
    second = _submitting(fleet, same, IDENTITIES[1])
    await eventually(lambda: len(fleet.records.effects("acknowledged")) == 2)
    await settle_queues(fleet)  # both workers hold a message of it now
    fleet.gate.touch()
    await asyncio.gather(first, second)

    report = await conclude(fleet, *IDENTITIES)
    assert report.problems() == []
    assert report.bodies == 1
    assert len(received(fleet)[effect_id(same[0])]) == 2
    assert len(await journal_rows(fleet.journal)) == 1


async def test_an_outcome_outlives_the_reply_queue(recording_fleet: Fleet) -> None:
    """Deleted before the answer came: who asks again is told, by the journal or by a worker."""
    fleet = recording_fleet
    await fleet.ready(fleet.worker())
    plan = envelopes(calls("draw", 2, hold=True))
    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        for envelope in plan:
            await client.submit(envelope)
    await _begun(fleet, len(plan))
    await _delete(fleet.broker, Names(fleet.namespace).reply_queue(IDENTITY))
    fleet.gate.touch()

    async def recorded() -> bool:
        rows = await journal_rows(fleet.journal)
        return [row.status for row in rows] == ["completed"] * len(plan)

    await eventually(recorded)
    for journal, travelled in ((fleet.journal, 0), (None, len(plan))):
        async with Client(
            fleet.broker, namespace=fleet.namespace, identity=IDENTITY, journal=journal
        ) as client:
            for envelope in plan:
                handle = await client.submit(envelope)
                assert (await handle.reply(10)).replayed
            assert client.counters["submitted"] == travelled
    assert fleet.ledger.runs().total() == len(plan)


async def _delete(url: str, queue: str) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_delete(queue)
    await connection.close()


# A journal that cannot be used --------------------------------------------------------------------


@pytest.mark.one_broker
async def test_effects_wait_while_another_process_locks_the_journal(
    recording_fleet: Fleet,
) -> None:
    """Nothing is acknowledged without a record; when the lock is gone, everything is done."""
    fleet = recording_fleet
    worker, producing = await _holding(fleet)
    with closing(sqlite3.connect(_file(fleet), isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        # Longer than a transaction waits by itself, or this would not be logged.
        await _outage(fleet, worker)
        other.execute("ROLLBACK")
    await producing
    await _all_done(fleet, worker)


@pytest.mark.one_broker
async def test_effects_wait_while_the_journal_is_gone(recording_fleet: Fleet) -> None:
    """Nothing is acknowledged meanwhile; put back, it has everything that was answered."""
    fleet = recording_fleet
    worker, producing = await _holding(fleet)
    folder = _file(fleet).parent
    aside = folder.with_name("aside")
    os.rename(folder, aside)
    await _outage(fleet, worker)
    assert not folder.exists(), "an empty one in its place would run everything again"
    os.rename(aside, folder)
    await producing
    await _all_done(fleet, worker)


async def _holding(fleet: Fleet) -> tuple[FleetProcess, asyncio.Task[None]]:
    """A worker in the middle of as many effects as it takes, with more of them waiting."""
    worker = fleet.worker(concurrency=_HELD)
    await fleet.ready(worker)
    plan = [*calls("draw", _HELD, hold=True), *calls("draw", _LATER, first=_HELD)]
    producing = _submitting(fleet, plan)
    await _begun(fleet, _HELD)
    await eventually(lambda: len(fleet.records.effects("acknowledged")) == len(plan))
    return worker, producing


async def _outage(fleet: Fleet, worker: FleetProcess) -> None:
    """Let the effects end while the journal cannot be used: nobody is told, nothing else begins."""
    fleet.gate.touch()
    await eventually(lambda: worker.actions()["journal_down"] == 1, 30)
    assert fleet.records.effects("outcome") == []
    assert fleet.ledger.runs().total() == _HELD


def _file(fleet: Fleet) -> Path:
    return Path(fleet.journal.removeprefix("sqlite:///"))


async def _all_done(fleet: Fleet, worker: FleetProcess) -> None:
    assert worker.alive
    report = await conclude(fleet, IDENTITY)
    print(report)
    assert report.problems() == []
    assert report.ok == report.bodies == _HELD + _LATER


# Time ---------------------------------------------------------------------------------------------


@pytest.mark.one_broker
async def test_a_sleep_keeps_its_end_when_worker_and_broker_are_killed(
    private_broker: BrokerNode, private_recording_fleet: Fleet
) -> None:
    """It is not begun again: the moment at which it ends is in the journal from its first claim."""
    node, fleet = private_broker, private_recording_fleet
    worker = fleet.worker("sleep")
    await fleet.ready(worker)
    plan: list[Call] = [{"id": "nap", "tool": "sleep", "args": {"ms": 8_000}}]
    producer = fleet.producer(IDENTITY, plan)

    async def asleep() -> bool:
        return [row.status for row in await journal_rows(fleet.journal)] == ["waiting"]

    await eventually(asleep)
    (before,) = await journal_rows(fleet.journal)
    await asyncio.to_thread(node.settle)
    worker.kill9()
    await asyncio.to_thread(node.kill9)
    await asyncio.to_thread(node.start)
    fleet.worker("sleep")
    assert await producer.ended(60) == 0, producer.log_tail()

    (after,) = await journal_rows(fleet.journal)
    (answer,) = [line for line in fleet.records.lines() if line["event"] == "outcome"]
    assert after.status == "completed"
    assert after.due_at_ms == before.due_at_ms
    assert after.fence > before.fence
    assert answer["at"] * 1_000 >= after.due_at_ms
    assert await audit(fleet, received(fleet)) == []
