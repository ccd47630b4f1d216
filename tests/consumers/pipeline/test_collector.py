"""The collector: what the broker gave up on goes home a limited number of times."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import work_topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, code
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture
def app(stage: Stage) -> EffectWorker:
    """A worker that runs code, and says on which round it did."""
    worker = stage.worker(max_crashes=2)

    @worker.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    return worker


async def crash(stage: Stage, count: int) -> None:
    """What a worker that dies with an effect in hand looks like to the broker."""
    for _ in range(count):
        transport = await stage.transport()
        consumer = await transport.consume(NAMES.work_queue("exec_code"), prefetch=1)
        async with asyncio.timeout(PATIENCE_S):
            await anext(aiter(consumer))
        await transport.__aexit__()


async def test_an_effect_whose_worker_died_too_often_comes_home_and_is_done(
    stage: Stage, app: EffectWorker
) -> None:
    """Past the broker's delivery limit it is collected, counted, and sent home."""
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    client = await stage.client()
    handle = await client.submit(code())
    await crash(stage, stage.topology.delivery_limit + 1)
    await stage.start(app)
    assert await handle.outcome(PATIENCE_S) == DONE
    assert app.counters["collected"] == 1
    assert app.counters["delayed"] == 1
    assert not stage.letters()


async def test_a_lane_is_home_too(stage: Stage, app: EffectWorker) -> None:
    """The route is the key that it came with."""
    await stage.start(app, ["exec_code.gpu"])
    client = await stage.client("a")
    message = Request.seal(code(), reply_to=NAMES.reply_queue("a")).message
    transport = await stage.transport()
    await transport.publish(NAMES.limbo, "exec_code.gpu", message)
    assert await client.attach(code()).outcome(PATIENCE_S) == DONE


async def test_past_the_limit_it_is_crash_looping_and_its_caller_is_told(
    stage: Stage, app: EffectWorker
) -> None:
    """Visible as what it is, and never mistaken for an effect that failed."""
    await stage.start(app)
    client = await stage.client("a")
    handle = client.attach(code())
    sealed = Request.seal(code(), reply_to=NAMES.reply_queue("a"))
    worn = sealed.changed({"crashes": 2, "attempt": 1})
    transport = await stage.transport()
    await transport.publish(NAMES.limbo, "exec_code", worn.message)
    with pytest.raises(EffectFailedError) as failed:
        await handle.outcome(PATIENCE_S)
    assert failed.value.code == "effectmq_crash_looping"
    assert "3 times" in failed.value.message
    (letter,) = await stage.parked()
    assert (letter.reason, letter.route) == ("crash_looping", "exec_code")
    assert app.counters["started"] == 0


async def test_an_effect_that_always_kills_its_worker_ends_crash_looping(
    stage: Stage, app: EffectWorker
) -> None:
    """All the way: returns, limbo, home, again, until the count is full."""
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    # This worker collects only: it has no lane for the kind.
    await stage.start(app, ["sleep"])
    client = await stage.client()
    handle = await client.submit(code())
    for _ in range(3):
        await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)
        await crash(stage, stage.topology.delivery_limit + 1)
    with pytest.raises(EffectFailedError, match="3 times"):
        await handle.outcome(PATIENCE_S)
    assert [letter.reason for letter in await stage.parked()] == ["crash_looping"]


async def test_a_message_in_limbo_that_cannot_be_read_is_parked(
    stage: Stage, app: EffectWorker
) -> None:
    """The collector does not send home what nobody could run."""
    await stage.start(app)
    transport = await stage.transport()
    good = Request.seal(code()).message
    await transport.publish(NAMES.limbo, "exec_code", replace(good, body=b"\xc1"))
    (letter,) = await stage.parked()
    assert (letter.reason, letter.kind) == ("malformed", "exec_code")


async def test_a_message_in_limbo_under_a_strange_key_goes_where_its_content_belongs(
    stage: Stage, app: EffectWorker
) -> None:
    """A key that is no route would bring it nowhere."""
    await stage.start(app)
    client = await stage.client("a")
    handle = client.attach(code())
    transport = await stage.transport()
    good = Request.seal(code(), reply_to=NAMES.reply_queue("a")).message
    await transport.publish(NAMES.limbo, "t.work.exec_code", good)
    assert await handle.outcome(PATIENCE_S) == DONE
    await transport.publish(NAMES.limbo, "?", replace(good, body=b"\xc1"))
    (letter,) = await stage.parked()
    assert letter.reason == "malformed"


async def test_crashes_are_counted_in_the_header(stage: Stage, app: EffectWorker) -> None:
    """So that every collector of the installation counts on."""
    await stage.start(app, ["sleep"])
    await (await stage.transport()).declare(work_topology(stage.topology, ["exec_code"]))
    transport = await stage.transport()
    await transport.publish(NAMES.limbo, "exec_code", Request.seal(code()).message)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)
    queue = stage.broker.queue(NAMES.work_queue("exec_code"))
    assert queue is not None
    assert queue.ready[0].headers[names.CRASHES] == 1
