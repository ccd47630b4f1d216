"""Publishing until the fate of a message is known."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.publishing import publish_until_known
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    AccessRefusedError,
    ConfigurationError,
    PayloadTooLargeError,
    TransportClosedError,
    UnroutableError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Queue, Topology
from tests.waiting import eventually

MESSAGE = Message(body=b"x", correlation_id="e7")


@pytest.fixture
async def transport() -> AsyncIterator[MemoryTransport]:
    """A connection with one queue, and little patience."""
    settings = TransportSettings(publish_timeout_s=0.02, max_body_bytes=100)
    async with MemoryTransport(f"memory://{secrets.token_hex(4)}", settings) as made:
        await made.declare(Topology(queues=(Queue("q", {"x-queue-type": "classic"}),)))
        yield made


def stored(transport: MemoryTransport) -> int:
    """How many messages are in the queue."""
    queue = transport.broker.queue("q")
    return len(queue.ready) if queue else 0


async def test_a_confirmed_message_is_published_once(transport: MemoryTransport) -> None:
    """The usual case."""
    await publish_until_known(transport, "", "q", MESSAGE)
    assert stored(transport) == 1


async def test_a_blocked_broker_is_waited_for(
    transport: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """However often the single publish times out; each try is logged with the effect."""
    transport.broker.block()
    task = asyncio.create_task(publish_until_known(transport, "", "q", MESSAGE))
    await eventually(lambda: transport.counters["blocked"] >= 2)
    assert not task.done()
    transport.broker.unblock()
    await task
    assert stored(transport) == 1
    assert all(record.action == "publish_again" for record in caplog.records)  # type: ignore[attr-defined]
    assert all(record.correlation_id == "e7" for record in caplog.records)  # type: ignore[attr-defined]


async def test_a_publish_of_unknown_fate_is_repeated(transport: MemoryTransport) -> None:
    """A duplicate is absorbed later; a loss is not."""
    task = asyncio.create_task(publish_until_known(transport, "", "q", MESSAGE))
    await asyncio.sleep(0)
    transport.lose_connection()
    await task
    assert transport.counters["unknown_publishes"] == 1
    assert stored(transport) == 2


async def test_a_full_queue_is_waited_for(transport: MemoryTransport) -> None:
    """Refused is back-pressure."""
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    await transport.declare(Topology(queues=(Queue("full", arguments),)))
    await transport.publish("", "full", MESSAGE)
    task = asyncio.create_task(publish_until_known(transport, "", "full", MESSAGE))
    await eventually(lambda: transport.counters["refused"] >= 1)
    consumer = await transport.consume("full", prefetch=1)
    (await anext(aiter(consumer))).ack()
    await task


async def test_a_refusal_that_an_operator_can_mend_is_waited_for(
    transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever publishes here holds a message that would be stuck otherwise."""
    refusals = [AccessRefusedError("no permission on this exchange")]
    publish = transport.publish

    async def refusing(*args: object, **options: object) -> None:
        if refusals:
            raise refusals.pop()
        await publish(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(transport, "publish", refusing)
    await publish_until_known(transport, "", "q", MESSAGE)
    assert stored(transport) == 1


async def test_answers_are_raised(transport: MemoryTransport) -> None:
    """Trying again would not change them."""
    with pytest.raises(UnroutableError):
        await publish_until_known(transport, "", "nowhere", MESSAGE)
    with pytest.raises(PayloadTooLargeError):
        await publish_until_known(transport, "", "q", Message(body=b"x" * 101))
    with pytest.raises(ConfigurationError):
        await publish_until_known(transport, "", "q", Message(body=b"", headers={"x": 1}))
    await transport.__aexit__()
    with pytest.raises(TransportClosedError):
        await publish_until_known(transport, "", "q", MESSAGE)


async def test_cancelling_stops_trying(transport: MemoryTransport) -> None:
    """Nothing goes on behind the back of whoever stopped it."""
    transport.broker.block()
    task = asyncio.create_task(publish_until_known(transport, "", "q", MESSAGE))
    await eventually(lambda: transport.counters["blocked"] >= 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    transport.broker.unblock()
    assert stored(transport) == 0
