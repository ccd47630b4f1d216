"""The transport port, proven on every adapter: lost lines, deleted queues, silent brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import PublishError, PublishUnknownError, ReplyQueueInUseError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, reply_topology, work_topology
from tests.conformance.adapters import Adapter
from tests.conformance.taking import take, texts
from tests.waiting import eventually, within

Connect = Callable[..., Awaitable[Transport]]

pytestmark = pytest.mark.timeout(240)

TOOL = "tool_call"


async def test_a_consumer_resumes_by_itself_after_a_lost_connection(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """What it held comes back to it, redelivered, and what is published later arrives."""
    worker = await connect()
    consumer = await worker.consume(names.work_queue(TOOL), prefetch=2)
    for body in (b"1", b"2", b"3"):
        await transport.publish(names.work_exchange, TOOL, Message(body=body))
    before = await take(consumer, 2)

    adapter.lose_connection(worker)

    after = await take(consumer, 2)
    assert ["1", "2"] == texts(before) == texts(after)
    assert [delivery.redelivered for delivery in after] == [True, True]
    for delivery in after:
        delivery.ack()
    assert texts(await take(consumer, 1)) == ["3"]
    assert worker.counters["reconnects"] >= 1
    assert consumer.consuming is True


async def test_settling_a_delivery_of_a_lost_connection_is_counted_and_harmless(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """A stale acknowledgement never settles somebody else's delivery."""
    worker = await connect()
    consumer = await worker.consume(names.work_queue(TOOL), prefetch=1)
    await transport.publish(names.work_exchange, TOOL, Message(body=b"1"))
    [stale] = await take(consumer, 1)
    adapter.lose_connection(worker)
    [fresh] = await take(consumer, 1)

    stale.ack()

    assert worker.counters["stale_acks"] == 1
    fresh.ack()
    assert worker.counters["stale_acks"] == 1
    await consumer.close()
    await transport.publish(names.work_exchange, TOOL, Message(body=b"2"))
    consumer = await worker.consume(names.work_queue(TOOL), prefetch=5)
    assert texts(await take(consumer, 1)) == ["2"]


async def test_what_a_lost_consumer_held_goes_to_another(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """A worker that is cut off does not keep its work from the others."""
    first, second = await connect(), await connect()
    cut_off = await first.consume(names.work_queue(TOOL), prefetch=1)
    await transport.publish(names.work_exchange, TOOL, Message(body=b"1"))
    await take(cut_off, 1)
    await cut_off.stop()
    other = await second.consume(names.work_queue(TOOL), prefetch=1)

    adapter.lose_connection(first)

    [delivery] = await take(other, 1)
    assert (delivery.message.body, delivery.redelivered) == (b"1", True)


async def test_publishing_goes_on_after_a_lost_connection(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """The next publish finds, or waits for, the next connection."""
    producer = await connect()
    await producer.publish(names.work_exchange, TOOL, Message(body=b"before"))

    adapter.lose_connection(producer)

    async def is_through() -> bool:
        try:
            await producer.publish(names.work_exchange, TOOL, Message(body=b"after"), timeout=5)
        except PublishUnknownError:
            return False
        return True

    await eventually(is_through)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=10)
    assert texts(await take(consumer, 2)) == ["before", "after"]


async def test_nothing_confirmed_is_lost_while_the_line_breaks_again_and_again(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """Unknown is published again; what arrives twice is the price, what is missing is a bug."""
    producer = await connect(TransportSettings(reconnect_max_s=0.2))
    expected = {str(number) for number in range(100)}

    async def deliver(text: str) -> None:
        while True:
            try:
                return await producer.publish(
                    names.work_exchange, TOOL, Message(body=text.encode()), timeout=10
                )
            except PublishUnknownError:
                continue

    async with asyncio.TaskGroup() as group:
        for number, text in enumerate(sorted(expected)):
            group.create_task(deliver(text))
            if number % 20 == 10:
                await asyncio.sleep(0)
                adapter.lose_connection(producer)

    consumer = await transport.consume(names.work_queue(TOOL), prefetch=50)
    received: set[str] = set()
    while received != expected:
        for delivery in await take(consumer, 1):
            delivery.ack()
            received.add(delivery.message.body.decode())


async def test_a_consumer_of_a_deleted_queue_gets_it_back(
    adapter: Adapter, transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """The broker's cancel is counted, the queue declared again, and the consumer served."""
    queue = names.work_queue(TOOL)
    consumer = await transport.consume(queue, prefetch=1)
    await transport.publish(names.work_exchange, TOOL, Message(body=b"lost with the queue"))
    [stale] = await take(consumer, 1)

    await adapter.delete_queue(queue)

    await eventually(lambda: transport.counters["consumer_cancels"] == 1)
    await eventually(lambda: consumer.consuming)
    stale.ack()
    assert transport.counters["stale_acks"] == 1
    await transport.publish(names.work_exchange, TOOL, Message(body=b"next"))
    assert texts(await take(consumer, 1)) == ["next"]


async def test_a_consumer_waits_for_a_queue_that_somebody_else_declares(
    adapter: Adapter,
    transport: Transport,
    connect: Connect,
    settings: TopologySettings,
    names: Names,
) -> None:
    """A transport declares again only what it declared itself; for the rest it waits."""
    queue = names.work_queue(TOOL)
    reader = await connect()
    consumer = await reader.consume(queue, prefetch=1)
    await adapter.delete_queue(queue)
    await eventually(lambda: reader.counters["consumer_cancels"] == 1)
    assert consumer.consuming is False

    await adapter.declare(transport, work_topology(settings, [TOOL]))

    await eventually(lambda: consumer.consuming)
    await transport.publish(names.work_exchange, TOOL, Message(body=b"next"))
    assert texts(await take(consumer, 1)) == ["next"]


async def test_an_exclusive_consumer_gets_its_queue_back(
    adapter: Adapter, connect: Connect, settings: TopologySettings, names: Names
) -> None:
    """A producer that was cut off reads its replies again, and still alone."""
    producer = await connect()
    await adapter.declare(producer, reply_topology(settings, "p1"))
    queue, lock = names.reply_queue("p1"), names.reply_lock("p1")
    consumer = await producer.consume(queue, prefetch=1, exclusive=True, lock=lock)
    await producer.publish("", queue, Message(body=b"1"))
    await take(consumer, 1)

    adapter.lose_connection(producer)

    [again] = await take(consumer, 1)
    again.ack()
    worker = await connect()
    await worker.publish("", queue, Message(body=b"2"))
    assert texts(await take(consumer, 1)) == ["2"]
    with pytest.raises(ReplyQueueInUseError):
        await worker.consume(queue, prefetch=1, exclusive=True, lock=lock)


async def test_a_consumer_hears_whether_its_queue_was_made_anew(
    adapter: Adapter, connect: Connect, settings: TopologySettings, names: Names
) -> None:
    """After a mere loss of the line what was in the queue is still there; else it may be gone."""
    producer, operator = await connect(), await connect()
    await adapter.declare(producer, reply_topology(settings, "p1"))
    queue = names.reply_queue("p1")
    heard: list[bool] = []
    await producer.consume(
        queue, prefetch=1, exclusive=True, lock=names.reply_lock("p1"), on_resumed=heard.append
    )

    adapter.lose_connection(producer)
    await eventually(lambda: len(heard) == 1)
    await operator.delete(queue)
    await eventually(lambda: len(heard) == 2)

    assert heard == [False, True]


async def test_a_queue_that_went_while_the_line_was_down_was_made_anew(
    adapter: Adapter, connect: Connect, settings: TopologySettings, names: Names
) -> None:
    """The broker's cancel never reached its consumer, which must hear of it all the same."""
    producer, operator = await connect(), await connect()
    await adapter.declare(producer, reply_topology(settings, "p1"))
    queue = names.reply_queue("p1")
    heard: list[bool] = []
    await producer.consume(
        queue, prefetch=1, exclusive=True, lock=names.reply_lock("p1"), on_resumed=heard.append
    )

    adapter.stall(producer)
    await operator.delete(queue)
    adapter.lose_connection(producer)
    adapter.resume(producer)

    await eventually(lambda: heard)
    assert heard[0]


async def test_a_publish_to_a_silent_broker_ends_in_time(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """No answer is an answer: one of the family, within the timeout and a second."""
    producer = await connect()
    await producer.publish(names.work_exchange, TOOL, Message(body=b"1"))
    adapter.stall(producer)

    async with within(1.5):
        with pytest.raises(PublishError):
            await producer.publish(names.work_exchange, TOOL, Message(body=b"2"), timeout=0.5)

    adapter.resume(producer)
    await producer.publish(names.work_exchange, TOOL, Message(body=b"3"), timeout=5)


async def test_a_publish_that_waits_goes_through_when_the_broker_answers_again(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """A stall shorter than the timeout costs nothing but time."""
    producer = await connect()
    await producer.publish(names.work_exchange, TOOL, Message(body=b"1"))
    adapter.stall(producer)
    waiting = asyncio.create_task(
        producer.publish(names.work_exchange, TOOL, Message(body=b"2"), timeout=20)
    )
    await asyncio.sleep(0)
    assert not waiting.done()

    adapter.resume(producer)

    await waiting
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=10)
    assert texts(await take(consumer, 2)) == ["1", "2"]


async def test_cancelling_a_publish_is_a_cancellation(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """The caller's own cancel is never taken for a lost connection."""
    producer = await connect()
    await producer.publish(names.work_exchange, TOOL, Message(body=b"1"))
    adapter.stall(producer)
    waiting = asyncio.create_task(producer.publish(names.work_exchange, TOOL, Message(body=b"2")))
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    adapter.resume(producer)
    await producer.publish(names.work_exchange, TOOL, Message(body=b"3"), timeout=5)


async def test_leaving_a_transport_with_a_silent_broker_is_bounded(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """A process can always end, and a publish in flight is told."""
    process = await connect()
    consumer = await process.consume(names.work_queue(TOOL), prefetch=1)
    await process.publish(names.work_exchange, TOOL, Message(body=b"1"))
    await take(consumer, 1)
    adapter.stall(process)
    waiting = asyncio.create_task(
        process.publish(names.work_exchange, TOOL, Message(body=b"2"), timeout=30)
    )
    await asyncio.sleep(0)

    async with asyncio.timeout(15):
        await process.__aexit__(None, None, None)
        with pytest.raises(PublishUnknownError):
            await waiting
