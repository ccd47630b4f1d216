"""Handlers that run too long, cannot be stopped, or block; deadlines before, during and between."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tenacity import stop_after_attempt, wait_fixed, wait_none

from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import (
    AT_ONCE,
    ONCE,
    PATIENCE_S,
    Stage,
    code,
    gathered,
    hurry,
    logged,
    nap,
)
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


def never_ending(app: EffectWorker, retry: RetryPolicy = ONCE, limit_s: float = 0.03) -> list[str]:
    """Register a handler that waits for ever and goes when it is told; notes what happened."""
    notes: list[str] = []

    @app.handler("exec_code", retry=retry, time_limit_s=limit_s)
    async def run(command: object) -> object:
        notes.append("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            notes.append("cancelled")
            raise
        return DONE

    return notes


async def test_a_handler_that_never_returns_is_stopped_at_its_limit(stage: Stage) -> None:
    """It is told to stop, goes, and its effect ends as an error like another."""
    app = stage.worker()
    notes = never_ending(app)
    await stage.start(app)
    with pytest.raises(EffectFailedError, match=r"time limit of 0\.03 s") as failed:
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_exhausted"
    assert notes == ["started", "cancelled"]
    assert app.counters["timeouts"] == 1
    assert app.counters["abandoned"] == 0
    await stage.parked()


async def test_a_timeout_is_tried_again_within_the_policy(stage: Stage) -> None:
    """Each attempt has the whole limit."""
    app = stage.worker()
    notes = never_ending(app, AT_ONCE)
    await stage.start(app)
    with pytest.raises(EffectFailedError, match="3 attempts"):
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert notes == ["started", "cancelled"] * 3


async def test_the_workers_limit_holds_where_a_handler_has_none(stage: Stage) -> None:
    """Nothing runs without a limit."""
    app = stage.worker(time_limit_s=0.03)

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        await asyncio.Event().wait()

    await stage.start(app)
    with pytest.raises(EffectFailedError, match=r"0\.03 s"):
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)


async def test_a_handler_that_swallows_its_cancellation_is_abandoned(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The effect goes on without it, and what it gives later is nobody's."""
    app = stage.worker(kill_grace_s=0.03)
    let_go = asyncio.Event()

    @app.handler("exec_code", retry=ONCE, time_limit_s=0.03)
    async def run(command: object) -> object:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return DONE

    await stage.start(app)
    with pytest.raises(EffectFailedError, match="time limit"):
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert app.counters["abandoned"] == 1
    assert len(logged(caplog, "handler_abandoned")) == 1
    await stage.idle(app, "exec_code")
    let_go.set()
    await eventually(lambda: app._running is not None and not app._running._abandoned.now)
    assert app.counters["completed"] == 0
    assert len(await stage.parked()) == 1


async def test_the_attempt_after_an_abandoned_one_counts(stage: Stage) -> None:
    """
    The race: attempt 1 swallows its cancellation and is abandoned; attempt 2 runs and ends while,
    or after, attempt 1 ends at last. Attempt 2 has the outcome, and attempt 1 disturbs nothing.
    """
    app = stage.worker(kill_grace_s=0.02)
    let_go = asyncio.Event()

    @app.handler(
        "exec_code",
        retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_none()),
        time_limit_s=0.25,
    )
    async def run(command: object, context: EffectContext) -> object:
        while context.attempt == 1 and not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        if context.attempt == 2:
            let_go.set()
            await asyncio.sleep(0.01)
        return DONE

    await stage.start(app)
    handle = await (await stage.client()).submit(code())
    reply = await handle.reply(PATIENCE_S)
    assert (reply.result, reply.attempt) == (DONE, 2)
    await stage.idle(app, "exec_code")


async def test_a_thread_that_cannot_be_stopped_is_counted_as_such(stage: Stage) -> None:
    """Threads leak silently otherwise, until none is left to run anything."""
    app = stage.worker(kill_grace_s=0.02)
    let_go = threading.Event()

    @app.handler("exec_code", retry=ONCE, time_limit_s=0.03)
    def run(command: object) -> object:
        let_go.wait(PATIENCE_S)
        raise OSError("too late for anybody to hear")

    await stage.start(app)
    try:
        with pytest.raises(EffectFailedError, match="time limit"):
            await (await stage.client()).execute(code(), timeout=PATIENCE_S)
        assert app.counters["abandoned"] == 1
    finally:
        let_go.set()
    await eventually(lambda: app._running is not None and not app._running._abandoned.now)


async def test_a_thread_that_ends_within_the_grace_is_not_abandoned(stage: Stage) -> None:
    """It was late, and that is all."""
    app = stage.worker(kill_grace_s=PATIENCE_S)

    @app.handler("exec_code", retry=ONCE, time_limit_s=0.03)
    def run(command: object) -> object:
        time.sleep(0.1)
        return DONE

    await stage.start(app)
    with pytest.raises(EffectFailedError, match="time limit"):
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert (app.counters["timeouts"], app.counters["abandoned"]) == (1, 0)


async def test_a_handler_that_blocks_the_loop_is_named_and_its_outcome_counts(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A blocked loop cannot say so itself; a thread does, while it lasts."""
    app = stage.worker(blocked_loop_s=0.05)

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        end = time.monotonic() + PATIENCE_S
        while not named() and time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251
        return DONE

    def named() -> bool:
        return any("e7" in record.getMessage() for record in logged(caplog, "loop_blocked"))

    await stage.start(app)
    client = await stage.client()
    assert await client.execute(code(effect_id="e7"), timeout=2 * PATIENCE_S) == DONE
    assert named()


# Deadlines ---------------------------------------------------------------------------------------


async def test_an_effect_that_comes_after_its_deadline_is_not_started(stage: Stage) -> None:
    """Nobody wants it any more; the caller is told, and it is parked."""
    app = stage.worker()
    notes = never_ending(app)
    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code(), deadline_s=0.0, timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_expired"
    assert notes == []
    assert (await stage.parked())[0].reason == "expired"


async def test_an_effect_that_runs_at_its_deadline_is_stopped(stage: Stage) -> None:
    """Its time limit is what is left until then."""
    app = stage.worker()
    notes = never_ending(app, AT_ONCE, limit_s=PATIENCE_S)
    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code(), deadline_s=0.3, timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_expired"
    assert notes == ["started", "cancelled"]
    assert (await stage.parked())[0].reason == "expired"


async def test_an_attempt_that_fails_after_the_deadline_is_not_tried_again(stage: Stage) -> None:
    """Blocking kept the timer from stopping it."""
    app = stage.worker()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        time.sleep(0.35)  # noqa: ASYNC251
        raise OSError("no")

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code(), deadline_s=0.3, timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_expired"
    assert app.counters["started"] == 1


async def test_an_outcome_just_after_the_deadline_is_an_outcome(stage: Stage) -> None:
    """The work is done; throwing it away would help nobody."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        time.sleep(0.35)  # noqa: ASYNC251
        return DONE

    await stage.start(app)
    client = await stage.client()
    assert await client.execute(code(), deadline_s=0.3, timeout=PATIENCE_S) == DONE


async def test_a_retry_that_waits_ends_at_the_deadline(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour of waiting for the next attempt must not keep the caller for an hour."""
    hurry(monkeypatch)
    app = stage.worker()

    @app.handler("exec_code", retry=RetryPolicy(stop=stop_after_attempt(5), wait=wait_fixed(3_600)))
    async def run(command: object) -> object:
        raise OSError("no")

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code(), deadline_s=0.4, timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_expired"
    assert app.counters["started"] == 1
    assert app.counters["delayed"] >= 1


@pytest.mark.parametrize("limit_ms", [10, 1_000])
async def test_a_sleep_ends_at_its_deadline(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, limit_ms: int
) -> None:
    """In place and on a delay level."""
    hurry(monkeypatch, limit_ms)
    await stage.start(stage.worker())
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(nap(3_600_000), deadline_s=0.1, timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_expired"


async def test_the_longest_sleep_of_the_wire_is_delayed_like_another(stage: Stage) -> None:
    """2^64-1 ms is valid on the wire; it waits, and holds nothing."""
    app = await stage.start(stage.worker(concurrency=1))
    client = await stage.client()
    await client.submit(nap(2**64 - 1))
    await eventually(lambda: app.counters["delayed"] >= 2)
    assert not stage.letters()


async def test_many_effects_at_their_limits_leave_nothing_behind(stage: Stage) -> None:
    """Slots come back, whatever the handlers do."""
    app = stage.worker(concurrency=4, kill_grace_s=0.01)

    @app.handler("exec_code", retry=ONCE, time_limit_s=0.02)
    async def run(command: object, context: EffectContext) -> object:
        if int(context.effect_id) % 2:
            await asyncio.Event().wait()
        return DONE

    await stage.start(app)
    client = await stage.client()
    replies = await gathered([await client.submit(code(effect_id=str(n))) for n in range(20)])
    assert sum(reply.result == DONE for reply in replies) == 10
    await stage.idle(app, "exec_code")
    assert app._running is not None
    await eventually(lambda: app._running is not None and not app._running._routes[0].jobs)
    assert len(app._running._inflight) == 0
