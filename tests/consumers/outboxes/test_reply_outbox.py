"""Answers on their way: together when they are ready together, and until they are confirmed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes import replies
from effectmq.consumers.outboxes.replies import ReplyOutbox
from effectmq.protocol.encoding.codec import JSON, MSGPACK
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.messages.reply import OUTCOME_TYPE, Reply, encode_reply, read_replies
from effectmq.protocol.topology import Queue, Topology, work_topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode, RuntimeEffectOutcomeSleep
from tests.consumers.stage import (
    NAMES,
    PATIENCE_S,
    Stage,
    code,
    gathered,
    logged,
)
from tests.waiting import eventually


class Outbox:
    """An outbox on a stage, with two reply queues that nobody reads."""

    def __init__(self, stage: Stage, transport: MemoryTransport, max_bytes: int) -> None:
        self.stage = stage
        self.transport = transport
        self.counters: Counter[str] = Counter()
        self.settled: list[str] = []
        self.outbox = ReplyOutbox(transport, max_bytes, self.counters)

    def add(self, effect_id: str, queue: str = "a", content_type: str = MSGPACK) -> int:
        """One answer; gives its size."""
        reply = Reply(effect_id, "k", "h", RuntimeEffectOutcomeSleep())
        encoded = encode_reply(reply, content_type)
        sent = self.outbox.add(queue, content_type, encoded, effect_id)
        sent.add_done_callback(lambda _: self.settled.append(effect_id))
        return len(encoded)

    def messages(self, queue: str = "a") -> list[list[str]]:
        """The effect ids in each message of a queue."""
        found = self.stage.broker.queue(queue)
        assert found is not None
        return [[reply.effect_id for reply in read_replies(one)] for one in found.ready]


async def make(stage: Stage, max_bytes: int = 10_000) -> Outbox:
    """Connect, and declare the queues."""
    transport = await stage.transport(TransportSettings(publish_timeout_s=0.05))
    queues = tuple(Queue(name, {"x-queue-type": "classic"}) for name in "ab")
    await transport.declare(Topology(queues=queues))
    return Outbox(stage, transport, max_bytes)


async def test_what_is_ready_together_leaves_together(stage: Stage) -> None:
    """One message for each producer and encoding; settled after the confirmation."""
    box = await make(stage)
    for name in ("1", "2", "3"):
        box.add(name)
    box.add("4", "b")
    box.add("5", content_type=JSON)
    assert box.settled == []
    await box.outbox.drain()
    assert box.messages("a") == [["1", "2", "3"], ["5"]]
    assert box.messages("b") == [["4"]]
    assert sorted(box.settled) == ["1", "2", "3", "4", "5"]
    assert box.counters == {"replies": 5, "reply_messages": 3}


async def test_a_message_says_whose_answer_it_is_when_it_has_one(stage: Stage) -> None:
    """Type and correlation id, for whoever looks."""
    box = await make(stage)
    box.add("1")
    await box.outbox.drain()
    box.add("2")
    box.add("3")
    await box.outbox.drain()
    queue = stage.broker.queue("a")
    assert queue is not None
    assert [message.correlation_id for message in queue.ready] == ["1", ""]
    assert {message.type for message in queue.ready} == {OUTCOME_TYPE}


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
async def test_a_message_stays_within_the_size_limit(stage: Stage, content_type: str) -> None:
    """A batch is split; one that is over the limit by itself goes alone."""
    size = (await make(stage)).add("0")
    box = await make(stage, max_bytes=4 * size)
    for number in range(20):
        box.add(str(number), content_type=content_type)
    box.add("x" * 4 * size, content_type=content_type)
    box.add("20", content_type=content_type)
    await box.outbox.drain()
    queue = stage.broker.queue("a")
    assert queue is not None
    batches = [read_replies(message) for message in queue.ready[1:]]
    assert [len(reply.effect_id) > 4 for batch in batches for reply in batch].count(True) == 1
    for message, batch in zip(queue.ready[1:], batches, strict=True):
        assert len(message.body) <= 4 * size or len(batch) == 1
    assert max(map(len, batches)) >= 2
    assert len(box.settled) == 22


async def test_answers_that_become_ready_while_one_is_on_its_way_collect(stage: Stage) -> None:
    """The group commit of databases: the next message takes all of them."""
    box = await make(stage)
    stage.broker.block()
    box.add("1")
    await asyncio.sleep(0)
    for name in ("2", "3", "4"):
        box.add(name)
    await asyncio.sleep(0)
    stage.broker.unblock()
    await box.outbox.drain()
    assert box.messages() == [["1"], ["2", "3", "4"]]


async def test_large_answers_wait_neither_for_each_other_nor_do_small_ones_for_them(
    stage: Stage,
) -> None:
    """Each is under way at once; of the small ones only the first is."""
    box = await make(stage, max_bytes=100_000)
    stage.broker.block()
    large = ["x" * 20_000 + str(number) for number in range(3)]
    for number, name in enumerate(large):
        box.add(name)
        box.add(str(number))
        await asyncio.sleep(0)
    stage.broker.unblock()
    await box.outbox.drain()
    messages = box.messages()
    assert [names for names in messages if names[0] in large] == [[name] for name in large]
    assert [names for names in messages if names[0] not in large] == [["0"], ["1", "2"]]


async def test_an_abort_before_anything_was_sent_leaves_nothing_to_wait_for(stage: Stage) -> None:
    """A task that is cancelled before its first step does not run at all."""
    box = await make(stage)
    for name in ("1", "x" * 20_000):
        box.add(name)
    box.outbox.abort()
    await asyncio.wait_for(box.outbox.drain(), PATIENCE_S)
    assert box.settled == []
    assert box.messages() == []


async def test_a_reply_queue_that_is_gone_is_nobody_waiting(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted, logged, settled: the effect itself is done."""
    box = await make(stage)
    box.add("1", "nowhere")
    box.add("2", "nowhere")
    box.add("3")
    await box.outbox.drain()
    assert sorted(box.settled) == ["1", "2", "3"]
    assert box.counters["replies_unroutable"] == 2
    assert box.counters["replies"] == 1
    (record,) = logged(caplog, "reply_unroutable")
    assert "nowhere" in record.getMessage()


async def test_an_answer_that_is_not_confirmed_is_sent_again(stage: Stage) -> None:
    """Blocked or lost: for as long as the worker lives, and settled only then."""
    box = await make(stage)
    stage.broker.block()
    box.add("1")
    await eventually(lambda: box.transport.counters["blocked"] >= 1)
    assert box.settled == []
    stage.broker.unblock()
    await box.outbox.drain()
    assert box.settled == ["1"]
    box.add("2")
    await asyncio.sleep(0)
    box.transport.lose_connection()
    await box.outbox.drain()
    assert box.settled == ["1", "2"]
    assert box.messages() == [["1"], ["2"], ["2"]], "it had arrived, and nobody could know"


async def test_a_worker_that_leaves_settles_nothing_more(stage: Stage) -> None:
    """What was not confirmed comes back to another one."""
    box = await make(stage)
    stage.broker.block()
    box.add("1")
    await asyncio.sleep(0.01)
    box.outbox.abort()
    await box.outbox.drain()
    assert box.settled == []
    box.add("2")
    await box.transport.__aexit__()
    await box.outbox.drain()
    assert box.settled == []
    box.outbox.abort()


# With a worker and clients -----------------------------------------------------------------------

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


async def test_outcomes_of_a_busy_worker_share_messages(stage: Stage) -> None:
    """Most of what makes one process fast."""
    app = stage.worker(concurrency=50)
    together = asyncio.Barrier(50)

    @app.handler("exec_code")
    async def run(command: object) -> object:
        await together.wait()
        return DONE

    await stage.start(app)
    client = await stage.client()
    await gathered([await client.submit(code(effect_id=str(n))) for n in range(50)])
    await stage.idle(app, "exec_code")
    assert app.counters["replies"] == 50
    assert app.counters["reply_messages"] < 25


async def test_an_outcome_without_a_receiver_is_done_all_the_same(stage: Stage) -> None:
    """Its client is gone, and its reply queue with it."""
    app = stage.worker()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    client = await stage.client("gone")
    await client.submit(code())
    await client.__aexit__()
    stage.broker.delete_queue(NAMES.reply_queue("gone"))
    await stage.start(app)
    await stage.idle(app, "exec_code")
    assert app.counters["completed"] == 1
    assert not stage.letters()


async def test_answers_go_out_when_the_broker_takes_messages_again(stage: Stage) -> None:
    """Finished during an alarm: not settled, not lost, not run again."""
    app = stage.worker(transport=TransportSettings(publish_timeout_s=0.02))
    runs: list[str] = []
    go = asyncio.Event()

    @app.handler("exec_code")
    async def run(command: object, context: EffectContext) -> object:
        await go.wait()
        runs.append(context.effect_id)
        return DONE

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(4)]
    await eventually(lambda: app.counters["started"] == 4)
    stage.broker.block()
    go.set()
    await eventually(lambda: stage.connection_of(app).counters["blocked"] >= 1)
    assert stage.unsettled("exec_code") == 4
    stage.broker.unblock()
    for handle in handles:
        assert (await handle.reply(PATIENCE_S)).result == DONE
    await stage.idle(app, "exec_code")
    assert sorted(runs) == ["0", "1", "2", "3"]


async def test_large_outcomes_that_are_ready_together_can_all_be_read(stage: Stage) -> None:
    """
    A reader refuses a message of more than 100,000 elements. Each of these outcomes is well below
    that, and so must every message with several of them be.
    """
    app = stage.worker(concurrency=4)
    together = asyncio.Barrier(4)
    response = {
        "observations": [],
        "observation_truncation": [],
        "tool_calls": [],
        "images": [],
        "printed_images": [],
        "error": None,
        "duration_ms": 0,
        "terminal_finish": [0] * 60_000,
    }

    @app.handler("exec_code")
    async def run(command: object) -> object:
        await together.wait()
        return {"type": "exec_code", "result": {"Ok": response}}

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(4)]
    replies = await gathered(handles)
    assert all(isinstance(reply.result, RuntimeEffectOutcomeExecCode) for reply in replies)
    assert client.counters["unreadable"] == 0


async def test_what_became_ready_after_an_abort_stays_unsettled(stage: Stage) -> None:
    """More than one message was to be sent."""
    box = await make(stage, max_bytes=1)
    stage.broker.block()
    box.add("1")
    box.add("2")
    await asyncio.sleep(0.01)
    box.outbox.abort()
    await box.outbox.drain()
    box.outbox.abort()
    assert box.settled == []


async def test_without_a_journal_an_answer_that_fails_in_an_unknown_way_is_kept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else remembers it, so it is sent again and never settled away."""
    real, failures = replies.publish_until_known, iter([ValueError("nobody has listed this")])

    async def failing_once(*args: Any, **options: Any) -> None:
        for failure in failures:
            raise failure
        await real(*args, **options)

    monkeypatch.setattr(replies, "publish_until_known", failing_once)
    app = stage.worker()
    runs: list[object] = []

    @app.handler("exec_code")
    async def run(command: object) -> object:
        runs.append(command)
        return DONE

    await stage.start(app)
    client = await stage.client()
    assert await client.execute(code(), timeout=PATIENCE_S) == DONE
    await stage.idle(app, "exec_code")
    assert (len(runs), app.counters["outcomes_kept"]) == (1, 1)
    assert app.counters["replies_unsendable"] == 1
