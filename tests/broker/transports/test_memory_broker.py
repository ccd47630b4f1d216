"""What is particular to the memory broker, or exact only there."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from effectmq.broker.transports.memory import MemoryBroker, MemoryTransport, QueueSnapshot
from effectmq.broker.transports.memory.consumers import MemoryConsumer, MemoryDelivery
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    BrokerBlockedError,
    ConfigurationError,
    PublishUnknownError,
    QueueFullError,
    TopologyError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import (
    Binding,
    Exchange,
    Names,
    Queue,
    Topology,
    TopologySettings,
    shared_topology,
    work_topology,
)
from tests.waiting import eventually

NAMES = Names("t")
SETTINGS = TopologySettings(namespace="t", delay_levels_ms=(20, 250), delivery_limit=2)
TOOL = "tool_call"
WORK = NAMES.work_queue(TOOL)


@pytest.fixture
async def transport(namespace: str) -> AsyncIterator[MemoryTransport]:
    """A connection to a fresh broker on which everything is declared."""
    async with MemoryTransport(f"memory://{namespace}") as opened:
        await opened.declare(shared_topology(SETTINGS) | work_topology(SETTINGS, [TOOL]))
        yield opened


async def publish(transport: MemoryTransport, *bodies: str) -> None:
    """Publish to the one kind."""
    for body in bodies:
        await transport.publish(NAMES.work_exchange, TOOL, Message(body=body.encode()))


async def take(consumer: MemoryConsumer, count: int) -> list[MemoryDelivery]:
    """The next deliveries."""
    async with asyncio.timeout(20):
        return [await anext(consumer) for _ in range(count)]


def snapshot(transport: MemoryTransport, queue: str) -> QueueSnapshot:
    """What is in a queue that exists."""
    found = transport.broker.queue(queue)
    assert found is not None
    return found


def waiting(transport: MemoryTransport, queue: str) -> list[str]:
    """The bodies that are ready in a queue."""
    return [message.body.decode() for message in snapshot(transport, queue).ready]


def queue_named(name: str, **arguments: str | int) -> Topology:
    """A queue with these arguments, underscores for dashes and ``x-`` left out."""
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return Topology(queues=(Queue(name, named),))


# Which broker ---------------------------------------------------------------------------------


async def test_transports_of_one_name_share_a_broker_and_others_do_not(namespace: str) -> None:
    """The name in the URL is the broker."""
    async with (
        MemoryTransport(f"memory://{namespace}") as one,
        MemoryTransport(f"memory://{namespace}") as same,
        MemoryTransport(f"memory://{namespace}.other") as other,
        MemoryTransport() as default,
        MemoryTransport("memory://default") as named_default,
    ):
        assert one.broker is same.broker
        assert one.broker is MemoryBroker.named(namespace)
        assert default.broker is named_default.broker
        assert len({id(each.broker) for each in (one, other, default)}) == 3


async def test_messages_outlive_every_connection(namespace: str) -> None:
    """A producer may submit and leave before the first worker comes."""
    url = f"memory://{namespace}"
    async with MemoryTransport(url) as producer:
        await producer.declare(work_topology(SETTINGS, [TOOL]))
        await publish(producer, "kept")

    async with MemoryTransport(url) as worker:
        [delivery] = await take(await worker.consume(WORK, prefetch=1), 1)

    assert delivery.message.body == b"kept"


def test_each_event_loop_has_brokers_of_its_own_and_takes_them_along() -> None:
    """Timers belong to a loop; a broker of a closed loop is forgotten, not leaked."""

    async def named() -> weakref.ref[MemoryBroker]:
        return weakref.ref(MemoryBroker.named("t"))

    first = asyncio.run(named())
    second = asyncio.run(named())

    gc.collect()
    assert first() is None
    assert second() is not None


def test_a_transport_that_was_never_opened_has_no_broker() -> None:
    """The hook says so, instead of making one."""
    with pytest.raises(TransportClosedError, match="memory://t"):
        _ = MemoryTransport("memory://t").broker


# Alarms ---------------------------------------------------------------------------------------


async def test_a_publish_during_an_alarm_ends_at_its_timeout(transport: MemoryTransport) -> None:
    """It is refused as blocked, nothing is stored, and it is counted."""
    transport.broker.block()
    transport.broker.block()

    with pytest.raises(BrokerBlockedError, match=r"for 0\.02 s"):
        await transport.publish(NAMES.work_exchange, TOOL, Message(body=b""), timeout=0.02)

    assert transport.counters["blocked"] == 1
    transport.broker.unblock()
    transport.broker.unblock()
    assert waiting(transport, WORK) == []


async def test_without_a_timeout_the_settings_say_how_long(namespace: str) -> None:
    """``publish_timeout_s`` bounds every publish that does not say otherwise."""
    settings = TransportSettings(publish_timeout_s=0.03)
    async with MemoryTransport(f"memory://{namespace}", settings) as transport:
        await transport.declare(work_topology(SETTINGS, [TOOL]))
        transport.broker.block()

        with pytest.raises(BrokerBlockedError, match=r"for 0\.03 s"):
            await publish(transport, "never")


async def test_publishes_that_wait_out_an_alarm_go_through_in_order(
    transport: MemoryTransport,
) -> None:
    """Clearing the alarm lets everybody in who still waits, and nobody who left."""
    transport.broker.block()
    bodies = [str(number) for number in range(5)]
    tasks = [asyncio.create_task(publish(transport, body)) for body in bodies]
    await asyncio.sleep(0)
    tasks[2].cancel()

    transport.broker.unblock()

    await asyncio.gather(*tasks, return_exceptions=True)
    assert waiting(transport, WORK) == ["0", "1", "3", "4"]


async def test_a_second_alarm_catches_those_that_were_just_let_in(
    transport: MemoryTransport,
) -> None:
    """Between waking up and publishing the alarm may be back."""
    transport.broker.block()
    task = asyncio.create_task(publish(transport, "patient"))
    await asyncio.sleep(0)

    transport.broker.unblock()
    transport.broker.block()
    await asyncio.sleep(0)
    assert waiting(transport, WORK) == []
    transport.broker.unblock()

    await task
    assert waiting(transport, WORK) == ["patient"]


async def test_a_publish_that_was_just_let_in_survives_a_lost_connection(
    transport: MemoryTransport,
) -> None:
    """It had not been sent yet, so it is sent on the next connection."""
    transport.broker.block()
    task = asyncio.create_task(publish(transport, "1"))
    await asyncio.sleep(0)

    transport.broker.unblock()
    transport.lose_connection()

    await task
    assert waiting(transport, WORK) == ["1"]


async def test_waiting_for_an_alarm_that_is_off_is_over_at_once(
    transport: MemoryTransport,
) -> None:
    """There is nothing to wait for."""
    assert transport.broker.unblocked().done()


async def test_consumers_go_on_during_an_alarm(transport: MemoryTransport) -> None:
    """RabbitMQ blocks connections that publish; ours that consume are others."""
    await publish(transport, "1")
    transport.broker.block()

    [delivery] = await take(await transport.consume(WORK, prefetch=1), 1)

    delivery.ack()
    assert snapshot(transport, WORK).unsettled == 0


# Publishing -----------------------------------------------------------------------------------


async def test_a_connection_lost_before_the_confirmation_leaves_the_publish_unknown(
    transport: MemoryTransport,
) -> None:
    """The message is there and its publisher does not know: what everything is built for."""
    task = asyncio.create_task(publish(transport, "perhaps"))
    await asyncio.sleep(0)

    transport.lose_connection()

    with pytest.raises(PublishUnknownError):
        await task
    assert waiting(transport, WORK) == ["perhaps"]
    assert (transport.counters["unknown_publishes"], transport.counters["published"]) == (1, 0)


@pytest.mark.parametrize("how", ["lose", "leave"])
async def test_a_publish_that_waits_out_an_alarm_hears_of_the_lost_connection(
    transport: MemoryTransport, how: str
) -> None:
    """It does not wait for its timeout on a line that is gone."""
    transport.broker.block()
    task = asyncio.create_task(publish(transport, "perhaps"))
    await asyncio.sleep(0)

    if how == "lose":
        transport.lose_connection()
    else:
        await transport.__aexit__(None, None, None)

    with pytest.raises(PublishUnknownError):
        await task
    assert transport.counters["unknown_publishes"] == 1


async def test_an_exchange_that_does_not_exist_is_unroutable(transport: MemoryTransport) -> None:
    """RabbitMQ would close the channel; the sentence tells the two cases apart."""
    with pytest.raises(UnroutableError, match="does not exist"):
        await transport.publish("missing", TOOL, Message(body=b""))
    with pytest.raises(UnroutableError, match="no queue bound for 'other'"):
        await transport.publish(NAMES.work_exchange, "other", Message(body=b""))


async def test_a_length_limit_is_exact_and_counts_what_is_ready(
    transport: MemoryTransport,
) -> None:
    """What consumers hold, or are about to get, takes no room."""
    await transport.declare(queue_named("small", max_length=2, overflow="reject-publish"))
    for _ in range(2):
        await transport.publish("", "small", Message(body=b""))
    with pytest.raises(QueueFullError, match="limit of 2"):
        await transport.publish("", "small", Message(body=b""))
    await transport.consume("small", prefetch=3)

    await asyncio.gather(*(transport.publish("", "small", Message(body=b"")) for _ in range(3)))

    with pytest.raises(QueueFullError):
        await transport.publish("", "small", Message(body=b""))
    assert (len(snapshot(transport, "small").ready), snapshot(transport, "small").unsettled) == (
        2,
        3,
    )


async def test_without_reject_publish_the_oldest_message_is_dropped(
    transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """RabbitMQ's default overflow, which our topology never uses: counted and logged here."""
    await transport.declare(queue_named("small", max_length=1))

    for body in (b"1", b"2"):
        await transport.publish("", "small", Message(body=body, correlation_id=f"e{body.decode()}"))

    assert waiting(transport, "small") == ["2"]
    assert transport.broker.counters["dropped"] == 1
    assert "'e1'" in caplog.text


async def test_a_queue_that_is_bound_twice_gets_a_message_once(transport: MemoryTransport) -> None:
    """And a topic pattern is matched word by word."""
    matching = ["a.b", "#", "*.b", "a.#", "#.b", "a.#.b", "*.*"]
    others = ["a", "*", "b.#", "a.b.*", "a.*.b", ""]
    exchange = Exchange("topics", "topic")
    queues = tuple(Queue(f"q{pattern}", {}) for pattern in matching + others)
    bindings = [Binding("topics", f"q{pattern}", pattern) for pattern in matching + others]
    bindings.append(Binding("topics", "q#", "a.*"))
    await transport.declare(Topology((exchange,), queues, tuple(bindings)))

    await transport.publish("topics", "a.b", Message(body=b"1"))

    for pattern in matching + others:
        expected = ["1"] if pattern in matching else []
        assert waiting(transport, f"q{pattern}") == expected, pattern


async def test_a_message_that_one_queue_refuses_is_refused_though_another_took_it(
    transport: MemoryTransport,
) -> None:
    """As in RabbitMQ: one negative confirmation is enough."""
    full: dict[str, str | int] = {"x-max-length": 0, "x-overflow": "reject-publish"}
    topology = Topology(
        (Exchange("both", "fanout"),),
        (Queue("open", {}), Queue("full", full)),
        (Binding("both", "open", ""), Binding("both", "full", "")),
    )
    await transport.declare(topology)

    with pytest.raises(QueueFullError, match="'full'"):
        await transport.publish("both", "", Message(body=b"1"))

    assert waiting(transport, "open") == ["1"]


# Consuming ------------------------------------------------------------------------------------


async def test_consumers_take_turns(transport: MemoryTransport) -> None:
    """One message to each that has room, round and round."""
    consumers = [await transport.consume(WORK, prefetch=prefetch) for prefetch in (1, 3, 3)]
    await publish(transport, *"abcdefg")

    received = [
        "".join(delivery.message.body.decode() for delivery in await take(consumer, count))
        for consumer, count in zip(consumers, (1, 3, 3), strict=True)
    ]

    assert "".join(sorted("".join(received))) == "abcdefg"
    assert [len(each) for each in received] == [1, 3, 3]


async def test_a_consumer_that_settles_at_once_does_not_starve_the_loop(
    transport: MemoryTransport,
) -> None:
    """However much is waiting, everybody else gets a turn after each prefetch."""
    await publish(transport, *(["x"] * 100))
    consumer = await transport.consume(WORK, prefetch=5)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    for _ in range(100):
        (await anext(consumer)).ack()
    counting.cancel()

    assert turns >= 100 / 5


async def test_messages_given_back_one_consumer_at_a_time_keep_their_order(
    transport: MemoryTransport,
) -> None:
    """The order is that of publishing, whoever comes back first."""
    for closing in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        consumers = [await transport.consume(WORK, prefetch=2) for _ in range(3)]
        await publish(transport, *"abcdef", "g")
        for consumer in consumers:
            await take(consumer, 2)
        for index in closing:
            await consumers[index].stop()
        for index in closing:
            await consumers[index].close()
        assert waiting(transport, WORK) == list("abcdefg")
        emptying = await transport.consume(WORK, prefetch=7)
        for delivery in await take(emptying, 7):
            delivery.ack()
        await emptying.close()


async def test_an_iteration_can_be_shared_and_cancelled(transport: MemoryTransport) -> None:
    """Every message goes to exactly one of the tasks that wait, and none to one that left."""
    consumer = await transport.consume(WORK, prefetch=10)
    tasks = [asyncio.create_task(take(consumer, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()

    await publish(transport, "1", "2")

    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    bodies = [one.message.body for each in results[1:] if isinstance(each, list) for one in each]
    assert sorted(bodies) == [b"1", b"2"]


async def test_an_exclusive_consumer_that_was_overtaken_waits_for_its_turn(
    transport: MemoryTransport, namespace: str
) -> None:
    """Somebody else may be faster after a lost connection; when they leave, it resumes."""
    async with MemoryTransport(f"memory://{namespace}") as other:
        consumer = await transport.consume(WORK, prefetch=1, exclusive=True)
        overtaking = asyncio.create_task(other.consume(WORK, prefetch=1, exclusive=True))
        await asyncio.sleep(0)
        transport.lose_connection()
        winner = await overtaking
        await eventually(lambda: transport.counters["reconnects"] == 1)
        assert (winner.consuming, consumer.consuming) == (True, False)

        await winner.close()

        await eventually(lambda: consumer.consuming)


async def test_a_closed_consumer_does_not_come_back_with_its_queue(
    transport: MemoryTransport, namespace: str
) -> None:
    """Neither a declaration nor a reconnection resumes what was ended."""
    async with MemoryTransport(f"memory://{namespace}") as other:
        cancelled, stopped = [await other.consume(WORK, prefetch=1) for _ in range(2)]
        transport.broker.delete_queue(WORK)
        await cancelled.close()
        await stopped.stop()
        await transport.declare(work_topology(SETTINGS, [TOOL]))
        other.lose_connection()
        await eventually(lambda: other.counters["reconnects"] == 1)

        assert snapshot(transport, WORK).consumers == 0


async def test_deliveries_of_a_deleted_queue_are_gone_with_it(transport: MemoryTransport) -> None:
    """Rejecting one or closing the consumer afterwards gives nothing back, to nobody."""
    await publish(transport, "1", "2", "3")
    consumer = await transport.consume(WORK, prefetch=2)
    first, _ = await take(consumer, 2)
    await consumer.stop()
    transport.broker.delete_queue(WORK)
    transport.broker.delete_queue(WORK)
    await transport.declare(work_topology(SETTINGS, [TOOL]))

    first.reject()
    await consumer.close()

    assert waiting(transport, NAMES.limbo) == []
    assert snapshot(transport, WORK) == QueueSnapshot(WORK, (), 0, 0, 0)
    assert transport.broker.queue("no.such.queue") is None


async def test_what_cannot_be_declared_again_is_said(
    transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator replaced a queue by another one of the same name: the consumer goes on."""
    consumer = await transport.consume(WORK, prefetch=1)
    transport.broker.delete_queue(WORK)
    transport.broker.declare(queue_named(WORK, queue_type="quorum"))

    await eventually(lambda: consumer.consuming)

    assert "x-delivery-limit is not set and 2 was expected" in caplog.text


async def test_a_transport_that_closed_does_not_reconnect(transport: MemoryTransport) -> None:
    """A line that breaks in the very last moment changes nothing."""
    transport.lose_connection()
    await transport.__aexit__(None, None, None)
    await asyncio.sleep(0)

    assert transport.counters["reconnects"] == 0


async def test_a_queue_deleted_under_a_transport_that_closes_is_not_declared_again(
    transport: MemoryTransport,
) -> None:
    """Restoring is for those who stay."""
    await transport.consume(WORK, prefetch=1)
    transport.broker.delete_queue(WORK)
    await transport.__aexit__(None, None, None)
    await asyncio.sleep(0)

    assert transport.broker.queue(WORK) is None


# Dead letters and expiry ----------------------------------------------------------------------


async def returned_too_often(transport: MemoryTransport, queue: str, limit: int) -> None:
    """Give back everything in a queue until the broker gives up."""
    for _ in range(limit + 1):
        consumer = await transport.consume(queue, prefetch=100)
        await asyncio.sleep(0)
        await consumer.close()


async def test_a_dead_letter_waits_until_its_exchange_is_there(namespace: str) -> None:
    """At-least-once: held, seen by nobody, and passed on when the exchange gets a queue."""
    async with MemoryTransport(f"memory://{namespace}") as transport:
        await transport.declare(work_topology(SETTINGS, [TOOL]))
        await publish(transport, "poison", "worse")
        await returned_too_often(transport, WORK, SETTINGS.delivery_limit)
        assert snapshot(transport, WORK) == QueueSnapshot(WORK, (), 0, 2, 0)
        stats = await transport.stats(WORK)
        assert stats is not None
        assert stats.ready == 0

        await transport.declare(Topology((Exchange(NAMES.limbo, "fanout"),)))
        await asyncio.sleep(0)
        assert snapshot(transport, WORK).held == 2
        await transport.declare(shared_topology(SETTINGS))

        await eventually(lambda: waiting(transport, NAMES.limbo) == ["poison", "worse"])
        assert snapshot(transport, WORK).held == 0
        assert transport.broker.counters["dead_lettered"] == 2


async def test_a_dead_letter_waits_until_its_target_has_room(transport: MemoryTransport) -> None:
    """A full target holds it up and is asked again when it has drained."""
    await transport.declare(
        queue_named("target", max_length=1, overflow="reject-publish")
        | queue_named(
            "source",
            message_ttl=1,
            dead_letter_exchange="",
            dead_letter_routing_key="target",
            dead_letter_strategy="at-least-once",
            overflow="reject-publish",
            max_length=10,
        )
    )
    await transport.publish("", "target", Message(body=b"0"))
    for body in (b"1", b"2"):
        await transport.publish("", "source", Message(body=body))
    await eventually(lambda: snapshot(transport, "source").held == 2)

    consumer = await transport.consume("target", prefetch=1)

    for expected in (b"0", b"1", b"2"):
        [delivery] = await take(consumer, 1)
        assert delivery.message.body == expected
        delivery.ack()


async def test_a_full_queue_that_expires_its_messages_makes_room_for_dead_letters(
    transport: MemoryTransport,
) -> None:
    """Room made by time counts as much as room made by a consumer."""
    to_target: dict[str, str | int] = {
        "dead_letter_exchange": "",
        "dead_letter_routing_key": "target",
        "dead_letter_strategy": "at-least-once",
        "overflow": "reject-publish",
    }
    home = {**to_target, "dead_letter_routing_key": "home"}
    await transport.declare(
        queue_named("home")
        | queue_named("target", message_ttl=30, max_length=1, **home)
        | queue_named("source", message_ttl=1, **to_target)
    )
    for body in (b"1", b"2", b"3"):
        await transport.publish("", "source", Message(body=body))

    await eventually(lambda: waiting(transport, "home") == ["1", "2", "3"])


async def test_one_key_without_a_queue_does_not_hold_up_the_others(
    transport: MemoryTransport,
) -> None:
    """A retry of a kind that was deleted waits; those of other kinds come home."""
    await transport.publish(NAMES.delay(20), "gone", Message(body=b"1"))
    await transport.publish(NAMES.delay(20), TOOL, Message(body=b"2"))
    await eventually(lambda: waiting(transport, WORK) == ["2"])
    assert snapshot(transport, NAMES.delay(20)).held == 1

    await transport.declare(work_topology(SETTINGS, ["gone"]))

    await eventually(lambda: waiting(transport, NAMES.work_queue("gone")) == ["1"])


async def test_held_dead_letters_go_with_their_queue(transport: MemoryTransport) -> None:
    """Deleting a queue deletes what only it still knew."""
    await transport.publish(NAMES.delay(20), "gone", Message(body=b"1"))
    await eventually(lambda: snapshot(transport, NAMES.delay(20)).held == 1)

    transport.broker.delete_queue(NAMES.delay(20))
    await transport.declare(work_topology(SETTINGS, ["gone"]))
    await asyncio.sleep(0)

    assert waiting(transport, NAMES.work_queue("gone")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"dead_letter_exchange": "missing"},
        {"dead_letter_exchange": "missing", "dead_letter_strategy": "at-least-once"},
    ],
)
async def test_at_most_once_drops_but_not_silently(
    transport: MemoryTransport, caplog: pytest.LogCaptureFixture, arguments: dict[str, Any]
) -> None:
    """Without reject-publish, at-least-once is not active: as in RabbitMQ, which says nothing."""
    await transport.declare(queue_named("leaky", message_ttl=1, **arguments))

    await transport.publish("", "leaky", Message(body=b"", correlation_id="e1"))

    await eventually(lambda: transport.broker.counters["dropped"] == 1)
    assert "'leaky' dropped a message" in caplog.text
    assert "'e1'" in caplog.text


@pytest.mark.parametrize("when", ["early", "late"])
async def test_a_message_taken_from_a_delay_level_keeps_its_time(
    transport: MemoryTransport, when: str
) -> None:
    """Taking and giving back neither prolongs the wait nor loses the timer."""
    await transport.publish(NAMES.delay(250), TOOL, Message(body=b"1"))
    await transport.publish(NAMES.delay(250), TOOL, Message(body=b"2"))
    consumer = await transport.consume(NAMES.delay(250), prefetch=1)
    await take(consumer, 1)
    if when == "late":
        await eventually(lambda: snapshot(transport, NAMES.delay(250)).ready == ())

    await consumer.close()

    expected = ["1", "2"] if when == "early" else ["2", "1"]
    await eventually(lambda: waiting(transport, WORK) == expected)


@pytest.mark.parametrize("how", ["declare", "look", "read"])
async def test_a_queue_in_use_does_not_expire(transport: MemoryTransport, how: str) -> None:
    """Declaring, looking and reading renew the lease; a queue left alone beside it expires."""
    topology = queue_named("used", expires=600)
    await transport.declare(topology | queue_named("unused", expires=600))
    consumer = await transport.consume("used", prefetch=1) if how == "read" else None

    async def is_gone() -> bool:
        if how == "declare":
            await transport.declare(topology)
        elif how == "look":
            await transport.stats("used")
        return transport.broker.queue("unused") is None

    await eventually(is_gone)
    assert transport.broker.queue("used") is not None
    if consumer is not None:
        await consumer.close()
    await eventually(lambda: transport.broker.queue("used") is None)
    assert transport.broker.counters["expired_queues"] == 2


async def test_no_message_is_ever_lost_or_settled_twice(transport: MemoryTransport) -> None:
    """Random publishing, settling, closing and breaking: each message is in exactly one place."""
    for seed in range(20):
        await _random_walk(transport, random.Random(seed), steps=200)


async def _random_walk(transport: MemoryTransport, chance: random.Random, steps: int) -> None:
    published: set[str] = set()
    settled: list[str] = []
    held: list[MemoryDelivery] = []
    consumers = [await transport.consume(WORK, prefetch=4)]
    for step in range(steps):
        action = chance.choice(("publish", "publish", "take", "take", "ack", "lose", "close"))
        if action == "publish":
            published.add(str(step))
            await publish(transport, str(step))
        elif action == "take":
            held += await _take_what_is_there(chance.choice(consumers))
        elif action == "ack" and held:
            delivery = held.pop(chance.randrange(len(held)))
            before = transport.counters["stale_acks"]
            delivery.ack()
            if transport.counters["stale_acks"] == before:
                settled.append(delivery.message.body.decode())
        elif action == "lose" and chance.random() < 0.3:
            transport.lose_connection()
        elif action == "close" and chance.random() < 0.3:
            closing = consumers.pop(chance.randrange(len(consumers)))
            await closing.close()
            consumers.append(await transport.consume(WORK, prefetch=chance.randint(1, 5)))
    for consumer in consumers:
        await consumer.close()
    left = waiting(transport, WORK) + waiting(transport, NAMES.limbo)
    assert sorted(settled + left) == sorted(published)
    transport.broker.delete_queue(WORK)
    transport.broker.delete_queue(NAMES.limbo)
    await transport.declare(shared_topology(SETTINGS) | work_topology(SETTINGS, [TOOL]))


async def _take_what_is_there(consumer: MemoryConsumer) -> list[MemoryDelivery]:
    taking = asyncio.ensure_future(anext(consumer))
    for _ in range(3):
        await asyncio.sleep(0)
    if taking.done():
        return [taking.result()]
    taking.cancel()
    return []


# Declaring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"x-single-active-consumer": 1}, "does not know"),
        ({"x-message-ttl": "1000"}, "x-message-ttl='1000'; expected an integer"),
        ({"x-delivery-limit": -1}, "x-delivery-limit=-1"),
    ],
)
async def test_an_argument_that_would_do_nothing_is_refused(
    transport: MemoryTransport, arguments: dict[str, str | int], expected: str
) -> None:
    """A broker that took it and ignored it would make tests lie."""
    with pytest.raises(ConfigurationError, match=expected):
        await transport.declare(Topology(queues=(Queue("odd", arguments),)))

    assert transport.broker.queue("odd") is None


async def test_every_difference_of_a_queue_is_named(transport: MemoryTransport) -> None:
    """Found and expected, set and not set, all in one sentence."""
    await transport.declare(queue_named("q", message_ttl=5, expires=1_000_000))

    with pytest.raises(TopologyError) as raised:
        await transport.declare(queue_named("q", message_ttl=6, max_length=1))

    for part in (
        "x-message-ttl is 5 and 6 was expected",
        "x-expires is 1000000 and not set was expected",
        "x-max-length is not set and 1 was expected",
    ):
        assert part in str(raised.value)


async def test_a_declaration_that_was_refused_is_not_repeated(transport: MemoryTransport) -> None:
    """What a transport restores after a lost connection is what it once had."""
    with pytest.raises(TopologyError):
        await transport.declare(queue_named("new") | queue_named(WORK, queue_type="classic"))
    transport.broker.delete_queue("new")

    transport.lose_connection()
    await eventually(lambda: transport.counters["reconnects"] == 1)

    assert transport.broker.queue("new") is None
