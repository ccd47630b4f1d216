"""The transport port, proven on every adapter: consuming, settling, giving back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from effectmq.broker.transports.port import Consumer, Transport
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names
from tests.conformance.taking import take, texts, until_ready
from tests.waiting import eventually

Connect = Callable[..., Awaitable[Transport]]

pytestmark = pytest.mark.timeout(240)

TOOL = "tool_call"


async def publish(transport: Transport, names: Names, count: int) -> list[str]:
    """Publish that many numbered messages, and give their bodies."""
    bodies = [str(number) for number in range(count)]
    for body in bodies:
        await transport.publish(names.work_exchange, TOOL, Message(body=body.encode()))
    return bodies


async def test_a_slow_consumer_never_holds_more_than_its_prefetch(
    transport: Transport, names: Names
) -> None:
    """What one consumer may not hold is there for another."""
    await publish(transport, names, 10)
    slow = await transport.consume(names.work_queue(TOOL), prefetch=3)
    held = await take(slow, 3)
    other = await transport.consume(names.work_queue(TOOL), prefetch=10)

    rest = await take(other, 7)

    assert [str(n) for n in range(10)] == texts(held) + texts(rest)
    await until_ready(transport, names.work_queue(TOOL), 0)


async def test_settling_makes_room_for_the_next(transport: Transport, names: Names) -> None:
    """One acknowledgement, one more delivery, in whatever order they are settled."""
    bodies = await publish(transport, names, 5)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=2)

    first, second = await take(consumer, 2)
    second.ack()
    [third] = await take(consumer, 1)
    first.ack()
    [fourth] = await take(consumer, 1)
    third.ack()
    fourth.ack()
    [fifth] = await take(consumer, 1)

    assert bodies == texts([first, second, third, fourth, fifth])


async def test_consumers_of_one_queue_share_it_fairly(
    transport: Transport, connect: Connect, names: Names
) -> None:
    """Two consumers that settle at the same pace get about the same number of messages."""
    other = await connect()
    consumers = [
        await process.consume(names.work_queue(TOOL), prefetch=5) for process in (transport, other)
    ]
    await publish(transport, names, 10)

    received = await asyncio.gather(*(take(consumer, 5) for consumer in consumers))

    assert {str(n) for n in range(10)} == {*texts(received[0]), *texts(received[1])}


async def test_a_consumer_of_a_lower_priority_gets_what_others_cannot_hold(
    transport: Transport, connect: Connect, names: Names
) -> None:
    """Whichever of them came first, and whoever has the connection."""
    other = await connect()
    spare = await transport.consume(names.work_queue(TOOL), prefetch=9, priority=-1)
    one = await transport.consume(names.work_queue(TOOL), prefetch=2)
    two = await other.consume(names.work_queue(TOOL), prefetch=1)
    await publish(transport, names, 7)

    held = [*await take(one, 2), *await take(two, 1)]
    rest = await take(spare, 4)

    assert sorted(texts(held)) == ["0", "1", "2"]
    assert texts(rest) == ["3", "4", "5", "6"]


async def test_what_was_not_settled_comes_back_to_the_front_in_order(
    transport: Transport, names: Names
) -> None:
    """Closing gives back what was handed out, marked as redelivered, before what still waits."""
    queue = names.work_queue(TOOL)
    bodies = await publish(transport, names, 5)
    consumer = await transport.consume(queue, prefetch=3)
    await take(consumer, 3)

    await consumer.close()

    await until_ready(transport, queue, 5)
    again = await take(await transport.consume(queue, prefetch=10), 5)
    assert bodies == texts(again)
    assert [delivery.redelivered for delivery in again] == [True, True, True, False, False]


async def test_how_often_it_came_back_is_told_and_does_not_travel(
    transport: Transport, names: Names
) -> None:
    """Once for each holder that was lost; a copy that is published begins anew."""
    queue = names.work_queue(TOOL)
    await publish(transport, names, 1)
    for returns in range(2):
        await until_ready(transport, queue, 1)
        consumer = await transport.consume(queue, prefetch=1)
        [delivery] = await take(consumer, 1)
        assert delivery.message.returns == returns
        await consumer.close()
    consumer = await transport.consume(queue, prefetch=2)
    [delivery] = await take(consumer, 1)
    await transport.publish(names.work_exchange, TOOL, delivery.message)
    [copy] = await take(consumer, 1)
    assert (delivery.message.returns, copy.message.returns) == (2, 0)
    assert copy.message.headers == delivery.message.headers


async def test_an_acknowledgement_just_before_closing_is_heard(
    transport: Transport, names: Names
) -> None:
    """Closing flushes what was settled in the same turn of the event loop."""
    queue = names.work_queue(TOOL)
    await publish(transport, names, 3)
    consumer = await transport.consume(queue, prefetch=3)
    for delivery in await take(consumer, 3):
        delivery.ack()
    await consumer.close()
    await publish(transport, names, 1)

    [delivery] = await take(await transport.consume(queue, prefetch=5), 1)

    assert delivery.redelivered is False


async def test_after_stop_what_was_handed_out_can_still_be_settled(
    transport: Transport, names: Names
) -> None:
    """A worker that shuts down finishes what it runs; what it never saw goes back at close."""
    queue = names.work_queue(TOOL)
    bodies = await publish(transport, names, 3)
    consumer = await transport.consume(queue, prefetch=2)
    [delivery] = await take(consumer, 1)

    await consumer.stop()

    assert consumer.consuming is False
    assert [late async for late in consumer] == []
    delivery.ack()
    await consumer.close()
    assert transport.counters["stale_acks"] == 0
    await until_ready(transport, queue, 2)
    assert bodies[1:] == texts(await take(await transport.consume(queue, prefetch=5), 2))


async def test_a_stopped_consumer_gets_nothing_more(transport: Transport, names: Names) -> None:
    """What is published after a stop waits in the queue, for others."""
    queue = names.work_queue(TOOL)
    consumer = await transport.consume(queue, prefetch=5)
    await consumer.stop()

    await publish(transport, names, 2)

    await until_ready(transport, queue, 2)
    stats = await transport.stats(queue)
    assert stats is not None
    assert stats.consumers == 0


@pytest.mark.parametrize("how", ["stop", "close", "leave"])
async def test_a_waiting_iteration_ends(
    connect: Connect, transport: Transport, names: Names, how: str
) -> None:
    """Whoever waits for the next delivery is told that there will be none."""
    process = await connect()
    consumer = await process.consume(names.work_queue(TOOL), prefetch=1)
    waiting = asyncio.create_task(collected(consumer))
    await eventually(lambda: consumer.consuming)

    async with asyncio.timeout(30):
        if how == "leave":
            await process.__aexit__(None, None, None)
        else:
            await getattr(consumer, how)()
        assert await waiting == []


async def collected(consumer: Consumer) -> list[str]:
    """Everything until the iteration ends."""
    return [delivery.message.body.decode() async for delivery in consumer]


async def test_stop_and_close_can_be_called_again(transport: Transport, names: Names) -> None:
    """Ending a consumer twice is not an error."""
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)

    for end in (consumer.stop, consumer.stop, consumer.close, consumer.close, consumer.stop):
        await end()

    assert consumer.consuming is False


async def test_a_second_acknowledgement_is_counted_and_does_nothing(
    transport: Transport, names: Names
) -> None:
    """To RabbitMQ it is an error that closes the channel; here it never gets that far."""
    await publish(transport, names, 3)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)
    [delivery] = await take(consumer, 1)

    delivery.ack()
    delivery.ack()
    await asyncio.sleep(0)
    delivery.ack()

    assert transport.counters["stale_acks"] == 2
    [second] = await take(consumer, 1)
    second.ack()
    assert texts(await take(consumer, 1)) == ["2"]


async def test_an_acknowledgement_after_close_is_stale(transport: Transport, names: Names) -> None:
    """The message went back to the queue, and stays there."""
    queue = names.work_queue(TOOL)
    await publish(transport, names, 1)
    consumer = await transport.consume(queue, prefetch=1)
    [delivery] = await take(consumer, 1)
    await consumer.close()

    delivery.ack()

    assert transport.counters["stale_acks"] == 1
    await until_ready(transport, queue, 1)


async def test_leaving_the_transport_gives_everything_back(
    connect: Connect, transport: Transport, names: Names
) -> None:
    """A process that ends in good order loses nothing of what it had not finished."""
    queue = names.work_queue(TOOL)
    process = await connect()
    bodies = await publish(transport, names, 4)
    await take(await process.consume(queue, prefetch=2), 2)

    await process.__aexit__(None, None, None)

    await until_ready(transport, queue, 4)
    assert bodies == texts(await take(await transport.consume(queue, prefetch=4), 4))


async def test_a_transport_counts_what_it_did(transport: Transport, names: Names) -> None:
    """Publishes and deliveries are counted."""
    await publish(transport, names, 3)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=3)
    await take(consumer, 3)

    assert consumer.consuming is True
    assert (transport.counters["published"], transport.counters["deliveries"]) == (3, 3)
