"""One delivery from arrival to settlement, with handlers that behave and handlers that do not."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from tenacity import stop_after_attempt, wait_fixed

from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.handler import EffectContext
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError, RejectEffectError, RetryEffectError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeSleep,
)
from tests.consumers.stage import (
    AT_ONCE,
    ONCE,
    PATIENCE_S,
    Stage,
    code,
    hurry,
    logged,
    nap,
    outcome,
)
from tests.waiting import within

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


async def test_a_handler_gets_its_command_and_gives_the_outcome(stage: Stage) -> None:
    """The simplest way through the pipeline."""
    app = stage.worker()
    seen: list[object] = []

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode, context: EffectContext) -> object:
        seen.append((command.code, context))
        return DONE

    await stage.start(app)
    client = await stage.client()
    handle = await client.submit(code("1 + 1"), deadline_s=60, traceparent="00-ab")
    reply = await handle.reply(PATIENCE_S)
    assert (reply.result, reply.attempt, reply.replayed) == (DONE, 1, False)
    ((text, context),) = seen
    assert text == "1 + 1"
    assert context.effect_id == "1"
    assert context.attempt == 1
    assert context.traceparent == "00-ab"
    assert context.deadline_ms > 0
    assert context.invocation == code("1 + 1").invocation
    await stage.idle(app, "exec_code")
    assert app.counters["completed"] == 1
    assert not stage.letters()


async def test_a_plain_function_runs_in_a_thread_and_may_return_plain_data(stage: Stage) -> None:
    """It may block; the loop goes on meanwhile."""
    app = stage.worker()

    @app.handler("exec_code")
    def run(command: RuntimeEffectCommandExecCode) -> dict[str, object]:
        time.sleep(0.01)
        return to_tree(DONE)

    await stage.start(app)
    assert await (await stage.client()).execute(code()) == DONE


async def test_a_handler_that_raises_is_tried_again_until_it_succeeds(stage: Stage) -> None:
    """The attempt is counted, and told to the handler and to the caller."""
    app = stage.worker()
    attempts: list[int] = []

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object, context: EffectContext) -> object:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise OSError("not yet")
        return DONE

    await stage.start(app)
    handle = await (await stage.client()).submit(code())
    assert (await handle.reply(PATIENCE_S)).attempt == 3
    assert attempts == [1, 2, 3]
    assert app.counters["retried"] == 2
    assert not stage.letters()


async def test_a_handler_that_keeps_raising_is_parked_and_answered(stage: Stage) -> None:
    """Exhausted: nobody waits in vain, and nothing is lost."""
    app = stage.worker()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        raise OSError("disk on fire\n")

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code("x"), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_exhausted"
    assert failed.value.message == "gave up after 3 attempts: OSError: disk on fire\\n"
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code, letter.attempts) == ("exhausted", "effectmq_exhausted", 3)
    assert letter.detail == failed.value.message
    assert (letter.kind, letter.route, letter.parked_by) == ("exec_code", "exec_code", "w")
    assert letter.parked_ms > 0
    await stage.idle(app, "exec_code")
    assert app.counters["parked"] == app.counters["parked_exhausted"] == 1


async def test_a_longer_wait_goes_over_a_delay_level(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy carries attempt and first sight; the original is settled."""
    hurry(monkeypatch)
    app = stage.worker(concurrency=1)
    seen: list[tuple[int, int]] = []

    @app.handler("exec_code", retry=RetryPolicy(stop=stop_after_attempt(3), wait=wait_fixed(0.05)))
    async def run(command: object, context: EffectContext) -> object:
        seen.append((context.attempt, stage.unsettled("exec_code")))
        if context.attempt < 3:
            raise OSError("not yet")
        return DONE

    await stage.start(app)
    assert await (await stage.client()).execute(code(), timeout=PATIENCE_S) == DONE
    assert seen == [(1, 1), (2, 1), (3, 1)]
    assert app.counters["delayed"] == 2
    assert app.counters["paused"] == 0


async def test_a_handler_may_say_when_to_try_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``Retry-After`` asks, and never earlier."""
    hurry(monkeypatch)
    app = stage.worker()
    times: list[float] = []

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object, context: EffectContext) -> object:
        times.append(time.monotonic())
        if context.attempt == 1:
            raise RetryEffectError("busy", after_s=0.11)
        return DONE

    await stage.start(app)
    assert await (await stage.client()).execute(code(), timeout=PATIENCE_S) == DONE
    assert times[1] - times[0] >= 0.11


async def test_a_handler_may_reject_its_effect(stage: Stage) -> None:
    """Parked at once as rejected, with the handler's own code."""
    app = stage.worker()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        raise RejectEffectError("too_old", "this code is too old")

    await stage.start(app)
    with pytest.raises(EffectFailedError) as failed:
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert (failed.value.code, failed.value.message) == ("too_old", "this code is too old")
    (letter,) = await stage.parked()
    assert (letter.reason, letter.code, letter.attempts) == ("rejected", "too_old", 1)


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (None, "NoneType"),
        (7, "int"),
        (object(), "object"),
        (ValueError("returned"), "ValueError"),
        (RuntimeEffectOutcomeSleep(), "sleep"),
        ({"type": "sleep"}, "sleep"),
        ({"type": "exec_code"}, "result"),
        ({"type": "nap"}, "nap"),
        ({1: 2}, "none"),
    ],
)
async def test_a_handler_that_returns_nonsense_is_parked_at_once(
    stage: Stage, result: object, word: str
) -> None:
    """Running it again would give the same, and do again whatever it did."""
    app = stage.worker()
    runs: list[object] = []

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        runs.append(command)
        return result

    await stage.start(app)
    with pytest.raises(EffectFailedError, match=word) as failed:
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert failed.value.code == "runtime_effect_wrong_outcome"
    (letter,) = await stage.parked()
    assert letter.reason == "rejected"
    assert len(runs) == 1


async def test_an_outcome_that_cannot_be_written_is_parked(stage: Stage) -> None:
    """Put together without validation, it is found before anything is sent."""
    app = stage.worker()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        return RuntimeEffectOutcomeExecCode.model_construct(result=object())

    await stage.start(app)
    with pytest.raises(EffectFailedError) as failed:
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_outcome_unencodable"
    assert (await stage.parked())[0].reason == "rejected"


async def test_an_outcome_over_the_limit_is_parked_and_the_caller_told(stage: Stage) -> None:
    """With both sizes in the sentence."""
    app = stage.worker(max_body_bytes=4_096)

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return RuntimeEffectOutcomeExecCode(result=Err("x" * 5_000))

    await stage.start(app)
    with pytest.raises(EffectFailedError, match="4096") as failed:
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_outcome_too_large"
    await stage.parked()
    await stage.idle(app, "exec_code")


async def test_the_workers_limit_holds_for_its_connection_too(stage: Stage) -> None:
    """A raised limit must not end at the transport's default."""
    app = stage.worker(max_body_bytes=4 * 1024 * 1024)

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return RuntimeEffectOutcomeExecCode(result=Err("x" * 2 * 1024 * 1024))

    await stage.start(app)
    client = await stage.client(transport=TransportSettings(max_body_bytes=4 * 1024 * 1024))
    found = await client.execute(code(), timeout=PATIENCE_S)
    assert isinstance(found, RuntimeEffectOutcomeExecCode)


async def test_the_limit_of_a_place_holds_for_its_client_and_its_worker(stage: Stage) -> None:
    """What the client accepts is carried out."""
    transport = TransportSettings(max_body_bytes=4 * 1024 * 1024)
    app = stage.worker(transport=transport)
    done = RuntimeEffectOutcomeExecCode(result=Err("done"))

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return done

    await stage.start(app)
    client = await stage.client(transport=transport)
    assert await client.execute(code("x" * 2 * 1024 * 1024), timeout=PATIENCE_S) == done


class Unusual(BaseException):
    """Neither an Exception nor an exit."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("exit_code", [None, 0, 3, "bye"])
async def test_a_handler_that_calls_sys_exit_fails_like_another(
    stage: Stage, exit_code: object
) -> None:
    """It ends itself and not the worker."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        sys.exit(exit_code)  # type: ignore[arg-type]

    @app.handler("checkpoint", retry=ONCE)
    def in_thread(command: object) -> object:
        sys.exit(exit_code)  # type: ignore[arg-type]

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError, match=r"sys\.exit"):
        await client.execute(code(), timeout=PATIENCE_S)
    with pytest.raises(EffectFailedError, match=r"sys\.exit"):
        await client.turn("s", "t").checkpoint("after_work", timeout=PATIENCE_S)


@pytest.mark.parametrize("error", [Unusual("odd"), asyncio.CancelledError("mine"), StopIteration()])
async def test_whatever_a_handler_raises_ends_as_an_answer(
    stage: Stage, error: BaseException
) -> None:
    """Exceptions that asyncio or Python treat in a way of their own included."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        raise error

    @app.handler("checkpoint", retry=ONCE)
    def in_thread(command: object) -> object:
        raise error

    await stage.start(app)
    client = await stage.client()
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(code(), timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_exhausted"
    with pytest.raises(EffectFailedError):
        await client.turn("s", "t").checkpoint("after_work", timeout=PATIENCE_S)
    await stage.idle(app, "exec_code")


async def test_a_handler_that_cancels_its_own_task_fails_like_another(stage: Stage) -> None:
    """Nobody asked it to stop, so it is a failure and not a stop."""
    app = stage.worker()

    @app.handler("exec_code", retry=ONCE)
    async def run(command: object) -> object:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    await stage.start(app)
    with pytest.raises(EffectFailedError, match="cancelled its own task"):
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)


async def test_a_retry_rule_of_the_users_that_raises_is_parked(stage: Stage) -> None:
    """The effect ends all the same."""
    app = stage.worker()

    def broken(_: object) -> bool:
        raise ZeroDivisionError("my rule")

    @app.handler("exec_code", retry=RetryPolicy(stop=broken))  # type: ignore[arg-type]
    async def run(command: object) -> object:
        raise OSError("no")

    await stage.start(app)
    with pytest.raises(EffectFailedError, match="my rule"):
        await (await stage.client()).execute(code(), timeout=PATIENCE_S)
    await stage.idle(app, "exec_code")


async def test_many_effects_run_side_by_side_up_to_the_concurrency(stage: Stage) -> None:
    """Prefetch is concurrency: what is not started stays in the queue."""
    app = stage.worker(concurrency=3)
    running, most = 0, 0

    @app.handler("exec_code")
    async def run(command: object) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert stage.unsettled("exec_code") <= 3
        await asyncio.sleep(0.002)
        running -= 1
        return DONE

    await stage.start(app)
    client = await stage.client()
    handles = [await client.submit(code(effect_id=str(n))) for n in range(12)]
    assert [await outcome(handle) for handle in handles] == [DONE] * 12
    assert most == 3


async def test_a_long_sleep_holds_no_slot(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty sleeps on a worker with one slot are over together."""
    hurry(monkeypatch)
    app = stage.worker(concurrency=1)
    await stage.start(app)
    client = await stage.client()
    started = time.monotonic()
    async with within(20 * 0.2):
        handles = [await client.submit(nap(200, str(n))) for n in range(20)]
        for handle in handles:
            assert await outcome(handle) == RuntimeEffectOutcomeSleep()
    assert time.monotonic() - started >= 0.2
    assert app.counters["delayed"] >= 20


async def test_a_short_sleep_is_slept_in_place(stage: Stage) -> None:
    """A second or less is not worth a hop."""
    app = await stage.start(stage.worker())
    assert await (await stage.client()).execute(nap(20)) == RuntimeEffectOutcomeSleep()
    assert (app.counters["paused"], app.counters["delayed"]) == (1, 0)


async def test_nobody_has_to_want_the_answer(stage: Stage) -> None:
    """Without ``reply_to`` an effect is carried out and settled."""
    app = stage.worker()
    runs: list[object] = []

    @app.handler("exec_code", retry=ONCE)
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        runs.append(command.code)
        if command.code == "bad":
            raise OSError("no")
        return DONE

    await stage.start(app)
    for text in ("good", "bad"):
        await stage.publish("exec_code", Request.seal(code(text, text)).message)
    await stage.parked()
    await stage.idle(app, "exec_code")
    assert sorted(map(str, runs)) == ["bad", "good"]
    assert app.counters["replies"] == 0


async def test_effects_are_logged_by_id_and_never_with_their_content(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Every retry and every park has a line; arguments and results have none."""
    app = stage.worker()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: object) -> object:
        raise OSError("no")

    await stage.start(app)
    with pytest.raises(EffectFailedError):
        await (await stage.client()).execute(code("sesame", "1\nforged"), timeout=PATIENCE_S)
    assert len(logged(caplog, "retry")) == 2
    (parked,) = logged(caplog, "park")
    assert "1\\nforged" in parked.getMessage()
    assert "sesame" not in caplog.text
