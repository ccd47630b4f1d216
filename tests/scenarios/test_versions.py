"""Two versions of the workers at once on a real broker: who is bound to one, and who dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from effectmq import Client, Turn
from effectmq.broker.crashpoints import CRASH_EXIT_CODE
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import Names
from tests.scenarios.fleet import Fleet, FleetProcess
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
            for version in ("1", "2"):
                await transport.delete(Names(fleet.namespace).work_queue(f"tool_call@{version}"))


def worker(fleet: Fleet, version: str, **how: Any) -> FleetProcess:
    """A worker process of a version."""
    return fleet.worker(app=_APP, environment={"EFFECTMQ_WORKER_VERSION": version}, **how)


def turns(client: Client, version: str | None) -> list[Turn]:
    """Turns that are bound to a version, or to none."""
    return [client.turn(f"{version}-{n}", "t", version=version) for n in range(_CALLS)]


async def told(client: Client, tool: str, version: str | None, most: int = _CALLS) -> list[Any]:
    """What a tool says in many turns."""
    asked = (
        turn.tool_call(tool, {}, call_id=tool, timeout=_PATIENCE_S)
        for turn in turns(client, version)[:most]
    )
    return [outcome.value for outcome in await asyncio.gather(*asked)]


async def test_each_version_carries_out_what_is_bound_to_it(fleet: Fleet, client: Client) -> None:
    """Children too, which say nothing themselves; what is bound to none goes to any."""
    old, new = worker(fleet, "1"), worker(fleet, "2")
    await fleet.ready(old, new)
    assert await told(client, "who", "1") == ["1"] * _CALLS
    assert await told(client, "who", "2") == ["2"] * _CALLS
    assert await told(client, "fresh", "2") == ["2"] * _CALLS
    # Fewer than there are slots: a parent holds one while its child waits for another.
    assert await told(client, "child", "2", most=4) == ["2"] * 4
    assert set(await told(client, "who", None)) <= {"1", "2"}


@pytest.mark.parametrize("kept", [True, False], ids=["journal", "no journal"])
async def test_what_is_bound_to_a_version_waits_for_it_whoever_dies(
    fleet: Fleet, client: Client, kept: bool
) -> None:
    """
    Version 2 was never there, and version 1 has its queue made. Who sends an effect on dies right
    after that; who carries one out is killed.
    """
    if kept:
        fleet.journal = f"sqlite:///{fleet.folder}/journal.db"
    old = worker(fleet, "1", concurrency=1, crash_at="after_version_publish:2")
    await fleet.ready(old)
    waiting = [
        asyncio.create_task(turn.tool_call("held", {}, call_id="h", timeout=_PATIENCE_S))
        for turn in turns(client, "2")
    ]
    assert await old.ended() == CRASH_EXIT_CODE
    old = worker(fleet, "1")
    await fleet.ready(old)
    dying = worker(fleet, "2", concurrency=2)
    await eventually(lambda: len(fleet.ledger.entries()) >= 2, _PATIENCE_S)
    dying.kill9()
    heir = worker(fleet, "2")
    await fleet.ready(heir)
    fleet.gate.touch()
    found = [outcome.value for outcome in await asyncio.gather(*waiting)]
    assert found == ["2"] * _CALLS
    assert old.alive
    assert heir.alive


async def test_a_ramp_holds_for_workers_that_die_and_for_those_that_come(
    fleet: Fleet, client: Client
) -> None:
    """A session has one version, whoever is killed; at the end the old one takes nothing more."""
    fleet.journal = f"sqlite:///{fleet.folder}/journal.db"
    old, new = worker(fleet, "1"), worker(fleet, "2")
    await fleet.ready(old, new)
    async with client.fleet(by="test") as asked:
        heard = await asked.ramp("tool_call", "2", 0.5, timeout_s=_PATIENCE_S)
        assert len(heard.replies) == 2
        waiting = [
            asyncio.create_task(turn.tool_call("held", {}, call_id="h", timeout=_PATIENCE_S))
            for turn in (client.turn(f"ramped-{n}", "t") for n in range(2 * _CALLS))
        ]
        await eventually(lambda: len(fleet.ledger.entries()) >= 4, _PATIENCE_S)
        old.kill9()
        new.kill9()
        old, new = worker(fleet, "1"), worker(fleet, "2")
        await fleet.ready(old, new)
        fleet.gate.touch()
        found = [outcome.value for outcome in await asyncio.gather(*waiting)]
        assert set(found) == {"1", "2"}
        again = [
            (await client.turn(f"ramped-{n}", "t").tool_call("held", {}, call_id="h")).value
            for n in range(2 * _CALLS)
        ]
        assert again == found
        await asked.ramp("tool_call", "2", 1.0, timeout_s=_PATIENCE_S)
        assert await told(client, "who", None) == ["2"] * _CALLS
        await asked.clear_ramp("tool_call", timeout_s=_PATIENCE_S)
