"""A route is paused while workers die: the pause holds, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from effectmq import Client
from effectmq.broker.client.fleet.fleet import Fleet as Operator
from effectmq.broker.transports import open_transport
from effectmq.protocol.topology import Names
from tests.conformance.taking import until_ready
from tests.scenarios.checker import conclude
from tests.scenarios.conftest import IDENTITY
from tests.scenarios.effects import calls
from tests.scenarios.fleet import Fleet
from tests.scenarios.run_producer import run
from tests.waiting import eventually

pytestmark = pytest.mark.scenario

_HELD, _WAITING = 4, 4


async def test_a_worker_killed_while_its_route_is_paused(fleet: Fleet) -> None:
    """What it held goes back and waits with the rest, also beside a worker that starts then."""
    names = Names(fleet.namespace)
    victim = fleet.worker(concurrency=_HELD)
    await fleet.ready(victim)
    client = Client(fleet.broker, namespace=fleet.namespace, identity=IDENTITY)
    producing = asyncio.create_task(
        run(fleet.plan(calls("held", _HELD + _WAITING)), client),
    )
    await eventually(lambda: fleet.ledger.runs().total() == _HELD)
    async with (
        open_transport(fleet.broker) as transport,
        Operator(transport, names, by="anna") as operator,
    ):
        heard = await operator.pause(["tool_call"], why="the bank is closed", timeout_s=20)
        assert [reply.did for reply in heard.replies] == ["paused"]
        victim.kill9()
        heir = fleet.worker(concurrency=_HELD)

        async def heir_is_paused() -> bool:
            found = (await operator.workers(timeout_s=5)).workers
            return [
                (route.consuming, route.paused is not None and route.paused.by)
                for each in found
                if each.report.pid == heir.pid
                for route in each.report.routes
            ] == [(False, "anna")]

        await eventually(heir_is_paused, 40)
        fleet.gate.touch()
        await until_ready(transport, names.work_queue("tool_call"), _HELD + _WAITING)
        assert fleet.ledger.runs().total() == _HELD
        assert set(await operator.paused()) == {"tool_call"}
        await operator.resume(["tool_call"], timeout_s=20)
        await producing
        assert await operator.paused() == {}
    assert heir.alive
    report = await conclude(fleet, IDENTITY)
    assert report.problems() == []
    assert report.ok == _HELD + _WAITING
    assert report.bodies == 2 * _HELD + _WAITING
