"""
A connection that is well, and a queue that does not answer: sent again on another channel.

As when the node that leads the queue froze. What holds up the whole connection leads to no copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    BrokerBlockedError,
    BrokerError,
    PublishError,
    PublishUnknownError,
)
from tests.broker.transports.stage import Stage, fetch, publish_surely
from tests.brokers.node import BrokerNode
from tests.brokers.proxy import ChaosProxy
from tests.waiting import eventually

# What is stuck is so on a line that a proxy holds up, whatever the release.
pytestmark = [
    pytest.mark.one_broker,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("quiet"),
]

_PATIENCE_S = 60.0

#: A publish is stuck after a quarter of a second.
HASTY = TransportSettings(publish_timeout_s=1.0, reconnect_max_s=0.5)


@pytest.fixture
async def lines(node: BrokerNode) -> AsyncIterator[tuple[ChaosProxy, ChaosProxy]]:
    """Two addresses, as a cluster has them, of one node."""
    async with ChaosProxy.to(node.url) as one, ChaosProxy.to(node.url) as two:
        yield one, two
        one.pass_through()
        two.pass_through()


@pytest.fixture
def urls(node: BrokerNode, lines: tuple[ChaosProxy, ChaosProxy]) -> list[str]:
    """Their addresses."""
    return [line.url(node.url) for line in lines]


class Silenced:
    """A quorum queue whose leader is told to be silent, and to speak again."""

    def __init__(self, node: BrokerNode, stage: Stage) -> None:
        self._node = node
        self._leader = f"'%2F_{stage.queue}'"

    async def __aenter__(self) -> None:
        await self._tell("suspend")

    async def __aexit__(self, *exc_info: object) -> None:
        await self._tell("resume")

    async def _tell(self, what: str) -> None:
        await asyncio.to_thread(self._node.ctl, "eval", f"sys:{what}({self._leader}).")


async def test_what_is_stuck_goes_again_and_the_others_go_on(
    node: BrokerNode, namespace: str, urls: list[str]
) -> None:
    """The caller waits for one publish, and is told when a copy of it was taken."""
    silent, healthy = Stage(f"{namespace}-1", quorum=True), Stage(f"{namespace}-2")
    async with RabbitTransport(urls, HASTY) as transport:
        await transport.declare(silent.topology | healthy.topology)
        await silent.publish(transport, "before")
        async with Silenced(node, silent):
            stuck = [
                asyncio.create_task(silent.publish(transport, str(n), timeout=_PATIENCE_S))
                for n in range(3)
            ]
            await eventually(lambda: transport.counters["stuck_publishes"] >= len(stuck))
            await healthy.publish(transport, "meanwhile", timeout=_PATIENCE_S)
            assert not any(each.done() for each in stuck)
        await asyncio.gather(*stuck)
        consumer = await transport.consume(silent.queue, prefetch=10)
        await fetch(consumer, {"before", "0", "1", "2"})


async def test_a_copy_that_is_refused_does_not_mean_that_nothing_arrived(
    node: BrokerNode, namespace: str, urls: list[str]
) -> None:
    """The queue has no leader at all, which a new channel is told at once on some releases."""
    stage = Stage(namespace, quorum=True)
    order = f"ra:{{}}(quorum_queues, {{{{'%2F_{stage.queue}', node()}}}})."
    async with RabbitTransport(urls, HASTY) as transport:
        await transport.declare(stage.topology)
        await stage.publish(transport, "before")
        await asyncio.to_thread(node.ctl, "eval", order.format("stop_server"))
        try:
            with pytest.raises(PublishUnknownError):
                await stage.publish(transport, "x", timeout=3.0)
        finally:
            await asyncio.to_thread(node.ctl, "eval", order.format("restart_server"))
        await publish_surely(stage, transport, "after")


async def test_places_in_the_window_are_free_again(
    node: BrokerNode, namespace: str, urls: list[str]
) -> None:
    """However a stuck publish ends: its time is up, it is cancelled, it is answered."""
    silent, healthy = Stage(f"{namespace}-1", quorum=True), Stage(f"{namespace}-2")
    settings = TransportSettings(publish_timeout_s=1.0, publish_window=4)
    async with RabbitTransport(urls, settings) as transport:
        await transport.declare(silent.topology | healthy.topology)
        await silent.publish(transport, "before")
        async with Silenced(node, silent):
            for _ in range(4):
                ended = transport.counters["stuck_publishes"]

                def is_stuck(before: int = ended) -> bool:
                    return transport.counters["stuck_publishes"] > before

                cancelled = asyncio.create_task(silent.publish(transport, "x", _PATIENCE_S))
                await eventually(is_stuck)
                cancelled.cancel()
                with pytest.raises(PublishError):
                    await silent.publish(transport, "y", timeout=0.5)
                await publish_surely(healthy, transport, "z")
        for each in range(8):
            await publish_surely(silent, transport, str(each))


async def test_a_line_that_carries_nothing_leads_to_no_copy(
    namespace: str, urls: list[str], lines: tuple[ChaosProxy, ChaosProxy]
) -> None:
    """Neither before nor after it carries again: the answer comes before the new channel."""
    stage = Stage(namespace, quorum=True)
    async with RabbitTransport(urls, HASTY) as transport:
        await transport.declare(stage.topology)
        await stage.publish(transport, "before")
        for line in lines:
            line.hole_to_client()
        waiting = asyncio.create_task(stage.publish(transport, "held", timeout=_PATIENCE_S))
        with pytest.raises((PublishError, BrokerError)):
            await stage.publish(transport, "later", timeout=1.5)
        for line in lines:
            line.pass_through()
        await waiting
        await stage.publish(transport, "after")
        assert transport.counters["stuck_publishes"] == 0
        consumer = await transport.consume(stage.queue, prefetch=10)
        received = await fetch(consumer, {"before", "held", "later", "after"})
        assert set(received.values()) == {1}


async def test_an_alarm_leads_to_no_copy(node: BrokerNode, namespace: str, urls: list[str]) -> None:
    """A broker that has no memory left is not to be sent everything twice."""
    stage = Stage(namespace)
    async with RabbitTransport(urls, HASTY) as transport:
        await transport.declare(stage.topology)
        await stage.publish(transport, "before")
        await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0")
        try:
            with pytest.raises(BrokerBlockedError):
                await stage.publish(transport, "x", timeout=2.0)
            assert transport.counters["stuck_publishes"] == 0
        finally:
            await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.6")
        await publish_surely(stage, transport, "after")


async def test_with_one_address_nothing_is_copied(node: BrokerNode, namespace: str) -> None:
    """There is no other node that could lead."""
    silent = Stage(namespace, quorum=True)
    async with RabbitTransport(node.url, HASTY) as transport:
        await transport.declare(silent.topology)
        await silent.publish(transport, "before")
        async with Silenced(node, silent):
            with pytest.raises(PublishError):
                await silent.publish(transport, "x", timeout=1.0)
            assert transport.counters["stuck_publishes"] == 0
        await publish_surely(silent, transport, "after")
