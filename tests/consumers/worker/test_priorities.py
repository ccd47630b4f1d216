"""Priorities in a worker: where they go, what keeps them, and what else holds for their queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.inheritance import Inheritance, carrying_out
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.consumers.decisions.priorities import ToPriority, waits_apart
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import AccessRefusedError, ConfigurationError
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.chosen.priority import PRIORITY_TYPE, Priority
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.priority import priority_notice
from effectmq.protocol.messages.request import Request
from effectmq.protocol.topology import Topology
from tests.consumers.stage import (
    NAMES,
    PATIENCE_S,
    TOPOLOGY,
    Stage,
    hurry,
    staged,
    tool,
)
from tests.waiting import eventually, within


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


def worker(stage: Stage, version: str = "", **settings: Any) -> EffectWorker:
    """A worker whose tool says which priority its effect has, and from which queue it came."""
    made = EffectWorker(
        stage.url, topology=TOPOLOGY, settings=WorkerSettings(**settings), version=version
    )

    @made.tool
    async def who(ctx: EffectContext) -> str:
        return f"{version}{ctx.priority}"

    return made


async def said(stage: Stage, priority: Priority, number: int = 0, **options: Any) -> Any:
    """What the tool says."""
    client = await stage.client()
    effect = tool("who", f"{priority}-{number}")
    outcome = await client.execute(effect, priority=priority, timeout=PATIENCE_S, **options)
    return outcome.value


def taken(worker: EffectWorker) -> dict[str, int]:
    """The routes that a running worker takes from, with their slots."""
    running = worker._running
    assert running is not None
    return {tap.key: tap.slots for tap in running._serving.taps if not tap.source.limbo}


@pytest.mark.parametrize(
    ("priority", "here", "attempt", "returns", "goes"),
    [
        ("normal", "normal", 1, 0, None),
        ("high", "normal", 1, 0, ToPriority("high")),
        ("low", "normal", 1, 0, ToPriority("low")),
        ("high", "high", 1, 0, None),
        ("high", "low", 1, 0, None),
        ("normal", "low", 1, 0, None),
        ("high", "normal", 2, 0, None),
        ("high", "normal", 1, 1, None),
    ],
)
def test_where_an_effect_goes(
    priority: Priority, here: str, attempt: int, returns: int, goes: ToPriority | None
) -> None:
    request = replace(Request.seal(tool("who"), priority=priority), attempt=attempt)
    assert waits_apart(request, here, returns) == goes


async def test_it_goes_straight_to_its_queue_once_workers_have_opened_it(stage: Stage) -> None:
    made = await stage.start(worker(stage))
    for number in range(3):
        assert await said(stage, "high", number) == "high"
    assert made.counters["to_priority"] == 0
    # A worker takes from it for as long as it runs, so it has it after a lost connection, too.
    declared = stage.connection_of(made)._declared
    assert NAMES.work_queue("tool_call#high") in {queue.name for queue in declared.queues}


async def test_a_worker_that_heard_nothing_sorts_it_and_tells_the_others(
    stage: Stage,
) -> None:
    """A producer in another language knows the header only."""
    first, second = await stage.start(worker(stage)), await stage.start(worker(stage))
    message = Request.seal(tool("who"), priority="high").message
    await stage.publish("tool_call", message)
    await eventually(lambda: all("tool_call#high" in taken(each) for each in (first, second)))
    assert first.counters["to_priority"] + second.counters["to_priority"] == 1


async def test_a_word_that_nobody_knows_counts_as_normal(stage: Stage) -> None:
    made = await stage.start(worker(stage))
    message = Request.seal(tool("who")).message
    strange = replace(message, headers={**message.headers, headers.PRIORITY: "urgent"})
    await stage.publish("tool_call", strange)
    await eventually(lambda: made.counters["completed"] == 1)
    assert stage.broker.queue(NAMES.work_queue("tool_call#urgent")) is None


async def test_without_the_permission_to_declare_it_is_carried_out_as_all_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await stage.start(worker(stage))
    declare = MemoryTransport.declare

    async def refuse(self: MemoryTransport, topology: Topology, *, lasting: bool = True) -> None:
        if any("#" in queue.name for queue in topology.queues):
            raise AccessRefusedError("no")
        await declare(self, topology, lasting=lasting)

    monkeypatch.setattr(MemoryTransport, "declare", refuse)
    assert await said(stage, "high") == "high"
    assert made.counters["to_priority"] == 0


async def test_children_have_the_priority_of_their_parent_unless_they_say_another(
    stage: Stage,
) -> None:
    made = worker(stage)
    client = await stage.client(priority="low")

    @made.tool
    async def ask(priority: str) -> str:
        given: dict[str, Any] = {"priority": priority} if priority else {}
        turn = client.turn("s", f"child-{priority}", **given)
        return str((await turn.tool_call("who", {}, call_id="c")).value)

    await stage.start(made)
    turn = client.turn("s", "t", priority="high")
    asked = [await turn.tool_call("ask", {"priority": p}, call_id=p or "-") for p in ("", "normal")]
    assert [each.value for each in asked] == ["high", "normal"]
    # Outside of any effect the client's own counts.
    assert (await client.execute(tool("who", "x"), timeout=PATIENCE_S)).value == "low"
    with carrying_out(Inheritance(priority="normal")):
        assert (await client.execute(tool("who", "y"), timeout=PATIENCE_S)).value == "normal"
    with pytest.raises(ConfigurationError, match="the priority is 'urgent'"):
        client.turn("s", "t", priority="urgent")  # type: ignore[arg-type]


async def test_a_turn_and_its_options_say_it(stage: Stage) -> None:
    made = worker(stage)

    @made.tool
    async def plain() -> str:
        return "done"

    await stage.start(made)
    client = await stage.client()
    turn = client.turn("s", "t", priority="low")
    assert (await turn.tool_call("who", {}, call_id="a")).value == "low"
    assert (await turn.tool_call("who", {}, call_id="b", priority="high")).value == "high"
    assert await turn.with_options(priority="high", timeout=PATIENCE_S).call(plain) == "done"
    values = [one.value async for one in client.map([tool("who", "m")], priority="low")]
    assert values == ["low"]
    found = [one async for one in client.submit_many([tool("who", "n")], priority="high")]
    assert found[0].handle is not None
    assert (await found[0].handle.outcome(PATIENCE_S)).value == "high"
    stream = client.stream(tool("who", "s"), priority="high", timeout=PATIENCE_S)
    assert (await stream.result()).value == "high"


async def test_a_retry_over_a_delay_level_comes_back_to_its_queue(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    made = worker(stage)
    routes = list[str]()

    @made.tool(retry=RetryPolicy(max_attempts=2, base_delay_s=0.02))
    async def shaky(ctx: EffectContext) -> str:
        (job,) = [job for route in made._running._routes for job in route.jobs]  # type: ignore[union-attr]
        routes.append(job.route.key)
        if ctx.attempt < 2:
            raise ValueError("not yet")
        return ctx.priority

    await stage.start(made)
    client = await stage.client()
    found = await client.execute(tool("shaky"), priority="high", timeout=PATIENCE_S)
    assert found.value == "high"
    assert routes == ["tool_call#high"] * 2


async def test_versions_have_priorities(stage: Stage) -> None:
    for version in ("1-", "2-"):
        await stage.start(worker(stage, version))
    for version in ("1-", "2-"):
        assert (
            await said(stage, "high", version=version, number=ord(version[0])) == f"{version}high"
        )
    assert stage.broker.queue(NAMES.work_queue("tool_call@2-#high")) is not None


async def test_a_priority_is_paused_alone_or_with_its_route(stage: Stage) -> None:
    await stage.start(worker(stage))
    client = await stage.client()
    assert await said(stage, "low") == "low"
    queue = NAMES.work_queue("tool_call#low")
    async with client.fleet() as fleet:
        for paused in ("tool_call#low", "tool_call"):
            await fleet.pause([paused])
            await eventually(lambda: not stage.broker.queue(queue).consumers)  # type: ignore[union-attr]
            waiting = asyncio.create_task(said(stage, "low", len(paused)))
            await eventually(lambda: stage.ready(queue) == 1)
            assert paused == "tool_call" or await said(stage, "high", 7) == "high"
            await fleet.resume([paused])
            assert await waiting == "low"


async def test_slots_that_somebody_sets_are_those_of_all_priorities(stage: Stage) -> None:
    made = await stage.start(worker(stage, concurrency=8))
    client = await stage.client()
    await said(stage, "low")
    await eventually(lambda: (taken(made)["tool_call"], taken(made)["tool_call#low"]) == (7, 1))
    async with client.fleet() as fleet:
        await fleet.set_concurrency(12, routes=["tool_call"])
    await eventually(lambda: taken(made)["tool_call"] == 11)


async def test_with_one_slot_each_priority_has_it_at_a_time(stage: Stage) -> None:
    """A worker of one slot carries out one effect of each: none waits for another priority."""
    made, gate = worker(stage, concurrency=1), asyncio.Event()
    running = set[str]()

    @made.tool
    async def hold(ctx: EffectContext) -> None:
        running.add(ctx.priority)
        await gate.wait()

    await stage.start(made)
    client = await stage.client()
    handles = [
        await client.submit(tool("hold", f"{priority}{number}"), priority=priority)
        for number in range(2)
        for priority in ("low", "normal", "high")
    ]
    async with within(PATIENCE_S):
        await eventually(lambda: running == {"low", "normal", "high"})
    assert sum(len(route.jobs) for route in made._running._routes) == 3  # type: ignore[union-attr]
    gate.set()
    for handle in handles:
        await handle.outcome(PATIENCE_S)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"route": "nobody", "priority": "high"}'])
async def test_a_forged_notice_opens_nothing_and_the_worker_goes_on(
    stage: Stage, body: bytes
) -> None:
    await stage.start(worker(stage))
    transport = await stage.transport()
    notice = Message(body=body, content_type="application/json", type=PRIORITY_TYPE)
    await transport.publish(NAMES.control, "", notice)
    await transport.publish(NAMES.control, "", priority_notice("llm_call#high"))
    assert await said(stage, "high") == "high"
    assert stage.broker.queue(NAMES.work_queue("llm_call#high")) is None
