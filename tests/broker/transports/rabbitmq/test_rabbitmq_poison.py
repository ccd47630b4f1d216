"""Messages that break what carries them, and set-ups that defeat a guard: contained, or shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import (
    PayloadTooLargeError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from tests.broker.transports.rabbitmq.header_bomb import publish_bomb
from tests.broker.transports.stage import FAST, Stage, fetch
from tests.brokers.node import BrokerNode
from tests.conformance.taking import take, texts, until_ready
from tests.waiting import within

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("quiet")]


async def test_a_message_that_breaks_every_connection_is_moved_out_of_the_way(
    node: BrokerNode, namespace: str
) -> None:
    """The client library cannot read it; the delivery limit ends it, and the others get through."""
    poisoned = Stage(f"{namespace}-1", quorum=True, delivery_limit=5)
    healthy = Stage(f"{namespace}-2", quorum=True)
    async with (
        RabbitTransport(node.url, FAST) as producer,
        RabbitTransport(node.url, FAST) as worker,
    ):
        await producer.declare(poisoned.topology | healthy.topology)
        await poisoned.publish(producer, "before the bomb")
        await publish_bomb(node.url, poisoned.exchange, poisoned.key)
        await poisoned.publish(producer, "behind the bomb")
        first = await worker.consume(poisoned.queue, prefetch=1)
        second = await worker.consume(healthy.queue, prefetch=10)

        async with within(30):
            await fetch(first, {"before the bomb", "behind the bomb"}, timeout_s=60)

        assert worker.counters["reconnects"] >= 5
        await until_ready(producer, poisoned.dead, 1)
        await healthy.publish(producer, "healthy")
        await fetch(second, {"healthy"})
        # One connection carries both queues; a publisher has its own and noticed nothing.
        assert producer.counters["reconnects"] == 0


async def test_the_neighbours_of_such_a_message_lose_nothing(
    node: BrokerNode, namespace: str
) -> None:
    """Each break returns what was in flight on the same connection; it comes again."""
    stage = Stage(namespace, quorum=True, delivery_limit=3)
    other = Stage(f"{namespace}-2", quorum=True, delivery_limit=20)
    expected = {str(n) for n in range(50)}
    async with (
        RabbitTransport(node.url, FAST) as producer,
        RabbitTransport(node.url, FAST) as worker,
    ):
        await producer.declare(stage.topology | other.topology)
        await publish_bomb(node.url, stage.exchange, stage.key)
        for text in sorted(expected):
            await other.publish(producer, text)
        neighbour = await worker.consume(other.queue, prefetch=5)
        receiving = asyncio.create_task(fetch(neighbour, expected, timeout_s=60))

        await worker.consume(stage.queue, prefetch=1)

        await receiving
        await until_ready(producer, stage.dead, 1)
        assert await producer.stats(other.dead) is not None
        await until_ready(producer, other.dead, 0)


async def test_what_the_broker_would_refuse_is_refused_before_the_socket(
    node: BrokerNode, namespace: str
) -> None:
    """A body over 16 MiB costs the channel, headers over a frame the connection: neither leaves."""
    stage = Stage(namespace)
    settings = TransportSettings(max_body_bytes=HARD_MAX_BODY_BYTES)
    async with RabbitTransport(node.url, settings) as transport:
        await transport.declare(stage.topology)
        large = Message(body=b"x" * 17_000_000)
        headers = {f"effect-{n}": "x" * 1_000 for n in range(200)}
        for message in (large, Message(body=b"", headers=dict(headers))):
            with pytest.raises(PayloadTooLargeError, match="nothing was sent"):
                await transport.publish(stage.exchange, stage.key, message)

        largest = Message(body=b"x" * HARD_MAX_BODY_BYTES)
        await transport.publish(stage.exchange, stage.key, largest)

        assert transport.counters["reconnects"] == 0
        assert transport.counters["unknown_publishes"] == 0
        [delivery] = await take(await transport.consume(stage.queue, prefetch=1), 1)
        assert delivery.message.body == largest.body


async def test_a_return_of_a_publish_that_was_given_up_harms_nobody(
    node: BrokerNode, namespace: str
) -> None:
    """It comes back to nobody, and the publishes beside it are confirmed."""
    stage = Stage(namespace)
    async with RabbitTransport(node.url, replace(FAST, publish_window=500)) as transport:
        await transport.declare(stage.topology)
        for _ in range(20):
            lost = [
                asyncio.create_task(transport.publish(stage.exchange, "nobody", Message(body=b"")))
                for _ in range(10)
            ]
            kept = [asyncio.create_task(stage.publish(transport, "x")) for _ in range(10)]
            # Every turn of the loop between the send and the answer, one after the other.
            for task in lost:
                await asyncio.sleep(0)
                task.cancel()
            results = await asyncio.gather(*lost, return_exceptions=True)
            assert {type(each) for each in results} <= {asyncio.CancelledError, UnroutableError}
            await asyncio.gather(*kept)
        for timeout_s in (0.0, 0.0005, 0.001, 0.002, 0.004):
            results = await asyncio.gather(
                *(
                    transport.publish(
                        stage.exchange, "nobody", Message(body=b""), timeout=timeout_s
                    )
                    for _ in range(20)
                ),
                stage.publish(transport, "x"),
                return_exceptions=True,
            )
            assert results[-1] is None
        assert transport.counters["reconnects"] == 0


async def test_publishes_of_one_id_are_told_apart_under_load(
    node: BrokerNode, namespace: str
) -> None:
    """The client library finds the publish of a returned message by its id alone."""
    stage = Stage(namespace)
    async with RabbitTransport(node.url) as transport:
        await transport.declare(stage.topology)
        keys = [stage.key if number % 3 else "nobody" for number in range(60)]

        results = await asyncio.gather(
            *(
                transport.publish(stage.exchange, key, Message(body=b"", message_id="twin"))
                for key in keys
            ),
            return_exceptions=True,
        )

        routed = [result is None for result in results]
        assert routed == [key == stage.key for key in keys]
        assert {type(each) for each in results if each is not None} == {UnroutableError}
        await until_ready(transport, stage.queue, 40)


async def test_an_alternate_exchange_turns_unroutable_into_confirmed(
    node: BrokerNode, namespace: str
) -> None:
    """An operator's policy can defeat the guard, and AMQP does not show it: a fact to document."""
    stage = Stage(namespace)
    policy = f"defeat-{namespace}"
    async with RabbitTransport(node.url) as transport:
        await transport.declare(stage.topology)
        with pytest.raises(UnroutableError):
            await transport.publish(stage.exchange, "nobody", Message(body=b"1"))
        definition = f'{{"alternate-exchange": "{stage.dead}"}}'
        pattern = f"^{stage.exchange}$"
        await asyncio.to_thread(
            node.ctl, "set_policy", "--apply-to", "exchanges", policy, pattern, definition
        )
        try:
            await transport.publish(stage.exchange, "nobody", Message(body=b"2"))

            consumer = await transport.consume(stage.dead, prefetch=1)
            assert texts(await take(consumer, 1)) == ["2"]
        finally:
            await asyncio.to_thread(node.ctl, "clear_policy", policy)
