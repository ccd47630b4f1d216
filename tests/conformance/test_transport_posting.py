"""The transport port, proven on every adapter: publishing while something else is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from effectmq.broker.transports.port import Posted, Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    ConfigurationError,
    PayloadTooLargeError,
    PublishUnknownError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names
from tests.conformance.adapters import Adapter
from tests.conformance.taking import take, texts
from tests.waiting import eventually

Connect = Callable[..., Awaitable[Transport]]

pytestmark = pytest.mark.timeout(240)

TOOL = "tool_call"
_PATIENCE_S = 20.0


class Caller:
    """Somebody who publishes, and waits for something else."""

    def __init__(self, transport: Transport, names: Names) -> None:
        self._transport = transport
        self._names = names
        self.taken = 0

    def post(
        self, body: bytes, *, key: str = TOOL, timeout: float = _PATIENCE_S, **more: Any
    ) -> tuple[Posted | None, asyncio.Future[Any]]:
        """Publish; the future is what is awaited."""
        awaited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        posted = self._transport.post(
            self._names.work_exchange,
            key,
            Message(body=body, **more),
            awaited,
            timeout=timeout,
            on_taken=self._note,
        )
        return posted, awaited

    def _note(self) -> None:
        self.taken += 1


@pytest.fixture
def caller(transport: Transport, names: Names) -> Caller:
    """On the transport of the test."""
    return Caller(transport, names)


async def warm(transport: Transport, names: Names) -> None:
    """There is a channel from now on, so that nothing needs a wait of its own."""
    await transport.publish(names.work_exchange, TOOL, Message(body=b"warm"))


async def test_what_is_posted_arrives_and_its_caller_is_told_once(
    transport: Transport, names: Names, caller: Caller
) -> None:
    """And is not woken: what it awaits is something else."""
    await warm(transport, names)
    posted, awaited = caller.post(b"x")
    assert posted is not None

    await eventually(lambda: caller.taken)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=10)

    assert texts(await take(consumer, 2)) == ["warm", "x"]
    assert (posted.taken, caller.taken, awaited.done()) == (True, 1, False)
    assert transport.counters["published"] == 2
    posted.leave(arrived=True)
    assert transport.counters["published"] == 2


async def test_a_caller_that_leaves_hears_nothing_and_what_it_posted_arrives(
    transport: Transport, names: Names, caller: Caller
) -> None:
    """Whether what it awaited has come, or it was cancelled."""
    await warm(transport, names)
    for arrived in (True, False):
        posted, awaited = caller.post(b"x")
        assert posted is not None
        posted.leave(arrived=arrived)
        posted.leave(arrived=arrived)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=10)

    assert texts(await take(consumer, 3)) == ["warm", "x", "x"]
    assert (caller.taken, awaited.done()) == (0, False)


async def test_a_missing_queue_wakes_the_caller(
    transport: Transport, names: Names, caller: Caller
) -> None:
    """It then finds the same error as a publish has."""
    await warm(transport, names)
    posted, awaited = caller.post(b"x", key="nobody")
    assert posted is not None

    assert await awaited is None
    with pytest.raises(UnroutableError):
        await posted.confirmed(1.0)

    assert (caller.taken, posted.taken) == (0, False)
    assert transport.counters["unroutable"] == 1
    await transport.publish(names.work_exchange, TOOL, Message(body=b"after"))


async def test_a_lost_connection_wakes_the_caller(
    adapter: Adapter, connect: Connect, names: Names, transport: Transport
) -> None:
    """Nobody knows whether the message has arrived."""
    producer = await connect()
    await warm(producer, names)
    caller = Caller(producer, names)
    posted, awaited = caller.post(b"x")
    assert posted is not None
    adapter.lose_connection(producer)

    assert await awaited is None
    with pytest.raises(PublishUnknownError):
        await posted.confirmed(1.0)

    assert caller.taken == 0
    assert producer.counters["unknown_publishes"] == 1


async def test_many_are_sent_in_their_order_through_a_small_window(
    connect: Connect, names: Names, transport: Transport
) -> None:
    """And those between them that wait as coroutines."""
    producer = await connect(TransportSettings(publish_window=3))
    await warm(producer, names)
    caller = Caller(producer, names)
    tasks = []
    for number in range(300):
        body = str(number).encode()
        if number % 3:
            posted, _ = caller.post(body)
            assert posted is not None
        else:
            publishing = producer.publish(names.work_exchange, TOOL, Message(body=body))
            tasks.append(asyncio.create_task(publishing))
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    await eventually(lambda: caller.taken == 200)
    consumer = await transport.consume(names.work_queue(TOOL), prefetch=400)
    received = texts(await take(consumer, 301))
    assert received[0] == "warm"
    assert set(received[1:]) == set(map(str, range(300)))
    assert [text for text in received[1:] if int(text) % 3] == [
        str(number) for number in range(300) if number % 3
    ]
    assert producer.counters["published"] == 301


async def test_what_cannot_be_sent_is_refused_at_once(
    transport: Transport, names: Names, caller: Caller
) -> None:
    """As a publish refuses it, and without a place in the window."""
    await warm(transport, names)
    for problem, more in (
        (PayloadTooLargeError, {"correlation_id": "x" * 300}),
        (ConfigurationError, {"headers": {"foreign": "x"}}),
    ):
        with pytest.raises(problem):
            caller.post(b"x", **more)
    with pytest.raises(PayloadTooLargeError):
        caller.post(b"x", key="k" * 300)
