"""Delays and dead letters: first the new message is confirmed, then the old one settled."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed

from effectmq.broker.transports.memory import MemoryTransport
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.outboxes import settlement
from effectmq.consumers.outboxes.replies import ReplyOutbox
from effectmq.consumers.pipeline.job import Stage as JobStage
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError, TransportClosedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Exchange, Queue, Topology
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, ONCE, PATIENCE_S, Stage, code, hurry, logged
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait a second between two tries to declare again."""
    monkeypatch.setattr(settlement, "_REDECLARE_WAIT_S", 0.01)
    hurry(monkeypatch)


def retrying(stage: Stage) -> EffectWorker:
    """A worker whose handler fails once, and is tried again over a delay level."""
    app = stage.worker()

    @app.handler("exec_code", retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(0.03)))
    async def run(command: object, context: EffectContext) -> object:
        if context.attempt == 1:
            raise OSError("no")
        return DONE

    return app


async def test_a_delay_queue_that_is_gone_is_declared_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The original stays unsettled until there is a place for its copy."""
    app = await stage.start(retrying(stage))
    for level in stage.topology.delay_levels_ms:
        stage.broker.delete_queue(NAMES.delay(level))
    client = await stage.client()
    assert await client.execute(code(), timeout=PATIENCE_S) == DONE
    assert app.counters["roads_missing"] == 1
    (record,) = logged(caplog, "road_missing")
    assert "delay level" in record.getMessage()


async def test_a_dead_queue_that_is_gone_is_declared_again(stage: Stage) -> None:
    """What we give up on must have a place to be."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        raise OSError("no")

    await stage.start(app)
    stage.broker.delete_queue(NAMES.dead)
    client = await stage.client()
    with pytest.raises(EffectFailedError):
        await client.execute(code(), timeout=PATIENCE_S)
    await stage.parked()
    assert app.counters["roads_missing"] == 1


async def test_a_road_that_cannot_be_declared_is_tried_until_it_can(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Loud, and never settled meanwhile: somebody declared it with other arguments."""
    app = await stage.start(retrying(stage))
    broker = stage.broker
    for level in stage.topology.delay_levels_ms:
        broker.delete_queue(NAMES.delay(level))
        wrong = Queue(NAMES.delay(level), {"x-queue-type": "quorum"})
        broker.declare(Topology(queues=(wrong,)))
    client = await stage.client()
    handle = await client.submit(code())
    await eventually(lambda: len(logged(caplog, "declare_failed")) >= 2)
    assert stage.unsettled("exec_code") == 1
    for level in stage.topology.delay_levels_ms:
        broker.delete_queue(NAMES.delay(level))
    assert await handle.outcome(PATIENCE_S) == DONE
    assert app.counters["delayed"] == 1


async def test_a_full_delay_level_keeps_the_original_until_there_is_room(stage: Stage) -> None:
    """Refused is not lost."""
    app = await stage.start(retrying(stage))
    broker = stage.broker
    for level in stage.topology.delay_levels_ms:
        name = NAMES.delay(level)
        (definition,) = [
            queue.definition for queue in broker._queues.values() if queue.definition.name == name
        ]
        broker.delete_queue(name)
        full = dataclasses.replace(
            definition, arguments={**definition.arguments, "x-max-length": 0}
        )
        broker.declare(Topology(queues=(full,)))
        broker._exchanges[name].bind("", name)
    client = await stage.client()
    handle = await client.submit(code())
    await eventually(lambda: stage.connection_of(app).counters["refused"] >= 2)
    assert stage.unsettled("exec_code") == 1
    for level in stage.topology.delay_levels_ms:
        broker.delete_queue(NAMES.delay(level))
    assert await handle.outcome(PATIENCE_S) == DONE


@pytest.mark.parametrize("gone", ["t.delay.30", "t.dead"])
async def test_a_worker_that_leaves_while_it_looks_for_a_road_settles_nothing(
    stage: Stage, gone: str
) -> None:
    """The original comes back to another one, or is handed on to it."""
    app = retrying(stage)

    @app.handler("checkpoint", retry=ONCE)
    async def fail(command: object) -> object:
        raise OSError("no")

    await app.start()
    stage.broker.delete_queue(gone)
    broken = Queue(gone, {"x-queue-type": "quorum"})
    stage.broker.declare(Topology(queues=(broken,)))
    client = await stage.client()
    route = "checkpoint" if gone == NAMES.dead else "exec_code"
    turn = client.turn("s", "t")
    waiting = asyncio.create_task(
        turn.checkpoint("after_work") if route == "checkpoint" else turn.exec_code("x")
    )
    await eventually(lambda: app.counters["roads_missing"] >= 1)
    await app.stop(0.0)
    await eventually(lambda: stage.ready(NAMES.work_queue(route)) == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


class Leaving(MemoryTransport):
    """A connection that is closed while it is used."""

    closing_at = "publish"

    async def publish(self, *args: Any, **options: Any) -> None:
        """Close first, if it is time."""
        if self.closing_at == "publish":
            await self.__aexit__()
        await super().publish(*args, **options)

    async def declare(self, topology: Topology, *, lasting: bool = True) -> None:
        """Close first, if it is time."""
        if self.closing_at == "declare":
            await self.__aexit__()
        await super().declare(topology, lasting=lasting)


@pytest.mark.parametrize("closing_at", ["publish", "declare"])
async def test_a_connection_that_is_closed_meanwhile_settles_nothing(
    stage: Stage, closing_at: str
) -> None:
    """Whatever was being done with it."""
    transport = Leaving(stage.url)
    transport.closing_at = ""
    counters: Counter[str] = Counter()
    async with transport:
        await transport.declare(Topology(exchanges=(Exchange(NAMES.delay(30), "fanout"),)))
        replies = ReplyOutbox(transport, 1_000, counters)
        roads = settlement.Settlement(transport, NAMES, Topology(), replies, counters)
        transport.closing_at = closing_at
        with pytest.raises(TransportClosedError):
            await roads.delay(30, "sleep", Message(body=b"x"))
    assert counters["delayed"] == 0


async def test_a_stop_waits_for_delays_and_dead_letters_that_are_on_their_way(
    stage: Stage,
) -> None:
    """Within the grace time: published, answered, settled."""
    app = stage.worker()
    go = asyncio.Event()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        await go.wait()
        raise OSError("no")

    await app.start()
    client = await stage.client()
    handle = await client.submit(code())
    await eventually(lambda: app.counters["started"] == 1)
    stage.broker.block()
    go.set()
    running = app._running
    assert running is not None
    await eventually(
        lambda: [job.stage for route in running._routes for job in route.jobs] == [JobStage.SENDING]
    )
    stopping = asyncio.create_task(app.stop())
    await asyncio.sleep(0.02)
    assert not stopping.done()
    stage.broker.unblock()
    await stopping
    with pytest.raises(EffectFailedError):
        await handle.outcome(PATIENCE_S)
    await stage.parked()
    assert stage.ready(NAMES.work_queue("exec_code")) == 0
