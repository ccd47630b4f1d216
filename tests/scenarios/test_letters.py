"""Workers that die while they park: every letter of the queue is in the index, and the reverse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import TopologySettings
from tests.brokers.provide import Broker
from tests.brokers.sweep import sweep
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.effects import calls
from tests.scenarios.fleet import Fleet
from tests.scenarios.run_producer import run

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_EFFECTS = 8


@pytest.mark.parametrize("point", ["after_dead_publish", "after_dead_note"])
async def test_the_index_is_in_step_wherever_a_worker_dies(
    broker: Broker, namespace: str, tmp_path: Path, shared_database_url: str, point: str
) -> None:
    """Without a walk it has every letter; with one also the number of copies."""
    topology = TopologySettings(namespace=namespace)
    levels = topology.delay_levels_ms
    with Fleet(
        tmp_path, broker.url, namespace, delay_levels_ms=levels, journal=shared_database_url
    ) as fleet:
        dying = fleet.worker("exec_code", concurrency=1, crash_at=f"{point}:1")
        await fleet.ready(dying)
        client = Client(fleet.broker, namespace=namespace, identity=IDENTITY)
        producing = asyncio.create_task(run(fleet.plan(calls("refused", _EFFECTS)), client))
        assert await dying.ended() == CRASH_EXIT_CODE
        dying = fleet.worker("exec_code", concurrency=1, crash_at=f"{point}:3")
        assert await dying.ended() == CRASH_EXIT_CODE
        heir = fleet.worker("exec_code")
        await producing
        assert heir.alive
        async with (
            open_transport(broker.url) as transport,
            DeadDesk(transport, topology, database=shared_database_url) as desk,
        ):
            noted = {letter.id async for letter in desk.every()}
            assert len(noted) == _EFFECTS
            fresh = await desk.refresh()
            assert fresh.exact
            assert {letter.id async for letter in desk.every()} == noted
            counts = await desk.index.counts()
            assert (counts.letters, counts.messages) == (_EFFECTS, fresh.messages)
            facets = await desk.facets()
            assert facets.counts["reason"] == {"rejected": _EFFECTS}
    await asyncio.to_thread(sweep, broker.url, namespace)
