"""Steering on a real RabbitMQ: marks, prefetch, and lost connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.topology import Names, TopologySettings
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.consumers.stage import PATIENCE_S, outcome, tool
from tests.waiting import eventually

pytestmark = pytest.mark.one_broker


def made(url: str, namespace: str, name: str, began: list[int], gate: asyncio.Event) -> Any:
    worker = EffectWorker(
        url,
        settings=WorkerSettings(concurrency=2, kill_grace_s=0.05, shutdown_grace_s=5.0),
        topology=TopologySettings(namespace=namespace),
        name=name,
    )

    @worker.tool
    async def hold(number: int) -> int:
        began.append(number)
        await gate.wait()
        return number

    return worker


async def test_a_worker_is_paused_changed_and_drained(broker: Broker, namespace: str) -> None:
    """Each effect runs once; a later worker knows the pause; a lost connection changes nothing."""
    names, began, gate = Names(namespace), list[int](), asyncio.Event()
    queue = names.work_queue("tool_call")
    first = made(broker.url, namespace, "a", began, gate)
    async with (
        asyncio.timeout(60),
        ChaosProxy.to(broker.url) as proxy,
        first,
        EffectClient(broker.url, topology=TopologySettings(namespace=namespace)) as client,
        open_transport(broker.url, TransportSettings()) as transport,
        Fleet(transport, names, by="anna") as fleet,
    ):
        handles = [await client.submit(tool("hold", str(n), number=n)) for n in range(8)]
        await eventually(lambda: len(began) == 2)

        async def unconsumed() -> bool:
            # RabbitMQ counts a cancelled consumer until it has settled what it holds.
            stats = await transport.stats(queue)
            return stats is not None and stats.consumers == 0

        heard = await fleet.set_concurrency(4, timeout_s=PATIENCE_S)
        assert [one.did for one in heard.replies] == ["changed"]
        await eventually(lambda: len(began) == 4)
        heard = await fleet.pause(["tool_call"], why="night", timeout_s=PATIENCE_S)
        assert [(one.did, one.worker.in_flight) for one in heard.replies] == [("paused", 4)]
        assert (await fleet.paused())["tool_call"].why == "night"
        second = made(proxy.url(broker.url), namespace, "b", began, gate)
        working = asyncio.create_task(second.run())
        await eventually(lambda: second.ready)
        assert second.paused == {"tool_call": "paused by anna: night"}
        gate.set()
        for handle in handles[:4]:
            await outcome(handle)
        await eventually(unconsumed)
        # Its connection is lost, and comes back with the pause.
        proxy.cut()
        await eventually(lambda: second._running._transport.counters["reconnects"] >= 1)
        await eventually(lambda: second.ready)
        found = await fleet.workers(timeout_s=PATIENCE_S)
        assert (found.silent, len(found.workers), set(found.paused)) == (0, 2, {"tool_call"})
        assert await unconsumed()
        heard = await fleet.resume(timeout_s=PATIENCE_S)
        assert heard.changed == ("tool_call",)
        for handle in handles:
            await outcome(handle)
        assert sorted(began) == list(range(8))
        assert await transport.stats(names.pause_mark("tool_call")) is None
        heard = await fleet.drain(["b"], timeout_s=PATIENCE_S)
        assert [one.worker.name for one in heard.replies] == ["b"]
        await working
        assert [one.report.name for one in (await fleet.workers()).workers if one.answered] == ["a"]
