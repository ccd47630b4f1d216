"""Functions that are not ``async``: their threads, what waits for one, and what is given up."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from effectmq.consumers.handler import EffectContext, call
from effectmq.consumers.runtime.abandoned import Abandoned
from effectmq.consumers.runtime.threads import Seat, Threads, in_thread, take_seat
from effectmq.consumers.sessions import CheckpointHandler
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.errors import EffectCancelledError, EffectFailedError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandCheckpoint
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeCheckpoint,
    RuntimeEffectOutcomeExecCode,
)
from tests.consumers.stage import (
    AT_ONCE,
    ONCE,
    PATIENCE_S,
    Stage,
    code,
    effect,
    logged,
    outcome,
    payload,
    tool,
)
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))
WORD: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")


class Held:
    """A body that blocks its thread until it is let go; notes who began."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.gate = threading.Event()

    def __call__(self, name: str) -> str:
        """Block."""
        self.began.append(name)
        self.gate.wait(PATIENCE_S)
        return name

    def on(self, app: EffectWorker, **options: object) -> EffectWorker:
        """Register the tool, and take care that one thread has to do for all of its calls."""

        @app.tool(name="held", **options)  # type: ignore[call-overload,untyped-decorator]
        def tool_(who: str) -> str:
            return self(who)

        return app


@pytest.fixture
def held() -> Iterator[Held]:
    """Nothing of it outlives the test."""
    body = Held()
    yield body
    body.gate.set()


def threads_of(app: EffectWorker) -> Threads:
    """The threads of a worker that runs."""
    assert app._running is not None
    return app._running._threads


def waited_s(app: EffectWorker) -> float:
    """How long the effect has waited that waits longest for a thread."""
    assert app._running is not None
    jobs = [job for route in app._running._routes for job in route.jobs]
    return max(job.attempt._seat.waited_s() for job in jobs if job.attempt is not None)


async def squeezed(stage: Stage, app: EffectWorker) -> EffectWorker:
    """Start it with one thread for all of its slots, as if others did not end."""
    await stage.start(app)
    threads_of(app)._size = 1
    return app


# The threads ---------------------------------------------------------------------------------


async def test_a_body_sees_the_context_of_its_caller_and_changes_none() -> None:
    """Tracing and the like go on in the thread."""
    WORD.set("seen")

    def body() -> str:
        found = WORD.get()
        WORD.set("changed")
        return found

    assert await in_thread(body) == "seen"
    take_seat(Seat(Threads(1)))
    assert await in_thread(body) == "seen"
    assert WORD.get() == "seen"


@pytest.mark.parametrize("error", [OSError("x"), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_a_body_raises_arrives(error: BaseException) -> None:
    """As it was raised."""

    def body() -> None:
        raise error

    threads = Threads(1)
    with pytest.raises(type(error)) as raised:
        await threads.run(body)
    assert raised.value is error
    assert await threads.run(lambda: 1) == 1, "the thread is there for the next one"


async def test_what_raises_cancelled_by_itself_is_over() -> None:
    """It is an error like another, and nobody waits for its end."""

    def body() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(Threads(1).run(body), PATIENCE_S)


async def test_no_more_bodies_than_threads_run_and_none_is_forgotten() -> None:
    """They take their turns in the order in which they came."""
    threads = Threads(3)
    lock, now, most, order = threading.Lock(), 0, 0, []

    def body(number: int) -> None:
        nonlocal now, most
        with lock:
            order.append(number)
            now += 1
            most = max(most, now)
        threading.Event().wait(0.001)
        with lock:
            now -= 1

    await asyncio.gather(*(threads.run(lambda n=n: body(n)) for n in range(60)))  # type: ignore[misc]
    assert sorted(order) == list(range(60))
    assert most <= 3


async def test_what_is_cancelled_while_it_waits_never_begins(held: Held) -> None:
    """However often it was given to the threads, and whatever becomes free."""
    threads = Threads(1)
    first = asyncio.create_task(threads.run(lambda: held("first")))
    await eventually(lambda: held.began)
    waiting = [asyncio.create_task(threads.run(lambda: held("late"))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in results)
    held.gate.set()
    assert await first == "first"
    assert await threads.run(lambda: "next") == "next"
    assert held.began == ["first"]


async def test_beginning_and_taking_back_never_both_happen() -> None:
    """The race at its narrowest: cancelled in the moment in which a thread takes it."""
    threads = Threads(4)
    for _ in range(300):
        began: list[int] = []
        task = asyncio.create_task(threads.run(lambda began=began: began.append(1)))  # type: ignore[misc]
        await asyncio.sleep(0)
        seat_says = None
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            seat_says = "cancelled"
        count = len(began)
        await threads.run(lambda: None)
        assert len(began) == count, "it began after its caller was told"
        assert count or seat_says == "cancelled"


async def test_an_abandoned_body_is_replaced_counted_and_heard_no_more(held: Held) -> None:
    """The pool keeps its size, whatever does not end."""
    counters: Counter[str] = Counter()
    stuck: list[int] = []
    abandoned = Abandoned(2, counters, lambda: stuck.append(1))
    threads = Threads(1, abandoned)
    for number in range(2):
        seat = Seat(threads)
        task = asyncio.create_task(threads.run(lambda n=number: held(str(n)), seat))  # type: ignore[misc]
        await eventually(lambda number=number: len(held.began) == number + 1)  # type: ignore[misc]
        assert seat.abandon()
        seat.abandon()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (abandoned.now, counters["abandoned"], stuck) == (2, 2, [1])
    assert await threads.run(lambda: "still") == "still"
    held.gate.set()
    await eventually(lambda: abandoned.now == 0)
    assert counters["abandoned_ended"] == 2
    assert len(threads._threads) == 1


async def test_one_that_is_cancelled_twice_is_left_alone(held: Held) -> None:
    """As when the loop is closed: nothing may wait for a thread for ever."""
    counters: Counter[str] = Counter()
    threads = Threads(1, Abandoned(99, counters, lambda: None))
    task = asyncio.create_task(threads.run(lambda: held("x")))
    await eventually(lambda: held.began)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counters["abandoned"] == 1


async def test_a_system_without_threads_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits goes on waiting, and the log says for what."""
    monkeypatch.setattr("effectmq.consumers.runtime.threads._AGAIN_S", 0.01)
    start, refusals = threading.Thread.start, [1, 2, 3]

    def refuse(thread: threading.Thread) -> None:
        if refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await Threads(2).run(lambda: "at last") == "at last"
    assert "ulimit -u" in logged(caplog, "no_threads")[0].getMessage()


async def test_closed_threads_begin_nothing(held: Held) -> None:
    """Neither what waits nor what comes."""
    threads = Threads(1)
    first = asyncio.create_task(threads.run(lambda: held("first")))
    await eventually(lambda: held.began)
    waiting = asyncio.create_task(threads.run(lambda: held("second")))
    await asyncio.sleep(0)
    threads.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="stopped"):
        await threads.run(lambda: held("third"))
    held.gate.set()
    assert await first == "first"
    await eventually(lambda: not threads._threads)
    assert held.began == ["first"]


async def test_an_idle_thread_keeps_nothing_alive() -> None:
    """Neither the result nor what the body had."""

    class Thing:
        """To be collected."""

    threads = Threads(1)
    thing = await threads.run(Thing)
    seen = weakref.ref(thing)
    await threads.run(lambda: None)
    del thing
    gc.collect()
    assert seen() is None


async def test_an_object_whose_call_is_a_coroutine_needs_no_thread() -> None:
    """A thread would only make it."""

    class Later:
        async def __call__(self) -> int:
            return threading.get_ident()

    assert await call(Later(), (), {}) == threading.get_ident()


# In a worker -----------------------------------------------------------------------------------


async def test_an_embedded_worker_has_a_thread_for_every_effect_that_may_run(
    stage: Stage,
) -> None:
    """As with ``run``: the pool does not depend on how it was started."""
    app = stage.worker(concurrency=40)
    together = threading.Barrier(40)

    @app.tool
    def meet() -> int:
        return together.wait(PATIENCE_S)

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(tool("meet", str(n), call_id=str(n))) for n in range(40)]
    met = [payload(await outcome(handle)) for handle in handles]
    assert sorted(met) == list(range(40))


async def test_waiting_for_a_thread_does_not_count_towards_the_limit(
    stage: Stage, held: Held
) -> None:
    """The limit begins with the body: the wait here is many limits long."""
    app = stage.worker(concurrency=2)

    @app.tool(time_limit_s=0.05)
    def quick() -> str:
        held.began.append("quick")
        return "in time"

    held.on(app)
    await squeezed(stage, app)
    client = await stage.client()
    blocking = await client.submit(tool("held", "1", call_id="1", who="a"))
    await eventually(lambda: held.began == ["a"])
    waiting = await client.submit(tool("quick", "2", call_id="2"))
    await eventually(lambda: app.counters["started"] == 2)
    await eventually(lambda: waited_s(app) > 0.2)
    held.gate.set()
    assert payload(await outcome(waiting)) == "in time"
    assert payload(await outcome(blocking)) == "a"
    assert app.counters["timeouts"] == 0


async def test_a_deadline_ends_the_wait_for_a_thread_and_nothing_begins(
    stage: Stage, held: Held
) -> None:
    """Nobody wants it any more; that it had no thread is no excuse."""
    app = held.on(stage.worker(concurrency=2))
    await squeezed(stage, app)
    client = await stage.client()
    blocking = await client.submit(tool("held", "1", call_id="1", who="a"))
    await eventually(lambda: held.began == ["a"])
    late = await client.submit(tool("held", "2", call_id="2", who="b"), deadline_s=0.1)
    with pytest.raises(EffectFailedError) as failed:
        await outcome(late)
    assert failed.value.code == "effectmq_expired"
    held.gate.set()
    await outcome(blocking)
    assert payload(await client.execute(tool("held", "3", call_id="3", who="c"), timeout=9)) == "c"
    assert held.began == ["a", "c"]


async def test_what_is_cancelled_while_it_waits_for_a_thread_never_runs(
    stage: Stage, held: Held, tmp_path: Path
) -> None:
    """The caller was told so."""
    url = f"sqlite:///{tmp_path}/j.db"
    app = held.on(stage.worker(concurrency=2, journal=url, lease_s=600))
    await squeezed(stage, app)
    client = await stage.client(journal=url)
    blocking = await client.submit(tool("held", "1", call_id="1", who="a"))
    await eventually(lambda: held.began == ["a"])
    second = tool("held", "2", call_id="2", who="b")
    waiting = await client.submit(second)
    await eventually(lambda: app.counters["started"] == 2)
    assert await client.cancel(second)
    with pytest.raises(EffectCancelledError):
        await outcome(waiting)
    held.gate.set()
    await outcome(blocking)
    assert payload(await client.execute(tool("held", "3", call_id="3", who="c"), timeout=9)) == "c"
    assert held.began == ["a", "c"]


async def test_what_runs_in_a_thread_and_is_cancelled_is_abandoned_after_the_grace(
    stage: Stage, held: Held, tmp_path: Path
) -> None:
    """Its caller does not wait for the time limit, and its slot is free."""
    url = f"sqlite:///{tmp_path}/j.db"
    app = held.on(stage.worker(concurrency=1, journal=url, lease_s=600, kill_grace_s=0.02))
    await stage.start(app)
    client, other = await stage.client(journal=url), await stage.client()
    envelope = tool("held", "1", call_id="1", who="a")
    handle = await other.submit(envelope)
    await eventually(lambda: held.began == ["a"])
    assert await client.cancel(envelope)
    with pytest.raises(EffectCancelledError):
        await outcome(handle)
    assert app.counters["abandoned"] == 1
    again = await client.submit(tool("held", "2", call_id="2", who="b"))
    await eventually(lambda: held.began == ["a", "b"])
    held.gate.set()
    assert payload(await outcome(again)) == "b"


@pytest.mark.parametrize("kept", [True, False])
async def test_what_waits_for_a_thread_at_shutdown_goes_to_another_worker_unharmed(
    stage: Stage, held: Held, tmp_path: Path, kept: bool
) -> None:
    """It never began, so even a tool that must not run twice is run by the next worker."""
    url = f"sqlite:///{tmp_path}/j.db" if kept else None
    app = held.on(stage.worker(concurrency=2, journal=url, lease_s=600), on_uncertain="park")
    await squeezed(stage, app)
    client = await stage.client()
    await client.submit(tool("held", "1", call_id="1", who="a"))
    await eventually(lambda: held.began == ["a"])
    waiting = await client.submit(tool("held", "2", call_id="2", who="b"))
    await eventually(lambda: app.counters["started"] == 2)
    await app.stop(0.0)
    next_one = Held()
    next_one.gate.set()
    await stage.start(next_one.on(stage.worker(journal=url), on_uncertain="park"))
    assert payload(await outcome(waiting)) == "b"
    held.gate.set()
    assert held.began == ["a"]


async def test_abandoned_threads_are_replaced_by_others(stage: Stage, held: Held) -> None:
    """One slot and five bodies that never end: the sixth runs all the same."""
    app = held.on(stage.worker(concurrency=1, kill_grace_s=0.01), time_limit_s=0.03)

    @app.tool
    def free() -> str:
        return "free"

    await stage.start(app)
    client = await stage.client()
    for number in range(5):
        envelope = tool("held", str(number), call_id=str(number), who=str(number))
        failed = payload(await client.execute(envelope, timeout=PATIENCE_S))
        assert failed.code == "timeout"
    assert app.counters["abandoned"] == 5
    assert payload(await client.execute(tool("free", "9"), timeout=PATIENCE_S)) == "free"
    held.gate.set()
    await eventually(lambda: app.counters["abandoned_ended"] == 5)
    assert app.counters["completed"] == 6, "what they gave in the end went nowhere"


async def test_too_many_abandoned_and_an_embedded_worker_takes_no_more(
    stage: Stage, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    """The count is the worker's and not a route's; what comes then is for others."""
    app = stage.worker(max_abandoned=2, kill_grace_s=0.01)

    @app.handler("exec_code", retry=ONCE, time_limit_s=0.03)
    def run(command: object) -> object:
        held("code")
        return DONE

    held.on(app, time_limit_s=0.03)
    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError):
        await client.execute(code(), timeout=PATIENCE_S)
    await client.execute(tool("held", "1", who="a"), timeout=PATIENCE_S)
    await eventually(lambda: logged(caplog, "worker_stuck"))
    sentence = logged(caplog, "worker_stuck")[0].getMessage()
    assert "2 handlers" in sentence
    assert "replace this process" in sentence
    assert not app.ready
    assert "replace this process" in app.health.detail
    assert app._running is not None
    assert app._running._refusing is not None
    await app._running._refusing
    handle = await client.submit(tool("held", "2", call_id="2", who="b"))
    other = Held()
    other.gate.set()
    await stage.start(other.on(stage.worker()))
    assert payload(await outcome(handle)) == "b"
    assert other.began == ["b"]


async def test_an_attempt_that_was_given_up_streams_nothing_into_the_next(stage: Stage) -> None:
    """Its late text would be taken for that of the attempt that counts."""
    app = stage.worker(kill_grace_s=0.01)
    let_go, said = threading.Event(), asyncio.Event()

    @app.handler("exec_code", retry=AT_ONCE, time_limit_s=0.1)
    async def run(command: object, context: EffectContext) -> object:
        if context.attempt > 1:
            context.stream("good")
            let_go.set()
            await said.wait()
            return DONE
        while not let_go.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        context.stream("late")
        said.set()
        return DONE

    await stage.start(app)
    client = await stage.client()
    handle = await client.submit(code())
    assert await outcome(handle) == DONE
    await eventually(lambda: app.counters["abandoned_ended"] == 1)
    assert app.counters["chunks"] + app.counters["chunks_dropped"] <= 1


async def test_a_retried_tool_whose_attempts_wait_runs_no_oftener_than_it_is_tried(
    stage: Stage, held: Held
) -> None:
    """A limit that is over before a thread is free is no attempt at all."""
    app = stage.worker(concurrency=3, kill_grace_s=PATIENCE_S)
    ran: list[int] = []

    @app.handler("exec_code", retry=AT_ONCE, time_limit_s=0.02)
    def run(command: object, context: EffectContext) -> object:
        ran.append(context.attempt)
        return DONE

    held.on(app)
    await squeezed(stage, app)
    client = await stage.client()
    await client.submit(tool("held", "t", who="a"))
    await eventually(lambda: held.began)
    handles = [await client.submit(code(effect_id=str(n))) for n in range(3)]
    await eventually(lambda: app.counters["started"] == 4 and waited_s(app) > 0.1)
    held.gate.set()
    for handle in handles:
        assert await outcome(handle) == DONE
    assert ran == [1, 1, 1]


async def test_hooks_of_a_checkpoint_have_threads_of_the_worker(stage: Stage) -> None:
    """Like every other function of the user's that is not ``async``."""
    app = stage.worker()
    names: list[str] = []
    app.add(CheckpointHandler(None, hooks=[lambda facts: names.append(_thread_name())]))
    await stage.start(app)
    command = RuntimeEffectCommandCheckpoint(checkpoint="before_completion")
    client = await stage.client()
    found = await client.execute(effect("checkpoint", command, "1"), timeout=PATIENCE_S)
    assert isinstance(found, RuntimeEffectOutcomeCheckpoint)
    assert isinstance(found.result, Ok)
    assert names == ["effectmq tool"]


def _thread_name() -> str:
    return threading.current_thread().name


async def test_a_tools_context_reaches_its_thread(stage: Stage) -> None:
    """What a body emits there travels with the outcome."""
    app = stage.worker()

    @app.tool
    def press(context: ToolContext) -> str:
        context.emit("Button", "ui.button", "pressed")
        return _thread_name()

    await stage.start(app)
    client = await stage.client()
    assert payload(await client.execute(tool("press"), timeout=PATIENCE_S)) == "effectmq tool"


_EMBEDDED = """
import asyncio, time
from effectmq import Client, Worker, WorkerSettings

app = Worker("memory://", journal="none", settings=WorkerSettings(kill_grace_s=0.01))

@app.tool(time_limit_s=0.05)
def block() -> None:
    time.sleep(600)

async def main():
    async with app, Client("memory://") as client:
        found = await client.turn("s", "t").tool_call("block", {}, call_id="1", timeout=30)
        print(found.result.output.outcome.payload.code)

asyncio.run(main())
"""


def test_an_abandoned_thread_does_not_keep_the_process() -> None:
    """The program ends when its own last line has run."""
    ended = subprocess.run(
        [sys.executable, "-c", _EMBEDDED], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "timeout"), ended.stderr
