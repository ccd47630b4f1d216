"""
What one effect costs a client: Python calls, and while it is in flight bytes and objects that the
garbage collector looks at each time; nothing is timed.

Calls and objects are the same on every machine. Bytes differ by a quarter, because tables grow in
steps and coverage is counted too. Lower a ceiling when a change makes the road shorter.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.turn import ToolCall
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.topology import Names, TopologySettings, work_topology
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from tests.brokers.provide import Broker
from tests.consumers.stage import PATIENCE_S
from tests.waiting import eventually

#: Calls of the client's own code for a warm effect; resuming a coroutine counts as a call of it.
_CLIENT_CALLS = 29
#: Calls of the RabbitMQ adapter for client and worker together: two publishes, two deliveries.
_ADAPTER_CALLS = 105
_EFFECTS = 40
_ROUNDS = 3

_IN_FLIGHT = 300


class Held(NamedTuple):
    """What an effect of 1 KiB in flight holds, with the task of its caller."""

    size: float
    objects: float


#: With the effect in its caller's hands, which is not counted; and made by a turn, with all that it
#: is made of.
_IN_HAND, _OF_A_TURN = Held(3_400, 11), Held(4_700, 14)


class Counter:
    """Counts calls of functions by the room that their file is in."""

    def __init__(self) -> None:
        self.client = self.adapter = 0

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            # A turn makes the envelope, which is counted where envelopes are.
            self.client += "effectmq/broker/client/" in name and "/turns/" not in name
            self.adapter += "effectmq/broker/transports/rabbitmq/" in name


@contextmanager
def counted() -> Iterator[Counter]:
    """Count in this thread, where the loop is, until the block ends."""
    counter, former = Counter(), sys.getprofile()
    sys.setprofile(counter)
    try:
        yield counter
    finally:
        sys.setprofile(former)


def call(client: EffectClient, number: int) -> RuntimeEffectEnvelope:
    """A call of the tool."""
    turn = client.turn("s", f"turn-{number}")
    (envelope,) = turn.tool_envelopes([ToolCall("measure", {"text": "x"}, "call-1")])
    return envelope


async def fewest(url: str, namespace: str) -> Counter:
    """The calls for so many warm effects, one after the other, of the best of some rounds."""
    settings = TopologySettings(namespace=namespace)
    worker = EffectWorker(url, topology=settings)

    @worker.tool
    async def measure(text: str) -> int:
        return len(text)

    client = EffectClient(url, topology=settings)
    number, rounds = 0, list[Counter]()
    async with worker, client:
        # A timer that goes off meanwhile counts, too, once in many effects.
        for _ in range(_ROUNDS + 1):
            with counted() as counter:
                for _ in range(_EFFECTS):
                    number += 1
                    await client.execute(call(client, number), timeout=PATIENCE_S)
            rounds.append(counter)
    return min(rounds, key=lambda each: each.client + each.adapter)


async def test_an_effect_makes_few_calls_in_the_client(namespace: str) -> None:
    """Warm, one at a time."""
    best = await fewest(f"memory://{namespace}", namespace)

    assert 5 < best.client // _EFFECTS <= _CLIENT_CALLS


@pytest.mark.rabbitmq
@pytest.mark.one_broker
async def test_an_effect_makes_few_calls_in_the_adapter(broker: Broker, namespace: str) -> None:
    """On RabbitMQ the client makes no more calls of its own, and its adapter few."""
    best = await fewest(broker.url, namespace)

    assert 5 < best.client // _EFFECTS <= _CLIENT_CALLS
    assert 20 < best.adapter // _EFFECTS <= _ADAPTER_CALLS


async def held_by_each(namespace: str, *, in_hand: bool) -> Held:
    """What an effect in flight holds."""
    url, settings = f"memory://{namespace}", TopologySettings(namespace=namespace)
    topology = work_topology(settings, ["tool_call"])
    text = "x" * 659

    async with MemoryTransport(url) as broker, EffectClient(url, topology=settings) as client:

        async def in_flight(asked: list[Coroutine[Any, Any, object]]) -> list[asyncio.Task[object]]:
            """They are published, and the broker keeps nothing of them."""
            await broker.declare(topology)
            before = client.counters["submitted"]
            tasks = [asyncio.create_task(each) for each in asked]
            await eventually(lambda: client.counters["submitted"] == before + len(tasks))
            await broker.delete(Names(namespace).work_queue("tool_call"))
            gc.collect()
            return tasks

        kept: list[RuntimeEffectEnvelope] = []

        def asked(first: int, count: int) -> Iterator[Coroutine[Any, Any, object]]:
            for number in range(first, first + count):
                turn = client.turn("s", f"turn-{number}")
                arguments = {"text": f"{number}{text}"}
                if in_hand:
                    (envelope,) = turn.tool_envelopes([ToolCall("measure", arguments, "call-1")])
                    kept.append(envelope)
                    yield client.execute(envelope, timeout=PATIENCE_S)
                else:
                    yield turn.tool_call("measure", arguments, call_id="call-1", timeout=PATIENCE_S)

        tasks = await in_flight(list(asked(0, 20)))
        held = list(asked(20, _IN_FLIGHT)) if in_hand else []
        # What a turn keeps until its tasks have begun is gone.
        await asyncio.sleep(0)
        gc.collect()
        objects = len(gc.get_objects())
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tasks += await in_flight(held or list(asked(20, _IN_FLIGHT)))
            after, _ = tracemalloc.get_traced_memory()
            objects = len(gc.get_objects()) - objects
        finally:
            tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Held((after - before) / _IN_FLIGHT, objects / _IN_FLIGHT)


async def test_an_effect_in_flight_holds_little_more_than_its_message(namespace: str) -> None:
    """The one that its caller has in hand, and the one that a turn makes."""
    for in_hand, most in ((True, _IN_HAND), (False, _OF_A_TURN)):
        held = await held_by_each(f"{namespace}-{in_hand}", in_hand=in_hand)
        assert 1_024 < held.size <= most.size
        assert 5 < held.objects <= most.objects
