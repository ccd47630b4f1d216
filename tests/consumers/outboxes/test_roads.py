"""What is deleted under a connected worker is declared again, by itself and not in a loop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aio_pika
import pytest

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.consumers.outboxes import roads
from effectmq.consumers.outboxes.roads import keep_roads
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import AccessRefusedError, PublishError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Names, Topology, TopologySettings, shared_topology
from tests.brokers.provide import Broker
from tests.consumers.stage import NAMES, TOPOLOGY, Stage, logged, nap
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for seconds."""
    monkeypatch.setitem(keep_roads.__kwdefaults__, "every_s", 0.05)


@pytest.mark.parametrize("what", ["exchange", "binding", "queue", "dead", "limbo", "delay"])
async def test_whatever_is_deleted_comes_back(stage: Stage, what: str) -> None:
    """Without a producer's help, which may not be permitted to."""
    await stage.start(stage.worker())
    work = NAMES.work_queue("sleep")
    match what:
        case "exchange":
            stage.broker.delete_exchange(NAMES.work_exchange)
        case "binding":
            stage.broker.unbind(NAMES.work_exchange, work)
        case "queue":
            stage.broker.delete_queue(work)
        case "delay":
            stage.broker.delete_queue(NAMES.delay(30))
        case _:
            stage.broker.delete_queue(getattr(NAMES, what))
    other = await stage.transport()
    roads_of = {
        "dead": (NAMES.dead, "sleep.rejected"),
        "limbo": (NAMES.limbo, "sleep"),
        "delay": (NAMES.delay(30), "sleep"),
    }

    async def arrives() -> bool:
        road = roads_of.get(what, (NAMES.work_exchange, "sleep"))
        try:
            await other.publish(*road, Request.seal(nap(1)).message)
        except PublishError:
            return False
        return True

    await eventually(arrives)


@pytest.mark.one_broker
@pytest.mark.parametrize("what", ["exchange", "binding", "queue"])
async def test_a_worker_of_a_real_broker_is_reached_again(
    broker: Broker, namespace: str, what: str
) -> None:
    """Exchange, binding, or the queue itself, which costs its messages and nothing else."""
    names = Names(namespace)
    queue = names.work_queue("sleep")
    app = EffectWorker(broker.url, topology=TopologySettings(namespace=namespace), name="w")
    async with AsyncExitStack() as stack:
        await app.start()
        stack.push_async_callback(app.stop, 0.0)
        connection = await aio_pika.connect(broker.url)
        await stack.enter_async_context(connection)
        channel = await connection.channel()
        if what == "exchange":
            await channel.exchange_delete(names.work_exchange)
        elif what == "binding":
            await (await channel.get_queue(queue)).unbind(names.work_exchange, "sleep")
        else:
            await channel.queue_delete(queue)
        transport = await stack.enter_async_context(open_transport(broker.url))
        message: Message = Request.seal(nap(1)).message

        async def done() -> bool:
            try:
                await transport.publish(names.work_exchange, "sleep", message)
            except PublishError:
                return False
            return True

        await eventually(done, timeout_s=30)
        await eventually(lambda: app.counters["completed"] >= 1, timeout_s=30)
        await eventually(lambda: app.ready, timeout_s=30)


async def test_what_cannot_be_declared_again_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not every time that it is tried."""

    class Refusing(MemoryTransport):
        tries = 0

        async def declare(self, topology: Topology, *, lasting: bool = True) -> None:
            self.tries += 1
            raise AccessRefusedError("no permission")

    async with Refusing() as transport:
        task = asyncio.create_task(
            roads.keep_roads(transport, shared_topology(TOPOLOGY), every_s=0.01)
        )
        await eventually(lambda: transport.tries >= 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(logged(caplog, "roads_refused")) == 1
