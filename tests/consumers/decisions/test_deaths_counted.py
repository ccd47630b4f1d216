"""Outcomes that find no reply queue: kept and sent again, then parked with the outcome inside."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.content import dead_record
from effectmq.broker.dead_letters.dead_letters import DeadFilter, DeadLetters
from effectmq.consumers.decisions.deaths import (
    Later,
    Surrender,
    after_undelivered,
    undelivered_message,
)
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.reply import OUTCOME_TYPE, Answer, read_replies
from effectmq.protocol.topology import Queue, Topology
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, payload, tool
from tests.waiting import eventually

QUEUE = NAMES.reply_queue("p")


def producer(stage: Stage) -> EffectClient:
    """A producer that is to leave before the test is over."""
    return EffectClient(stage.url, identity="p", topology=stage.topology)


class Gate:
    """A worker with one tool that waits to be let go, and counts."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        self.worker: EffectWorker = stage.worker(**options)
        self.runs = 0
        self.open = asyncio.Event()

        @self.worker.tool
        async def wait() -> str:
            self.runs += 1
            await self.open.wait()
            return "done"


async def test_an_outcome_waits_for_its_reply_queue(stage: Stage) -> None:
    """A producer that was away when its queue was lost gets the outcome of the one run."""
    gate = Gate(stage)
    await stage.start(gate.worker)
    async with producer(stage) as client:
        await client.submit(tool("wait"))
        await eventually(lambda: gate.runs == 1)
    stage.broker.delete_queue(QUEUE)

    gate.open.set()
    await eventually(lambda: gate.worker.counters["outcomes_kept"])
    back = await stage.client("p")

    assert payload(await back.attach(tool("wait")).outcome(PATIENCE_S)) == "done"
    assert gate.runs == 1
    assert gate.worker.counters["outcomes_delivered_late"] == 1
    await eventually(lambda: not stage.unsettled("tool_call"))


async def test_a_live_producer_whose_queue_was_deleted_is_answered(stage: Stage) -> None:
    """Without a journal anywhere: nothing is lost, and nothing runs twice."""
    gate = Gate(stage)
    await stage.start(gate.worker)
    client = await stage.client("p")
    handle = await client.submit(tool("wait"))
    await eventually(lambda: gate.runs == 1)

    gate.open.set()
    stage.broker.delete_queue(QUEUE)

    assert payload(await handle.outcome(PATIENCE_S)) == "done"
    assert gate.runs == 1


async def test_a_producer_that_is_gone_leaves_its_outcome_among_the_dead_letters(
    stage: Stage,
) -> None:
    """After the stated time, once; a replay delivers it when the producer is back."""
    gate = Gate(stage, reply_keep_s=0.1)
    await stage.start(gate.worker)
    async with producer(stage) as client:
        await client.submit(tool("wait"))
        await eventually(lambda: gate.runs == 1)
    stage.broker.delete_queue(QUEUE)

    gate.open.set()
    await eventually(lambda: gate.worker.counters["parked_undelivered"] == 1)

    letters = DeadLetters(await stage.transport(), stage.topology)
    async with letters.browse() as found:
        [letter] = [letter async for letter in found]
    assert (letter.reason, letter.kind, letter.effect_id) == ("undelivered", "tool_call", "1")
    assert QUEUE in letter.detail
    content = await letters.content(letter)
    assert (content.form, content.problem) == ("outcome", "")
    assert "done" in str(dead_record(letter, content)[0]["envelope"])
    with pytest.raises(MalformedError, match="holds an outcome"):
        await letters.replay_edited(letter.id, b"{}")

    refused = await letters.replay(DeadFilter())
    assert (refused.done, refused.failed) == (0, 1)
    assert any("no reply queue" in str(problem) for problem in refused.problems)

    back = await stage.client("p")
    foreseen = await letters.replay(DeadFilter(), dry_run=True)
    report = await letters.replay(DeadFilter())

    assert (foreseen.done, report.done, report.failed) == (1, 1, 0)
    assert payload(await back.attach(tool("wait")).outcome(PATIENCE_S)) == "done"
    assert gate.runs == 1


async def test_an_outcome_that_is_kept_holds_no_worker(stage: Stage) -> None:
    """A producer that is gone for good must not keep the others waiting."""
    gate = Gate(stage, concurrency=1)
    gate.open.set()
    await stage.start(gate.worker)
    client = await stage.client("p")
    gone = await stage.client("gone")
    for number in range(5):
        await gone.submit(tool("wait", str(number), call_id=str(number)))
    await gone.__aexit__()
    stage.broker.delete_queue(NAMES.reply_queue("gone"))

    assert payload(await client.execute(tool("wait", "x"), timeout=PATIENCE_S)) == "done"


@pytest.mark.parametrize("kept", [False, True], ids=["no journal", "journal"])
async def test_a_reply_queue_that_is_full_for_good_holds_no_worker(
    stage: Stage, tmp_path: Path, kept: bool
) -> None:
    """It counts as one that does not exist: on record, or parked with the outcome inside."""
    journal = f"sqlite:///{tmp_path}/j.db" if kept else None
    gate = Gate(stage, concurrency=1, reply_keep_s=0.1, journal=journal)
    gate.open.set()
    await stage.start(gate.worker)
    transport = await stage.transport()
    arguments = {"x-queue-type": "quorum", "x-max-length": 0, "x-overflow": "reject-publish"}
    await transport.declare(Topology(queues=(Queue("full", arguments),)))
    client = await stage.client("p")
    for number in range(2):
        asked = client.attach(tool("wait", str(number), call_id=str(number))).request.message
        await transport.publish(NAMES.work_exchange, "tool_call", replace(asked, reply_to="full"))

    assert payload(await client.execute(tool("wait", "x"), timeout=PATIENCE_S)) == "done"

    worker = gate.worker
    await eventually(lambda: worker.counters["replies_unroutable"] == 2)
    await eventually(lambda: worker.counters["parked_undelivered"] == (0 if kept else 2))
    await eventually(lambda: not stage.unsettled("tool_call"))
    assert gate.runs == 3


async def test_a_worker_that_ends_leaves_kept_outcomes_to_the_next(stage: Stage) -> None:
    """They travel by themselves, so nothing runs again."""
    gate, second = Gate(stage), Gate(stage)
    gate.open.set()
    await stage.start(gate.worker)
    async with producer(stage) as client:
        message = client.attach(tool("wait")).request.message
    stage.broker.delete_queue(QUEUE)
    await stage.publish("tool_call", message)
    await eventually(lambda: gate.worker.counters["outcomes_kept"])
    await gate.worker.stop(PATIENCE_S)

    await stage.start(second.worker)
    back = await stage.client("p")

    assert payload(await back.attach(tool("wait")).outcome(PATIENCE_S)) == "done"
    assert (gate.runs, second.runs) == (1, 0)


async def test_with_a_journal_the_record_is_enough(stage: Stage, tmp_path: Path) -> None:
    """The producer asks again and gets it from there; no copy travels about."""
    gate = Gate(stage, journal=f"sqlite:///{tmp_path}/j.db")
    await stage.start(gate.worker)
    async with producer(stage) as client:
        await client.submit(tool("wait"))
        await eventually(lambda: gate.runs == 1)
    stage.broker.delete_queue(QUEUE)

    gate.open.set()
    await eventually(lambda: gate.worker.counters["replies_unroutable"] == 1)

    back = await stage.client("p")
    assert payload(await back.execute(tool("wait"), timeout=PATIENCE_S)) == "done"
    assert gate.runs == 1
    assert gate.worker.counters["outcomes_kept"] == 0


async def test_several_outcomes_in_one_message_are_kept_one_by_one(stage: Stage) -> None:
    """Each is an effect of its own, and may be parked or replayed by itself."""
    gate = Gate(stage, reply_keep_s=0.1)
    await stage.start(gate.worker)
    async with producer(stage) as client:
        for number in range(4):
            await client.submit(tool("wait", str(number), call_id=str(number)))
        await eventually(lambda: gate.runs == 4)
    stage.broker.delete_queue(QUEUE)

    gate.open.set()
    await eventually(lambda: gate.worker.counters["parked_undelivered"] == 4)

    dead = stage.broker.queue(NAMES.dead)
    assert dead is not None
    inside = [read_replies(message) for message in dead.ready]
    assert sorted(reply.effect_id for [reply] in inside) == ["0", "1", "2", "3"]


async def test_an_outcome_on_a_work_queue_that_names_no_receiver_is_parked(stage: Stage) -> None:
    """A stranger's message; nobody could be told."""
    gate = Gate(stage)
    await stage.start(gate.worker)
    await stage.publish("tool_call", Message(body=b"[]", type=OUTCOME_TYPE))
    await eventually(lambda: gate.worker.counters["parked"] == 1)


MESSAGE = undelivered_message(Message(body=b"x", type=OUTCOME_TYPE), Answer("e", "k", "h", {}), "q")
LEVELS = (1_000, 2_000, 5_000, 60_000)


def step(elapsed_ms: int, levels: tuple[int, ...] = LEVELS) -> Later | Surrender:
    """What comes after an outcome has been kept for so long."""
    message = MESSAGE
    if elapsed_ms:
        message = Message(
            body=b"x", reply_to="q", type=OUTCOME_TYPE, headers={names.FIRST_SEEN: 50_000}
        )
    return after_undelivered(
        message,
        now_ms=50_000 + elapsed_ms,
        keep_ms=60_000,
        levels_ms=levels,
        jitter=random.Random(1),
    )


@pytest.mark.parametrize("elapsed_ms", [0, 1, 1_000, 4_000, 30_000, 59_999])
def test_the_waits_grow_and_stay_short(elapsed_ms: int) -> None:
    """A producer that comes back waits a few seconds before it asks again."""
    found = step(elapsed_ms)
    assert isinstance(found, Later)
    assert found.level_ms <= 5_000
    assert found.message.headers[names.FIRST_SEEN] == 50_000
    assert found.message.reply_to == "q"


def test_with_other_levels_the_nearest_will_do() -> None:
    """An installation chooses its own."""
    longer, shorter = step(10, (90_000,)), step(40_000, (30, 60))
    assert isinstance(longer, Later)
    assert isinstance(shorter, Later)
    assert (longer.level_ms, shorter.level_ms) == (90_000, 60)


@pytest.mark.parametrize("elapsed_ms", [60_000, 10**9])
def test_after_the_stated_time_it_is_surrendered(elapsed_ms: int) -> None:
    """With a sentence that says what to do."""
    found = step(elapsed_ms)
    assert isinstance(found, Surrender)
    assert "replay this letter" in found.detail


@pytest.mark.parametrize("since", [-5, 0, "soon", 10**15])
def test_a_strange_time_is_now(since: Any) -> None:
    """A header of a stranger, or a clock that was set back, must not park at once or never."""
    message = Message(body=b"", reply_to="q", headers={names.FIRST_SEEN: since})
    found = after_undelivered(
        message, now_ms=1_000_000, keep_ms=60_000, levels_ms=LEVELS, jitter=random.Random(1)
    )
    assert isinstance(found, Later)
    assert found.message.headers[names.FIRST_SEEN] == 1_000_000
