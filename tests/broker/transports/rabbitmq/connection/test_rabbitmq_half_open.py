"""Lines that are half open, or slow: the first are noticed and given up, the others are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.rabbitmq.driver.wire import negotiated_s
from effectmq.protocol.errors import PublishUnknownError
from tests.broker.transports.stage import ATTENTIVE, Stage, fetch, publish_surely
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(240)

#: A line of a few kilobytes a second, on which a large message takes many heartbeats.
SLOW = 5_000
LARGE = "x" * 30_000


@pytest.fixture
async def stage(broker: Broker, namespace: str) -> AsyncIterator[Stage]:
    """A queue on a line that is in order, and no trace of it afterwards."""
    made = Stage(namespace)
    async with RabbitTransport(broker.url) as steady:
        await steady.declare(made.topology)
        yield made
        for queue in made.topology.queues:
            await steady.delete(queue.name)


@pytest.mark.parametrize("hole", ["hole", "hole_to_client", "hole_to_server"])
async def test_a_half_open_line_is_given_up_whichever_way_is_dead(
    broker: Broker, stage: Stage, hole: str
) -> None:
    """
    On both connections, although the line still takes what is sent.

    What was in flight is unknown, and done by whoever publishes it again.
    """
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ChaosProxy.to(broker.url))
        transport = await stack.enter_async_context(
            RabbitTransport(proxy.url(broker.url), ATTENTIVE)
        )
        consumer = await transport.consume(stage.queue, prefetch=10)
        await stage.publish(transport, "before")
        await fetch(consumer, {"before"})

        getattr(proxy, hole)()
        in_flight = asyncio.create_task(stage.publish(transport, "in flight", timeout=60))
        await eventually(lambda: not transport._publishing.ready, timeout_s=20)
        await eventually(lambda: not transport._consuming.ready, timeout_s=20)
        with pytest.raises(PublishUnknownError):
            await in_flight

        proxy.pass_through()
        await publish_surely(stage, transport, "in flight")
        await fetch(consumer, {"in flight"})


def test_the_broker_is_asked_for_what_keeps_the_promise() -> None:
    """It gives a silent client up after at most three of its intervals: within two heartbeats."""
    for heartbeat_s in (2, 3, 5, 10, 30, 60):
        assert 3 * negotiated_s(heartbeat_s) <= 2 * heartbeat_s or negotiated_s(heartbeat_s) == 1
    assert negotiated_s(1) == negotiated_s(0.5) == 1


async def test_a_slow_line_is_not_a_dead_one(broker: Broker, stage: Stage) -> None:
    """A message that takes several heartbeats to send or to fetch breaks nothing."""
    async with (
        ChaosProxy.to(broker.url) as proxy,
        RabbitTransport(broker.url) as steady,
        RabbitTransport(proxy.url(broker.url), ATTENTIVE) as transport,
    ):
        consumer = await transport.consume(stage.queue, prefetch=10)
        proxy.slow(SLOW)

        await asyncio.gather(
            stage.publish(transport, LARGE, timeout=60),
            stage.publish(steady, LARGE + "y", timeout=60),
        )
        received = await fetch(consumer, {LARGE, LARGE + "y"}, timeout_s=60)

        assert set(received.values()) == {1}
        assert transport.counters["reconnects"] == 0
