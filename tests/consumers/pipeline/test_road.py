"""Two things that happen to a delivery in one turn of the loop, and what ends in its middle."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.decisions.retry import NO_RETRY, RetryPolicy
from effectmq.consumers.handler import (
    EffectContext,
    HandlerTimeoutError,
    Lack,
    RetrySleep,
    TryAgain,
)
from effectmq.consumers.outboxes import replies
from effectmq.consumers.outboxes.settlement import Settlement
from effectmq.consumers.pipeline.job import Job
from effectmq.consumers.pipeline.job import Stage as At
from effectmq.consumers.pipeline.journal_leases import JournalLeases
from effectmq.consumers.service import Service
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError, RetryEffectError, TransportClosedError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, Stage, code, nap, outcome
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


def running(app: EffectWorker) -> Service:
    """What runs in a started worker."""
    assert app._running is not None
    return app._running


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


def jobs(app: EffectWorker) -> list[Job]:
    """What it is busy with."""
    return [job for route in running(app)._routes for job in route.jobs]


def time_is_up_when_it_ends(
    app: EffectWorker, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a stop open the gate of a handler, and be over in the very turn in which that ends."""
    (job,) = jobs(app)
    attempt = job.attempt
    assert attempt is not None

    async def drained(grace_s: float) -> None:
        gate.set()
        while not attempt.over:
            await turn()
        # It has not been told yet.
        assert job.attempt is attempt

    monkeypatch.setattr(running(app), "_drain", drained)


class Gift:
    """A handler object of a user's own."""

    kind = "exec_code"
    retry: RetryPolicy = NO_RETRY

    def __init__(self) -> None:
        self.abilities: dict[str, str] = {}
        self.seen: list[Request] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.gives: list[Any] = []

    def limit_s(self, request: Request) -> float | None:
        """As the worker says."""
        return None

    def on_uncertain(self, request: Request) -> OnUncertain:
        """Again."""
        return "retry"

    def timed_out(self, request: Request, limit_s: float) -> HandlerTimeoutError:
        """What it comes to."""
        return HandlerTimeoutError(limit_s)

    def lacks(self, request: Request) -> list[Lack]:
        """What another worker may have."""
        return [] if self.abilities else [Lack("gift", "", "no gift")]

    async def run(self, request: Request, context: EffectContext) -> Any:
        """Give what it is told to."""
        self.seen.append(request)
        await self.gate.wait()
        return self.gives.pop() if self.gives else DONE


async def test_a_lease_that_is_lost_when_a_wait_is_over_runs_nothing(
    stage: Stage, url: str
) -> None:
    """The timer has ended the wait; who waits goes on a turn later, and has no lease any more."""
    app = stage.worker(journal=url, lease_s=0.3)
    runs = 0

    @app.handler("exec_code")
    async def run(command: object) -> object:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RetryEffectError("in a moment", after_s=0.9)
        return DONE

    await stage.start(app)
    handle = await (await stage.client()).submit(code("a"))
    await eventually(lambda: runs == 1 and [job.stage for job in jobs(app)] == [At.WAITING])
    (job,) = jobs(app)
    leases = running(app)._leases
    assert isinstance(leases, JournalLeases)
    assert job.lease is not None
    assert job._waiter is not None
    job._waiter.set_result(None)
    leases._lost(job.lease)
    assert await outcome(handle) == DONE
    assert runs == 2
    assert app.counters["results_discarded"] == 0


async def test_what_has_ended_when_time_is_up_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a journal it would run again, and count as a death at that."""
    app, handler = stage.worker(), Gift()
    app.add(handler)
    handler.gate.clear()
    await app.start()
    handle = await (await stage.client()).submit(code("a"))
    await eventually(lambda: handler.seen)
    time_is_up_when_it_ends(app, handler.gate, monkeypatch)
    await app.stop()
    assert app.counters["handed_on"] == 0
    assert await outcome(handle) == DONE
    assert stage.ready(NAMES.work_queue("exec_code")) == 0


async def test_a_retry_that_is_written_down_when_time_is_up_gives_the_lease_back(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next does not wait for the end of the lease, and counts no death."""
    app, handler = stage.worker(journal=url, lease_s=60), Gift()
    app.add(handler)
    handler.gate.clear()
    await app.start()
    handler.gives = [TryAgain(0, "no", sleep=RetrySleep(nap(0, "pause"), lambda _: DONE))]
    handle = await (await stage.client()).submit(code("a"))
    await eventually(lambda: handler.seen)
    time_is_up_when_it_ends(app, handler.gate, monkeypatch)
    await app.stop()
    again, able = stage.worker(journal=url), Gift()
    again.add(able)
    await stage.start(again)
    assert await outcome(handle) == DONE
    assert [request.deaths for request in able.seen] == [0]


async def test_what_goes_elsewhere_has_not_been_tried_here(stage: Stage) -> None:
    """The time for its retries begins where it runs first."""
    without, having = Gift(), Gift()
    having.abilities = {"gift": "1"}
    apps: list[EffectWorker] = []
    for handler in (having, without):
        app = stage.worker()
        app.add(handler)
        apps.append(await stage.start(app))
    client = await stage.client()
    handles = [await client.submit(code("a", str(number))) for number in range(20)]
    for handle in handles:
        assert await outcome(handle) == DONE
    assert apps[1].counters["elsewhere"] > 0
    assert len(having.seen) == 20
    assert not any(names.FIRST_SEEN in request.message.headers for request in having.seen)


async def test_a_handler_whose_own_connection_is_closed_has_a_defect(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not ours that is closed: the effect is parked, and does not stay here for ever."""
    app, handler = stage.worker(journal=url, concurrency=1), Gift()

    def closed(request: Request) -> OnUncertain:
        raise TransportClosedError("a connection of its own")

    monkeypatch.setattr(handler, "on_uncertain", closed)
    app.add(handler)
    await stage.start(app)
    with pytest.raises(EffectFailedError, match="effectmq_defect"):
        await outcome(await (await stage.client()).submit(code("a")))
    await stage.idle(app, "exec_code")


async def test_a_body_that_never_began_is_not_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or who has its last chance waits for it."""
    app, handler = stage.worker(), Gift()

    def wrong(request: Request) -> float | None:
        raise LookupError("no limit")

    monkeypatch.setattr(handler, "limit_s", wrong)
    app.add(handler)
    await stage.start(app)
    with pytest.raises(EffectFailedError, match="no limit"):
        await outcome(await (await stage.client()).submit(code("a")))
    assert running(app)._quarantine._bodies == 0


async def test_a_handler_that_cannot_be_stopped_outlives_its_worker_in_silence(
    stage: Stage,
) -> None:
    """Its time is up when the worker has left already: there is nobody to be told."""
    app, gate = stage.worker(time_limit_s=0.01, kill_grace_s=60), asyncio.Event()

    @app.handler("exec_code")
    async def run(command: object) -> object:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return DONE

    await app.start()
    await (await stage.client()).submit(code("a"))
    await eventually(lambda: app.counters["timeouts"] == 1)
    (job,) = jobs(app)
    attempt = job.attempt
    assert attempt is not None
    await app.stop(0.0)
    # What its timer would do.
    attempt._abandon()
    gate.set()
    await eventually(lambda: attempt._task.done())


async def test_an_answer_whose_sending_is_cancelled_below_us_is_a_defect(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its effect is parked rather than kept for ever, and the next answer goes out."""
    app, handler = stage.worker(concurrency=1), Gift()
    app.add(handler)
    publish, times = replies.publish_until_known, iter(range(99))

    async def cancelled_once(*args: Any) -> None:
        if next(times) == 0:
            raise asyncio.CancelledError
        await publish(*args)

    monkeypatch.setattr(replies, "publish_until_known", cancelled_once)
    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError, match=r"effectmq_defect.*was cancelled"):
        await outcome(await client.submit(code("a", "1")))
    assert await outcome(await client.submit(code("a", "2"))) == DONE
    await stage.parked(1)
    await stage.idle(app, "exec_code")


async def test_what_is_cancelled_while_the_worker_leaves_is_no_defect(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library ends what it has under way when it is closed."""
    app, handler = stage.worker(), Gift()
    app.add(handler)
    sending: list[asyncio.Future[None]] = []

    async def park(self: Settlement, reason: str, kind: str, message: Message, **more: Any) -> None:
        sending.append(asyncio.get_running_loop().create_future())
        await sending[0]

    monkeypatch.setattr(Settlement, "park", park)
    handler.gives = ["nonsense"]
    await app.start()
    await (await stage.client()).submit(code("a"))
    await eventually(lambda: sending)
    leave = Settlement.abort

    def abort(self: Settlement) -> None:
        sending[0].cancel()
        leave(self)

    monkeypatch.setattr(Settlement, "abort", abort)
    await app.stop(0.0)
    assert app.counters["defects"] == 0
    assert stage.ready(NAMES.work_queue("exec_code")) == 1
