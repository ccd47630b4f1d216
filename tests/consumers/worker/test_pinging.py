"""Pings: the whole way to a worker and back."""

from __future__ import annotations

import asyncio
from typing import Any

from effectmq.broker.client.pinging import ping
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.messages.notices.probe import ProbeAnswer, probe, probe_answer
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, tool
from tests.waiting import eventually


def started(stage: Stage, **settings: Any) -> EffectWorker:
    worker = stage.worker(**settings)

    @worker.tool
    async def add(a: int, b: int) -> int:
        return a + b

    return worker


async def test_a_worker_answers_for_each_of_its_routes(stage: Stage) -> None:
    """No handler sees the probe, and nothing is left on any queue."""
    worker = await stage.start(started(stage), ["tool_call", "sleep"])
    transport = await stage.transport()
    found = await ping(transport, NAMES, ["sleep", "tool_call"], PATIENCE_S)
    assert [(one.route, one.worker, one.problem) for one in found] == [
        ("sleep", "w", ""),
        ("tool_call", "w", ""),
    ]
    assert all(one.took_s > 0 for one in found)
    assert worker.counters["started"] == 0
    assert stage.ready(NAMES.work_queue("sleep")) == 0


async def test_what_does_not_answer_is_named(stage: Stage) -> None:
    """No queue; no consumer; a consumer that does not know probes, or is stuck."""
    worker = await stage.start(started(stage), ["tool_call", "sleep"])
    transport = await stage.transport()
    await worker.stop()
    silent = await transport.consume(NAMES.work_queue("sleep"), prefetch=1)
    found = await ping(transport, NAMES, ["exec_code", "tool_call", "sleep"], 0.05)
    await silent.close()
    problems = {one.route: one.problem for one in found}
    assert "it has no queue" in problems["exec_code"]
    assert "no worker consumes it" in problems["tool_call"]
    assert "no answer within 0.05 s" in problems["sleep"]
    # Where nobody consumed it, nothing was sent.
    assert stage.ready(NAMES.work_queue("tool_call")) == 0


async def test_a_worker_at_its_limit_answers_when_an_effect_has_ended(stage: Stage) -> None:
    """Delivery is what a ping proves, and a full worker takes nothing."""
    worker = stage.worker(concurrency=1)
    gate = asyncio.Event()

    @worker.tool
    async def wait() -> str:
        await gate.wait()
        return "done"

    await stage.start(worker, ["tool_call"])
    client = await stage.client()
    busy = await client.submit(tool("wait"))
    await eventually(lambda: worker.counters["started"] == 1)
    transport = await stage.transport()
    asked = asyncio.create_task(ping(transport, NAMES, ["tool_call"], PATIENCE_S))
    await eventually(lambda: stage.ready(NAMES.work_queue("tool_call")) == 1)
    gate.set()
    (answered,) = await asked
    assert answered.worker == "w"
    await busy.outcome(timeout=PATIENCE_S)


async def test_hostile_probes_do_no_harm(stage: Stage) -> None:
    """Without an address, with one of no queue, with a long body; the worker goes on."""
    worker = await stage.start(started(stage), ["tool_call"])
    for hostile in (
        probe(b""),
        probe(b"x" * 100_000, reply_to="no-such-queue"),
        probe(b"x", reply_to="\x1b[2J" * 20),
    ):
        await stage.publish("tool_call", hostile)
    await eventually(lambda: worker.counters["probes"] == 3)
    (found,) = await ping(await stage.transport(), NAMES, ["tool_call"], PATIENCE_S)
    assert not found.problem


def test_an_answer_shows_only_what_can_be_shown() -> None:
    """A worker may have any name."""
    answer = probe_answer(probe(b"token", reply_to="q"), "w\x1b[2J" + "x" * 1_000)
    found = ProbeAnswer.read(answer)
    assert found is not None
    assert found.token == b"token"
    assert "\x1b" not in found.worker
    assert len(found.worker) < 300
    assert ProbeAnswer.read(probe(b"token")) is None
