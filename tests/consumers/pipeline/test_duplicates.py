"""The same effect twice at once: submitted twice, redelivered, or under another hash."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from tenacity import stop_after_attempt, wait_fixed

from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.fleet import witnesses
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import (
    RuntimeEffectControllerError,
    RuntimeEffectOutcomeExecCode,
)
from tests.consumers.stage import (
    AT_ONCE,
    NAMES,
    ONCE,
    PATIENCE_S,
    Stage,
    code,
    gathered,
    hurry,
    nap,
)
from tests.waiting import eventually


class Gate:
    """A handler that runs until it is let go, and counts its runs."""

    def __init__(self, app: EffectWorker, retry: RetryPolicy = ONCE) -> None:
        self.runs = 0
        self.open = asyncio.Event()
        app.handler("exec_code", retry=retry)(self.run)

    async def run(self, command: object, context: EffectContext) -> object:
        self.runs += 1
        run = self.runs
        await self.open.wait()
        return RuntimeEffectOutcomeExecCode(result=Err(f"run {run}"))


async def test_concurrent_duplicates_run_once_and_all_are_answered_alike(stage: Stage) -> None:
    """Whoever asks while it runs gets the same outcome, wherever the answer goes."""
    app = stage.worker(concurrency=16)
    gate = Gate(app)
    await stage.start(app)
    clients = [await stage.client(name) for name in ("a", "b", "c")]
    handles = [await client.submit(code()) for client in clients for _ in range(3)]
    await eventually(lambda: app.counters["joined"] == 8)
    gate.open.set()
    replies = await gathered(handles)
    assert {repr(reply) for reply in replies} == {repr(replies[0])}
    assert gate.runs == 1
    await stage.idle(app, "exec_code")
    assert app.counters["completed"] == 1
    assert app.counters["replies"] == 9


async def test_duplicates_in_two_encodings_are_each_answered_in_their_own(stage: Stage) -> None:
    """The outcome is the same; the bytes are those that were asked for."""
    app = stage.worker()
    gate = Gate(app)
    await stage.start(app)
    packed = await stage.client("a")
    spelled = await stage.client("b", content_type="application/json")
    handles = [await packed.submit(code()), await spelled.submit(code())]
    await eventually(lambda: app.counters["joined"] == 1)
    gate.open.set()
    first, second = await gathered(handles)
    assert first == second


async def test_a_duplicate_after_the_end_runs_again(stage: Stage) -> None:
    """Without a journal nothing is remembered: at least once, and we say so."""
    app = stage.worker()
    gate = Gate(app)
    gate.open.set()
    await stage.start(app)
    client = await stage.client()
    for _ in range(2):
        await client.execute(code(), timeout=PATIENCE_S)
    assert gate.runs == 2
    assert app.counters["joined"] == 0


async def test_a_duplicate_that_comes_while_the_answer_is_on_its_way_gets_the_same(
    stage: Stage,
) -> None:
    """The outcome exists, and running again could give another one."""
    app = stage.worker()
    gate = Gate(app)
    await stage.start(app)
    client = await stage.client("a")
    handle = await client.submit(code())
    await eventually(lambda: gate.runs == 1)
    other = Request.seal(code(), reply_to=NAMES.reply_queue("a")).message
    transport = await stage.transport()
    stage.broker.block()
    gate.open.set()
    await eventually(lambda: app.counters["completed"] == 1)
    # The test's own publish must pass the alarm that holds the answer back.
    stage.broker.publish(NAMES.work_exchange, "exec_code", replace(other, message_id="m"))
    await eventually(lambda: app.counters["joined"] == 1)
    stage.broker.unblock()
    await handle.reply(PATIENCE_S)
    await stage.idle(app, "exec_code")
    assert gate.runs == 1
    assert transport.counters["published"] == 0


async def test_followers_of_a_failure_are_answered_and_it_is_parked_once(stage: Stage) -> None:
    """One effect, one dead letter."""
    app = stage.worker()
    started = asyncio.Event()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        await started.wait()
        raise OSError("no")

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code()) for _ in range(3)]
    await eventually(lambda: app.counters["joined"] == 2)
    started.set()
    replies = await gathered(handles)
    assert all(isinstance(reply.result, RuntimeEffectControllerError) for reply in replies)
    await stage.parked(1)
    await stage.idle(app, "exec_code")
    assert app.counters["started"] == 3


async def test_followers_of_a_delayed_effect_are_delayed_with_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold no slot either, and meet again afterwards."""
    hurry(monkeypatch)
    app = stage.worker()
    started = asyncio.Event()

    @app.handler("exec_code", retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(0.05)))
    async def run(command: object, context: EffectContext) -> object:
        await started.wait()
        if context.attempt == 1:
            raise OSError("no")
        return RuntimeEffectOutcomeExecCode(result=Err(str(context.attempt)))

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code()) for _ in range(3)]
    await eventually(lambda: app.counters["joined"] == 2)
    started.set()
    replies = await gathered(handles)
    assert {reply.attempt for reply in replies} == {2}
    await stage.idle(app, "exec_code")
    assert app.counters["delayed"] == 3


async def test_a_duplicate_that_comes_while_the_delay_is_published_is_delayed_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempt 1 is over, and attempt 2 must not begin early for one of the copies."""
    hurry(monkeypatch)
    app = stage.worker()
    attempts: list[int] = []

    @app.handler("exec_code", retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(0.05)))
    async def run(command: object, context: EffectContext) -> object:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise OSError("no")
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    await stage.start(app)
    client = await stage.client("a")
    stage.broker.block()
    message = Request.seal(code(), reply_to=NAMES.reply_queue("a")).message
    stage.broker.publish(NAMES.work_exchange, "exec_code", replace(message, message_id="1"))
    await eventually(lambda: app.counters["retried"] == 1)
    stage.broker.publish(NAMES.work_exchange, "exec_code", replace(message, message_id="2"))
    await eventually(lambda: app.counters["joined"] == 1)
    stage.broker.unblock()
    await client.attach(code()).reply(PATIENCE_S)
    await stage.idle(app, "exec_code")
    assert attempts[:2] == [1, 2]
    assert attempts.count(1) == 1
    assert app.counters["delayed"] == 2


async def test_the_same_key_with_another_hash_while_it_runs_is_refused(stage: Stage) -> None:
    """It says what to do, names both hashes, and the first one goes on."""
    app = stage.worker()
    gate = Gate(app)
    await stage.start(app)
    client = await stage.client()
    first = await client.submit(code("one"))
    await eventually(lambda: gate.runs == 1)
    second = await client.submit(code("two"))
    with pytest.raises(EffectFailedError) as failed:
        await second.outcome(PATIENCE_S)
    assert failed.value.code == "effectmq_hash_conflict"
    assert first.hash in failed.value.message
    assert second.hash in failed.value.message
    (letter,) = await stage.parked()
    assert (letter.reason, letter.hash) == ("rejected", second.hash)
    gate.open.set()
    await first.outcome(PATIENCE_S)
    await stage.idle(app, "exec_code")
    assert app.counters["conflicts"] == 1
    assert gate.runs == 1


async def test_the_same_key_in_another_scope_is_another_effect(stage: Stage) -> None:
    """Scope id and replay key together are the identity."""
    app = stage.worker()
    gate = Gate(app)
    await stage.start(app)
    sealed = Request.seal(code()).message
    scoped = {**sealed.headers, "effect-scope": '{"type":"process","process_id":"p"}'}
    await stage.publish("exec_code", sealed)
    await stage.publish("exec_code", replace(sealed, headers=scoped))
    await eventually(lambda: gate.runs == 2)
    gate.open.set()
    await stage.idle(app, "exec_code")
    assert app.counters["joined"] == 0


async def test_a_connection_lost_while_effects_run_leaves_one_outcome_each(stage: Stage) -> None:
    """
    The broker hands everything out again; the copies join what runs, and the callers hear of one
    outcome each, whatever became of the first answers.
    """
    app = stage.worker(concurrency=10)
    gate = Gate(app)
    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(10)]
    await eventually(lambda: gate.runs == 10)
    for _ in range(2):
        delivered = app.counters["delivered"]
        stage.connection_of(app).lose_connection()
        await eventually(lambda: app.counters["delivered"] == delivered + 10)  # noqa: B023
    gate.open.set()
    replies = await gathered(handles)
    assert len({repr(reply.result) for reply in replies}) == 10
    await stage.idle(app, "exec_code")
    assert gate.runs == 10
    await eventually(lambda: client.counters["duplicate"] == 20)
    assert client.counters["answered"] == 10
    assert stage.connection_of(app).counters["stale_acks"] == 20


async def test_effects_survive_connections_that_come_and_go(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses at random moments: running, answering, delaying, parking. All end, none is lost."""
    # Asked about whatever was lost before the worker had it: often, and in vain.
    monkeypatch.setattr(witnesses, "ANSWER_S", 0.02)
    luck = random.Random(7)
    stage.topology = replace(stage.topology, delivery_limit=1_000)
    app = stage.worker(concurrency=8)

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object, context: EffectContext) -> object:
        await asyncio.sleep(luck.random() * 0.01)
        if int(context.effect_id) % 5 == 0:
            raise OSError("no")
        return RuntimeEffectOutcomeExecCode(result=Err(context.effect_id))

    await stage.start(app)
    client = await stage.client()

    async def cut() -> None:
        # So many and no more: on a busy machine losses without an end are faster than any progress.
        for _ in range(150):
            await asyncio.sleep(luck.random() * 0.01)
            stage.connection_of(app).lose_connection()

    cutting = asyncio.create_task(cut())
    handles = [await client.submit(code(effect_id=str(n))) for n in range(60)]
    await cutting
    replies = await gathered(handles)
    for number, reply in enumerate(replies):
        failed = isinstance(reply.result, RuntimeEffectControllerError)
        assert failed == (number % 5 == 0)
        assert reply.effect_id == str(number)
    # Each copy of what fails takes its turns alone, one after the other.
    await stage.idle(app, "exec_code", 60.0)
    assert {letter.effect_id for letter in stage.letters()} == {str(n) for n in range(0, 60, 5)}


async def test_duplicates_of_a_sleep_each_end_alike(stage: Stage) -> None:
    """A sleep holds nothing to join; its outcome is always the same."""
    app = await stage.start(stage.worker())
    client = await stage.client()
    handles = [await client.submit(nap(20)) for _ in range(3)]
    replies = await gathered(handles)
    assert {repr(reply.result) for reply in replies} == {repr(replies[0].result)}
    await stage.idle(app, "sleep")
