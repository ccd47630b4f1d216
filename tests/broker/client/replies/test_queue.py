"""A producer's reply queue: taken over from an earlier release, made anew, deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.asking import again
from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.replies.queue import may_be_replaced, replace_mute
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.attachments.settings import AttachmentSettings
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.port import QueueStats, Transport
from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel
from effectmq.broker.transports.rabbitmq.driver.errors import SilentError
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    BrokerUnreachableError,
    EffectTimeoutError,
    ReplyQueueInUseError,
    TopologyError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import OUTCOME_TYPE, Reply, encode_reply, join_replies
from effectmq.protocol.topology import Queue, Topology, TopologySettings, reply_topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep
from tests.broker.store.journal.effects import Writer
from tests.brokers.provide import Broker, Brokers
from tests.brokers.proxy import ChaosProxy
from tests.conftest import _have, on_every_broker
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, nap, payload, staged, tool
from tests.waiting import eventually

QUEUE = NAMES.reply_queue("p")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run in memory, and on each broker that the session wants."""
    on_every_broker(metafunc, "place")


@pytest.fixture
def url(place: str, brokers: Brokers, pytestconfig: pytest.Config) -> str:
    """A broker, in memory or real."""
    if place == "memory":
        return f"memory://{secrets.token_hex(6)}"
    return _have(pytestconfig, brokers.shared, place).url


@pytest.fixture
async def operator(url: str, topology: TopologySettings) -> AsyncIterator[Transport]:
    """A connection beside the client's; the reply queue is gone afterwards."""
    async with open_transport(url) as transport:
        yield transport
        await transport.delete(reply_topology(topology, "p").queues[0].name)


@pytest.fixture
def topology() -> TopologySettings:
    """A namespace that nobody else uses."""
    return TopologySettings(namespace=f"t-{secrets.token_hex(4)}", delay_levels_ms=(30, 60))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker in memory."""
    async with staged() as made:
        yield made


def classic(topology: TopologySettings) -> Queue:
    """The reply queue as an earlier release declared it."""
    [quorum] = reply_topology(topology, "p").queues
    arguments = {"x-queue-type": "classic", "x-expires": topology.reply_expires_ms}
    return replace(quorum, arguments=arguments)


def answer(client: EffectClient, effect_id: str) -> Message:
    """The outcome of a nap, as a worker sends it."""
    request = client.attach(nap(1, effect_id)).request
    reply = Reply(effect_id, request.replay_key, request.hash, RuntimeEffectOutcomeSleep())
    content_type = request.message.content_type
    body = join_replies([encode_reply(reply, content_type)], content_type)
    return Message(body=body, content_type=content_type, type=OUTCOME_TYPE)


# From an earlier release -------------------------------------------------------------------------


async def test_the_classic_queue_of_an_earlier_release_is_taken_over(
    url: str, topology: TopologySettings, operator: Transport
) -> None:
    """What waits in it is read; from then on it is a queue that survives the loss of a node."""
    client = EffectClient(url, identity="p", topology=topology)
    queue = classic(topology)
    await operator.declare(Topology(queues=(queue,)))
    for number in range(50):
        await operator.publish("", queue.name, answer(client, str(number)))

    async with client:
        outcomes = [
            await client.attach(nap(1, str(number))).outcome(PATIENCE_S) for number in range(50)
        ]

    assert outcomes == [RuntimeEffectOutcomeSleep()] * 50
    async with EffectClient(url, identity="p", topology=topology):
        pass  # as it is declared now


async def test_a_classic_queue_with_a_live_producer_is_left_to_it(
    url: str, topology: TopologySettings, operator: Transport
) -> None:
    """A deployment under way: the identity is in use."""
    queue = classic(topology)
    await operator.declare(Topology(queues=(queue,)))
    consumer = await operator.consume(queue.name, prefetch=1, exclusive=True)

    with pytest.raises(ReplyQueueInUseError):
        async with EffectClient(url, identity="p", topology=topology):
            pass
    await consumer.close()


async def test_outcomes_that_cannot_be_read_are_not_deleted(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bodies are out of line and this client has no store: it says so, and leaves them."""
    monkeypatch.setattr("effectmq.broker.client.replies.queue._READ_S", 0.3)
    transport = await stage.transport()
    client = EffectClient(stage.url, identity="p", topology=stage.topology)
    await transport.declare(Topology(queues=(classic(stage.topology),)))
    store = open_attachments(f"file://{tmp_path}", AttachmentSettings(body_threshold_bytes=1))
    assert store is not None
    async with store:
        await transport.publish("", QUEUE, await LargeBodies(store).outgoing(answer(client, "1")))

    with pytest.raises(TopologyError, match="attachment store"):
        await client.__aenter__()

    assert stage.ready(QUEUE) == 1
    fetching = EffectClient(
        stage.url, identity="p", topology=stage.topology, attachments=f"file://{tmp_path}"
    )
    async with fetching:
        assert await fetching.attach(nap(1, "1")).outcome(PATIENCE_S) == RuntimeEffectOutcomeSleep()


# Deleted with its client -------------------------------------------------------------------------


async def test_a_client_without_an_identity_takes_its_queue_with_it(
    url: str, topology: TopologySettings, operator: Transport
) -> None:
    """Nobody can come back to it, and a quorum queue costs memory and files."""
    async with EffectClient(url, topology=topology) as client:
        queue = client._mailbox.queue
        assert await operator.stats(queue) is not None
    assert await operator.stats(queue) is None


async def test_a_queue_stays_while_an_answer_is_owed(stage: Stage) -> None:
    """Somebody may be watching it; it expires by itself."""
    worker = await napping(stage)
    client = await stage.client()
    await client.submit(nap(60_000))
    await client.__aexit__()
    assert stage.broker.queue(client._mailbox.queue) is not None

    other = await stage.client()
    await other.execute(nap(1, "2"), timeout=PATIENCE_S)
    await other.__aexit__()
    assert stage.broker.queue(other._mailbox.queue) is None
    assert worker.counters["completed"] >= 1


async def test_the_queue_of_an_identity_always_stays(stage: Stage) -> None:
    """Outcomes wait in it for the next process."""
    async with EffectClient(stage.url, identity="p", topology=stage.topology):
        pass
    assert stage.broker.queue(QUEUE) is not None


# Mute -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made_here", "recorded", "served_s", "lossless"),
    [
        (True, False, 0.0, True),
        (True, False, 4.9, True),
        (True, True, 5.0, False),
        (False, True, 0.0, True),
        (False, True, 5.0, False),
        (False, False, 0.0, False),
    ],
)
def test_only_a_queue_that_may_be_unregistered_is_replaced(
    made_here: bool, recorded: bool, served_s: float, lossless: bool
) -> None:
    """Any other one that does not answer may have outcomes in it, and come back."""
    replaced = may_be_replaced(made_here=made_here, recorded=recorded, served_s=served_s)
    assert replaced is lossless


@pytest.mark.rabbitmq
@pytest.mark.parametrize("made_here", [True, False])
async def test_a_mute_queue_is_deleted_by_who_made_it_and_by_nobody_else(
    broker: Broker, topology: TopologySettings, monkeypatch: pytest.MonkeyPatch, made_here: bool
) -> None:
    """Who finds one that was there before tries again, and gets what is in it."""
    mute = asyncio.Event()
    consume = Channel.consume

    async def silent_once(self: Channel, queue: str, **options: Any) -> str:
        if mute.is_set():
            mute.clear()
            raise SilentError("no answer")
        return await consume(self, queue, **options)

    monkeypatch.setattr(Channel, "consume", silent_once)
    queue = reply_topology(topology, "p")
    async with open_transport(broker.url) as operator, ChaosProxy.to(broker.url) as proxy:
        if not made_here:
            await operator.declare(queue)
        async with EffectClient(proxy.url(broker.url), identity="p", topology=topology) as client:
            freeze(client)
            await operator.publish("", queue.queues[0].name, answer(client, "1"))
            mute.set()
            proxy.cut()

            transport, consumer = client._transport, client._mailbox.consumer
            assert transport is not None
            assert consumer is not None
            await eventually(lambda: not mute.is_set() and consumer.consuming, timeout_s=30)
            thaw(client)
            await operator.publish("", queue.queues[0].name, answer(client, "2"))

            await client.attach(nap(1, "2")).outcome(PATIENCE_S)
            assert [reply.effect_id for reply in client.unclaimed()] == ([] if made_here else ["1"])
        await operator.delete(queue.queues[0].name)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("found", ["nothing", "a queue", "a queue and a journal"])
async def test_a_queue_that_is_mute_at_the_start_is_replaced_where_nothing_is_lost(
    broker: Broker,
    topology: TopologySettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: str,
) -> None:
    """Made by this client, or with a journal that has what was in it; others are asked again."""
    journal = f"sqlite:///{tmp_path}/j.db" if found.endswith("journal") else None
    consume, deleted = Channel.consume, list[str]()
    delete = Channel.delete_queue

    async def silent_once(self: Channel, queue: str, **options: Any) -> str:
        monkeypatch.setattr(Channel, "consume", consume)
        raise SilentError("no answer")

    async def note(self: Channel, queue: str, *, if_empty: bool) -> None:
        deleted.append(queue)
        await delete(self, queue, if_empty=if_empty)

    [queue] = reply_topology(topology, "p").queues
    client = EffectClient(broker.url, identity="p", topology=topology, journal=journal)
    async with open_transport(broker.url) as operator:
        if found != "nothing":
            await operator.declare(Topology(queues=(queue,)))
            await operator.publish("", queue.name, answer(client, "1"))
        if journal is not None:
            async with Journal(journal, namespace=topology.namespace) as records:
                await Writer(records).complete(client.attach(nap(1, "1")).request)
        monkeypatch.setattr(Channel, "consume", silent_once)
        monkeypatch.setattr(Channel, "delete_queue", note)
        async with client:
            assert (queue.name in deleted) is (found != "a queue")
            if found == "nothing":
                await operator.publish("", queue.name, answer(client, "1"))
            outcome = await client.attach(nap(1, "1")).outcome(PATIENCE_S)
            assert outcome == RuntimeEffectOutcomeSleep()
        await operator.delete(queue.name)


async def test_a_queue_is_not_deleted_when_nothing_else_is_answered_either(stage: Stage) -> None:
    """A frozen broker would do it when it goes on, to a queue that is as good as ever."""

    class Frozen(MemoryTransport):
        async def stats(self, queue: str) -> QueueStats | None:
            raise BrokerUnreachableError("no answer")

    queue = reply_topology(stage.topology, "p")
    async with Frozen(stage.url) as transport:
        await transport.declare(queue)
        await transport.publish("", QUEUE, Message(body=b"an outcome"))
        assert await replace_mute(transport, queue) is False
    assert stage.ready(QUEUE) == 1


# Made anew ---------------------------------------------------------------------------------------


async def napping(stage: Stage, **options: Any) -> EffectWorker:
    """A worker with a tool."""
    app = stage.worker(**options)

    @app.tool
    async def wait() -> str:
        return "done"

    return await stage.start(app)


def freeze(client: EffectClient) -> None:
    """It reads no more; what arrives stays unsettled."""
    consumer: Any = client._mailbox.consumer
    consumer._on_delivery = None


def thaw(client: EffectClient) -> None:
    """It reads again."""
    consumer: Any = client._mailbox.consumer
    consumer._on_delivery = client._mailbox._take
    while consumer._buffer:
        client._mailbox._take(consumer._buffer.popleft())


def lose(stage: Stage, client: EffectClient) -> None:
    """The queue goes, with whatever is in it."""
    stage.broker.delete_queue(client._mailbox.queue)


async def test_what_is_open_is_asked_again_when_the_queue_was_made_anew(
    stage: Stage, tmp_path: Path
) -> None:
    """The outcome was sent and lost with the queue; the journal has it."""
    journal = f"sqlite:///{tmp_path}/j.db"
    client = await stage.client("p", journal=journal)
    worker = await napping(stage, journal=journal)
    freeze(client)
    handle = await client.submit(tool("wait"))
    await eventually(lambda: worker.counters["replies"] == 1)

    lose(stage, client)
    thaw(client)

    assert payload(await handle.outcome(PATIENCE_S)) == "done"
    assert worker.counters["completed"] == 1
    assert client.counters["asked_again"] == 1


async def test_without_a_journal_in_reach_the_workers_are_asked(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have one, perhaps; the client waits for a kept outcome first."""
    monkeypatch.setattr(again, "_KEPT_ARRIVES_S", 0.05)
    client = await stage.client("p")
    worker = await napping(stage, journal=f"sqlite:///{tmp_path}/j.db")
    freeze(client)
    handle = await client.submit(tool("wait"))
    await eventually(lambda: worker.counters["replies"] == 1)

    lose(stage, client)
    thaw(client)

    assert payload(await handle.outcome(PATIENCE_S)) == "done"
    assert (worker.counters["completed"], worker.counters["replayed"]) == (1, 1)


async def test_nothing_is_asked_again_after_a_mere_loss_of_the_line(stage: Stage) -> None:
    """The queue kept what came; without a journal asking again could run it twice."""
    client = await stage.client("p")
    worker = await napping(stage)
    handle = await client.submit(tool("wait"))
    transport = client._transport
    assert transport is not None
    transport.lose_connection()  # type: ignore[attr-defined]
    consumer = client._mailbox.consumer
    assert consumer is not None
    await eventually(lambda: consumer.consuming)
    assert client.counters["asked_again"] == 0
    assert payload(await handle.outcome(PATIENCE_S)) == "done"
    assert worker.counters["delivered"] == 1


async def test_two_clients_in_turn_under_one_identity_both_get_theirs(
    stage: Stage, tmp_path: Path
) -> None:
    """One process opens, closes and opens again while its queue is deleted in between."""
    journal = f"sqlite:///{tmp_path}/j.db"
    worker = await napping(stage, journal=journal)
    for number in range(10):
        async with EffectClient(
            stage.url, identity="p", topology=stage.topology, journal=journal
        ) as client:
            asking = asyncio.create_task(
                client.execute(tool("wait", str(number), call_id=str(number)), timeout=PATIENCE_S)
            )
            for _ in range(number):
                await asyncio.sleep(0)
            lose(stage, client)
            assert payload(await asking) == "done"
    assert worker.counters["completed"] == 10


async def test_a_last_look_into_the_journal_ends_a_wait(stage: Stage, tmp_path: Path) -> None:
    """What is recorded is given, although the answer never arrived."""
    journal = f"sqlite:///{tmp_path}/j.db"
    client = await stage.client("p", journal=journal)
    await napping(stage, journal=journal)
    freeze(client)

    assert payload(await client.execute(tool("wait"), timeout=1.0)) == "done"


async def test_a_time_out_says_only_what_is_known(stage: Stage, tmp_path: Path) -> None:
    """With a journal, that it has no outcome; without one, nothing."""
    journal = f"sqlite:///{tmp_path}/j.db"
    await napping(stage, journal=journal)
    with_journal = await stage.client("p", journal=journal)
    without = await stage.client("q")

    with pytest.raises(EffectTimeoutError, match="The journal has no outcome of it"):
        await with_journal.execute(nap(60_000), timeout=0.2)
    with pytest.raises(EffectTimeoutError, match="is not known here"):
        await without.execute(nap(60_000), timeout=0.2)
