"""An effect that ends its worker is parked after a few deaths, and nobody beside it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from effectmq import Client, TransportSettings
from effectmq.broker.dead_letters.dead_letters import DeadFilter, DeadLetters
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.transports import open_transport
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.topology import Names, TopologySettings
from tests.brokers.node import BrokerNode
from tests.scenarios.checker import dead_letters
from tests.scenarios.conftest import IDENTITIES, IDENTITY
from tests.scenarios.effects import Call, calls, effect_id, envelopes
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

pytestmark = pytest.mark.scenario

_LIMIT = 3
_PATIENCE_S = 90.0
_POLL_S = 0.02
_INNOCENT = 12


@asynccontextmanager
async def supervised(fleet: Fleet, count: int, **options: Any) -> AsyncGenerator[list[int | None]]:
    """So many workers, each replaced when it has died; gives the exit codes of those that did."""
    workers = [fleet.worker(**options) for _ in range(count)]
    died: list[int | None] = []

    async def supervise() -> None:
        while True:
            for place, worker in enumerate(workers):
                if not worker.alive:
                    died.append(worker.code)
                    workers[place] = fleet.worker(**options)
            await asyncio.sleep(_POLL_S)

    await fleet.ready(*workers)
    task = asyncio.create_task(supervise())
    try:
        yield died
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def outcomes(fleet: Fleet, plan: list[Call]) -> dict[str, str]:
    """What the caller of each gets: a tool's status, or the code of a controller error."""
    told: dict[str, str] = {}

    async def call(one: Call) -> None:
        (envelope,) = envelopes([one])
        try:
            outcome: Any = await client.execute(envelope, timeout=_PATIENCE_S)
            told[one["id"]] = outcome.result.output.outcome.status
        except EffectFailedError as failed:
            deaths = f": {_LIMIT}" if f"{_LIMIT} workers died" in failed.message else ""
            told[one["id"]] = failed.code + deaths

    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        await asyncio.gather(*map(call, plan))
    return told


async def replay(fleet: Fleet) -> int:
    """As a person does who has mended the tool; how many messages went back."""
    topology = TopologySettings(fleet.namespace, delay_levels_ms=fleet.delay_levels_ms)
    async with open_transport(fleet.broker, TransportSettings(name="person")) as transport:
        # Whichever message of it was parked: somebody else may have asked, too.
        report = await DeadLetters(transport, topology).replay(
            DeadFilter(), rate=1_000, reply_to=Names(fleet.namespace).reply_queue(IDENTITY)
        )
    return report.done


async def dies_of_it(
    fleet: Fleet, workers: int, *, asked_again: bool = False, **args: object
) -> None:
    """
    Submit a killer among innocents; look at what becomes of all, then mend it and replay it.

    Each message of a parked effect writes its dead letter again, for the worker that parked it may
    have died before the letter was out. So there may be several where others ask for it.
    """
    (killer,) = calls("lethal", 1, **args)
    innocent = calls("work", _INNOCENT, ms=400)
    async with supervised(fleet, workers) as died:
        told = await outcomes(fleet, [*innocent[:6], killer, *innocent[6:]])
        assert told.pop(killer["id"]) == f"effectmq_crash_looping: {_LIMIT}"
        assert set(told.values()) == {"success"}, "whoever was beside it is done"
        assert len(died) == _LIMIT

        async with open_transport(fleet.broker, TransportSettings(name="checker")) as transport:
            letters = await dead_letters(fleet, transport)
        assert {(one.reason, one.deaths) for one in letters} == {("crash_looping", _LIMIT)}
        assert asked_again or len(letters) == 1
        await counted(fleet, _LIMIT, 0)
        retried = args.get("how") == "retry"
        assert fleet.ledger.runs()[effect_id(killer)] == _LIMIT + retried

        fleet.gate.touch()
        sent_back = await replay(fleet)
        assert sent_back if asked_again else sent_back == 1
        client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
        async with client:
            (envelope,) = envelopes([killer])
            outcome: Any = await client.attach(envelope).outcome(_PATIENCE_S)
        assert outcome.result.output.outcome.status == "success"
        await counted(fleet, 0, _LIMIT)
        assert len(died) == _LIMIT


async def counted(fleet: Fleet, deaths: int, former: int) -> None:
    """What the journal shows of the killer."""
    if fleet.journal == "none":
        return
    async with open_archive(fleet.journal, namespace=fleet.namespace) as archive:
        found = [one for one in await archive.find() if one.effect_id == "1:lethal-0"]
    assert [(one.deaths, one.former_deaths) for one in found] == [(deaths, former)]
    assert len(found[0].dead_workers.splitlines()) == deaths


@pytest.mark.parametrize(("workers", "how"), [(1, "exit"), (3, "kill")])
async def test_without_a_journal(fleet: Fleet, workers: int, how: str) -> None:
    """The broker's count of returns, less those that somebody alive explains."""
    await dies_of_it(fleet, workers, how=how)


@pytest.mark.parametrize(
    ("workers", "how"), [(3, "native"), pytest.param(1, "retry", marks=pytest.mark.one_broker)]
)
async def test_with_a_journal(recording_fleet: Fleet, workers: int, how: str) -> None:
    """The takeovers that are counted in its row; also when it waits on a delay level between."""
    await dies_of_it(recording_fleet, workers, how=how)


@pytest.mark.one_broker
@pytest.mark.postgres
async def test_with_a_journal_on_postgres(fleet: Fleet, postgres_url: str) -> None:
    """While others ask for the same, and wait for whoever has it."""
    fleet.journal = postgres_url
    (killer,) = calls("lethal", 1, how="kill")
    stop = asyncio.Event()

    async def ask_again() -> None:
        (envelope,) = envelopes([killer])
        # Before, it would kill workers that are still starting.
        await eventually(lambda: fleet.ledger.runs()[effect_id(killer)] > 0, _PATIENCE_S)
        async with Client(
            fleet.broker, namespace=fleet.namespace, identity=IDENTITIES[1]
        ) as client:
            while not stop.is_set():
                await client.submit(envelope)
                await asyncio.sleep(1.0)

    asking = asyncio.create_task(ask_again())
    try:
        await dies_of_it(fleet, 3, asked_again=True, how="kill")
    finally:
        stop.set()
        await asking


@pytest.mark.one_broker
@pytest.mark.parametrize("restarts", [False, True])
async def test_lost_connections_park_nobody(
    private_broker: BrokerNode, private_fleet: Fleet, restarts: bool
) -> None:
    """Without a journal, from one worker to the next and back, and over restarts of the broker."""
    fleet = private_fleet
    await fleet.ready(*(fleet.worker(concurrency=4) for _ in range(3)))
    async with Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY) as client:
        handles = [await client.submit(each) for each in envelopes(calls("held", 4))]
        await eventually(lambda: fleet.ledger.runs().total() >= 4, 30)
        for losses in range(5):
            before = {worker.pid: worker.actions()["resubscribed"] for worker in fleet.workers}
            if restarts and losses == 2:
                await asyncio.to_thread(private_broker.restart)
            else:
                await asyncio.to_thread(private_broker.ctl, "close_all_connections", "a test")
            await eventually(
                lambda before=before: all(
                    worker.actions()["resubscribed"] > before[worker.pid]
                    for worker in fleet.workers
                ),
                60,
            )
        fleet.gate.touch()
        for handle in handles:
            outcome: Any = await handle.outcome(_PATIENCE_S)
            assert outcome.result.output.outcome.status == "success"
    assert all(worker.alive for worker in fleet.workers)
    async with open_transport(fleet.broker, TransportSettings(name="checker")) as transport:
        assert await dead_letters(fleet, transport) == []
