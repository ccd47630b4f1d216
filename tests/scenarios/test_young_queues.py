"""
A broker is killed in the first second of a queue.

RabbitMQ writes its register of quorum queues down once a second. What is not in it comes back
without a leader: it can be declared, and never answers whoever consumes from it or publishes to it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports import open_transport
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.messages.cancel_notice import Able, able_notice
from effectmq.protocol.topology import (
    Names,
    TopologySettings,
    shared_topology,
    work_topology,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep
from tests.brokers.node import BrokerNode
from tests.consumers.stage import nap
from tests.waiting import eventually

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]

TOPOLOGY = TopologySettings(namespace="young", delay_levels_ms=(100, 1_000))
NAMES = Names("young")


async def _declare_ahead(node: BrokerNode) -> None:
    """What is declared once for an installation, and is in the register since long."""
    async with open_transport(node.url) as transport:
        await transport.declare(shared_topology(TOPOLOGY) | work_topology(TOPOLOGY, ["sleep"]))
    await asyncio.to_thread(node.settle)


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
