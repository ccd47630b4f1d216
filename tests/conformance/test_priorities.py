"""Priorities of effects, from a client through the queues of a broker to workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import DEFAULT_SETTINGS
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.messages.chosen.priority import Priority
from effectmq.protocol.topology import Names, TopologySettings
from tests.brokers.provide import Brokers
from tests.brokers.sweep import sweep
from tests.conftest import _have
from tests.consumers.stage import PATIENCE_S, tool
from tests.waiting import eventually

SLOTS = 6


class Place:
    """A broker, with workers whose tool is held by a gate for each priority."""

    def __init__(self, url: str, namespace: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.names = Names(namespace)
        self.topology = TopologySettings(namespace=namespace, delay_levels_ms=(50, 1_000))
        self._stack = stack
        self.running = Counter[str]()
        self.ended = Counter[str]()
        self.gates = {name: asyncio.Event() for name in ("high", "normal", "low")}

    async def worker(self, **settings: Any) -> EffectWorker:
        """One more worker, started."""
        made = EffectWorker(
            self.url,
            topology=self.topology,
            settings=WorkerSettings(concurrency=SLOTS, shutdown_grace_s=0.2, **settings),
        )

        @made.tool
        async def work(gate: str, ctx: EffectContext) -> str:
            self.running[gate] += 1
            try:
                await self.gates[gate].wait()
                self.ended[gate] += 1
                return ctx.priority
            finally:
                self.running[gate] -= 1

        await made.start(["tool_call"])
        self._stack.push_async_callback(made.stop, 0.2)
        return made

    async def client(self, **options: Any) -> EffectClient:
        """A client that is open."""
        return await self._stack.enter_async_context(
            EffectClient(self.url, topology=self.topology, **options)
        )

    async def transport(self) -> Transport:
        """A connection to look at queues."""
        return await self._stack.enter_async_context(open_transport(self.url, DEFAULT_SETTINGS))


@pytest.fixture
async def at(
    adapter_name: str, brokers: Brokers, namespace: str, pytestconfig: pytest.Config
) -> AsyncIterator[Place]:
    url = f"memory://{namespace}"
    if adapter_name != "memory":
        url = _have(pytestconfig, brokers.shared, adapter_name).url
    async with asyncio.timeout(3 * PATIENCE_S), AsyncExitStack() as stack:
        yield Place(url, namespace, stack)
    if adapter_name != "memory":
        sweep(url, namespace)


async def asked(client: EffectClient, priority: Priority, number: int = 0) -> str:
    """The priority that the tool was told, when it has passed its gate."""
    effect = tool("work", f"{priority}-{number}", gate=priority)
    outcome = await client.execute(effect, priority=priority, timeout=None)
    return str(outcome.value)


async def test_one_that_is_urgent_begins_while_all_slots_are_wanted_by_others(at: Place) -> None:
    await at.worker()
    client = await at.client()
    at.gates["high"].set()
    assert await asked(client, "high") == "high"
    waiting = [asyncio.create_task(asked(client, "low", number)) for number in range(40)]
    # All but one slot of each of the others are lent.
    await eventually(lambda: at.running["low"] == SLOTS - 2)
    assert await asked(client, "high", 1) == "high"
    assert at.ended["low"] == 0
    at.gates["low"].set()
    assert set(await asyncio.gather(*waiting)) == {"low"}


async def test_the_low_get_on_while_more_of_the_high_wait_than_there_are_slots(at: Place) -> None:
    await at.worker()
    client = await at.client()
    high = [asyncio.create_task(asked(client, "high", number)) for number in range(40)]
    await eventually(lambda: at.running["high"] == SLOTS - 1)
    at.gates["low"].set()
    for number in range(5):
        assert await asked(client, "low", number) == "low"
    assert at.ended["high"] == 0
    at.gates["high"].set()
    await asyncio.gather(*high)


async def test_no_queue_exists_before_a_priority_is_used(at: Place) -> None:
    await at.worker()
    client, transport = await at.client(), await at.transport()
    for gate in at.gates.values():
        gate.set()
    assert await asked(client, "normal") == "normal"
    low, high = (at.names.work_queue(f"tool_call#{each}") for each in ("low", "high"))
    assert await transport.stats(low) is None
    assert await asked(client, "low") == "low"
    assert await transport.stats(low) is not None
    assert await transport.stats(high) is None


async def test_what_was_sent_before_any_worker_came_is_sorted_by_the_first(at: Place) -> None:
    first = await at.worker()
    await first.stop()
    client, transport = await at.client(), await at.transport()
    effects = [asyncio.create_task(asked(client, "low", number)) for number in range(20)]
    shared = at.names.work_queue("tool_call")

    async def waits() -> int:
        stats = await transport.stats(shared)
        return 0 if stats is None else stats.ready

    await eventually(lambda: _is(waits, 20))
    at.gates["low"].set()
    second = await at.worker()
    assert set(await asyncio.gather(*effects)) == {"low"}
    assert second.counters["to_priority"] == 20
    # The queue is there now, so nothing goes round by the other one.
    assert await asked(client, "low", 20) == "low"


async def _is(count: Any, expected: int) -> bool:
    return bool(await count() == expected)


async def test_a_worker_that_comes_later_takes_from_the_queues_that_there_are(at: Place) -> None:
    first = await at.worker()
    client = await at.client()
    at.gates["low"].set()
    assert await asked(client, "low") == "low"
    second = await at.worker()
    await first.stop()
    assert await asked(client, "low", 1) == "low"
    assert second.counters["to_priority"] == 0
