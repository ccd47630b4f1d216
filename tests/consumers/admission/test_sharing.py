"""Shared routes as effects meet them: in memory, with workers of one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from effectmq.broker.client.handle import Handle
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, EffectCancelledError, EffectFailedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.consumers.admission.test_limits_of_workers import Bodies, waiting, waits
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, effect, gathered, outcome, payload, tool
from tests.waiting import eventually


def worker(stage: Stage, bodies: Bodies, slots: int = 1, **settings: Any) -> EffectWorker:
    """A worker with the tool ``work``, whose route is not shared yet."""
    app = stage.worker(journal=stage.url, concurrency=slots, **settings)
    bodies.register(app)
    return app


class Asking:
    """Calls of tenants."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._count = 0

    async def submit(self, tenant: str, count: int, **options: Any) -> list[Handle]:
        """Submit so many calls, one after the other."""
        client = await self._stage.client(f"client-{self._count}")
        handles: list[Handle] = []
        for _ in range(count):
            self._count += 1
            nth = str(self._count)
            call = tool("work", nth, call_id=nth, n=self._count, key=tenant)
            handles.append(await client.submit(call, tenant=tenant, **options))
        return handles


def shares(begun: list[str], *tenants: str) -> list[tuple[int, ...]]:
    """How many of each had begun when each effect began."""
    return [
        tuple(begun[:end].count(tenant) for tenant in tenants) for end in range(1, len(begun) + 1)
    ]


async def test_one_call_does_not_wait_for_the_queue_of_another_tenant(stage: Stage) -> None:
    """Whatever that has queued; what waits is with no worker and counts as no attempt."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies, 2)
    app.share("tool_call")
    await stage.start(app)
    handles = await asking.submit("a", 30)
    await waits(stage, 28)
    handles += await asking.submit("b", 1)
    await waits(stage, 29)
    await eventually(lambda: stage.unsettled("tool_call") == 2)
    bodies.gate.set()
    replies = await gathered(handles)
    assert {reply.attempt for reply in replies} == {1}
    # Two ran already, and of those that wait, the first of each comes first.
    assert "b" in bodies.begun[:4]
    assert sorted([payload(await outcome(each)) for each in handles]) == list(range(1, 32))
    assert bodies.most["a"] <= 2
    assert await waiting(stage) == 0


async def test_tenants_that_have_effects_waiting_start_in_turn(stage: Stage) -> None:
    """However unequal their queues are."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies)
    app.share("tool_call")
    await stage.start(app)
    handles = await asking.submit("a", 24)
    await waits(stage, 23)
    handles += await asking.submit("b", 8)
    await waits(stage, 31)
    bodies.gate.set()
    await gathered(handles)
    # One of a had begun before b came.
    assert all(-1 <= a - 1 - b <= 1 for a, b in shares(bodies.begun, "a", "b")[:17])


async def test_a_weight_of_three_starts_three_for_one(stage: Stage) -> None:
    """As long as both have effects waiting."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies)
    app.share("tool_call", weights={"b": 3})
    await stage.start(app)
    handles = await asking.submit("a", 10)
    await waits(stage, 9)
    handles += await asking.submit("b", 18)
    await waits(stage, 27)
    bodies.gate.set()
    await gathered(handles)
    assert all(abs(b - 3 * (a - 1)) <= 3 for a, b in shares(bodies.begun, "a", "b")[:21])


async def test_who_comes_when_nobody_waits_begins_at_once(stage: Stage) -> None:
    """The database is not asked where there is a slot."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies, 4)
    app.share("tool_call")
    bodies.gate.set()
    await stage.start(app)
    for _ in range(3):
        await gathered(await asking.submit("a", 2))
    assert app.counters["not_admitted"] == 0


async def test_without_a_tenant_sessions_share(stage: Stage) -> None:
    """The clients of one session are one."""
    bodies = Bodies()
    app = worker(stage, bodies)
    app.share("*")
    await stage.start(app)
    client = await stage.client()
    handles: list[Handle] = []
    for session, count in (("s1", 12), ("s2", 1)):
        for nth in range(count):
            args = {"n": nth, "key": session}
            call = PreparedToolCall(call_id=str(nth), tool_name="work", args=args)
            command = RuntimeEffectCommandToolCall(call=call)
            asked = effect("tool_call", command, f"{session}-{nth}", session)
            handles.append(await client.submit(asked))
        await waits(stage, len(handles) - 1)
    bodies.gate.set()
    await gathered(handles)
    assert "s2" in bodies.begun[:3]


async def test_a_limit_keeps_its_order_fair(stage: Stage) -> None:
    """Where it is the limit that holds effects up, and not the slots."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies, 4)
    app.share("tool_call")
    app.limit("tool_call", key="tool", concurrency=1)
    await stage.start(app)
    handles = await asking.submit("a", 12)
    await waits(stage, 11)
    handles += await asking.submit("b", 1)
    await waits(stage, 12)
    bodies.gate.set()
    await gathered(handles)
    assert "b" in bodies.begun[:3]
    assert bodies.most["a"] == 1


async def test_what_waits_is_taken_by_workers_that_share_nothing(stage: Stage) -> None:
    """The next version of the program may be without the share."""
    bodies, asking = Bodies(), Asking(stage)
    sharing, other = worker(stage, bodies), worker(stage, bodies)
    sharing.share("tool_call")
    await stage.start(sharing)
    handles = await asking.submit("a", 4)
    await waits(stage, 3)
    await stage.start(other)
    await eventually(lambda: bodies.running["a"] == 2)
    await sharing.stop(0.0)
    bodies.gate.set()
    await gathered(handles)
    assert await waiting(stage) == 0


async def test_what_waits_can_be_cancelled_and_has_deadlines(stage: Stage) -> None:
    """Although no slot is free."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies)
    app.share("tool_call")
    await stage.start(app)
    client = await stage.client("one", journal=stage.url)
    blocking = await asking.submit("a", 1)
    await eventually(lambda: bodies.running["a"] == 1)
    (waits_long,) = await asking.submit("b", 1)
    (late,) = await asking.submit("b", 1, deadline_s=0.2)
    with pytest.raises(EffectFailedError, match="deadline passed"):
        await late.outcome(PATIENCE_S)
    await waits(stage, 1)
    await client.cancel(tool("work", "2", call_id="2", n=2, key="b"))
    with pytest.raises(EffectCancelledError):
        await waits_long.outcome(PATIENCE_S)
    bodies.gate.set()
    await gathered(blocking)
    assert bodies.begun == ["a"]


async def test_what_cannot_be_read_is_parked_although_no_slot_is_free(stage: Stage) -> None:
    """It has nothing to wait for."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies)
    app.share("tool_call")
    await stage.start(app)
    handles = await asking.submit("a", 2)
    await waits(stage, 1)
    await stage.publish("tool_call", Message(body=b"\xc1", type="effect.envelope.v1"))
    (letter,) = await stage.parked()
    assert letter.reason == "malformed"
    bodies.gate.set()
    await gathered(handles)


async def test_more_slots_count_at_once(stage: Stage) -> None:
    """Also for what waits."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies)
    app.share("tool_call")
    await stage.start(app)
    handles = await asking.submit("a", 5)
    await waits(stage, 4)
    running = app._running
    assert running is not None
    (tap,) = [each for each in running._serving.taps if each.key == "tool_call"]
    tap.slots = 3
    running._serving.turn()
    await eventually(lambda: bodies.running["a"] == 3, PATIENCE_S)
    await waits(stage, 2)
    bodies.gate.set()
    await gathered(handles)
    assert bodies.most["a"] == 3
    assert stage.ready(NAMES.work_queue("tool_call")) == 0


async def test_a_share_needs_a_journal(stage: Stage) -> None:
    """It is said before anything starts."""
    app = stage.worker()
    app.share("tool_call")
    with pytest.raises(ConfigurationError, match="'tool_call' needs a journal"):
        await app.start()


async def test_a_second_share_and_a_late_one_are_refused(stage: Stage) -> None:
    """Either would be a surprise."""
    app = stage.worker(journal=stage.url)
    app.share("tool_call")
    with pytest.raises(ConfigurationError, match="shared already"):
        app.share("tool_call", key="session")
    await stage.start(app)
    with pytest.raises(ConfigurationError, match="runs already"):
        app.share("llm_call")


async def test_a_worker_with_a_full_room_finishes_when_it_drains(stage: Stage) -> None:
    """What found no place goes back to the broker, and is not waited for."""
    bodies, asking = Bodies(), Asking(stage)
    app = worker(stage, bodies, 1, max_waiting=1)
    app.share("tool_call")
    working = asyncio.create_task(app.run(["tool_call"]))
    await eventually(lambda: app.ready)
    await asking.submit("a", 6)
    await eventually(lambda: app.counters["room_full"] > 0)
    client = await stage.client("operator")
    async with client.fleet() as fleet:
        await fleet.drain(timeout_s=PATIENCE_S)
        bodies.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            await working
    assert 0 < len(bodies.begun) < 6
