"""Publishing without waiting, through a window that is full, on a line that carries nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.protocol.errors import BrokerError, PublishError, TransportClosedError
from effectmq.protocol.messages.message import Message
from tests.broker.transports.stage import FAST, Stage, fetch
from tests.brokers.node import BrokerNode
from tests.brokers.proxy import ChaosProxy
from tests.waiting import eventually

# What waits here waits for a line that a proxy holds up, whatever the release.
pytestmark = [
    pytest.mark.one_broker,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("quiet"),
]

_PATIENCE_S = 20.0


@pytest.fixture
async def proxy(node: BrokerNode) -> AsyncIterator[ChaosProxy]:
    """In front of the broker."""
    async with ChaosProxy.to(node.url) as line:
        yield line
        line.pass_through()


class Poster:
    """Posts to one queue, and counts what the broker has."""

    def __init__(self, transport: RabbitTransport, stage: Stage) -> None:
        self._transport = transport
        self._stage = stage
        self.taken = 0

    def post(self, text: str, timeout: float = _PATIENCE_S) -> tuple[Any, asyncio.Future[Any]]:
        """Publish one; the future is what its caller awaits."""
        awaited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        posted = self._transport.post(
            self._stage.exchange,
            self._stage.key,
            Message(body=text.encode()),
            awaited,
            timeout=timeout,
            on_taken=self._note,
        )
        assert posted is not None
        return posted, awaited

    def _note(self) -> None:
        self.taken += 1


def window(node: BrokerNode, proxy: ChaosProxy, size: int) -> RabbitTransport:
    """A transport with so many places."""
    return RabbitTransport(proxy.url(node.url), replace(FAST, publish_window=size))


async def ready(transport: RabbitTransport, stage: Stage) -> Poster:
    """With a channel, so that nothing needs a wait of its own."""
    await transport.declare(stage.topology)
    await stage.publish(transport, "before")
    return Poster(transport, stage)


async def test_what_is_not_confirmed_in_its_time_is_told_so_and_gives_its_place_back(
    node: BrokerNode, proxy: ChaosProxy, namespace: str
) -> None:
    """Those that were never sent, too."""
    stage = Stage(namespace)
    async with window(node, proxy, 2) as transport:
        poster = await ready(transport, stage)
        proxy.hole()
        for posted, awaited in [poster.post(str(number), 0.2) for number in range(5)]:
            assert await awaited is None
            with pytest.raises((PublishError, BrokerError)):
                await posted.confirmed(0.2)
        proxy.pass_through()

        # All places are free again, or these could not be on their way at the same time.
        await asyncio.gather(*(stage.publish(transport, "y", _PATIENCE_S) for _ in range(30)))
        assert poster.taken == 0


async def test_who_leaves_before_its_turn_sends_nothing(
    node: BrokerNode, proxy: ChaosProxy, namespace: str
) -> None:
    """Who leaves after it keeps the place until the broker has answered."""
    stage = Stage(namespace)
    async with window(node, proxy, 1) as transport:
        poster = await ready(transport, stage)
        proxy.hole()
        first, left, last = (poster.post(text)[0] for text in ("first", "left", "last"))
        left.leave(arrived=False)
        first.leave(arrived=False)
        await asyncio.sleep(0.05)
        assert last.channel is None
        proxy.pass_through()

        await eventually(lambda: poster.taken == 1)
        consumer = await transport.consume(stage.queue, prefetch=10)
        assert await fetch(consumer, {"before", "first", "last"}) == {
            "before": 1,
            "first": 1,
            "last": 1,
        }


async def test_a_lost_connection_wakes_those_that_were_sent_and_those_that_were_not(
    node: BrokerNode, proxy: ChaosProxy, namespace: str
) -> None:
    """The first may have arrived; the others are sent on the next connection."""
    stage = Stage(namespace)
    async with window(node, proxy, 3) as transport:
        poster = await ready(transport, stage)
        proxy.hole()
        waiting = [poster.post(str(number)) for number in range(40)]
        proxy.cut()
        proxy.pass_through()

        results = await asyncio.gather(
            *(seen_through(posted, awaited) for posted, awaited in waiting),
            return_exceptions=True,
        )

        unknown = [number for number, each in enumerate(results) if each is not None]
        assert unknown == [0, 1, 2]
        assert {type(results[number]).__name__ for number in unknown} == {"PublishUnknownError"}
        consumer = await transport.consume(stage.queue, prefetch=99)
        received = await fetch(consumer, {"before", *map(str, range(3, 40))})
        assert set(received.values()) == {1}


async def test_closing_wakes_everybody_who_waits(
    node: BrokerNode, proxy: ChaosProxy, namespace: str
) -> None:
    """Ten thousand, sent or not: each learns it, and the end of it takes no time."""
    stage = Stage(namespace)
    async with window(node, proxy, 10) as transport:
        poster = await ready(transport, stage)
        proxy.hole()
        waiting = [
            asyncio.create_task(seen_through(*poster.post(str(number)))) for number in range(10_000)
        ]
        await asyncio.sleep(0)
        closing = asyncio.create_task(transport.__aexit__())

        results = await asyncio.gather(*waiting, return_exceptions=True)
        proxy.pass_through()
        await closing

        assert {isinstance(each, PublishError | TransportClosedError) for each in results} == {True}
        with pytest.raises(TransportClosedError):
            poster.post("x")


async def seen_through(posted: Any, awaited: asyncio.Future[Any]) -> None:
    """Wait as a caller does whose answer never comes."""
    await awaited
    await posted.confirmed(_PATIENCE_S)
