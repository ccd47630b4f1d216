"""Acknowledgements: one frame for a settled prefix, and never one too many, in any order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from effectmq.broker.transports.port import Delivery
from effectmq.broker.transports.rabbitmq import RabbitTransport
from tests.broker.transports.stage import FAST, Stage, fetch, publish_surely
from tests.brokers.node import BrokerNode
from tests.brokers.proxy import ChaosProxy
from tests.conformance.taking import take, until_ready

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("quiet")]

TOTAL = 500
PREFETCH = 50
LEFT = 17


def body(delivery: Delivery) -> str:
    """Its text."""
    return delivery.message.body.decode()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("quorum", [False, True], ids=["classic", "quorum"])
async def test_settled_in_any_order_each_message_is_settled_once(
    node: BrokerNode, namespace: str, seed: int, quorum: bool
) -> None:
    """None lost, none settled twice, and only what was not settled comes back at the end."""
    chance = random.Random(seed)
    stage = Stage(namespace, quorum=quorum)
    async with RabbitTransport(node.url) as transport:
        await transport.declare(stage.topology)
        await asyncio.gather(*(stage.publish(transport, str(n)) for n in range(TOTAL)))
        consumer = await transport.consume(stage.queue, prefetch=PREFETCH)
        arriving = aiter(consumer)
        held: list[Delivery] = []
        settled: Counter[str] = Counter()
        rejected: set[str] = set()
        received = 0
        while received < TOTAL or len(held) > LEFT:
            if received < TOTAL and len(held) < PREFETCH and chance.random() < 0.6:
                held.append(await anext(arriving))
                received += 1
                continue
            for _ in range(min(chance.randint(1, 20), max(0, len(held) - LEFT))):
                delivery = held.pop(chance.randrange(len(held)))
                settled[body(delivery)] += 1
                if quorum and chance.random() < 0.1:
                    delivery.reject()
                    rejected.add(body(delivery))
                else:
                    delivery.ack()
            if chance.random() < 0.5:
                await asyncio.sleep(0)

        await consumer.close()

        assert set(settled.values()) == {1}
        assert transport.counters["deliveries"] == TOTAL
        assert transport.counters["stale_acks"] == 0
        left = {body(delivery) for delivery in held}
        assert len(left) == LEFT
        await until_ready(transport, stage.queue, LEFT)
        again = await take(await transport.consume(stage.queue, prefetch=100), LEFT)
        assert {body(delivery) for delivery in again} == left
        assert all(delivery.redelivered for delivery in again)
        await until_ready(transport, stage.dead, len(rejected))
        assert transport.counters["reconnects"] == 0


async def test_across_lost_lines_nothing_is_lost_and_no_stranger_is_settled(
    node: BrokerNode, namespace: str
) -> None:
    """Delivery tags begin again on each channel; an old one must not settle a new message."""
    chance = random.Random(7)
    stage = Stage(namespace, quorum=True, delivery_limit=1_000)
    expected = {str(n) for n in range(300)}
    async with (
        RabbitTransport(node.url) as steady,
        ChaosProxy.to(node.url) as proxy,
        RabbitTransport(proxy.url(node.url), FAST) as worker,
    ):
        await steady.declare(stage.topology)
        for text in sorted(expected):
            await publish_surely(stage, steady, text)
        consumer = await worker.consume(stage.queue, prefetch=20)
        held: list[Delivery] = []
        acked: Counter[str] = Counter()
        cuts = 0
        async with asyncio.timeout(60):
            async for delivery in consumer:
                held.append(delivery)
                if len(held) > 10:
                    chance.shuffle(held)
                    while len(held) > 5:
                        settling = held.pop()
                        settling.ack()
                        acked[body(settling)] += 1
                if cuts < 6 and chance.random() < 0.02:
                    cuts += 1
                    proxy.cut()
                if expected <= acked.keys() | {body(each) for each in held}:
                    break
        for delivery in held:
            delivery.ack()
        await consumer.close()

        # What was acknowledged on a line that broke under it may come once more.
        stats = await steady.stats(stage.queue)
        assert stats is not None
        rest = await fetch(await steady.consume(stage.queue, prefetch=100), set())
        assert set(rest) <= expected
        assert cuts > 0
        assert worker.counters["stale_acks"] > 0


async def test_the_first_delivery_can_be_settled_at_once(node: BrokerNode, namespace: str) -> None:
    """It can arrive before the answer to the subscription; with prefetch 1 all hangs on it."""
    stage = Stage(namespace)
    async with (
        RabbitTransport(node.url) as steady,
        ChaosProxy.to(node.url) as proxy,
        RabbitTransport(proxy.url(node.url), FAST) as worker,
    ):
        await steady.declare(stage.topology)
        consumer = await worker.consume(stage.queue, prefetch=1)
        for round_ in range(10):
            proxy.cut()
            expected = {f"{round_}-{n}" for n in range(5)}
            for text in sorted(expected):
                await stage.publish(steady, text)
            await fetch(consumer, expected)


async def test_after_stop_a_lost_line_makes_what_is_held_stale(
    node: BrokerNode, namespace: str
) -> None:
    """A worker that is shutting down hears that its last acknowledgement went nowhere."""
    stage = Stage(namespace)
    async with (
        RabbitTransport(node.url) as steady,
        ChaosProxy.to(node.url) as proxy,
        RabbitTransport(proxy.url(node.url), FAST) as worker,
    ):
        await steady.declare(stage.topology)
        await stage.publish(steady, "x")
        consumer = await worker.consume(stage.queue, prefetch=1)
        [held] = await take(consumer, 1)
        await consumer.stop()
        proxy.cut()
        await until_ready(steady, stage.queue, 1)

        held.ack()

        assert worker.counters["stale_acks"] == 1
        await consumer.close()
        await until_ready(steady, stage.queue, 1)
