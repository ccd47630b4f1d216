"""The transport port, proven on every adapter: hearing what is said to everybody."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

import pytest

from effectmq.broker.transports.port import Consumer, Transport
from effectmq.protocol.errors import ReplyQueueInUseError, TopologyError, UnroutableError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, Queue, Topology
from tests.conformance.adapters import Adapter
from tests.conformance.taking import take, texts
from tests.waiting import eventually

Connect = Callable[..., Awaitable[Transport]]

pytestmark = pytest.mark.timeout(240)


class Ear:
    """A connection that listens, and what it was told of its queues."""

    def __init__(self, transport: Transport, names: Names) -> None:
        self.transport = transport
        self.renewed: list[str] = []
        self._names = names

    async def open(self) -> Consumer:
        """Listen."""
        return await self.transport.listen(
            self._names.control, name=self._name, prefetch=10, on_renewed=self.renewed.append
        )

    def _name(self) -> str:
        return self._names.control_queue(f"w-{secrets.token_hex(4)}")


async def _gone(transport: Transport, queue: str) -> None:
    async def is_gone() -> bool:
        return await transport.stats(queue) is None

    await eventually(is_gone)


async def test_whoever_listens_hears_what_is_said_to_all(
    transport: Transport, connect: Connect, names: Names
) -> None:
    """Each over a queue of its own, which also takes what is said to one alone."""
    consumers = [await Ear(await connect(), names).open() for _ in range(2)]

    await transport.publish(names.control, "", Message(body=b"to all"))
    for consumer in consumers:
        [delivery] = await take(consumer, 1)
        assert texts([delivery]) == ["to all"]
        delivery.ack()
    await transport.publish("", consumers[1].queue, Message(body=b"to one"))

    assert consumers[0].queue != consumers[1].queue
    assert texts(await take(consumers[1], 1)) == ["to one"]


async def test_nobody_else_can_use_the_queue(
    transport: Transport, connect: Connect, names: Names
) -> None:
    """Others see that it is there, and no more."""
    listening = await connect()
    queue = (await Ear(listening, names).open()).queue

    with pytest.raises(ReplyQueueInUseError):
        await transport.consume(queue, prefetch=1)
    with pytest.raises(ReplyQueueInUseError):
        await transport.delete(queue)
    with pytest.raises(ReplyQueueInUseError):
        await transport.declare(Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),)))

    theirs, own = await transport.stats(queue), await listening.stats(queue)
    assert theirs is not None
    assert theirs.locked
    assert own is not None
    assert (own.consumers, own.locked) == (1, False)


async def test_after_a_lost_connection_it_listens_again_over_another_queue(
    adapter: Adapter, transport: Transport, connect: Connect, names: Names
) -> None:
    """The former one is gone with what was in it; whoever listens is told of the new one."""
    ear = Ear(await connect(), names)
    consumer = await ear.open()
    former = consumer.queue
    await transport.publish(names.control, "", Message(body=b"1"))
    [stale] = await take(consumer, 1)

    adapter.lose_connection(ear.transport)

    await eventually(lambda: ear.renewed and consumer.consuming)
    stale.ack()
    assert ear.renewed == [consumer.queue]
    assert consumer.queue != former
    await _gone(transport, former)
    await transport.publish(names.control, "", Message(body=b"2"))
    assert texts(await take(consumer, 1)) == ["2"]


@pytest.mark.parametrize("ending", ["stop", "close", "disconnect"])
async def test_the_queue_ends_with_its_consumer(
    transport: Transport, connect: Connect, names: Names, ending: str
) -> None:
    """Nothing is left that what is said to all would pile up in."""
    listening = await connect()
    consumer = await Ear(listening, names).open()
    await transport.publish(names.control, "", Message(body=b"1"))
    [held] = await take(consumer, 1)

    if ending == "disconnect":
        await listening.__aexit__(None, None, None)
    else:
        await getattr(consumer, ending)()

    held.ack()
    await _gone(transport, consumer.queue)
    with pytest.raises(UnroutableError):
        await transport.publish(names.control, "", Message(body=b"2"))


async def test_listening_to_what_does_not_exist_is_an_error(connect: Connect, names: Names) -> None:
    """It names the exchange that is missing."""
    missing = Names(f"{names.namespace}-missing")

    with pytest.raises(TopologyError, match=missing.control):
        await Ear(await connect(), missing).open()
