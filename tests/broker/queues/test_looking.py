"""Looks at queues with what workers report."""

from __future__ import annotations

import asyncio

import pytest

from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.queues import looking
from effectmq.broker.queues.looking import QueueLooks
from effectmq.broker.queues.reports import QueueReport, QueuesSeen
from effectmq.consumers.worker import EffectWorker
from tests.consumers.stage import NAMES, PATIENCE_S, TOPOLOGY, outcome, staged, tool
from tests.waiting import eventually


def row(seen: QueuesSeen, route: str) -> QueueReport:
    return next(one for one in seen.queues if one.role == "work" and one.route == route)


async def test_what_workers_report_makes_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting, held, ages and rates; a lane of a worker is found; a pause is shown."""
    monkeypatch.setattr(looking, "_LEAST_S", 0.0)
    async with staged() as stage:
        gate = asyncio.Event()
        began: list[int] = []
        worker = EffectWorker(stage.url, topology=TOPOLOGY, name="a", concurrency=2)

        @worker.tool(lane="slow")
        async def hold(number: int) -> int:
            began.append(number)
            await gate.wait()
            return number

        await stage.start(worker, ["tool_call", "tool_call.slow"])
        client = await stage.client()
        transport = await stage.transport()
        async with Fleet(transport, NAMES, by="anna") as fleet:
            looks = QueueLooks(transport, TOPOLOGY, fleet)
            seen = await looks.look(timeout_s=PATIENCE_S)
            assert (seen.source, seen.silent, seen.rated_s) == ("workers", 0, 0.0)
            assert row(seen, "tool_call.slow").in_per_s is None
            assert row(seen, "tool_call.slow").oldest_at_most_s is None
            handles = [
                await client.submit(tool("hold", str(n), number=n), lane="slow") for n in range(5)
            ]
            await eventually(lambda: len(began) == 2)
            seen = await looks.look(timeout_s=PATIENCE_S)
            slow = row(seen, "tool_call.slow")
            assert (slow.ready, slow.in_flight, slow.consumers) == (3, 2, 1)
            assert slow.in_per_s is not None
            assert slow.in_per_s > 0
            assert slow.out_per_s is not None
            assert slow.out_per_s > 0
            assert slow.oldest_at_most_s is not None
            assert slow.waited_s is not None
            await fleet.pause(["tool_call.slow"], timeout_s=PATIENCE_S)
            seen = await looks.look(timeout_s=PATIENCE_S)
            pause = row(seen, "tool_call.slow").paused
            assert pause is not None
            assert pause.by == "anna"
            assert row(seen, "tool_call").paused is None
            gate.set()
            await fleet.resume(timeout_s=PATIENCE_S)
            for handle in handles:
                await outcome(handle)


async def test_a_paused_route_without_workers_is_shown_as_paused() -> None:
    """The broker knows it."""
    async with staged() as stage:
        worker = await stage.start(stage.worker(), ["sleep"])
        transport = await stage.transport()
        async with Fleet(transport, NAMES) as fleet:
            await fleet.pause(["sleep"], why="night", timeout_s=PATIENCE_S)
            await worker.stop()
            seen = await QueueLooks(transport, TOPOLOGY, fleet).look(timeout_s=PATIENCE_S)
            pause = row(seen, "sleep").paused
            assert pause is not None
            assert pause.why == "night"
            seen = await QueueLooks(transport, TOPOLOGY, None).look()
            assert row(seen, "sleep").in_flight == 0


async def test_a_priority_is_a_line_with_its_workers_and_without_them() -> None:
    async with staged() as stage:
        worker = EffectWorker(stage.url, topology=TOPOLOGY, name="a")

        @worker.tool
        async def quick() -> int:
            return 1

        await stage.start(worker, ["tool_call"])
        client = await stage.client()
        await client.execute(tool("quick"), priority="low", timeout=PATIENCE_S)
        transport = await stage.transport()
        async with Fleet(transport, NAMES, by="anna") as fleet:
            seen = await QueueLooks(transport, TOPOLOGY, fleet).look(timeout_s=PATIENCE_S)
            assert row(seen, "tool_call#low").consumers >= 1
            await worker.stop()
            seen = await QueueLooks(transport, TOPOLOGY, fleet).look(timeout_s=PATIENCE_S)
            assert row(seen, "tool_call#low").consumers == 0
            assert [one.role for one in seen.queues if one.role == "work"] == ["work", "work"]
