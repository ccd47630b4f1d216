"""Being the only consumer of a quorum queue: against others, and beside our own ghost."""

from __future__ import annotations

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.protocol.errors import ReplyQueueInUseError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, reply_topology
from tests.broker.transports.stage import FAST
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.conformance.taking import take, texts
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(240)


def settings(namespace: str) -> TopologySettings:
    """A reply queue that does not outlive the tests by long."""
    return TopologySettings(namespace=namespace, reply_expires_ms=60_000)


async def test_a_ghost_of_our_own_keeps_nothing_from_us(broker: Broker, namespace: str) -> None:
    """
    The broker still holds a connection that we have given up.

    Outcomes come to the new one, not to the ghost, and nobody else gets in meanwhile.
    """
    names = Names(namespace)
    queue, lock = names.reply_queue("p"), names.reply_lock("p")
    async with (
        ChaosProxy.to(broker.url) as ghostly,
        RabbitTransport(ghostly.url(broker.url), FAST) as transport,
        RabbitTransport(broker.url) as other,
    ):
        await transport.declare(reply_topology(settings(namespace), "p"))
        resumed: list[bool] = []
        consumer = await transport.consume(
            queue, prefetch=10, exclusive=True, lock=lock, on_resumed=resumed.append
        )
        await eventually(lambda: consumer._sole is not None and consumer._sole._witnessed)

        ghostly.abandon()
        await eventually(lambda: resumed)

        for text in ("1", "2", "3", "4"):
            await other.publish("", queue, Message(body=text.encode()))
        assert texts(await take(consumer, 4)) == ["1", "2", "3", "4"]
        with pytest.raises(ReplyQueueInUseError):
            await other.consume(queue, prefetch=1, exclusive=True, lock=lock)
        await transport.delete(queue)


async def test_an_identity_that_somebody_took_meanwhile_is_left_to_him(
    broker: Broker, namespace: str
) -> None:
    """Cut off, we come back after another process has begun: its outcomes are not ours."""
    names = Names(namespace)
    queue, lock = names.reply_queue("p"), names.reply_lock("p")
    async with (
        ChaosProxy.to(broker.url) as proxy,
        RabbitTransport(proxy.url(broker.url), FAST) as first,
        RabbitTransport(broker.url) as second,
    ):
        await first.declare(reply_topology(settings(namespace), "p"))
        mine = await first.consume(queue, prefetch=10, exclusive=True, lock=lock)
        proxy.rst()
        await eventually(lambda: not mine.consuming)

        theirs = await second.consume(queue, prefetch=50, exclusive=True, lock=lock)
        proxy.pass_through()
        await eventually(lambda: first._consuming.ready)
        for number in range(20):
            await second.publish("", queue, Message(body=str(number).encode()))
        assert len(await take(theirs, 20)) == 20
        assert not mine.consuming

        await theirs.close()
        await eventually(lambda: mine.consuming, 20.0)
        await second.delete(queue)
