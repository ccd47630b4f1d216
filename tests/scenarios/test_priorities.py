"""Priorities on a real broker while workers die: nothing is lost, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from effectmq import Client
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import Names
from tests.scenarios.fleet import Fleet
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.one_broker]

_APP = "tests.scenarios.bound:app"
_PATIENCE_S = 60.0
_CALLS = 12


@pytest.fixture
async def client(fleet: Fleet) -> AsyncGenerator[Client]:
    """Somebody who calls tools."""
    async with Client(fleet.broker, namespace=fleet.namespace, identity="caller") as opened:
        yield opened
        async with open_transport(fleet.broker) as transport:
            for priority in ("high", "low"):
                await transport.delete(Names(fleet.namespace).work_queue(f"tool_call#{priority}"))


async def test_whoever_dies_the_low_are_carried_out_and_the_high_do_not_wait_for_them(
    fleet: Fleet, client: Client
) -> None:
    """
    No worker was there when they were sent. Who sorts them dies right after the second; who carries
    them out is killed.
    """
    fleet.journal = f"sqlite:///{fleet.folder}/journal.db"
    first = fleet.worker(app=_APP, concurrency=4)
    await fleet.ready(first)
    first.kill9()
    await first.ended()
    low = [
        asyncio.create_task(
            client.turn(f"low-{n}", "t", priority="low").tool_call(
                "held", {}, call_id="h", timeout=_PATIENCE_S
            )
        )
        for n in range(_CALLS)
    ]
    await eventually(lambda: client.counters["submitted"] >= _CALLS, _PATIENCE_S)
    sorting = fleet.worker(app=_APP, concurrency=4, crash_at="after_version_publish:2")
    assert await sorting.ended() == CRASH_EXIT_CODE
    dying = fleet.worker(app=_APP, concurrency=4)
    await eventually(lambda: len(fleet.ledger.entries()) >= 2, _PATIENCE_S)
    dying.kill9()
    heir = fleet.worker(app=_APP, concurrency=4)
    await fleet.ready(heir)
    urgent = client.turn("anna", "t", priority="high")
    # The low hold what they have until the gate is open.
    assert (await urgent.tool_call("who", {}, call_id="w", timeout=_PATIENCE_S)).value == ""
    assert not any(one.done() for one in low)
    fleet.gate.touch()
    assert [outcome.value for outcome in await asyncio.gather(*low)] == [""] * _CALLS
    assert heir.alive
