"""The transport port, proven on every adapter: limbo, delays, the dead queue, expiry."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from effectmq.broker.transports.port import Delivery, Transport
from effectmq.protocol.errors import PublishUnknownError, QueueFullError, UnroutableError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, reply_topology
from tests.conformance.adapters import Adapter
from tests.conformance.taking import take, texts, until_ready
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(240)

TOOL = "tool_call"
LANE = "tool_call.slow"


async def give_back(transport: Transport, queue: str, times: int) -> list[Delivery]:
    """Take the one message of a queue and give it back, again and again."""
    seen: list[Delivery] = []
    for _ in range(times):
        consumer = await transport.consume(queue, prefetch=1)
        seen += await take(consumer, 1)
        await consumer.close()
    return seen


def sent(delivery: Delivery) -> Message:
    """What was published; 4.0 counts the returns to the former queue on a dead-lettered message."""
    return replace(delivery.message, returns=0)


async def test_past_the_delivery_limit_a_message_moves_to_limbo(
    transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """After as many returns as the limit says, and one more, it has left, key and all."""
    message = Message(body=b"poison", correlation_id="e1", headers={"effect-attempt": 2})
    await transport.publish(names.work_exchange, LANE, message)

    seen = await give_back(transport, names.work_queue(LANE), settings.delivery_limit + 1)

    await until_ready(transport, names.limbo, 1)
    await until_ready(transport, names.work_queue(LANE), 0)
    expected = [False] + [True] * settings.delivery_limit
    assert expected == [delivery.redelivered for delivery in seen]
    [parked] = await take(await transport.consume(names.limbo, prefetch=1), 1)
    assert sent(parked) == seen[0].message
    assert parked.routing_key == LANE
    parked.ack()


async def test_past_the_limit_of_limbo_a_message_is_dead(
    transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """What crashes even the collector ends in the dead queue, with its key."""
    await transport.publish(names.limbo, TOOL, Message(body=b"worst"))

    await give_back(transport, names.limbo, settings.delivery_limit + 1)

    [dead] = await take(await transport.consume(names.dead, prefetch=1), 1)
    assert (dead.message.body, dead.routing_key) == (b"worst", TOOL)


async def test_returned_messages_that_were_never_looked_at_reach_the_limit_too(
    transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """Every return counts for everything a consumer held: why prefetch equals concurrency."""
    for body in (b"1", b"2"):
        await transport.publish(names.work_exchange, TOOL, Message(body=body))
    for _ in range(settings.delivery_limit + 1):
        await until_ready(transport, names.work_queue(TOOL), 2)
        consumer = await transport.consume(names.work_queue(TOOL), prefetch=2)
        await until_ready(transport, names.work_queue(TOOL), 0)
        await consumer.close()

    assert texts(await take(await transport.consume(names.limbo, prefetch=2), 2)) == ["1", "2"]


async def test_a_rejected_message_goes_to_the_dead_letter_exchange_at_once(
    transport: Transport, names: Names
) -> None:
    """As it is, key and all, and without touching what was delivered beside it."""
    message = Message(body=b"unreadable", message_id="m", headers={"effect-attempt": 2})
    await transport.publish(names.work_exchange, LANE, Message(body=b"before"))
    await transport.publish(names.work_exchange, LANE, message)
    await transport.publish(names.work_exchange, LANE, Message(body=b"after"))
    consumer = await transport.consume(names.work_queue(LANE), prefetch=3)
    before, unreadable, after = await take(consumer, 3)

    unreadable.reject()

    limbo = await transport.consume(names.limbo, prefetch=5)
    [parked] = await take(limbo, 1)
    assert (message, LANE) == (sent(parked), parked.routing_key)
    parked.reject()
    [dead] = await take(await transport.consume(names.dead, prefetch=5), 1)
    assert (message, LANE) == (sent(dead), dead.routing_key)
    before.ack()
    after.ack()
    await consumer.close()
    await until_ready(transport, names.work_queue(LANE), 0)
    assert transport.counters["stale_acks"] == 0


async def test_rejecting_makes_room_for_the_next(transport: Transport, names: Names) -> None:
    """A consumer that refuses everything is not held up by its prefetch."""
    for body in (b"1", b"2", b"3"):
        await transport.publish(names.work_exchange, TOOL, Message(body=body))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)

    for _ in range(3):
        for delivery in await take(consumer, 1):
            delivery.reject()

    limbo = await transport.consume(names.limbo, prefetch=3)
    assert sorted(texts(await take(limbo, 3))) == ["1", "2", "3"]


async def test_a_message_is_settled_once_whichever_way(transport: Transport, names: Names) -> None:
    """Rejecting what was acknowledged, or the other way round, is counted and does nothing."""
    for body in (b"acked", b"rejected", b"returned"):
        await transport.publish(names.work_exchange, TOOL, Message(body=body))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=3)
    acked, rejected, returned = await take(consumer, 3)

    acked.ack()
    acked.reject()
    rejected.reject()
    rejected.ack()
    rejected.reject()
    await consumer.close()
    returned.reject()

    assert transport.counters["stale_acks"] == 4
    await until_ready(transport, names.limbo, 1)
    await until_ready(transport, names.work_queue(TOOL), 1)


@pytest.mark.parametrize("route", [TOOL, LANE, "llm_call"])
async def test_a_delayed_message_comes_home_by_its_own_key(
    transport: Transport, names: Names, route: str
) -> None:
    """One delay level serves every kind and lane, and changes nothing of the message."""
    message = Message(body=b"later", message_id="m", headers={"effect-attempt": 3})
    consumer = await transport.consume(names.work_queue(route), prefetch=1)
    started = asyncio.get_running_loop().time()

    await transport.publish(names.delay(100), route, message)

    [delivery] = await take(consumer, 1)
    assert asyncio.get_running_loop().time() - started >= 0.099
    assert (message, route) == (delivery.message, delivery.routing_key)
    assert delivery.redelivered is False


async def test_a_message_can_be_delayed_again_and_again(transport: Transport, names: Names) -> None:
    """A retry is a new publish: no number of rounds makes the broker see a cycle."""
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)
    await transport.publish(names.work_exchange, TOOL, Message(body=b"round"))
    for _ in range(8):
        [delivery] = await take(consumer, 1)
        await transport.publish(names.delay(100), TOOL, delivery.message)
        delivery.ack()

    [delivery] = await take(consumer, 1)

    assert delivery.message.body == b"round"


async def test_a_long_delay_does_not_hold_up_a_short_one(
    transport: Transport, names: Names
) -> None:
    """Each level waits for itself."""
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=3)
    await transport.publish(names.delay(1_500), TOOL, Message(body=b"long"))
    await transport.publish(names.delay(100), TOOL, Message(body=b"short"))

    assert texts(await take(consumer, 2)) == ["short", "long"]


async def test_delayed_messages_keep_their_order(transport: Transport, names: Names) -> None:
    """With one time to live for all, first in is first out."""
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=20)
    expected = [str(number) for number in range(20)]
    for text in expected:
        await transport.publish(names.delay(100), TOOL, Message(body=text.encode()))

    assert expected == texts(await take(consumer, 20))


async def test_the_dead_queue_can_be_browsed_for_ever(transport: Transport, names: Names) -> None:
    """Taking everything and giving it back, more often than any usual limit, loses nothing."""
    expected = [str(number) for number in range(50)]
    for text in expected:
        await transport.publish(names.dead, "exhausted", Message(body=text.encode()))
    for _ in range(25):
        await until_ready(transport, names.dead, 50)
        browser = await transport.consume(names.dead, prefetch=50)
        assert expected == texts(await take(browser, 50))
        await browser.close()

    await until_ready(transport, names.dead, 50)


async def test_an_unused_reply_queue_expires(
    adapter: Adapter, transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """A producer that never comes back leaves nothing for ever; one that reads keeps its queue."""
    short = replace(settings, reply_expires_ms=300)
    await adapter.declare(transport, reply_topology(short, "gone"))
    await adapter.declare(transport, reply_topology(short, "here"))
    reader = await transport.consume(names.reply_queue("here"), prefetch=1, exclusive=True)

    async def is_gone() -> bool:
        try:
            await transport.publish("", names.reply_queue("gone"), Message(body=b"late"))
        except UnroutableError:
            return True
        except (PublishUnknownError, QueueFullError):
            # In a queue's last moment 3.10 breaks the connection, and 4.0 refuses the message.
            return False
        return False

    await eventually(is_gone)
    assert await transport.stats(names.reply_queue("gone")) is None
    await transport.publish("", names.reply_queue("here"), Message(body=b"reply"))
    assert texts(await take(reader, 1)) == ["reply"]
