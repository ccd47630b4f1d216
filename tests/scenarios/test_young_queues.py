"""
A broker is killed in the first second of a queue.

RabbitMQ writes its register of quorum queues down once a second. What is not in it comes back
without a leader: it can be declared, and never answers whoever consumes from it or publishes to it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.rabbitmq.consumer import RabbitConsumer
from effectmq.broker.transports.rabbitmq.transport import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import BrokerUnreachableError
from effectmq.protocol.messages.notices.cancel import Able, able_notice
from effectmq.protocol.topology import (
    Names,
    TopologySettings,
    reply_topology,
    shared_topology,
    work_topology,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep
from tests.brokers.node import BrokerNode
from tests.consumers.stage import nap
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

TOPOLOGY = TopologySettings(namespace="young", delay_levels_ms=(100, 1_000))
NAMES = Names("young")


async def _declare_ahead(node: BrokerNode) -> None:
    """What is declared once for an installation, and is in the register since long."""
    async with open_transport(node.url) as transport:
        await transport.declare(shared_topology(TOPOLOGY) | work_topology(TOPOLOGY, ["sleep"]))
    await asyncio.to_thread(node.settle)


async def _leave_a_mute_reply_queue(node: BrokerNode) -> None:
    """As a producer does that dies together with its broker."""
    async with open_transport(node.url) as transport:
        await transport.declare(reply_topology(TOPOLOGY, "p"))
        await _kill_and_start(node)


async def _kill_and_start(node: BrokerNode) -> None:
    node.kill9()
    await asyncio.to_thread(node.start)


async def test_a_worker_hears_what_is_said_to_all(private_broker: BrokerNode) -> None:
    """Its control queue is another one then, and who publishes there is confirmed."""
    await _declare_ahead(private_broker)
    app = EffectWorker(private_broker.url, topology=TOPOLOGY, name="w")
    await app.start()
    try:
        await _kill_and_start(private_broker)
        await eventually(lambda: app.ready, timeout_s=60)
        running = app._running
        assert running is not None

        async with open_transport(private_broker.url) as transport:
            await transport.publish(NAMES.control, "", able_notice(Able("somebody", {"x": "1"})))
            await eventually(lambda: "somebody" in running._abilities._peers)
    finally:
        await app.stop(0)


@pytest.mark.parametrize("journal", [False, True])
async def test_a_producer_gets_its_outcomes(
    private_broker: BrokerNode, tmp_path: Path, journal: bool
) -> None:
    """What was open when its reply queue was spoilt, and what it submits afterwards."""
    place = f"sqlite:///{tmp_path}/j.db" if journal else None
    await _declare_ahead(private_broker)
    app = EffectWorker(private_broker.url, topology=TOPOLOGY, name="w", journal=place)
    client = EffectClient(private_broker.url, identity="p", topology=TOPOLOGY, journal=place)
    await app.start()
    try:
        async with client:
            open_one = await client.submit(nap(1_000, "before"))
            await _kill_and_start(private_broker)

            after = await client.submit(nap(1, "after"), timeout=60)

            for handle in (open_one, after):
                assert await handle.outcome(60) == RuntimeEffectOutcomeSleep()
    finally:
        await app.stop(0)


async def test_a_producer_starts_on_the_mute_reply_queue_of_one_that_died(
    private_broker: BrokerNode, tmp_path: Path
) -> None:
    """With a journal the queue is made anew; without one it is left alone, and named."""
    journal = f"sqlite:///{tmp_path}/j.db"
    queue = NAMES.reply_queue("p")
    await _declare_ahead(private_broker)
    await _leave_a_mute_reply_queue(private_broker)

    short = TransportSettings(connect_timeout_s=3)
    with pytest.raises(BrokerUnreachableError, match=f"rabbitmqctl delete_queue --vhost / {queue}"):
        async with EffectClient(
            private_broker.url, identity="p", topology=TOPOLOGY, transport=short
        ):
            pass

    app = EffectWorker(private_broker.url, topology=TOPOLOGY, name="w", journal=journal)
    await app.start()
    try:
        async with EffectClient(
            private_broker.url,
            identity="p",
            topology=TOPOLOGY,
            journal=journal,
            transport=TransportSettings(connect_timeout_s=30),
        ) as client:
            assert await client.execute(nap(1), timeout=60) == RuntimeEffectOutcomeSleep()
    finally:
        await app.stop(0)


async def test_a_broker_that_is_killed_between_declaring_and_consuming(
    private_broker: BrokerNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client opens all the same: what it made has nothing in it."""
    await _declare_ahead(private_broker)
    consume = RabbitTransport.consume

    async def killed_first(self: RabbitTransport, queue: str, **options: Any) -> RabbitConsumer:
        monkeypatch.setattr(RabbitTransport, "consume", consume)
        await _kill_and_start(private_broker)
        return await consume(self, queue, **options)

    monkeypatch.setattr(RabbitTransport, "consume", killed_first)
    patient = TransportSettings(connect_timeout_s=30)
    client = EffectClient(private_broker.url, topology=TOPOLOGY, transport=patient)
    app = EffectWorker(private_broker.url, topology=TOPOLOGY, name="w")
    async with client:
        await app.start()
        try:
            assert await client.execute(nap(1), timeout=60) == RuntimeEffectOutcomeSleep()
        finally:
            await app.stop(0)
