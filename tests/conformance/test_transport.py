"""The transport port, proven on every adapter: publishing, declaring, looking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    ConfigurationError,
    PayloadTooLargeError,
    QueueFullError,
    ReplyQueueInUseError,
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
    reply_topology,
    shared_topology,
    work_topology,
)
from tests.conformance.adapters import Adapter
from tests.conformance.taking import take, texts
from tests.waiting import eventually

Connect = Callable[..., Awaitable[Transport]]

pytestmark = pytest.mark.timeout(240)

TOOL = "tool_call"


async def test_a_message_is_published_consumed_and_settled(
    transport: Transport, names: Names
) -> None:
    """What was published arrives once, with its queue and its key, and is gone when settled."""
    await transport.publish(names.work_exchange, TOOL, Message(body=b"one"))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)

    [delivery] = await take(consumer, 1)

    assert delivery.message.body == b"one"
    assert delivery.queue == names.work_queue(TOOL)
    assert delivery.routing_key == TOOL
    assert delivery.redelivered is False
    delivery.ack()
    await consumer.close()
    await transport.publish(names.work_exchange, TOOL, Message(body=b"two"))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=10)
    assert texts(await take(consumer, 1)) == ["two"]


async def test_messages_of_one_publisher_arrive_in_order(
    transport: Transport, names: Names
) -> None:
    """Publishes that wait for each other keep their order."""
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=7)
    expected = [str(number) for number in range(50)]
    for text in expected:
        await transport.publish(names.work_exchange, TOOL, Message(body=text.encode()))

    received: list[str] = []
    for _ in expected:
        [delivery] = await take(consumer, 1)
        delivery.ack()
        received.append(delivery.message.body.decode())

    assert expected == received


async def test_every_property_and_header_survives_the_round_trip(
    transport: Transport, names: Names
) -> None:
    """Nothing of a message is changed on the way, at the edges of what a header can hold."""
    message = Message(
        body=bytes(range(256)),
        content_type="application/json",
        type="effect.envelope.v1",
        correlation_id="effect-ünï-1",
        reply_to=names.reply_queue("p1"),
        message_id="m-1",
        timestamp=1_700_000_000,
        headers={
            "effect-text": "grüße, 世界 🦀",
            "effect-empty": "",
            "effect-smallest": -(2**63),
            "effect-largest": 2**63 - 1,
            "effect-zero": 0,
            "effect-yes": True,
            "effect-no": False,
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    )
    await transport.publish(names.work_exchange, TOOL, message)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)

    [delivery] = await take(consumer, 1)

    assert message == delivery.message
    types = {name: type(value) for name, value in message.headers.items()}
    assert types == {name: type(value) for name, value in delivery.message.headers.items()}


async def test_an_empty_message_arrives_as_it_is(transport: Transport, names: Names) -> None:
    """A message of defaults gets nothing but an id."""
    await transport.publish(names.work_exchange, TOOL, Message(body=b""))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)

    [delivery] = await take(consumer, 1)

    assert delivery.message.message_id
    assert Message(body=b"") == replace(delivery.message, message_id="")


async def test_each_publish_gets_an_id_of_its_own(transport: Transport, names: Names) -> None:
    """The same message published twice is two messages."""
    message = Message(body=b"same")
    for _ in range(2):
        await transport.publish(names.work_exchange, TOOL, message)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=2)

    first, second = await take(consumer, 2)

    assert first.message.message_id != second.message.message_id


async def test_what_was_published_cannot_be_changed_afterwards(
    transport: Transport, names: Names
) -> None:
    """The publisher's dictionary, and a reader's, are not the stored message's."""
    message = Message(body=b"", headers={"effect-attempt": 1})
    await transport.publish(names.work_exchange, TOOL, message)
    message.headers["effect-attempt"] = 2
    for _ in range(2):
        consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)
        [delivery] = await take(consumer, 1)
        assert delivery.message.headers == {"effect-attempt": 1}
        delivery.message.headers["effect-attempt"] = 3
        await consumer.close()


async def test_a_kind_that_nobody_has_declared_is_unroutable(
    transport: Transport, names: Names
) -> None:
    """A confirmation alone proves nothing about routing; an unroutable publish raises."""
    with pytest.raises(UnroutableError, match="exec_code"):
        await transport.publish(names.work_exchange, "exec_code", Message(body=b""))

    assert transport.counters["unroutable"] == 1
    assert transport.counters["published"] == 0


async def test_a_reply_queue_that_does_not_exist_is_unroutable(
    transport: Transport, names: Names
) -> None:
    """The default exchange routes by queue name, and says when there is none."""
    queue = names.reply_queue("gone")

    with pytest.raises(UnroutableError, match="gone"):
        await transport.publish("", queue, Message(body=b""))


async def test_the_default_exchange_reaches_a_reply_queue(
    adapter: Adapter, transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """A reply goes to the queue that the request named."""
    await adapter.declare(transport, reply_topology(settings, "p1"))
    consumer = await transport.consume(names.reply_queue("p1"), prefetch=5, exclusive=True)

    await transport.publish("", names.reply_queue("p1"), Message(body=b"reply"))

    [delivery] = await take(consumer, 1)
    assert (b"reply", names.reply_queue("p1")) == (delivery.message.body, delivery.routing_key)


async def test_of_two_publishes_with_one_id_the_right_one_is_returned(
    transport: Transport, names: Names
) -> None:
    """A returned message belongs to its own publish, whatever ids are in flight beside it."""
    message = Message(body=b"twin", message_id="twin")
    exchange = names.work_exchange
    for first, second in ((TOOL, "exec_code"), ("exec_code", TOOL)):
        results = await asyncio.gather(
            transport.publish(exchange, first, message),
            transport.publish(exchange, second, message),
            return_exceptions=True,
        )
        by_key = dict(zip((first, second), results, strict=True))
        assert by_key[TOOL] is None
        assert isinstance(by_key["exec_code"], UnroutableError)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=5)
    assert texts(await take(consumer, 2)) == ["twin", "twin"]


async def test_many_publishes_at_once_go_through_a_small_window(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """More publishes than the window wait for their turn, and every one is stored."""
    narrow = await connect(TransportSettings(publish_window=5))
    expected = {str(number) for number in range(200)}

    await asyncio.gather(
        *(
            narrow.publish(names.work_exchange, TOOL, Message(body=text.encode()))
            for text in expected
        )
    )

    assert narrow.counters["published"] == 200
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=200)
    assert expected == set(texts(await take(consumer, 200)))


async def test_a_body_over_the_limit_is_not_sent(
    transport: Transport, connect: Connect, names: Names
) -> None:
    """Our own limit is checked before the socket, to the byte, and harms no other publish."""
    small = await connect(TransportSettings(max_body_bytes=1_000))

    with pytest.raises(PayloadTooLargeError, match="the body") as raised:
        await small.publish(names.work_exchange, TOOL, Message(body=b"x" * 1_001))

    assert (raised.value.size_bytes, raised.value.limit_bytes) == (1_001, 1_000)
    await small.publish(names.work_exchange, TOOL, Message(body=b"x" * 1_000))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=2)
    [delivery] = await take(consumer, 1)
    assert len(delivery.message.body) == 1_000


async def test_a_body_of_several_frames_arrives_whole(transport: Transport, names: Names) -> None:
    """A body at the default limit is larger than a frame, and nobody notices."""
    body = bytes(range(256)) * 4_096
    await transport.publish(names.work_exchange, TOOL, Message(body=body))
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=1)

    [delivery] = await take(consumer, 1)

    assert body == delivery.message.body


async def test_headers_over_their_limit_are_not_sent(transport: Transport, names: Names) -> None:
    """RabbitMQ answers headers over a frame with a lost connection; we refuse far below."""
    message = Message(body=b"", headers={f"effect-{n}": "x" * 1_000 for n in range(9)})

    with pytest.raises(PayloadTooLargeError, match="the headers"):
        await transport.publish(names.work_exchange, TOOL, message)

    await transport.publish(names.work_exchange, TOOL, Message(body=b"still connected"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("effect-float", 1.5),
        ("effect-none", None),
        ("effect-bytes", b"x"),
        ("effect-list", [1]),
        ("effect-table", {"a": 1}),
        ("effect-int", 2**63),
        ("effect-surrogate", "\ud800"),
        ("foreign", "x"),
    ],
)
async def test_a_header_that_does_not_travel_is_refused(
    transport: Transport, names: Names, name: str, value: Any
) -> None:
    """What would arrive changed, or not at all, is a mistake that is named before sending."""
    with pytest.raises(ConfigurationError, match=name):
        await transport.publish(names.work_exchange, TOOL, Message(body=b"", headers={name: value}))


async def test_a_property_over_its_limit_is_not_sent(transport: Transport, names: Names) -> None:
    """AMQP's short strings have 255 bytes; longer ones are refused by name."""
    longest = "é" * 127
    await transport.publish(names.work_exchange, TOOL, Message(body=b"", correlation_id=longest))

    with pytest.raises(PayloadTooLargeError, match="correlation_id"):
        await transport.publish(
            names.work_exchange, TOOL, Message(body=b"", correlation_id=longest + "é")
        )
    with pytest.raises(PayloadTooLargeError, match="routing key"):
        await transport.publish(names.work_exchange, "x" * 256, Message(body=b""))


async def test_a_lane_is_a_queue_of_its_own(transport: Transport, names: Names) -> None:
    """``kind.lane`` goes to the lane, ``kind`` to the kind, and neither to the other."""
    lane = "tool_call.slow"
    await transport.publish(names.work_exchange, lane, Message(body=b"lane"))
    await transport.publish(names.work_exchange, TOOL, Message(body=b"kind"))

    for route, expected in ((lane, "lane"), (TOOL, "kind")):
        consumer = await transport.consume(names.work_queue(route), prefetch=5)
        [delivery] = await take(consumer, 1)
        assert (expected, route) == (delivery.message.body.decode(), delivery.routing_key)
        stats = await transport.stats(names.work_queue(route))
        assert stats is not None
        assert stats.ready == 0


async def test_a_full_queue_refuses_and_takes_again_when_it_has_room(
    adapter: Adapter, connect: Connect, settings: TopologySettings, names: Names
) -> None:
    """A length limit is back-pressure: the publisher hears of it, and nothing is dropped."""
    transport = await connect()
    limited = replace(settings, max_length=5)
    topology = shared_topology(limited) | work_topology(limited, [TOOL])
    await adapter.declare(transport, topology)

    async def accepted() -> bool:
        try:
            await transport.publish(names.work_exchange, TOOL, Message(body=b""))
        except QueueFullError:
            return False
        return True

    # The limit is soft on RabbitMQ: it may store a few more before it refuses.
    stored = 0
    while stored < 100 and await accepted():
        stored += 1

    assert 5 <= stored < 100
    assert transport.counters["refused"] == 1
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=stored)
    for delivery in await take(consumer, stored):
        delivery.ack()

    await eventually(accepted)
    await take(consumer, 1)


async def test_declaring_again_changes_nothing(
    adapter: Adapter,
    transport: Transport,
    connect: Connect,
    settings: TopologySettings,
    names: Names,
) -> None:
    """Every process declares what it uses; what waits in the queues stays."""
    await transport.publish(names.work_exchange, TOOL, Message(body=b"kept"))
    other = await connect()

    for process in (transport, other):
        await adapter.declare(process, shared_topology(settings) | work_topology(settings, [TOOL]))

    consumer = await other.consume(names.work_queue(TOOL), prefetch=5)
    assert texts(await take(consumer, 1)) == ["kept"]


async def test_declaring_a_queue_otherwise_names_the_difference(
    transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """The error has the queue, the argument, what it is and what was expected."""
    other = replace(settings, delivery_limit=17)

    with pytest.raises(TopologyError) as raised:
        await transport.declare(work_topology(other, [TOOL]))

    text = str(raised.value)
    for part in (names.work_queue(TOOL), "x-delivery-limit", "17", "3"):
        assert part in text
    await transport.publish(names.work_exchange, TOOL, Message(body=b"still connected"))


async def test_declaring_an_exchange_otherwise_names_the_difference(
    transport: Transport, names: Names
) -> None:
    """The error has the exchange, its type and the type that was expected."""
    with pytest.raises(TopologyError) as raised:
        await transport.declare(Topology(exchanges=(Exchange(names.work_exchange, "topic"),)))

    for part in (names.work_exchange, "topic", "direct"):
        assert part in str(raised.value)


async def test_binding_what_does_not_exist_names_it(transport: Transport, names: Names) -> None:
    """A binding has two ends, and the one that is missing is in the error."""
    missing = f"{names.namespace}.missing"

    for binding in (
        Binding(missing, names.dead, ""),
        Binding(names.work_exchange, missing, ""),
    ):
        with pytest.raises(TopologyError, match=missing):
            await transport.declare(Topology(bindings=(binding,)))


async def test_consuming_a_queue_that_does_not_exist_names_it(
    transport: Transport, names: Names
) -> None:
    """A worker of a kind that was never declared is told so, at start."""
    queue = names.work_queue("exec_code")

    with pytest.raises(TopologyError, match=queue):
        await transport.consume(queue, prefetch=1)

    assert await transport.stats(queue) is None


async def test_a_prefetch_below_one_is_refused(transport: Transport, names: Names) -> None:
    """To AMQP zero means without limit, which nobody here may ask for."""
    with pytest.raises(ConfigurationError, match="prefetch"):
        await transport.consume(names.work_queue(TOOL), prefetch=0)


async def test_stats_count_what_is_ready_and_who_reads(transport: Transport, names: Names) -> None:
    """Messages held by a consumer are not ready; a queue that does not exist is ``None``."""
    queue = names.work_queue(TOOL)
    for _ in range(5):
        await transport.publish(names.work_exchange, TOOL, Message(body=b""))

    async def counts() -> tuple[int, int]:
        stats = await transport.stats(queue)
        assert stats is not None
        assert stats.name == queue
        return stats.ready, stats.consumers

    async def is_waiting() -> bool:
        return await counts() == (5, 0)

    async def is_read() -> bool:
        return await counts() == (3, 1)

    await eventually(is_waiting)
    consumer = await transport.consume(queue, prefetch=2)
    await eventually(is_read)
    await consumer.close()
    await eventually(is_waiting)
    assert await transport.stats("no.such.queue") is None


async def test_an_exclusive_consumer_shares_with_nobody(
    adapter: Adapter,
    transport: Transport,
    connect: Connect,
    settings: TopologySettings,
    names: Names,
) -> None:
    """Two live producers with one identity would steal each other's replies."""
    queue, lock = names.reply_queue("p1"), names.reply_lock("p1")
    await adapter.declare(transport, reply_topology(settings, "p1"))
    other = await connect()
    first = await transport.consume(queue, prefetch=1, exclusive=True, lock=lock)

    for second in (other, transport):
        with pytest.raises(ReplyQueueInUseError, match="p1"):
            await second.consume(queue, prefetch=1, exclusive=True, lock=lock)
    await first.close()

    again = await other.consume(queue, prefetch=1, exclusive=True, lock=lock)
    await transport.publish("", queue, Message(body=b"mine"))
    assert texts(await take(again, 1)) == ["mine"]


async def test_an_exclusive_consumer_leaves_no_trace(
    adapter: Adapter,
    transport: Transport,
    connect: Connect,
    settings: TopologySettings,
    names: Names,
) -> None:
    """Whoever ends without a word, as a killed process does, keeps nobody out."""
    queue, lock = names.reply_queue("p1"), names.reply_lock("p1")
    await adapter.declare(transport, reply_topology(settings, "p1"))
    other = await connect()
    await other.consume(queue, prefetch=1, exclusive=True, lock=lock)
    await other.__aexit__(None, None, None)

    consumer = await transport.consume(queue, prefetch=1, exclusive=True, lock=lock)

    await transport.publish("", queue, Message(body=b"mine"))
    assert texts(await take(consumer, 1)) == ["mine"]


async def test_a_classic_queue_that_is_being_read_cannot_be_had_exclusively(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """The reply queue of an earlier release is guarded by the broker, whoever comes first."""
    queue = names.reply_queue("p1")
    classic = Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),))
    await adapter.declare(transport, classic)
    first = await transport.consume(queue, prefetch=1)

    with pytest.raises(ReplyQueueInUseError, match="p1"):
        await transport.consume(queue, prefetch=1, exclusive=True)
    await first.close()

    await transport.consume(queue, prefetch=1, exclusive=True)
    other = await connect()
    for exclusive in (True, False):
        with pytest.raises(ReplyQueueInUseError, match="p1"):
            await other.consume(queue, prefetch=1, exclusive=exclusive)


async def test_a_queue_is_deleted(
    adapter: Adapter, transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """With what is in it, or only when it is empty; and it does not come back by itself."""
    queue = names.reply_queue("p1")
    await adapter.declare(transport, reply_topology(settings, "p1"))
    await transport.publish("", queue, Message(body=b"1"))

    assert await transport.delete(queue)
    assert await transport.delete(queue)

    assert await transport.stats(queue) is None
    adapter.lose_connection(transport)
    await eventually(lambda: transport.counters["reconnects"] > 0)
    assert await transport.stats(queue) is None
    classic = Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),))
    await adapter.declare(transport, classic)
    await transport.publish("", queue, Message(body=b"2"))
    assert not await transport.delete(queue, if_empty=True)
    assert await transport.stats(queue) is not None


async def test_an_exchange_is_deleted(
    adapter: Adapter, transport: Transport, settings: TopologySettings, names: Names
) -> None:
    """With its bindings, or only when nothing is bound to it; it does not come back by itself."""
    await adapter.declare(transport, shared_topology(settings))
    assert not await transport.delete_exchange(names.dead, if_unused=True)
    assert await transport.has_exchange(names.dead)

    assert await transport.delete_exchange(names.dead)
    assert await transport.delete_exchange(names.dead)
    assert await transport.delete(names.limbo)
    assert await transport.delete_exchange(names.limbo, if_unused=True)

    adapter.lose_connection(transport)
    await eventually(lambda: transport.counters["reconnects"] > 0)
    assert not await transport.has_exchange(names.dead)
    assert not await transport.has_exchange(names.limbo)
    assert await transport.stats(names.dead) is not None


async def test_a_transport_that_is_not_open_says_so(
    connect: Connect, transport: Transport, names: Names
) -> None:
    """Before it is entered and after it was left, every call is an error of its own kind."""
    closed = await connect()
    await closed.__aexit__(None, None, None)
    calls: list[Callable[[Transport], Awaitable[object]]] = [
        lambda used: used.publish(names.work_exchange, TOOL, Message(body=b"")),
        lambda used: used.declare(Topology()),
        lambda used: used.consume(names.work_queue(TOOL), prefetch=1),
        lambda used: used.stats(names.work_queue(TOOL)),
    ]
    for used in (closed, open_transport("memory://never-opened")):
        for call in calls:
            with pytest.raises(TransportClosedError):
                await call(used)


async def test_an_open_transport_names_its_server(connect: Connect) -> None:
    """What is shown to people is there from the start, and empty when there is no connection."""
    transport = await connect()

    assert transport.server

    await transport.__aexit__(None, None, None)
    assert transport.server == ""


async def test_a_transport_can_be_left_twice(connect: Connect) -> None:
    """Closing never raises, however often it is asked for."""
    transport = await connect()

    for _ in range(2):
        await transport.__aexit__(None, None, None)
