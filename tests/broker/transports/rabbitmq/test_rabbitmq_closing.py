"""Leaving: in time, without noise, and with nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import UnderlayConnection

from effectmq.broker.transports.port import Consumer
from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import BrokerUnreachableError
from tests.broker.transports.stage import ATTENTIVE, FAST, Stage, fetch
from tests.brokers.node import BrokerNode, free_ports
from tests.brokers.proxy import ChaosProxy
from tests.conformance.taking import until_ready
from tests.waiting import eventually, within

# What is let go of here is ours, whatever the release.
pytestmark = [
    pytest.mark.one_broker,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("quiet"),
]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def stage(namespace: str) -> Stage:
    """One exchange, one queue."""
    return Stage(namespace)


def open_files() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files in /proc")
async def test_opening_and_closing_again_and_again_leaves_nothing_behind(
    node: BrokerNode, stage: Stage
) -> None:
    """No task, no socket, no connection at the broker."""
    async with RabbitTransport(node.url) as transport:
        await transport.declare(stage.topology)
    files, tasks = open_files(), len(asyncio.all_tasks())

    for number in range(50):
        async with RabbitTransport(node.url) as transport:
            consumer = await transport.consume(stage.queue, prefetch=1)
            await stage.publish(transport, str(number))
            await fetch(consumer, {str(number)})

    assert len(asyncio.all_tasks()) <= tasks
    assert open_files() <= files
    assert await asyncio.to_thread(connections, node) == 0


def connections(node: BrokerNode) -> int:
    """Connections that the broker knows, other than ours would be a surprise."""
    return len(node.ctl("list_connections", "name").split())


@pytest.mark.parametrize("how", ["fails", "hangs", "is not awaited"])
async def test_a_goodbye_without_a_good_end_leaves_no_connection_open(
    node: BrokerNode, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The library would begin another goodbye when the object is forgotten, on any thread."""
    begun = asyncio.Event()

    async def goodbye(underlay: UnderlayConnection, _: object) -> None:
        begun.set()
        await real(underlay, None)
        if how == "fails":
            raise ConnectionResetError
        await asyncio.Event().wait()

    real = UnderlayConnection.close
    monkeypatch.setattr(UnderlayConnection, "close", goodbye)
    # Those of other tests are theirs; they are held here, so that none of ours has their id.
    others = [each for each in gc.get_objects() if is_open(each)]
    transport = await RabbitTransport(node.url).__aenter__()
    leaving = asyncio.create_task(transport.__aexit__(None, None, None))
    await begun.wait()
    if how == "is not awaited":
        leaving.cancel()
    await asyncio.wait({leaving})
    known = {id(each) for each in others}
    # What was cut hears of it in a moment.
    await eventually(lambda: open_beside(known) == [])


def open_beside(known: set[int]) -> list[object]:
    return [each for each in gc.get_objects() if is_open(each) and id(each) not in known]


def is_open(thing: object) -> bool:
    return type(thing) is aio_pika.Connection and not thing.is_closed


async def test_failing_to_open_leaves_nothing_behind(node: BrokerNode) -> None:
    """Neither a refused login, nor a refused port, nor silence."""
    [port] = free_ports(1)
    files, tasks = open_files(), len(asyncio.all_tasks())
    settings = TransportSettings(connect_timeout_s=0.2)
    async with ChaosProxy.to(node.url) as proxy:
        proxy.hole()
        wrong = node.url.replace("guest:guest", "guest:wrong")
        for url in (wrong, f"amqp://127.0.0.1:{port}/", proxy.url(node.url)):
            with pytest.raises(Exception, match=r"127\.0\.0\.1"):
                await RabbitTransport(url, settings).__aenter__()
        proxy.pass_through()

    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
    assert open_files() <= files


async def test_cancelling_the_opening_leaves_nothing_behind(node: BrokerNode) -> None:
    """At any point of it: each turn of the loop is tried."""
    tasks = len(asyncio.all_tasks())
    for turns in range(0, 120, 3):
        opening = asyncio.create_task(RabbitTransport(node.url).__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0.0005 if turns > 40 else 0)
        opening.cancel()
        results = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(results[0], RabbitTransport):
            await results[0].__aexit__(None, None, None)
        else:
            assert isinstance(results[0], asyncio.CancelledError)

    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)

    async def all_gone() -> bool:
        return await asyncio.to_thread(connections, node) == 0

    await eventually(all_gone)


async def test_leaving_with_many_consumers_of_a_silent_broker_is_bounded(
    node: BrokerNode, stage: Stage
) -> None:
    """They are closed side by side."""
    async with ChaosProxy.to(node.url) as proxy:
        transport = RabbitTransport(proxy.url(node.url), FAST)
        await transport.__aenter__()
        await transport.declare(stage.topology)
        consumers = [await transport.consume(stage.queue, prefetch=1) for _ in range(20)]
        iterations = [asyncio.create_task(collected(consumer)) for consumer in consumers]
        proxy.hole()

        async with within(9):
            await transport.__aexit__(None, None, None)

        assert await asyncio.gather(*iterations) == [0] * 20
        proxy.pass_through()


async def collected(consumer: Consumer) -> int:
    """How many deliveries come until the iteration ends."""
    return len([delivery async for delivery in consumer])


@pytest.mark.parametrize("how", ["stop", "close"])
async def test_ending_a_consumer_of_a_silent_broker_is_bounded(
    node: BrokerNode, stage: Stage, how: str
) -> None:
    """The broker is asked, and not waited for for ever."""
    async with (
        ChaosProxy.to(node.url) as proxy,
        RabbitTransport(proxy.url(node.url), FAST) as transport,
    ):
        await transport.declare(stage.topology)
        consumer = await transport.consume(stage.queue, prefetch=1)
        proxy.hole()

        async with within(5):
            await getattr(consumer, how)()

        proxy.pass_through()


async def test_leaving_while_the_connection_is_being_made_again(
    node: BrokerNode, stage: Stage
) -> None:
    """At any point of a reconnect."""
    for turns in range(0, 60, 4):
        async with (
            ChaosProxy.to(node.url) as proxy,
            RabbitTransport(proxy.url(node.url), FAST) as transport,
        ):
            await transport.declare(stage.topology)
            await transport.consume(stage.queue, prefetch=1)
            proxy.cut()
            for _ in range(turns):
                await asyncio.sleep(0.005)
    async with RabbitTransport(node.url) as transport:

        async def nobody_reads() -> bool:
            stats = await transport.stats(stage.queue)
            return stats is not None and stats.consumers == 0

        await eventually(nobody_reads)


async def test_cancelling_calls_at_any_point_leaves_the_transport_usable(
    node: BrokerNode, stage: Stage
) -> None:
    """Declaring, looking, subscribing and publishing, cancelled at each turn of the loop."""
    async with RabbitTransport(node.url) as transport:
        await transport.declare(stage.topology)
        for turns in range(40):
            calls = [
                asyncio.create_task(transport.declare(stage.topology)),
                asyncio.create_task(transport.stats(stage.queue)),
                asyncio.create_task(stage.publish(transport, "x")),
                asyncio.create_task(transport.consume(stage.queue, prefetch=1)),
            ]
            for _ in range(turns):
                await asyncio.sleep(0.0002)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(each) for each in results if isinstance(each, BaseException)} <= {
                asyncio.CancelledError
            }
            consumer = results[3]
            if not isinstance(consumer, BaseException):
                await consumer.close()  # type: ignore[attr-defined]

        await stage.publish(transport, "after")
        assert transport.counters["reconnects"] == 0

        async def nobody_reads() -> bool:
            stats = await transport.stats(stage.queue)
            return stats is not None and stats.consumers == 0

        await eventually(nobody_reads)
        await fetch(await transport.consume(stage.queue, prefetch=9), {"after"})


async def test_what_was_settled_before_leaving_was_heard(node: BrokerNode, stage: Stage) -> None:
    """The last acknowledgements leave before the connection does."""
    async with RabbitTransport(node.url) as steady:
        await steady.declare(stage.topology)
        for _ in range(10):
            for number in range(20):
                await stage.publish(steady, str(number))
            async with RabbitTransport(node.url) as transport:
                consumer = await transport.consume(stage.queue, prefetch=20)
                await fetch(consumer, {str(number) for number in range(20)})

            await until_ready(steady, stage.queue, 0)


async def test_a_dead_line_is_let_go_of(node: BrokerNode, stage: Stage) -> None:
    """A socket that the network forgot does not stay open beside its successor."""
    async with (
        ChaosProxy.to(node.url) as proxy,
        RabbitTransport(proxy.url(node.url), ATTENTIVE) as transport,
    ):
        await transport.declare(stage.topology)
        files = open_files()
        proxy.hole()
        await eventually(lambda: transport.server == "", timeout_s=15)

        with pytest.raises(BrokerUnreachableError):
            await stage.publish(transport, "x", timeout=0.2)

        proxy.pass_through()
        await eventually(lambda: transport.server != "")
        await eventually(lambda: open_files() <= files)


PROGRAM = """
import asyncio, sys
from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import BrokerError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Queue, Topology

url, how, queue = sys.argv[1:]

async def main():
    # A busy machine is slow, which is no fault of the program.
    asyncio.get_running_loop().slow_callback_duration = 60
    settings = TransportSettings(connect_timeout_s=0.3)
    transport = RabbitTransport(url, settings)
    if how == "refused":
        try:
            await transport.__aenter__()
        except BrokerError:
            return
    await transport.__aenter__()
    await transport.declare(Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),)))
    consumer = await transport.consume(queue, prefetch=1)
    await transport.publish("", queue, Message(body=b"x"))
    async for delivery in consumer:
        delivery.ack()
        break
    pending = []
    if how == "pending":
        pending.append(asyncio.create_task(transport.publish("", queue, Message(body=b"x"))))
        await asyncio.sleep(0)
    await transport.__aexit__(None, None, None)
    await asyncio.gather(*pending, return_exceptions=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["orderly", "pending", "refused"])
async def test_a_program_that_leaves_in_order_prints_nothing(
    node: BrokerNode, namespace: str, how: str
) -> None:
    """No "Event loop is closed", no pending task, no warning, however strict Python is."""
    url = node.url.replace("guest:guest", "guest:wrong") if how == "refused" else node.url

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, url, how, f"{namespace}.q"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
