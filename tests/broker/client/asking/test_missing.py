"""What becomes of effects that no queue takes: one look for all, mended once, named, in time."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aio_pika
import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.sparingly import Sparingly
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.port import QueueStats
from effectmq.broker.transports.rabbitmq.driver import Link
from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import BrokerUnreachableError, PublishUnknownError, UnroutableError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import (
    Names,
    Topology,
    TopologySettings,
    shared_topology,
    work_topology,
)
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from tests.brokers.provide import Broker
from tests.brokers.proxy import ChaosProxy
from tests.consumers.stage import nap
from tests.waiting import eventually


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the channels that this process opens."""
    counts: Counter[str] = Counter()
    original = Link.channel

    async def channel(self: Link, *, confirms: bool) -> Channel:
        counts["channels"] += 1
        return await original(self, confirms=confirms)

    monkeypatch.setattr(Link, "channel", channel)
    return counts


def _envelopes(count: int) -> list[RuntimeEffectEnvelope]:
    return [nap(1, effect_id=f"e{number}") for number in range(count)]


async def _submit_all(
    client: EffectClient, count: int, timeout: float, lane: str | None = None
) -> list[BaseException]:
    """Every one of them fails; how."""
    results = await asyncio.gather(
        *(client.submit(each, timeout=timeout, lane=lane) for each in _envelopes(count)),
        return_exceptions=True,
    )
    failures = [each for each in results if isinstance(each, BaseException)]
    assert len(failures) == count
    return failures


@pytest.mark.parametrize("count", [1, 100, 1_000])
async def test_many_effects_of_a_missing_kind_cost_a_look(
    broker: Broker, namespace: str, opened: Counter[str], count: int
) -> None:
    """The channels opened do not grow with the calls, and the connection lives on."""
    settings = TopologySettings(namespace=namespace)
    async with open_transport(broker.url) as other:
        await other.declare(work_topology(settings, ["tool_call"]))
        async with EffectClient(broker.url, topology=settings) as client:
            opened.clear()
            # The bound of each call: a second more than its timeout.
            async with asyncio.timeout(20 + 1):
                failures = await _submit_all(client, count, 20)
            assert {type(each) for each in failures} == {UnroutableError}
            assert {str(each).partition(".")[0] for each in failures} == {
                f"no queue for 'sleep' in namespace '{namespace}'; there are queues for tool_call"
            }
            assert opened["channels"] <= 30
            transport = client._transport
            assert transport is not None
            assert transport.counters["reconnects"] == 0
            # Nothing is remembered for long: what is declared meanwhile is used.
            await other.declare(work_topology(settings, ["sleep"]))
            await client.submit(nap(1, effect_id="after"))


async def test_the_look_ends_with_the_callers_time(namespace: str) -> None:
    """A broker that answers no looks delays nobody beyond the timeout."""

    class Mute(MemoryTransport):
        async def stats(self, queue: str) -> None:
            await asyncio.Event().wait()

    settings = TopologySettings(namespace=namespace)
    async with EffectClient(f"memory://{namespace}", topology=settings) as client:
        mute = Mute(f"memory://{namespace}")
        async with mute:
            questions = client._questions
            assert questions is not None
            questions.roads._transport = mute
            async with asyncio.timeout(20):
                failures = await _submit_all(client, 10, 0.1)
        assert {type(each) for each in failures} == {UnroutableError}
        assert "no time left" in str(failures[0])


@pytest.fixture(params=["memory", pytest.param("amqp", marks=pytest.mark.rabbitmq)])
async def place(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[_Place]:
    """A broker with the queues of two kinds, as workers leave it, and an operator's hands."""
    settings = TopologySettings(namespace=namespace)
    url = f"memory://{namespace}"
    if request.param == "amqp":
        url = request.getfixturevalue("broker").url
    async with open_transport(url) as transport:
        await transport.declare(
            work_topology(settings, ["sleep", "sleep.slow"]) | shared_topology(settings)
        )
        yield _Place(url, settings, transport)


class _Place:
    def __init__(self, url: str, settings: TopologySettings, transport: object) -> None:
        self.url = url
        self.settings = settings
        self.names = Names(settings.namespace)
        self._transport = transport

    async def delete_exchange(self) -> None:
        if isinstance(self._transport, MemoryTransport):
            self._transport.broker.delete_exchange(self.names.work_exchange)
            return
        async with await aio_pika.connect(self.url) as connection:
            await (await connection.channel()).exchange_delete(self.names.work_exchange)

    async def unbind(self, route: str) -> None:
        queue = self.names.work_queue(route)
        if isinstance(self._transport, MemoryTransport):
            self._transport.broker.unbind(self.names.work_exchange, queue)
            return
        async with await aio_pika.connect(self.url) as connection:
            found = await (await connection.channel()).get_queue(queue)
            await found.unbind(self.names.work_exchange, route)


@pytest.mark.parametrize("lane", [None, "slow"])
@pytest.mark.parametrize("count", [1, 200])
@pytest.mark.parametrize("what", ["exchange", "binding"])
@pytest.mark.one_broker
async def test_what_was_deleted_is_declared_again_by_whoever_needs_it(
    place: _Place, broker_name: str, what: str, count: int, lane: str | None
) -> None:
    """Every effect is taken, once the exchange or the binding is back; nobody hears of it."""
    route = f"sleep.{lane}" if lane else "sleep"
    async with EffectClient(place.url, topology=place.settings) as client:
        await client.submit(nap(1, effect_id="before"), lane=lane)
        await (place.delete_exchange() if what == "exchange" else place.unbind(route))
        await asyncio.gather(*(client.submit(each, lane=lane) for each in _envelopes(count)))
        transport = client._transport
        assert transport is not None

        async def all_there() -> bool:
            found = await transport.stats(place.names.work_queue(route))
            return found is not None and found.ready >= count + 1

        await eventually(all_there)


@pytest.mark.one_broker
async def test_what_keeps_going_missing_is_not_declared_in_a_loop(
    place: _Place, broker_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One declaration, then the sentence, which names what is there and what is not."""
    async with EffectClient(place.url, topology=place.settings) as client:
        transport = client._transport
        assert transport is not None
        declared = 0
        declare = transport.declare

        async def undone(topology: object) -> None:
            nonlocal declared
            declared += 1
            await declare(topology)  # type: ignore[arg-type]
            await place.unbind("sleep")

        monkeypatch.setattr(transport, "declare", undone)
        await place.unbind("sleep")
        failures = await _submit_all(client, 50, 20)
    assert {type(each) for each in failures} == {UnroutableError}
    assert declared == 1
    for part in ("exchange", "queue", "are there, the binding between them is not"):
        assert part in str(failures[0])
    assert "effectmq topology apply --kind sleep" in str(failures[0])


@pytest.mark.one_broker
async def test_what_is_deleted_again_while_it_is_mended_is_waited_for(
    place: _Place, broker_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes a namespace piece by piece is not done at once; others mend it, too."""
    async with EffectClient(place.url, topology=place.settings) as client:
        transport = client._transport
        assert transport is not None
        declare, publish, returned = transport.declare, transport.publish, 0

        async def undone(topology: Topology) -> None:
            await declare(topology)
            await place.unbind("sleep")

        async def watched(exchange: str, key: str, message: Message, **options: Any) -> None:
            nonlocal returned
            try:
                await publish(exchange, key, message, **options)
            except UnroutableError:
                returned += 1
                if returned == 2:
                    await declare(work_topology(place.settings, ["sleep"]))
                raise

        monkeypatch.setattr(transport, "declare", undone)
        monkeypatch.setattr(transport, "publish", watched)
        await place.unbind("sleep")
        await client.submit(nap(1))
    assert returned == 2


async def test_a_queue_that_comes_while_it_is_looked_for_is_used(namespace: str) -> None:
    """It is not said to be missing and to be there in one sentence."""
    settings = TopologySettings(namespace=namespace)
    url, wanted = f"memory://{namespace}", Names(namespace).work_queue("sleep")

    class Late(MemoryTransport):
        async def stats(self, queue: str) -> QueueStats | None:
            found = await super().stats(queue)
            if found is None and queue == wanted:
                await self.declare(work_topology(settings, ["sleep"]))
            return found

    async with Late(url) as late, EffectClient(url, topology=settings) as client:
        questions = client._questions
        assert questions is not None
        questions.roads._transport = late
        await client.submit(nap(1))


async def test_a_queue_that_was_there_before_is_waited_for(namespace: str) -> None:
    """Its consumers bring it back; an effect that comes in between is taken then."""
    settings = TopologySettings(namespace=namespace)
    url = f"memory://{namespace}"
    topology = work_topology(settings, ["sleep"])
    async with MemoryTransport(url) as other, EffectClient(url, topology=settings) as client:
        await other.declare(topology)
        await client.submit(nap(1, effect_id="before"))
        other.broker.delete_queue(topology.queues[0].name)
        submitting = asyncio.create_task(client.submit(nap(1, effect_id="between")))
        questions = client._questions
        assert questions is not None
        await eventually(lambda: questions.roads._looks)
        await other.declare(topology)
        await submitting
        there = other.broker.queue(topology.queues[0].name)
        assert there is not None
        assert len(there.ready) == 1


async def test_errors_name_the_time_that_was_given(namespace: str) -> None:
    """Not what was left of it: the caller compares the sentence with its own code."""
    settings = TopologySettings(namespace=namespace)
    url = f"memory://{namespace}"
    patient = TransportSettings(publish_timeout_s=0.21)
    async with (
        MemoryTransport(url) as other,
        EffectClient(url, topology=settings, transport=patient) as client,
    ):
        await other.declare(work_topology(settings, ["sleep"]))
        other.broker.block()
        calls = [
            (client.submit(nap(1, effect_id="a"), timeout=0.25), "0.25"),
            (client.submit(nap(1, effect_id="b")), "0.21"),
            (client.execute(nap(1, effect_id="c"), timeout=0.23), "0.23"),
            (client.attach(nap(1, effect_id="d")).outcome(timeout=0.22), "0.22"),
            (client.attach(nap(1, effect_id="e")).reply(0.05, given=0.26), "0.26"),
        ]
        for call, given in calls:
            with pytest.raises(Exception, match=r"\d s\b") as raised:
                await call
            assert re.findall(r"([\d.]+) s\b", str(raised.value)) == [given]
        other.broker.unblock()


@pytest.mark.one_broker
@pytest.mark.parametrize("fault", ["hole", "cut"])
async def test_errors_over_a_bad_line_name_the_time_that_was_given(
    broker: Broker, namespace: str, fault: str
) -> None:
    """Also after several tries, of which each had less time than the one before."""
    settings = TopologySettings(namespace=namespace)
    async with (
        ChaosProxy.to(broker.url) as proxy,
        EffectClient(proxy.url(broker.url), topology=settings) as client,
    ):
        transport = client._transport
        assert transport is not None
        await transport.declare(work_topology(settings, ["sleep"]))
        await client.submit(nap(1, effect_id="before"))
        proxy.hole()
        if fault == "cut":
            proxy.cut()
        for timeout in (0.75, 1.25):
            call = client.submit(nap(1, effect_id=str(timeout)), timeout=timeout)
            with pytest.raises((PublishUnknownError, BrokerUnreachableError)) as raised:
                await call
            assert f"within {timeout:g} s" in str(raised.value)
        proxy.pass_through()


def test_what_does_not_help_is_done_less_and_less_often() -> None:
    """At once, after a second, then twice as long each time up to half a minute; then afresh."""
    sparingly = Sparingly()
    done = [now / 10 for now in range(2_000) if sparingly.due(now / 10)]
    assert done[:6] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
    assert {round(b - a, 1) for a, b in pairwise(done[5:])} == {30.0}
    assert sparingly.due(400.0)
    assert not sparingly.due(400.9)
    assert sparingly.due(401.0)
