"""One wait for the answer and the publish: whatever becomes of either, its caller is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    BrokerError,
    EffectTimeoutError,
    PublishError,
    PublishUnknownError,
    QueueFullError,
    TransportClosedError,
)
from effectmq.protocol.topology import Names, TopologySettings, work_topology
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.consumers.stage import PATIENCE_S, payload, tool
from tests.waiting import eventually

# What is awaited is ours, whatever the release.
pytestmark = [pytest.mark.timeout(240), pytest.mark.one_broker]


@pytest.fixture
def topology(namespace: str) -> TopologySettings:
    """An installation of the test's own."""
    return TopologySettings(namespace=namespace)


@pytest.fixture(params=["memory", "amqp"])
def url(request: pytest.FixtureRequest, namespace: str, broker_name: str) -> str:
    """The address of a broker."""
    if request.param == "memory":
        return f"memory://{namespace}"
    shared: Broker = request.getfixturevalue("broker")
    return shared.url


@pytest.fixture
async def operator(url: str, topology: TopologySettings) -> AsyncIterator[Transport]:
    """A connection beside the client's; the queue of tool calls is there, and nobody at work."""
    async with open_transport(url) as transport:
        await transport.declare(work_topology(topology, ["tool_call"]))
        yield transport
        await transport.delete(Names(topology.namespace).work_queue("tool_call"))


def worker(url: str, topology: TopologySettings) -> EffectWorker:
    """One that adds."""
    app = EffectWorker(url, topology=topology)

    @app.tool
    async def add(a: int, b: int) -> int:
        return a + b

    return app


def add(number: int) -> Any:
    """The effect of that number; its outcome is one more."""
    return tool("add", f"e{number}", call_id=f"c{number}", a=number, b=1)


def nothing_is_left(client: EffectClient) -> bool:
    """No caller, no deadline, and on RabbitMQ no place in the window is taken."""
    transport: Any = client._transport
    publisher = getattr(transport, "_publisher", None)
    left: list[Any] = [client._book._deadlines._ends, list(client._book._waiters)]
    if publisher is not None:
        left += [publisher._deadlines._ends, publisher._window._waiting]
        left += [TransportSettings().publish_window - publisher._window.free, publisher._given_up]
    return not any(left)


async def test_a_caller_that_is_cancelled_wherever_it_waits_leaves_nothing(
    url: str, operator: Transport, topology: TopologySettings
) -> None:
    """And whoever asks for the same effect again has its outcome."""
    async with worker(url, topology), EffectClient(url, topology=topology) as client:
        for turns in range(40):
            asking = asyncio.create_task(client.execute(add(turns), timeout=PATIENCE_S))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait((asking,))
            del asking
            assert payload(await client.execute(add(turns), timeout=PATIENCE_S)) == turns + 1
        await eventually(lambda: nothing_is_left(client))


async def test_a_time_that_is_over_ends_the_wait_and_leaves_nothing(
    url: str, operator: Transport, topology: TopologySettings
) -> None:
    """Also with no time at all, in which nothing may be confirmed."""
    async with EffectClient(url, topology=topology) as client:
        for number, timeout_s in enumerate((0.0, 0.001, 0.02, 0.3)):
            with pytest.raises((EffectTimeoutError, PublishError, BrokerError)):
                await client.execute(add(number), timeout=timeout_s)
        await eventually(lambda: nothing_is_left(client))


async def test_many_that_wait_learn_that_the_client_was_closed(
    url: str, operator: Transport, topology: TopologySettings
) -> None:
    """Published or not."""
    client = EffectClient(url, topology=topology)
    async with client:
        asking = [asyncio.create_task(client.execute(add(n), timeout=None)) for n in range(1_500)]
        await eventually(lambda: client.counters["submitted"] > 0)

    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in results} <= {TransportClosedError, PublishUnknownError}


async def test_many_go_through_a_narrow_window(
    url: str, operator: Transport, topology: TopologySettings
) -> None:
    """Each gets its own answer, and nothing is published twice."""
    narrow = TransportSettings(publish_window=3)
    async with (
        worker(url, topology),
        EffectClient(url, topology=topology, transport=narrow) as client,
    ):
        outcomes = await asyncio.gather(
            *(client.execute(add(number), timeout=PATIENCE_S) for number in range(300))
        )
        assert [payload(each) for each in outcomes] == list(range(1, 301))
        assert client.counters["submitted"] == client.counters["answered"] == 300
        assert client.counters["duplicate"] == 0


async def test_a_full_queue_is_named_when_the_time_is_over(namespace: str) -> None:
    """It may have room in a moment, so it is tried until then."""
    topology, url = TopologySettings(namespace=namespace, max_length=1), f"memory://{namespace}"
    async with open_transport(url) as operator, EffectClient(url, topology=topology) as client:
        await operator.declare(work_topology(topology, ["tool_call"]))
        waiting = asyncio.create_task(client.execute(add(1), timeout=PATIENCE_S))
        await eventually(lambda: client.counters["submitted"] == 1)
        with pytest.raises(QueueFullError):
            await client.execute(add(2), timeout=0.3)
        assert client.counters["publish_retries"] >= 1
        async with worker(url, topology):
            assert payload(await waiting) == 2


async def test_a_line_that_breaks_before_the_confirmation_costs_a_copy_at_most(
    broker: Broker, topology: TopologySettings
) -> None:
    """The effect is published again within its time, and answered."""
    settings = TransportSettings(reconnect_max_s=0.2)
    async with open_transport(broker.url) as operator, ChaosProxy.to(broker.url) as proxy:
        await operator.declare(work_topology(topology, ["tool_call"]))
        url = proxy.url(broker.url)
        async with EffectClient(url, topology=topology, transport=settings) as client:
            # Something must have been published, or there is no channel to lose.
            await client.submit(add(1_000))
            proxy.hole_to_client()
            asking = asyncio.gather(
                *(client.execute(add(number), timeout=PATIENCE_S) for number in range(150))
            )
            await asyncio.sleep(0.05)
            proxy.cut()
            proxy.pass_through()

            async with worker(broker.url, topology):
                outcomes = await asking

            assert [payload(each) for each in outcomes] == list(range(1, 151))
            assert client.counters["publish_retries"] >= 1
            assert client.counters["submitted"] == 151
        await operator.delete(Names(topology.namespace).work_queue("tool_call"))


async def test_an_answer_proves_what_the_broker_has_not_confirmed_yet(
    broker: Broker, topology: TopologySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place in the window is free when the broker says so, and it is counted once."""
    confirmed, late = Channel.confirmed, list[tuple[Channel, int, bool, bool]]()

    def held_back(self: Channel, tag: int, *, multiple: bool, taken: bool) -> None:
        transport: Any = client._transport
        if self is transport._publisher._channel:
            late.append((self, tag, multiple, taken))
        else:
            confirmed(self, tag, multiple=multiple, taken=taken)

    async with (
        worker(broker.url, topology),
        EffectClient(broker.url, topology=topology) as client,
    ):
        assert payload(await client.execute(add(1), timeout=PATIENCE_S)) == 2
        monkeypatch.setattr(Channel, "confirmed", held_back)
        assert payload(await client.execute(add(2), timeout=PATIENCE_S)) == 3
        await eventually(lambda: late)

        assert client.counters["submitted"] == client.counters["answered"] == 2
        assert not nothing_is_left(client)
        for channel, tag, multiple, taken in late:
            confirmed(channel, tag, multiple=multiple, taken=taken)
        assert nothing_is_left(client)
        monkeypatch.undo()
        async with open_transport(broker.url) as operator:
            await operator.delete(Names(topology.namespace).work_queue("tool_call"))
