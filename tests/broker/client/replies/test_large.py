"""A producer with an attachment store: large effects and outcomes go round the broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.handle import Handle
from effectmq.broker.client.replies.large import UNFETCHED_CODE
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.attachments.memory import MemoryObjects
from effectmq.broker.transports.port import Consumer, Delivery
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.outboxes.replies import ReplyOutbox
from effectmq.consumers.pipeline.reading.bodies import read_stored
from effectmq.protocol.encoding.codec import MSGPACK
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    AttachmentStoreError,
    ConfigurationError,
    EffectFailedError,
    PayloadTooLargeError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import body_reference
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import Reply, encode_reply
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import work_topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeExecCode
from tests.consumers.pipeline.broken_store import BreakableObjects, make_bodies
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, code, logged
from tests.waiting import eventually

#: Over the limit of a message; a store takes it all the same.
LARGE = "x" * 2_000_000


def done(text: str) -> RuntimeEffectOutcome:
    """An outcome with so much in it."""
    return RuntimeEffectOutcomeExecCode(result=Err(text))


class Loop:
    """A worker in its smallest form, which calls what a worker must call; one job at a time."""

    def __init__(self, stage: Stage, consumer: Consumer, outbox: ReplyOutbox) -> None:
        self.stage = stage
        self.outbox = outbox
        self.settled = 0
        self._deliveries = aiter(consumer)

    async def take(self, bodies: LargeBodies) -> tuple[Delivery, Request]:
        """The next effect."""
        async with asyncio.timeout(PATIENCE_S):
            delivery = await anext(self._deliveries)
        read = await read_stored(
            bodies, delivery.message, DEFAULT_LIMITS, now_ms=1, levels_ms=(1_000,)
        )
        assert isinstance(read, Request)
        return delivery, read

    def answer(self, delivery: Delivery, request: Request, text: str) -> None:
        """Answer and settle."""
        reply = Reply(request.effect_id, request.replay_key, request.hash, done(text))

        def settle(_: object) -> None:
            delivery.ack()
            self.settled += 1

        sent = self.outbox.add(
            request.message.reply_to,
            MSGPACK,
            encode_reply(reply, MSGPACK),
            request.effect_id,
            out_of_line=request.hash,
        )
        sent.add_done_callback(settle)


@pytest.fixture
def made() -> tuple[LargeBodies, BreakableObjects]:
    """A store that both sides have."""
    return make_bodies(threshold_bytes=1_000)


@pytest.fixture
def bodies(made: tuple[LargeBodies, BreakableObjects]) -> LargeBodies:
    """The claim check."""
    return made[0]


@pytest.fixture
def objects(made: tuple[LargeBodies, BreakableObjects]) -> BreakableObjects:
    """What is below it."""
    return made[1]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A broker that nobody else uses, with a queue for code."""
    async with AsyncExitStack() as stack:
        made = Stage(stack)
        await (await made.transport()).declare(work_topology(made.topology, ["exec_code"]))
        yield made
        async with asyncio.timeout(PATIENCE_S):
            await stack.aclose()


@pytest.fixture
async def worker(stage: Stage, bodies: LargeBodies) -> Loop:
    """Somebody at work."""
    transport = await stage.transport()
    consumer = await transport.consume(NAMES.work_queue("exec_code"), prefetch=10)
    return Loop(stage, consumer, ReplyOutbox(transport, 10_000, Counter(), bodies))


def waiting(stage: Stage) -> list[Message]:
    """What waits in the queue of code."""
    queue = stage.broker.queue(NAMES.work_queue("exec_code"))
    assert queue is not None
    return list(queue.ready)


async def answered(worker: Loop, bodies: LargeBodies, text: str) -> Request:
    """Carry out the next effect."""
    delivery, request = await worker.take(bodies)
    worker.answer(delivery, request, text)
    return request


async def outcome(handle: Handle) -> RuntimeEffectOutcome:
    """Waited for with patience."""
    return await handle.outcome(PATIENCE_S)


async def test_a_large_effect_and_its_large_outcome_go_round_the_broker(
    stage: Stage, bodies: LargeBodies, worker: Loop
) -> None:
    """Both are over the limit of the broker's messages, and neither is in one."""
    client = await stage.client("me", attachments=bodies.store)
    handle = await client.submit(code(LARGE))
    delivery, request = await worker.take(bodies)
    assert request.envelope == code(LARGE)
    assert delivery.message.body == b""
    assert body_reference(delivery.message) is not None
    worker.answer(delivery, request, LARGE)
    assert await outcome(handle) == done(LARGE)
    assert client.counters["fetched"] == 1
    await eventually(lambda: worker.settled == 1)
    assert stage.ready(NAMES.reply_queue("me")) == 0


async def test_small_ones_stay_in_their_messages(
    stage: Stage, bodies: LargeBodies, objects: BreakableObjects, worker: Loop
) -> None:
    """With a store nothing else changes, but for the word that one is there."""
    client = await stage.client("me", attachments=bodies.store)
    handle = await client.submit(code("1"))
    (message,) = waiting(stage) or (None,)
    request = await answered(worker, bodies, "small")
    assert message is None or message.body
    assert request.message.headers[names.OUT_OF_LINE] is True
    assert await outcome(handle) == done("small")
    assert objects.objects == {}


async def test_without_a_store_nothing_changes(stage: Stage) -> None:
    """No header more, and large effects are refused as ever."""
    client = await stage.client("me")
    await client.submit(code("x" * 100_000))
    (message,) = waiting(stage)
    assert set(message.headers) == {names.HASH, names.REPLAY_KEY}
    assert len(message.body) > 100_000
    with pytest.raises(PayloadTooLargeError):
        await client.submit(code(LARGE))


async def test_an_effect_over_the_stores_own_limit_is_refused(stage: Stage) -> None:
    """Before anything is stored or sent."""
    bodies, objects = make_bodies(max_body_bytes=1_000_000)
    client = await stage.client(attachments=bodies.store)
    with pytest.raises(PayloadTooLargeError, match="the limit is 1000000"):
        await client.submit(code(LARGE))
    assert objects.objects == {}
    assert waiting(stage) == []


async def test_what_the_transport_does_not_take_goes_to_the_store(stage: Stage) -> None:
    """Also below the threshold, since there is no other way."""
    bodies, objects = make_bodies(threshold_bytes=1_000_000)
    settings = TransportSettings(max_body_bytes=5_000)
    client = await stage.client(attachments=bodies.store, transport=settings)
    await client.submit(code("x" * 6_000))
    assert len(objects.objects) == 1


async def test_a_store_that_is_down_refuses_the_effect_and_sends_nothing(
    stage: Stage, bodies: LargeBodies, objects: BreakableObjects
) -> None:
    """The caller hears of it; small effects go on."""
    client = await stage.client(attachments=bodies.store)
    objects.broken = True
    with pytest.raises(AttachmentStoreError, match="the store is down"):
        await client.execute(code(LARGE), timeout=PATIENCE_S)
    assert waiting(stage) == []
    await client.submit(code("1"))
    assert len(waiting(stage)) == 1


async def test_a_store_that_does_not_answer_takes_no_longer_than_the_caller_gives(
    stage: Stage, bodies: LargeBodies, objects: BreakableObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing hangs."""
    client = await stage.client(attachments=bodies.store)

    async def never(name: str, data: bytes) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(objects, "put", never)
    with pytest.raises(AttachmentStoreError, match="nothing was submitted"):
        await client.submit(code(LARGE), timeout=0.05)
    assert waiting(stage) == []


async def test_an_outcome_waits_for_a_store_that_is_down_and_holds_up_no_other(
    stage: Stage,
    bodies: LargeBodies,
    objects: BreakableObjects,
    worker: Loop,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On the worker's side when it is sent, on the client's when it is read; nothing is lost."""
    client = await stage.client("me", attachments=bodies.store)
    large, small = [await client.submit(code(text, text)) for text in ("large", "small")]
    first, second = await worker.take(bodies), await worker.take(bodies)
    objects.broken = True
    worker.answer(*first, LARGE)
    worker.answer(*second, "small")
    assert await outcome(small) == done("small")
    await eventually(lambda: logged(caplog, "store_again"))
    assert not large.done
    assert worker.settled <= 1
    objects.broken = False
    assert await outcome(large) == done(LARGE)
    await eventually(lambda: worker.settled == 2)


async def test_an_outcome_that_is_being_fetched_comes_back_to_the_next_client(
    stage: Stage, bodies: LargeBodies, objects: BreakableObjects, worker: Loop
) -> None:
    """It was not settled, because it was not read."""
    async with EffectClient(
        stage.url, identity="me", topology=stage.topology, attachments=bodies.store
    ) as client:
        await client.submit(code())
        delivery, request = await worker.take(bodies)
        objects.unreadable = True
        worker.answer(delivery, request, LARGE)
        await eventually(lambda: objects.refused)
        assert client.counters["fetched"] == 0
    objects.unreadable = False
    again = await stage.client("me", attachments=bodies.store)
    assert await outcome(again.attach(code())) == done(LARGE)


@pytest.mark.parametrize("damage", [None, b"something else"])
async def test_an_outcome_that_is_gone_is_told_to_whoever_waits(
    stage: Stage,
    bodies: LargeBodies,
    objects: BreakableObjects,
    worker: Loop,
    damage: bytes | None,
) -> None:
    """Missing and damaged ones; nobody waits in vain."""
    sender = await stage.client("other", attachments=bodies.store)
    handle = await sender.submit(code())
    delivery, request = await worker.take(bodies)
    message = await bodies.outgoing(
        Message(body=b"x" * 2_000, type="effect.outcome.v1", headers={names.HASH: request.hash})
    )
    (name,) = objects.objects
    if damage is None:
        del objects.objects[name]
    else:
        objects.objects[name] = damage
    await (await stage.transport()).publish("", request.message.reply_to, message)
    with pytest.raises(EffectFailedError) as failed:
        await outcome(handle)
    assert failed.value.code == UNFETCHED_CODE
    assert "gave an outcome, but it cannot be read: the body" in failed.value.message
    assert sender.counters["unfetched"] == 1
    delivery.ack()


async def test_a_client_without_a_store_leaves_the_outcome_for_one_with(
    stage: Stage, bodies: LargeBodies, worker: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits hears what to do, and the outcome stays in the queue."""
    async with EffectClient(
        stage.url, identity="me", topology=stage.topology, attachments=bodies.store
    ) as client:
        await client.submit(code())
    await answered(worker, bodies, LARGE)
    await eventually(lambda: stage.ready(NAMES.reply_queue("me")) == 1)
    async with EffectClient(stage.url, identity="me", topology=stage.topology) as client:
        handle = client.attach(code())
        with pytest.raises(EffectFailedError, match="set EFFECTMQ_ATTACHMENTS"):
            await outcome(handle)
    assert logged(caplog, "reply_unfetched")
    again = await stage.client("me", attachments=bodies.store)
    assert await outcome(again.attach(code())) == done(LARGE)


async def test_a_producer_that_cannot_fetch_gets_its_outcome_in_the_message(
    stage: Stage, bodies: LargeBodies, objects: BreakableObjects, worker: Loop
) -> None:
    """Over the threshold too; a producer in another language knows nothing of stores."""
    client = await stage.client("me")
    handle = await client.submit(code())
    delivery, request = await worker.take(bodies)
    reply = Reply(request.effect_id, request.replay_key, request.hash, done("x" * 5_000))
    sent = worker.outbox.add("t.reply.me", MSGPACK, encode_reply(reply, MSGPACK), "1")
    sent.add_done_callback(lambda _: delivery.ack())
    assert await outcome(handle) == done("x" * 5_000)
    assert objects.objects == {}


async def test_a_store_can_be_named_by_its_address(stage: Stage) -> None:
    """The client opens it and has it to put attachments into."""
    client = await stage.client(attachments="memory://by-address")
    assert client.attachments is not None
    reference = await client.attachments.put(b"1", "image/png")
    assert any(reference.id in name for name in MemoryObjects("by-address").objects)
    with pytest.raises(ConfigurationError):
        EffectClient(stage.url, attachments="nowhere")
    assert EffectClient(stage.url, attachments="none").attachments is None


async def test_a_client_does_not_open_with_a_store_that_cannot_be_used(
    stage: Stage, objects: BreakableObjects, bodies: LargeBodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake shows at start, not at the first large effect."""

    async def refuse() -> None:
        raise AttachmentStoreError("no such bucket")

    monkeypatch.setattr(objects, "open", refuse)
    with pytest.raises(AttachmentStoreError, match="no such bucket"):
        await stage.client("me", attachments=bodies.store)
    await stage.client("me")


async def test_a_worker_without_a_store_parks_the_effect_and_says_what_to_do(
    stage: Stage, bodies: LargeBodies
) -> None:
    """The letter has the reference, so that it can be replayed when the worker has a store."""
    app = stage.worker()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        raise AssertionError("it cannot be read")

    await stage.start(app)
    client = await stage.client("me", attachments=bodies.store)
    with pytest.raises(EffectFailedError, match="set EFFECTMQ_ATTACHMENTS") as failed:
        await client.execute(code(LARGE), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_malformed"
    (letter,) = await stage.parked()
    assert letter.reason == "malformed"
    assert body_reference(letter.message) is not None
