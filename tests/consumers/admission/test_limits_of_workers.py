"""Limits of the fleet as effects meet them: in memory, with workers of one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from effectmq.broker.store.admission.deciding.gates import Verdict
from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.records import Ask, Worker
from effectmq.broker.store.admission.store import AdmissionStore, LimitDesk
from effectmq.broker.store.database import open_database
from effectmq.consumers.pipeline.running.admitting import verdict_on
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectCancelledError,
    EffectFailedError,
    RetryEffectError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from tests.consumers.stage import PATIENCE_S, Stage, code, gathered, outcome, payload, tool
from tests.waiting import eventually

_MANY = 24


class Bodies:
    """
    Bodies that run until the gate is open.

    Attributes:
        running: How many of each key run.
        most: The most that ran at a time.
        begun: The keys in the order in which they began.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.begun: list[str] = []

    def register(self, app: EffectWorker) -> None:
        """Give a worker the tool ``work``."""

        @app.tool
        async def work(n: int, key: str = "") -> int:
            self.begun.append(key or str(n))
            self.running[key] += 1
            self.most[key] = max(self.most[key], self.running[key])
            try:
                await self.gate.wait()
                await asyncio.sleep(0)
                return n
            finally:
                self.running[key] -= 1


async def waiting(stage: Stage) -> int:
    """How many effects wait for admission."""
    async with open_database(stage.url, namespace="t") as database:
        return sum(route.waiting for route in await LimitDesk(database).waiting())


async def waits(stage: Stage, count: int) -> None:
    """Wait until so many effects wait for admission."""

    async def they_do() -> bool:
        return await waiting(stage) == count

    await eventually(they_do, PATIENCE_S)


def calls(count: int, **args: Any) -> list[Any]:
    """Different calls of ``work``."""
    return [tool("work", f"e{nth}", call_id=f"c{nth}", n=nth, **args) for nth in range(count)]


async def test_no_more_run_than_the_limit_admits(stage: Stage) -> None:
    """Over all workers; what waits holds no slot and counts as no attempt."""
    bodies = Bodies()
    workers = [stage.worker(journal=stage.url, concurrency=4) for _ in range(2)]
    for app in workers:
        bodies.register(app)
        app.limit("tool_call", concurrency=3)
        await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(each) for each in calls(_MANY)]
    await waits(stage, _MANY - 3)
    # Nothing of the route is with a worker but what runs.
    await eventually(lambda: stage.unsettled("tool_call") == 3)
    bodies.gate.set()
    replies = await gathered(handles)
    assert sorted([payload(await outcome(each)) for each in handles]) == list(range(_MANY))
    assert {reply.attempt for reply in replies} == {1}
    assert bodies.most[""] == 3
    assert await waiting(stage) == 0


async def test_each_value_of_a_key_has_the_limit_for_itself(stage: Stage) -> None:
    """Here by an argument of the call."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", key="command.call.args.key", concurrency=1)
    await stage.start(app)
    client = await stage.client()
    handles = []
    for nth, key in enumerate("aabbcc"):
        call = tool("work", f"e{nth}", call_id=f"c{nth}", n=nth, key=key)
        handles.append(await client.submit(call))
    await waits(stage, 3)
    assert sorted(bodies.begun) == ["a", "b", "c"]
    bodies.gate.set()
    await gathered(handles)
    assert bodies.most == {"a": 1, "b": 1, "c": 1}


async def test_effects_that_wait_start_in_order(stage: Stage) -> None:
    """In which they came."""
    bodies, app = Bodies(), stage.worker(journal=stage.url, concurrency=2)
    bodies.register(app)
    app.limit("tool_call", concurrency=1)
    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(each) for each in calls(8)]
    await waits(stage, 7)
    bodies.gate.set()
    await gathered(handles)
    assert bodies.begun == [str(nth) for nth in range(8)]


async def test_what_is_recorded_is_answered_whatever_the_limits(stage: Stage) -> None:
    """The same effect again does not wait."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", concurrency=1)
    await stage.start(app)
    client = await stage.client()
    bodies.gate.set()
    first, second = calls(2)
    await client.execute(first, timeout=PATIENCE_S)
    bodies.gate.clear()
    blocking = await client.submit(second)
    await eventually(lambda: bodies.running[""] == 1)
    again = await client.execute(first, timeout=PATIENCE_S)
    assert payload(again) == 0
    bodies.gate.set()
    await blocking.outcome(PATIENCE_S)


async def test_two_who_ask_for_one_effect_that_waits_are_both_answered(stage: Stage) -> None:
    """It runs once."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", concurrency=1)
    await stage.start(app)
    client, other = await stage.client("one"), await stage.client("two")
    first, second = calls(2)
    handles = [await client.submit(first)]
    await eventually(lambda: bodies.running[""] == 1)
    handles += [await client.submit(second), await other.submit(second)]
    await waits(stage, 2)
    bodies.gate.set()
    assert [payload(await outcome(each)) for each in handles] == [0, 1, 1]
    assert bodies.begun == ["0", "1"]


async def test_who_waits_for_an_effect_that_has_ended_meanwhile_is_answered(stage: Stage) -> None:
    """Although the rate admits no other start for an hour."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", rate="2/h")
    await stage.start(app)
    client, other = await stage.client("one"), await stage.client("two")
    first, second = calls(2)
    handles = [await client.submit(first)]
    await eventually(lambda: bodies.running[""] == 1)
    async with open_database(stage.url, namespace="t") as database:
        desk = LimitDesk(database)
        await desk.set(Limit.of("tool_call", rate="1/h"), "anna")
        handles += [await client.submit(second), await other.submit(second)]
        await waits(stage, 2)
        await desk.set(Limit.of("tool_call", rate="2/h"), "anna")
        await eventually(lambda: bodies.running[""] == 2)
        bodies.gate.set()
        assert [payload(await outcome(each)) for each in handles] == [0, 1, 1]
    assert bodies.begun == ["0", "1"]


async def test_a_rate_holds_until_a_higher_one_is_set(stage: Stage) -> None:
    """What has started in the period counts for both."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    bodies.gate.set()
    app.limit("tool_call", rate="3/h")
    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(each) for each in calls(6)]
    await waits(stage, 3)
    async with open_database(stage.url, namespace="t") as database:
        await LimitDesk(database).set(Limit.of("tool_call", rate="5/h"), "anna")
        await waits(stage, 1)
        await LimitDesk(database).set(Limit.of("tool_call", rate="6/h"), "anna")
    assert len(await gathered(handles)) == 6


async def test_what_finds_no_place_in_the_room_goes_back_to_the_broker(stage: Stage) -> None:
    """It is not lost, counts no attempt, and those of other keys pass."""
    bodies, app = Bodies(), stage.worker(journal=stage.url, max_waiting=2)
    bodies.register(app)
    app.limit("tool_call", key="command.call.args.key", concurrency=1)
    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(each) for each in calls(6, key="a")]
    await eventually(lambda: app.counters["room_full"] >= 3, PATIENCE_S)
    assert 1 <= await waiting(stage) <= 2
    other = tool("work", "other", call_id="other", n=9, key="b")
    handles.append(await client.submit(other))
    await eventually(lambda: bodies.running["b"] == 1)
    bodies.gate.set()
    replies = await gathered(handles)
    assert sorted([payload(await outcome(each)) for each in handles]) == [0, 1, 2, 3, 4, 5, 9]
    assert {reply.attempt for reply in replies} == {1}
    assert bodies.most["a"] == 1


async def test_a_cancelled_effect_that_waits_is_answered_at_once(stage: Stage) -> None:
    """Although nothing is free."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", concurrency=1)
    await stage.start(app)
    client = await stage.client(journal=stage.url)
    # Another one, which is only answered by a worker.
    other = await stage.client("other")
    first, second = calls(2)
    blocking = await client.submit(first)
    await eventually(lambda: bodies.running[""] == 1)
    handle = await other.submit(second)
    await waits(stage, 1)
    await client.cancel(second)
    with pytest.raises(EffectCancelledError):
        await handle.outcome(PATIENCE_S)
    await waits(stage, 0)
    bodies.gate.set()
    await blocking.outcome(PATIENCE_S)
    assert bodies.begun == ["0"]


async def test_a_deadline_that_passes_while_it_waits_ends_it(stage: Stage) -> None:
    """With the error that says so, although nothing is free."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", concurrency=1)
    await stage.start(app)
    client = await stage.client()
    first, second = calls(2)
    blocking = await client.submit(first)
    await eventually(lambda: bodies.running[""] == 1)
    handle = await client.submit(second, deadline_s=0.2)
    with pytest.raises(EffectFailedError, match="deadline passed"):
        await handle.outcome(PATIENCE_S)
    (letter,) = await stage.parked()
    assert letter.reason == "expired"
    bodies.gate.set()
    await blocking.outcome(PATIENCE_S)


async def test_a_limit_set_and_cleared_while_workers_run_is_heeded(stage: Stage) -> None:
    """No worker is started again for it."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    await stage.start(app)
    client = await stage.client()
    async with open_database(stage.url, namespace="t") as database:
        desk = LimitDesk(database)
        await desk.set(Limit.of("tool_call", concurrency=2, source="operator"), "anna")
        await eventually(lambda: all(r.admission for r in _routes(app) if r.key == "tool_call"))
        handles = [await client.submit(each) for each in calls(5)]
        await waits(stage, 3)
        await desk.clear("tool_call")
        await eventually(lambda: bodies.running[""] == 5)
        await eventually(lambda: not any(route.admission for route in _routes(app)))
    bodies.gate.set()
    await gathered(handles)


def _routes(app: EffectWorker) -> list[Any]:
    running = app._running
    assert running is not None
    return running._routes


async def test_one_that_is_told_to_wait_makes_the_others_of_its_key_wait(stage: Stage) -> None:
    """One has asked, and the others do not."""
    asked: list[str] = []
    app = stage.worker(journal=stage.url)

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> RuntimeEffectOutcome:
        asked.append(command.code)
        raise RetryEffectError("slow down", after_s=600.0)

    app.limit("exec_code", key="command.code", breaker=50, name="provider")
    await stage.start(app)
    client = await stage.client()
    await client.submit(code("x", "e0"))
    await eventually(lambda: app.counters["delayed"] == 1)
    for nth in range(1, 4):
        await client.submit(code("x", f"e{nth}"))
    await client.submit(code("y", "other"))
    await waits(stage, 3)
    await eventually(lambda: asked == ["x", "y"])
    async with open_database(stage.url, namespace="t") as database:

        async def both_are_shut() -> bool:
            (state,) = await LimitDesk(database).states()
            return state.shut == 2

        # The body of the other one has begun; that it was told to wait comes after.
        await eventually(both_are_shut, PATIENCE_S)
        (state,) = await LimitDesk(database).states()
    assert state.lines[0].opens_in_ms > 60_000


async def test_a_limit_needs_a_journal(stage: Stage) -> None:
    """It is said before anything starts."""
    app = stage.worker()
    app.limit("tool_call", concurrency=1)
    with pytest.raises(ConfigurationError, match="'tool_call' needs a journal"):
        await app.start()


async def test_two_limits_of_one_name_and_late_ones_are_refused(stage: Stage) -> None:
    """Either would be a surprise."""
    app = stage.worker(journal=stage.url)
    app.limit("tool_call", concurrency=1)
    with pytest.raises(ConfigurationError, match="there is a limit 'tool_call' already"):
        app.limit("tool_call", rate="5/s")
    await stage.start(app)
    with pytest.raises(ConfigurationError, match="runs already"):
        app.limit("llm_call", concurrency=1)


async def test_a_worker_that_leaves_gives_its_share_back(stage: Stage) -> None:
    """To one that stays, without waiting for a lease."""
    bodies = Bodies()
    leaving, staying = (stage.worker(journal=stage.url, concurrency=4) for _ in range(2))
    for app in (leaving, staying):
        bodies.register(app)
        app.limit("tool_call", concurrency=2)
    await stage.start(leaving)
    client = await stage.client()
    handles = [await client.submit(each) for each in calls(6)]
    await waits(stage, 4)
    await stage.start(staying)
    await leaving.stop(0.0)
    await eventually(lambda: bodies.running[""] == 2)
    bodies.gate.set()
    await gathered(handles)
    assert bodies.most[""] == 2


@pytest.mark.parametrize("after_s", [float("inf"), 1e300])
async def test_a_wait_without_end_gives_the_permit_back(stage: Stage, after_s: float) -> None:
    """Handlers may ask for anything."""
    app = stage.worker(journal=stage.url)

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> RuntimeEffectOutcome:
        raise RetryEffectError("slow down", after_s=after_s)

    app.limit("exec_code", concurrency=1, breaker=50)
    await stage.start(app)
    client = await stage.client()
    await client.submit(code("x", "e"))
    await eventually(lambda: app.counters["delayed"] == 1, PATIENCE_S)

    async with open_database(stage.url, namespace="t") as database:

        async def given_back() -> bool:
            (state,) = await LimitDesk(database).states()
            return (state.running, state.shut) == (0, 1)

        await eventually(given_back, PATIENCE_S)


@pytest.mark.parametrize("after_s", [float("nan"), -5.0])
def test_a_wait_that_is_none_is_a_failure(after_s: float) -> None:
    """And shuts nothing by itself."""
    assert verdict_on(RetryEffectError("no", after_s=after_s), False) == Verdict("failed")


async def test_permits_of_the_dead_do_not_pile_up(stage: Stage) -> None:
    """Also where nothing waits and the effect never comes back."""
    app = stage.worker(journal=stage.url, lease_s=1.0)
    app.limit("tool_call", concurrency=2)
    await stage.start(app)

    async with open_database(stage.url, namespace="t") as database:
        dead = AdmissionStore(database, Worker("dead", 1))
        message = Message(body=b"", reply_to="")
        line = Line("tool_call")
        await dead.ask(Ask("gone", "token", (line,), "tool_call", message, "tool_call"))

        async def gone() -> bool:
            rows = await database.read(lambda tx: tx.execute("SELECT 1 FROM effectmq_permits"))
            return not rows

        await eventually(gone, PATIENCE_S)


_REFUSE = "CREATE TRIGGER kept BEFORE {change} BEGIN SELECT RAISE(ABORT, 'kept'); END"


async def test_a_gate_that_cannot_be_written_keeps_no_permit(stage: Stage) -> None:
    """The end of the attempt is refused with it, and is said without it then."""
    bodies, app = Bodies(), stage.worker(journal=stage.url)
    bodies.register(app)
    app.limit("tool_call", concurrency=1, breaker=2)
    await stage.start(app)
    client = await stage.client()
    (handle,) = [await client.submit(each) for each in calls(1)]
    await eventually(lambda: bodies.running[""] == 1)
    async with open_database(stage.url, namespace="t") as database:
        refuse = _REFUSE.format(change="UPDATE ON effectmq_gates")
        # So that the end of the attempt changes it.
        await database.write(lambda tx: tx.execute("UPDATE effectmq_gates SET failures = 1"))
        await database.write(lambda tx: tx.execute(refuse))
        bodies.gate.set()
        await handle.outcome(PATIENCE_S)

        async def given_back() -> bool:
            return not await database.read(lambda tx: tx.execute("SELECT 1 FROM effectmq_permits"))

        await eventually(given_back, PATIENCE_S)


async def test_what_is_refused_is_said_again(stage: Stage) -> None:
    """A permit that cannot be given back at all is not forgotten, and no other one is asked for."""
    app = stage.worker(journal=stage.url, lease_s=1.0)

    @app.tool
    async def work(n: int) -> int:
        return n

    app.limit("tool_call", concurrency=1)
    await stage.start(app)
    client = await stage.client()
    first, second = calls(2)
    async with open_database(stage.url, namespace="t") as database:
        refuse = _REFUSE.format(change="DELETE ON effectmq_permits")
        await database.write(lambda tx: tx.execute(refuse))
        assert payload(await client.execute(first, timeout=PATIENCE_S)) == 0
        await eventually(lambda: app.counters["journal_refusals"] >= 3, PATIENCE_S)
        await database.write(lambda tx: tx.execute("DROP TRIGGER kept"))
    assert payload(await client.execute(second, timeout=PATIENCE_S)) == 1
