"""What operators and power cuts do to a broker: all comes back, nothing confirmed is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import replace

import aio_pika
import pytest

from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.protocol.errors import (
    BrokerBlockedError,
    BrokerError,
    BrokerUnreachableError,
    PublishUnknownError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Queue, Topology
from tests.broker.transports.stage import FAST, Stage, fetch, publish_surely
from tests.brokers.node import BrokerNode
from tests.brokers.proxy import ChaosProxy
from tests.conformance.taking import take, texts, until_ready
from tests.waiting import eventually, within

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("quiet")]


@pytest.fixture
def stage(namespace: str) -> Stage:
    """One exchange, one quorum queue."""
    return Stage(namespace, quorum=True)


@pytest.fixture
async def transport(node: BrokerNode, stage: Stage) -> AsyncIterator[RabbitTransport]:
    """A transport that has declared the stage."""
    async with RabbitTransport(node.url, FAST) as made:
        await made.declare(stage.topology)
        yield made


async def consumers_of(transport: Transport, queue: str) -> int:
    """How many consumers the broker says there are; -1 while it cannot be asked."""
    try:
        stats = await transport.stats(queue)
    except BrokerError:
        return -1
    return -1 if stats is None else stats.consumers


async def all_consuming(transport: Transport, queues: list[str], each: int) -> None:
    """Wait until the broker itself sees so many consumers on each queue."""

    async def all_are_back() -> bool:
        return all([await consumers_of(transport, queue) == each for queue in queues])

    await eventually(all_are_back, timeout_s=20)


async def test_closing_all_connections_again_and_again_leaves_no_consumer_behind(
    node: BrokerNode, namespace: str
) -> None:
    """After each time the broker sees every consumer again, and every queue is served."""
    stages = [Stage(f"{namespace}-{n}") for n in range(4)]
    queues = [stage.queue for stage in stages]
    async with (
        RabbitTransport(node.url, FAST) as first,
        RabbitTransport(node.url, FAST) as second,
    ):
        for stage in stages:
            await first.declare(stage.topology)
        consumers = [await first.consume(queue, prefetch=5) for queue in queues]
        others = [await second.consume(queue, prefetch=5) for queue in queues]
        for number in range(4):
            before = [each.counters["reconnects"] for each in (first, second)]

            # As soon as both have noticed, and while they are still on their way back: the broker
            # does not know a connection yet that is on its way, so it is told again.
            async def both_have_lost_one(number: int = number, before: list[int] = before) -> bool:
                await asyncio.to_thread(node.ctl, "close_all_connections", f"round {number}")
                now = [each.counters["reconnects"] for each in (first, second)]
                return all(new > old for new, old in zip(now, before, strict=True))

            await eventually(both_have_lost_one, timeout_s=30)

        await all_consuming(first, queues, 2)
        for consumer in others:
            await consumer.close()
        for stage, consumer in zip(stages, consumers, strict=True):
            await publish_surely(stage, second, "after")
            await fetch(consumer, {"after"})
        assert first.counters["reconnects"] >= 4


async def test_a_stopped_and_started_application_is_an_outage_like_any_other(
    node: BrokerNode, stage: Stage, transport: RabbitTransport
) -> None:
    """The broker says goodbye with a reason, and is waited for."""
    consumer = await transport.consume(stage.queue, prefetch=5)
    await stage.publish(transport, "before")
    [held] = await take(consumer, 1)

    await asyncio.to_thread(node.ctl, "stop_app")

    with pytest.raises((BrokerUnreachableError, PublishUnknownError)):
        await stage.publish(transport, "lost", timeout=0.5)
    assert consumer.consuming is False
    await asyncio.to_thread(node.ctl, "start_app")
    await publish_surely(stage, transport, "after")
    held.ack()
    assert transport.counters["stale_acks"] == 1
    received = await fetch(consumer, {"before", "after"})
    assert received["before"] == 1


async def test_nothing_confirmed_is_lost_when_the_broker_is_killed(
    node: BrokerNode, stage: Stage, transport: RabbitTransport
) -> None:
    """Thousands of publishes, two kills without warning; every confirmed one is delivered."""
    total = 4_000
    await asyncio.to_thread(node.settle)
    async with RabbitTransport(node.url, FAST) as worker:
        consumer = await worker.consume(stage.queue, prefetch=100)
        received: Counter[str] = Counter()
        confirmed: set[str] = set()
        left = iter(range(total))

        async def produce() -> None:
            for number in left:
                await publish_surely(stage, transport, str(number))
                confirmed.add(str(number))

        async def receive() -> None:
            async for delivery in consumer:
                received[delivery.message.body.decode()] += 1
                delivery.ack()

        async def kill_at(count: int) -> None:
            await eventually(lambda: len(confirmed) >= count, timeout_s=60)
            node.kill9()
            await asyncio.to_thread(node.start)

        receiving = asyncio.create_task(receive())
        producing = [asyncio.create_task(produce()) for _ in range(60)]
        await kill_at(total // 4)
        await kill_at(total // 2)
        async with asyncio.timeout(60):
            await asyncio.gather(*producing)
        await eventually(lambda: confirmed <= received.keys(), timeout_s=30)
        await consumer.close()
        await receiving

    assert len(confirmed) == total
    assert received.keys() == confirmed
    assert transport.counters["unknown_publishes"] > 0
    print(
        f"attempted {total}, lost 0, unexpected 0, "
        f"duplicated {sum(count - 1 for count in received.values())}, "
        f"unknown {transport.counters['unknown_publishes']}, {transport.counters['reconnects']} "
        "reconnects"
    )


async def test_a_broker_that_comes_back_empty_gets_its_queues_again(
    node: BrokerNode, stage: Stage, transport: RabbitTransport
) -> None:
    """A lost disk loses messages, but not the service."""
    consumer = await transport.consume(stage.queue, prefetch=5)
    await asyncio.to_thread(node.kill9)
    node.wipe()

    await asyncio.to_thread(node.start)

    await publish_surely(stage, transport, "after")
    assert await fetch(consumer, {"after"}) == {"after": 1}


@contextmanager
def alarm(node: BrokerNode, kind: str) -> Generator[None]:
    """A memory or a disk alarm, cleared at the end."""
    command, raised, cleared = {
        "memory": ("set_vm_memory_high_watermark", "0.00001", "0.4"),
        "disk": ("set_disk_free_limit", "900000GB", "50MB"),
    }[kind]
    node.ctl(command, raised)
    try:
        yield
    finally:
        node.ctl(command, cleared)


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_an_alarm_blocks_publishing_and_nothing_else(
    node: BrokerNode, stage: Stage, kind: str
) -> None:
    """A publish says why and in time; consumers go on; afterwards everything goes on."""
    settings = replace(FAST, publish_window=10)
    async with RabbitTransport(node.url, settings) as transport:
        await transport.declare(stage.topology)
        stored = {f"stored {n}" for n in range(20)}
        for text in sorted(stored):
            await stage.publish(transport, text)
        blocking = alarm(node, kind)
        await asyncio.to_thread(blocking.__enter__)
        try:
            for _ in range(3):
                async with within(1.5):
                    results = await asyncio.gather(
                        *(stage.publish(transport, "blocked", timeout=0.5) for _ in range(15)),
                        return_exceptions=True,
                    )
                assert {type(each) for each in results} == {BrokerBlockedError}
            assert "memory or disk alarm" in str(results[0])
            # No more than the window has left us, so no more than that is unknown.
            assert transport.counters["unknown_publishes"] <= 10
            consumer = await transport.consume(stage.queue, prefetch=5)
            assert set((await fetch(consumer, stored)).values()) == {1}
            await consumer.close()
            waiting = asyncio.create_task(stage.publish(transport, "waited", timeout=30))
            await asyncio.sleep(0)
        finally:
            await asyncio.to_thread(blocking.__exit__, None, None, None)

        await waiting
        await stage.publish(transport, "after")
        consumer = await transport.consume(stage.queue, prefetch=50)
        received = await fetch(consumer, {"waited", "after"})
        assert received.keys() <= {"blocked", "waited", "after"}
        assert received["blocked"] <= 10
        assert transport.counters["reconnects"] == 0


async def test_leaving_during_an_alarm_is_bounded(node: BrokerNode, stage: Stage) -> None:
    """The broker does not read the goodbye either."""
    blocking = alarm(node, "memory")
    transport = RabbitTransport(node.url, FAST)
    await transport.__aenter__()
    await transport.declare(stage.topology)
    await stage.publish(transport, "before")
    await asyncio.to_thread(blocking.__enter__)
    try:
        waiting = asyncio.create_task(stage.publish(transport, "x" * 500_000, timeout=60))
        await asyncio.sleep(0.1)

        async with asyncio.timeout(30):
            await transport.__aexit__(None, None, None)

        with pytest.raises(PublishUnknownError):
            await waiting
    finally:
        await asyncio.to_thread(blocking.__exit__, None, None, None)


async def test_the_brokers_consumer_timeout_costs_one_channel(
    node: BrokerNode, namespace: str, stage: Stage, transport: RabbitTransport
) -> None:
    """Held too long, a delivery is taken away and comes back; the neighbours notice nothing."""
    other = Stage(f"{namespace}-other", quorum=True)
    await transport.declare(other.topology)
    set_timeouts = (
        "application:set_env(rabbit, consumer_timeout, {}), "
        "application:set_env(rabbit, channel_tick_interval, {})."
    )
    await asyncio.to_thread(node.ctl, "eval", set_timeouts.format(3_000, 1_000))
    try:
        consumer = await transport.consume(stage.queue, prefetch=1)
        neighbour = await transport.consume(other.queue, prefetch=1)
        await stage.publish(transport, "slow")
        [held] = await take(consumer, 1)

        [again] = await take(consumer, 1, timeout_s=30)

        assert again.redelivered is True
        held.ack()
        assert transport.counters["stale_acks"] == 1
        await other.publish(transport, "x")
        [undisturbed] = await take(neighbour, 1)
        assert undisturbed.redelivered is False
        again.ack()
        undisturbed.ack()
        assert transport.counters["reconnects"] == 0
    finally:
        await asyncio.to_thread(node.ctl, "eval", set_timeouts.format(1_800_000, 60_000))


async def test_a_hundred_consumers_of_deleted_queues_all_come_back(
    node: BrokerNode, namespace: str
) -> None:
    """They share the declaring: it takes seconds, not a hundred times the topology."""
    stages = [Stage(f"{namespace}-{n}") for n in range(20)]
    queues = [stage.queue for stage in stages]
    async with (
        RabbitTransport(node.url, FAST) as transport,
        RabbitTransport(node.url, FAST) as operator,
    ):
        for stage in stages:
            await transport.declare(stage.topology)
        consumers = [
            await transport.consume(queue, prefetch=1) for queue in queues for _ in range(5)
        ]

        await delete_queues(node, queues)

        await eventually(lambda: transport.counters["consumer_cancels"] >= 100)
        await eventually(lambda: all(consumer.consuming for consumer in consumers), timeout_s=20)
        await all_consuming(operator, queues, 5)


async def delete_queues(node: BrokerNode, queues: list[str]) -> None:
    """As an operator would."""
    async with await aio_pika.connect(node.url) as connection:
        channel = await connection.channel()
        for queue in queues:
            await channel.queue_delete(queue)


async def test_a_queue_declared_otherwise_meanwhile_does_not_keep_the_others_from_coming_back(
    node: BrokerNode, namespace: str
) -> None:
    """After a reconnect, what is refused is logged, and everything else is served."""
    changed, same = Stage(f"{namespace}-1"), Stage(f"{namespace}-2")
    async with (
        ChaosProxy.to(node.url) as proxy,
        RabbitTransport(proxy.url(node.url), FAST) as transport,
        RabbitTransport(node.url, FAST) as operator,
    ):
        await transport.declare(changed.topology | same.topology)
        consumers = [await transport.consume(each.queue, prefetch=1) for each in (changed, same)]
        proxy.hole()
        await delete_queues(node, [changed.queue])
        other = Queue(changed.queue, {"x-queue-type": "classic", "x-max-length": 1_000})
        await operator.declare(Topology(queues=(other,), bindings=changed.topology.bindings[:1]))

        proxy.cut()
        proxy.pass_through()

        for each, consumer in zip((changed, same), consumers, strict=True):
            await publish_surely(each, operator, "after")
            await fetch(consumer, {"after"})


async def test_a_deleted_exchange_is_declared_again_by_whoever_publishes_to_it(
    node: BrokerNode, stage: Stage, transport: RabbitTransport
) -> None:
    """The first publish hears that it is missing; the next one finds it mended."""
    await stage.publish(transport, "before")
    async with await aio_pika.connect(node.url) as connection:
        await (await connection.channel()).exchange_delete(stage.exchange)

    with pytest.raises(UnroutableError, match="there is no exchange"):
        await stage.publish(transport, "lost")

    await stage.publish(transport, "after")
    consumer = await transport.consume(stage.queue, prefetch=5)
    assert texts(await take(consumer, 2)) == ["before", "after"]


async def test_publishes_beside_one_to_a_missing_exchange_are_unknown_not_failed(
    node: BrokerNode, stage: Stage, transport: RabbitTransport
) -> None:
    """The broker closes the channel under all of them; publishing again is enough."""
    await stage.publish(transport, "before")
    missing = Message(body=b"missing")

    results = await asyncio.gather(
        *(stage.publish(transport, str(n)) for n in range(20)),
        transport.publish(f"{stage.exchange}.missing", "k", missing),
        *(stage.publish(transport, str(n)) for n in range(20, 40)),
        return_exceptions=True,
    )

    failed = [each for each in results if each is not None]
    assert {type(each) for each in failed} <= {PublishUnknownError, UnroutableError}
    assert isinstance(results[20], (PublishUnknownError, UnroutableError))
    assert f"{stage.exchange}.missing" in str(results[20])
    for number in range(40):
        await publish_surely(stage, transport, str(number))
    await until_settled(transport, stage)


async def until_settled(transport: Transport, stage: Stage) -> None:
    """Everything that was ever published is in the queue at least once."""
    consumer = await transport.consume(stage.queue, prefetch=100)
    received = await fetch(consumer, {"before", *map(str, range(40))})
    assert received["missing"] == 0
    await consumer.close()
    await until_ready(transport, stage.queue, 0)
