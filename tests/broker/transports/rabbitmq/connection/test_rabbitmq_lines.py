"""Lines that break, fall silent, or carry only one way: known outcomes, and recovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    BrokerError,
    BrokerUnreachableError,
    EffectmqError,
    PublishError,
    PublishUnknownError,
)
from tests.broker.transports.stage import ATTENTIVE, FAST, Stage, fetch, publish_surely
from tests.brokers.node import BrokerNode, free_ports
from tests.brokers.proxy import ChaosProxy, Direction
from tests.waiting import eventually, within

# What breaks here is the line, between our client and any release.
pytestmark = [
    pytest.mark.one_broker,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("quiet"),
]


@pytest.fixture
def stage(namespace: str) -> Stage:
    """One exchange, one queue."""
    return Stage(namespace)


@pytest.fixture
async def proxy(node: BrokerNode) -> AsyncIterator[ChaosProxy]:
    """The line to maltreat."""
    async with ChaosProxy.to(node.url) as made:
        yield made
        made.pass_through()


async def test_a_reset_in_the_middle_of_a_window_makes_what_was_pending_unknown(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Each publish ends as confirmed or unknown, what was confirmed is there, and it goes on."""
    async with (
        RabbitTransport(node.url) as steady,
        RabbitTransport(proxy.url(node.url), FAST) as producer,
    ):
        await steady.declare(stage.topology)
        await stage.publish(producer, "before")
        proxy.hole_to_client()
        pending = [asyncio.create_task(stage.publish(producer, str(n))) for n in range(150)]
        await asyncio.sleep(0.1)

        proxy.cut()
        proxy.pass_through()

        results = await asyncio.gather(*pending, return_exceptions=True)
        unknown = [each for each in results if each is not None]
        assert {type(each) for each in unknown} == {PublishUnknownError}
        # The window was full; what waited for a place was sent on the next connection.
        assert 50 <= len(unknown) <= 100
        assert producer.counters["unknown_publishes"] == len(unknown)
        await stage.publish(producer, "after")
        confirmed = {str(n) for n, result in enumerate(results) if result is None}
        consumer = await steady.consume(stage.queue, prefetch=100)
        await fetch(consumer, {"before", "after"} | confirmed)


async def test_a_black_hole_is_noticed_by_the_heartbeat_and_healed(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Nothing hangs on a line that carries nothing; both directions of work go on afterwards."""
    async with (
        RabbitTransport(node.url) as steady,
        RabbitTransport(proxy.url(node.url), ATTENTIVE) as cut_off,
    ):
        await steady.declare(stage.topology)
        consumer = await cut_off.consume(stage.queue, prefetch=1)
        await stage.publish(cut_off, "before")
        await fetch(consumer, {"before"})

        proxy.hole()

        async with within(14):
            with pytest.raises(PublishUnknownError):
                await stage.publish(cut_off, "pending", timeout=30)
        with pytest.raises(BrokerUnreachableError, match="nothing could be published"):
            await stage.publish(cut_off, "lost", timeout=0.5)
        await eventually(lambda: not consumer.consuming)
        assert cut_off.server == ""
        proxy.pass_through()
        await publish_surely(stage, cut_off, "after")
        await fetch(consumer, {"after"})
        await eventually(lambda: consumer.consuming)


async def test_lost_confirmations_are_unknown_although_the_messages_arrived(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """A line that carries only one way is noticed like any other, and publishing again is safe."""
    async with (
        RabbitTransport(node.url) as steady,
        RabbitTransport(proxy.url(node.url), ATTENTIVE) as producer,
    ):
        await steady.declare(stage.topology)
        await stage.publish(producer, "0")
        proxy.hole_to_client()

        results = await asyncio.gather(
            *(stage.publish(producer, str(n), timeout=30) for n in range(1, 20)),
            return_exceptions=True,
        )

        assert {type(each) for each in results} == {PublishUnknownError}
        proxy.pass_through()
        await publish_surely(stage, producer, "1")
        await publish_surely(stage, producer, "last")
        received = await fetch(
            await steady.consume(stage.queue, prefetch=50), {"last", *map(str, range(20))}
        )
        assert received["1"] >= 2


async def test_a_half_closed_line_is_a_lost_line(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """The end of the stream is noticed at once, without a heartbeat."""
    async with RabbitTransport(proxy.url(node.url), FAST) as transport:
        await transport.declare(stage.topology)
        consumer = await transport.consume(stage.queue, prefetch=1)

        proxy.half_close()
        await eventually(lambda: transport.counters["reconnects"] >= 2)
        proxy.pass_through()

        await publish_surely(stage, transport, "after")
        await fetch(consumer, {"after"})


async def test_a_corrupted_frame_costs_the_connection_and_nothing_else(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Whatever the decoder makes of it, nothing wrong is delivered."""
    async with RabbitTransport(proxy.url(node.url), FAST) as transport:
        await transport.declare(stage.topology)
        consumer = await transport.consume(stage.queue, prefetch=10)
        directions: tuple[Direction, ...] = ("to_client", "to_server")
        for number, direction in enumerate(directions * 2):
            proxy.corrupt_byte(direction)

            await publish_surely(stage, transport, f"message {number}")

            # A copy may come late, of one whose confirmation was lost.
            received = await fetch(consumer, {f"message {number}"})
            assert received.keys() <= {f"message {n}" for n in range(number + 1)}
        assert proxy.corrupted == 4


async def test_a_slow_and_uneven_line_only_takes_longer(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Latency is not a fault."""
    async with RabbitTransport(proxy.url(node.url), FAST) as transport:
        await transport.declare(stage.topology)
        consumer = await transport.consume(stage.queue, prefetch=20)
        proxy.delay(150, jitter_ms=100)
        expected = {str(n) for n in range(40)}

        await asyncio.gather(*(stage.publish(transport, text) for text in expected))

        assert set((await fetch(consumer, expected)).values()) == {1}
        assert transport.counters["reconnects"] == 0


async def attempt(url: str, stage: Stage) -> None:
    """Connect, declare, subscribe, publish and receive: everything a process does at first."""
    settings = replace(FAST, connect_timeout_s=0.3, publish_timeout_s=1.0, reconnect_max_s=0.05)
    async with RabbitTransport(url, settings) as transport:
        await transport.declare(stage.topology)
        consumer = await transport.consume(stage.queue, prefetch=1)
        await stage.publish(transport, "x")
        with suppress(TimeoutError):  # each new line is cut, too
            await fetch(consumer, {"x"}, timeout_s=0.5)
        await consumer.close()


async def test_a_line_cut_after_any_number_of_bytes_gives_one_of_our_errors(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Swept over the greeting, the declarations and the publish; then it works again at once."""
    outcomes: set[type[BaseException]] = set()
    # Denser where the protocol's pieces are small.
    for budget in [*range(1, 20, 3), *range(20, 1_000, 61), *range(1_000, 4_096, 173)]:
        proxy.cut_after(budget)
        try:
            async with asyncio.timeout(15):
                await attempt(proxy.url(node.url), stage)
        except (EffectmqError, TimeoutError) as error:
            outcomes.add(type(error))

    assert BrokerUnreachableError in outcomes
    assert outcomes <= {BrokerUnreachableError, PublishUnknownError}
    proxy.pass_through()
    await attempt(proxy.url(node.url), stage)


async def test_publishing_while_the_broker_is_away_ends_at_the_timeout(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """The error says why there is no connection, and a broker that returns in time is used."""
    loop = asyncio.get_running_loop()
    [port] = free_ports(1)
    async with RabbitTransport(proxy.url(node.url), FAST) as transport:
        await transport.declare(stage.topology)
        proxy.target = ("127.0.0.1", port)  # where nothing listens
        proxy.cut()
        await eventually(lambda: transport.server == "")
        for timeout_s in (0.3, 1.0):
            started = loop.time()
            async with within(timeout_s + 1):
                with pytest.raises(BrokerUnreachableError, match="no connection to the broker"):
                    await stage.publish(transport, "lost", timeout=timeout_s)
            assert loop.time() - started + 0.01 >= timeout_s

        waiting = asyncio.create_task(stage.publish(transport, "kept", timeout=20))
        await asyncio.sleep(0)
        proxy.target = ("127.0.0.1", node.port)

        await waiting
        consumer = await transport.consume(stage.queue, prefetch=5)
        assert await fetch(consumer, {"kept"}) == {"kept": 1}


async def test_what_waits_for_a_connection_is_told_when_the_transport_closes(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Nobody waits for a connection that nobody keeps any more."""
    [port] = free_ports(1)
    async with RabbitTransport(proxy.url(node.url), FAST) as transport:
        await transport.declare(stage.topology)
        proxy.target = ("127.0.0.1", port)
        proxy.cut()
        await eventually(lambda: transport.server == "")
        waiting = [
            asyncio.create_task(stage.publish(transport, "x", timeout=60)),
            asyncio.create_task(transport.stats(stage.queue)),
            asyncio.create_task(transport.declare(stage.topology)),
            asyncio.create_task(transport.consume(stage.queue, prefetch=1)),
        ]
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(each, BrokerError) for each in results] == [True] * 4


async def test_calls_made_while_the_connection_is_away_wait_for_it(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """A consumer, a declaration, a look at a queue: a short outage only delays them."""
    [port] = free_ports(1)
    async with RabbitTransport(proxy.url(node.url), FAST) as transport:
        await transport.declare(stage.topology)
        proxy.target = ("127.0.0.1", port)
        proxy.cut()
        await eventually(lambda: transport.server == "")
        consuming = asyncio.create_task(transport.consume(stage.queue, prefetch=1))
        declaring = asyncio.create_task(transport.declare(stage.topology))
        looking = asyncio.create_task(transport.stats(stage.queue))
        await asyncio.sleep(0.05)
        proxy.target = ("127.0.0.1", node.port)

        consumer = await consuming
        await declaring
        assert await looking is not None
        await publish_surely(stage, transport, "x")
        await fetch(consumer, {"x"})


async def test_calls_made_while_the_connection_stays_away_end_in_time(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Each is one of our errors, says what was asked for, and why it could not be had."""
    [port] = free_ports(1)
    settings = replace(FAST, connect_timeout_s=0.7)
    async with RabbitTransport(proxy.url(node.url), settings) as transport:
        await transport.declare(stage.topology)
        proxy.target = ("127.0.0.1", port)
        proxy.cut()
        await eventually(lambda: transport.server == "")
        async with within(3 * 0.7 + 1):
            results = await asyncio.gather(
                transport.consume(stage.queue, prefetch=1),
                transport.declare(stage.topology),
                transport.stats(stage.queue),
                return_exceptions=True,
            )
        assert {type(each) for each in results} == {BrokerUnreachableError}
        assert f"consuming from '{stage.queue}'" in str(results[0])


async def test_a_cancelled_publish_gives_its_place_back(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """Cancelled while waiting for the confirmation, for a place, or for the connection."""
    async with RabbitTransport(proxy.url(node.url), replace(FAST, publish_window=3)) as transport:
        await transport.declare(stage.topology)
        await stage.publish(transport, "before")
        proxy.hole_to_client()
        waiting = [asyncio.create_task(stage.publish(transport, "x")) for _ in range(10)]
        await asyncio.sleep(0.05)

        for task in waiting:
            task.cancel()

        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in results} == {asyncio.CancelledError}
        proxy.pass_through()
        # All places are free again, or these could not be on their way at the same time.
        await asyncio.gather(*(stage.publish(transport, "y", timeout=10) for _ in range(30)))


async def test_what_nobody_waits_for_any_more_keeps_its_place_until_it_is_answered(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """A producer that tries again and again does not pile up what the broker has not read."""
    async with (
        RabbitTransport(node.url) as steady,
        RabbitTransport(proxy.url(node.url), replace(FAST, publish_window=10)) as producer,
    ):
        await steady.declare(stage.topology)
        await stage.publish(producer, "before")
        proxy.hole()
        for _ in range(5):
            results = await asyncio.gather(
                *(stage.publish(producer, "again", timeout=0.2) for _ in range(10)),
                return_exceptions=True,
            )
            assert all(isinstance(each, (PublishError, BrokerError)) for each in results)

        proxy.pass_through()

        await publish_surely(stage, producer, "after")
        received = await fetch(await steady.consume(stage.queue, prefetch=99), {"before", "after"})
        assert received["again"] <= 10


async def test_waiting_for_a_place_and_for_the_answer_share_one_timeout(
    node: BrokerNode, proxy: ChaosProxy, stage: Stage
) -> None:
    """A publish does not get its time a second time once it has a place in the window."""
    async with RabbitTransport(proxy.url(node.url), replace(FAST, publish_window=1)) as transport:
        await transport.declare(stage.topology)
        await stage.publish(transport, "before")
        proxy.hole_to_client()
        waiting = (
            stage.publish(transport, "x", timeout=timeout_s) for timeout_s in (0.5, 1.0, 1.0)
        )

        async with within(1.5):
            results = await asyncio.gather(*waiting, return_exceptions=True)

        assert all(isinstance(each, (PublishError, BrokerError)) for each in results)


async def test_a_publisher_leaves_a_channel_that_answers_nothing(
    node: BrokerNode, namespace: str
) -> None:
    """A queue without a majority must not take the window away from the others."""
    silent, healthy = Stage(f"{namespace}-1", quorum=True), Stage(f"{namespace}-2")
    server = f"{{'%2F_{silent.queue}', node()}}"
    async with RabbitTransport(node.url, TransportSettings(publish_window=6)) as transport:
        await transport.declare(silent.topology | healthy.topology)
        await silent.publish(transport, "before")
        await asyncio.to_thread(node.ctl, "eval", f"ra:stop_server(quorum_queues, {server}).")
        for _ in range(10):
            with pytest.raises(PublishError):
                await silent.publish(transport, "x", timeout=0.1)

            await healthy.publish(transport, "y", timeout=5)

        await asyncio.to_thread(node.ctl, "eval", f"ra:restart_server(quorum_queues, {server}).")
        await publish_surely(silent, transport, "after")
