"""Tool calls end to end: whatever a tool does is an outcome, tried again as its own policy says."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.decisions.retry import RetryPolicy, policy_of_tool
from effectmq.consumers.handler import EffectContext, NotHere
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.handler import ToolHandler
from effectmq.consumers.tools.registry import Tool
from effectmq.consumers.tools.results.outputs import completed, output_from, without_result
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import ConfigurationError, RejectEffectError, ToolCallError
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeCancelled,
    ToolCallOutput,
    ToolCancellation,
    ToolFailure,
    ToolHostEventEffectOutcome,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, code, hurry, payload, tool

SAFE = RetryPolicy(max_attempts=3, base_delay_s=0, max_delay_s=0)
IDEMPOTENT = RetryPolicy(max_attempts=3, base_delay_s=0, max_delay_s=0, only_with_call_id=True)


@pytest.fixture
def app(stage: Stage) -> EffectWorker:
    """A worker without tools yet."""
    return stage.worker()


async def call(stage: Stage, app: EffectWorker, name: str, **args: Any) -> Any:
    """Start the worker, call one tool, and give its payload; nothing may be parked."""
    await stage.start(app)
    client = await stage.client()
    found = payload(await client.execute(tool(name, **args), timeout=PATIENCE_S))
    await stage.idle(app, "tool_call")
    assert not stage.letters(), "nothing that a tool does parks its effect"
    return found


async def test_a_tool_gets_its_arguments_and_gives_a_value(stage: Stage, app: EffectWorker) -> None:
    """With everything that the outcome of the wire repeats of the call."""

    @app.tool
    async def add(a: int, b: int) -> int:
        return a + b

    await stage.start(app)
    client = await stage.client()
    turn = client.turn(session_id="s1", turn_id="t1", turn_index=0)
    outcome = await turn.tool_call("add", {"a": 1, "b": 2}, call_id="call-1", timeout=PATIENCE_S)
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    tree = to_tree(outcome)
    assert tree["result"].pop("duration_ms") >= 0
    assert tree == {
        "type": "tool_call",
        "result": {
            "call_id": "call-1",
            "tool_name": "add",
            "args": {"a": 1, "b": 2},
            "output": {"outcome": {"status": "success", "payload": 3}},
            "model_return": {
                "call_id": "call-1",
                "tool_name": "add",
                "parts": [{"type": "text", "text": "3"}],
            },
            "replay": None,
        },
    }


async def test_a_plain_function_runs_in_a_thread(stage: Stage, app: EffectWorker) -> None:
    """It may block without blocking the worker."""
    here = threading.get_ident()

    @app.tool
    def slow() -> bool:
        time.sleep(0.01)
        return threading.get_ident() != here

    assert await call(stage, app, "slow") is True


async def test_bad_arguments_are_a_failure_that_the_model_can_read(
    stage: Stage, app: EffectWorker
) -> None:
    """``invalid_tool_args``; the tool was not called."""
    runs: list[int] = []

    @app.tool(retry=SAFE)
    async def add(a: int, b: int) -> int:
        runs.append(a)
        return a + b

    failure = await call(stage, app, "add", a="x", c=1)
    assert (failure.class_, failure.code, failure.source) == (
        "invalid_request",
        "invalid_tool_args",
        "runtime",
    )
    assert failure.message.startswith("invalid arguments for tool add: a: ")
    assert "b: Field required" in failure.message
    assert failure.retry == ToolRetryDispositionNever()
    assert runs == []


async def test_an_unknown_tool_is_a_failure_with_a_hint(stage: Stage, app: EffectWorker) -> None:
    """The model can correct itself; the operator sees what is registered."""

    @app.tool
    async def add() -> None: ...

    @app.tool(name="other")
    async def other() -> None: ...

    failure = await call(stage, app, "ad")
    assert (failure.class_, failure.code, failure.source) == (
        "unavailable",
        "tool_unavailable",
        "runtime",
    )
    assert "'ad'" in failure.message
    assert "Did you mean add?" in failure.message
    assert "add, other" in failure.message


async def test_a_worker_without_tools_says_so() -> None:
    """A handler may be there before its tools."""
    request = Request.seal(tool("x\n"))
    context = EffectContext(request.envelope, "1", 1, 0, "")
    missing = await ToolHandler().run(request, context)
    assert isinstance(missing, NotHere)
    outcome = missing.otherwise("")
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    message = payload(outcome).message
    assert "Registered: none" in message
    assert "Did you mean" not in message
    assert "\n" not in message


class Odd(BaseException):
    """No ``Exception``."""


def raising(error: BaseException) -> Any:
    """A tool that raises it."""

    async def broken() -> None:
        raise error

    return broken


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        ToolCallError("no"),
        SystemExit(3),
        GeneratorExit(),
        Odd("no"),
        asyncio.CancelledError("not me"),
        BaseExceptionGroup("several", [SystemExit(1), ValueError()]),
        StopIteration(),
        RejectEffectError("c", "a tool is no handler"),
    ],
)
async def test_whatever_a_tool_raises_is_a_failure_and_it_runs_once(
    stage: Stage, app: EffectWorker, error: BaseException
) -> None:
    """The policy ``never`` is the default, and means it."""
    app.tool(raising(error))
    failure = await call(stage, app, "broken")
    assert isinstance(failure, ToolFailure)
    assert (failure.class_, failure.code, failure.source) == ("execution", "tool_error", "tool")
    assert failure.retry == ToolRetryDispositionNever()
    assert app.counters["started"] == 1


async def test_sys_exit_in_a_thread_is_a_failure_like_another(
    stage: Stage, app: EffectWorker
) -> None:
    """It ends the call and not the worker."""

    @app.tool
    def leave() -> None:
        sys.exit(0)

    assert "SystemExit" in (await call(stage, app, "leave")).message


async def test_a_tool_that_returns_what_cannot_be_sent_fails(
    stage: Stage, app: EffectWorker
) -> None:
    """The model reads that something went wrong, and what."""

    @app.tool
    async def strange() -> object:
        return object()

    failure = await call(stage, app, "strange")
    assert (failure.class_, failure.code) == ("internal", "invalid_tool_result")


@pytest.mark.parametrize("journal", [False, True])
async def test_a_result_that_is_too_large_is_a_failure_and_not_parked(
    stage: Stage, tmp_path: Path, journal: bool
) -> None:
    """The model reads what to do about it; asked again, the record says the same."""
    app = stage.worker(
        max_body_bytes=4_096, journal=f"sqlite:///{tmp_path}/journal.db" if journal else None
    )

    @app.tool
    async def read() -> str:
        return "x" * 5_000

    await stage.start(app)
    client = await stage.client()
    for _ in range(2):
        turn = client.turn(session_id="s1", turn_id="t1", turn_index=0)
        outcome = await turn.tool_call("read", {}, call_id="call-1", timeout=PATIENCE_S)
        assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
        failed = payload(outcome)
        assert (failed.class_, failed.code, failed.source) == (
            "resource_limit",
            "tool_result_too_large",
            "runtime",
        )
        assert "4096" in failed.message
        assert failed.message in to_tree(outcome)["result"]["model_return"]["parts"][0]["text"]
    assert app.counters["parked"] == 0


async def test_host_events_that_are_too_large_are_left_out_with_the_result() -> None:
    """The failure has them when they fit, which the worker tries first."""
    events = [
        ToolHostEventEffectOutcome(
            resource_type="r",
            alias="a",
            event="e",
            source_type="a.e",
            payload=None,
            started_process_ids=[],
        )
    ]
    prepared = PreparedToolCall(call_id="c", tool_name="t", args={})
    outcome = completed(prepared, output_from("x"), 1, events)
    whole, short, shortest = without_result(outcome, "it is too large")
    assert (whole.host_events, short.host_events) == (events, [])
    assert whole.result == short.result
    assert shortest.result == short.result.model_copy(update={"args": None})


async def test_arguments_that_leave_no_room_for_an_outcome_are_left_out_of_it(
    stage: Stage, app: EffectWorker
) -> None:
    """The tool has run, and what became of it cannot be said with them; nothing is parked."""

    @app.tool
    async def read(a: object) -> str:
        return "x"

    await stage.start(app)
    client = await stage.client()
    nested = json.loads("[" * 59 + "]" * 59)
    outcome = await client.execute(tool("read", a=nested), timeout=PATIENCE_S)
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    assert payload(outcome).code == "tool_result_too_large"
    assert "nested deeper" in payload(outcome).message
    assert outcome.result.args is None
    assert not stage.letters()


async def test_a_tool_may_give_a_whole_output(stage: Stage, app: EffectWorker) -> None:
    """A cancellation, a control, whatever the wire knows."""

    @app.tool
    async def stop() -> ToolCallOutput:
        cancelled = ToolCancellation(message="stopped", source="tool")
        return ToolCallOutput(outcome=ToolCallOutcomeCancelled(payload=cancelled))

    assert (await call(stage, app, "stop")).message == "stopped"


# Retry -------------------------------------------------------------------------------------------


def flaky(app: EffectWorker, error: BaseException, good_from: int, **options: Any) -> list[int]:
    """A tool that fails until an attempt; notes the attempts."""
    attempts: list[int] = []

    @app.tool(**options)
    async def flaky(context: EffectContext) -> str:
        attempts.append(context.attempt)
        if context.attempt < good_from:
            raise error
        return "good"

    return attempts


@pytest.mark.parametrize("policy", [SAFE, IDEMPOTENT])
async def test_a_failure_that_is_safe_to_repeat_is_repeated(
    stage: Stage, app: EffectWorker, policy: Any
) -> None:
    """Up to the policy's attempts; the outcome of the good one counts."""
    attempts = flaky(app, ToolCallError("busy", retry=True), 3, retry=policy)
    assert await call(stage, app, "flaky") == "good"
    assert attempts == [1, 2, 3]


async def test_after_the_last_attempt_the_disposition_is_exhausted(
    stage: Stage, app: EffectWorker
) -> None:
    """The failure itself stays what it was."""
    error = ToolCallError("busy", code="c", class_="external", retry=True, raw=[1])
    attempts = flaky(app, error, 99, retry=SAFE)
    failure = await call(stage, app, "flaky")
    assert attempts == [1, 2, 3]
    assert failure.retry == ToolRetryDispositionExhausted(attempts=3)
    assert (failure.class_, failure.code, failure.message, failure.raw) == (
        "external",
        "c",
        "busy",
        [1],
    )


async def test_a_failure_that_is_not_safe_is_not_repeated(stage: Stage, app: EffectWorker) -> None:
    """Whatever the policy."""
    attempts = flaky(app, ToolCallError("no"), 99, retry=SAFE)
    assert (await call(stage, app, "flaky")).retry == ToolRetryDispositionNever()
    assert attempts == [1]


async def test_a_safe_failure_of_a_tool_without_a_policy_is_not_repeated(
    stage: Stage, app: EffectWorker
) -> None:
    """``never`` runs once; the disposition tells whoever has a policy of its own."""
    attempts = flaky(app, ToolCallError("busy", retry=True, after_s=0.007), 99)
    failure = await call(stage, app, "flaky")
    assert failure.retry == ToolRetryDispositionSafe(after_ms=7)
    assert attempts == [1]


async def test_a_plain_exception_of_a_tool_with_a_policy_is_repeated(
    stage: Stage, app: EffectWorker
) -> None:
    """Whoever gave it a policy has said that it may be."""
    attempts = flaky(app, OSError("gone"), 2, retry=SAFE)
    assert await call(stage, app, "flaky") == "good"
    assert attempts == [1, 2]


async def test_idempotent_without_a_call_id_runs_once(stage: Stage, app: EffectWorker) -> None:
    """Nothing would tell the tool that it is the same call."""
    attempts = flaky(app, ToolCallError("busy", retry=True), 99, retry=IDEMPOTENT)
    await stage.start(app)
    client = await stage.client()
    outcome = await client.execute(tool("flaky", call_id=""), timeout=PATIENCE_S)
    assert payload(outcome).retry == ToolRetryDispositionExhausted(attempts=1)
    assert attempts == [1]


async def test_what_a_failure_asks_to_wait_is_waited(
    stage: Stage, app: EffectWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``after_ms``, over a delay level, and never less."""
    hurry(monkeypatch)
    times: list[float] = []

    @app.tool(retry=SAFE)
    async def busy(context: EffectContext) -> None:
        times.append(time.monotonic())
        if context.attempt == 1:
            raise ToolCallError("busy", retry=True, after_s=0.11)

    await call(stage, app, "busy")
    assert times[1] - times[0] >= 0.11
    assert app.counters["delayed"] >= 1


async def test_an_attempt_over_its_limit_is_a_timeout(stage: Stage, app: EffectWorker) -> None:
    """Class ``timeout``, and an outcome."""

    @app.tool(time_limit_s=0.03)
    async def stuck() -> None:
        await asyncio.Event().wait()

    failure = await call(stage, app, "stuck")
    assert (failure.class_, failure.code, failure.source) == ("timeout", "timeout", "runtime")
    assert "0.03 s" in failure.message
    assert failure.retry == ToolRetryDispositionNever()


async def test_a_timeout_of_a_tool_with_a_policy_is_repeated(
    stage: Stage, app: EffectWorker
) -> None:
    """Until the attempts are spent."""

    @app.tool(time_limit_s=0.03, retry=SAFE)
    async def stuck() -> None:
        await asyncio.Event().wait()

    failure = await call(stage, app, "stuck")
    assert failure.retry == ToolRetryDispositionExhausted(attempts=3)
    assert app.counters["timeouts"] == 3


async def test_a_call_that_ran_over_for_an_unknown_tool_is_an_outcome() -> None:
    """The tool may have been taken away meanwhile."""
    outcome = ToolHandler().timed_out(Request.seal(tool("gone")), 1.0)
    assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
    assert payload(outcome).code == "timeout"
    assert ToolHandler().limit_s(Request.seal(tool("gone"))) is None


async def test_attempt_numbers_of_a_stranger_do_not_break_the_policy() -> None:
    """A header may claim any number."""
    handler = ToolHandler()
    handler.add(
        tool_from(raising(ToolCallError("busy", retry=True)), retry=policy_of_tool("", SAFE))
    )
    request = Request.seal(tool("broken")).changed({"attempt": 2**62})
    context = EffectContext(request.envelope, "1", request.attempt, 0, "")
    outcome = await handler.run(request, context)
    assert isinstance(outcome, WrittenOutcome)
    assert payload(outcome.model).retry == ToolRetryDispositionExhausted(attempts=2**32 - 1)


async def test_an_envelope_that_is_no_tool_call_is_refused() -> None:
    """With the code of the wire format."""
    request = Request.seal(code())
    context = EffectContext(request.envelope, "1", 1, 0, "")
    with pytest.raises(RejectEffectError) as refused:
        await ToolHandler().run(request, context)
    assert refused.value.code == "runtime_effect_local_executor_mismatch"
    assert refused.value.message == "the tool executor cannot execute exec_code command"


def test_an_interrupt_is_not_a_failure_of_the_tool() -> None:
    """Ctrl-C in a program that embeds a worker is meant for the program."""
    handler = ToolHandler()
    handler.add(tool_from(raising(KeyboardInterrupt())))
    request = Request.seal(tool("broken"))
    running = handler.run(request, EffectContext(request.envelope, "1", 1, 0, ""))
    with pytest.raises(KeyboardInterrupt):
        running.send(None)  # type: ignore[attr-defined]


def test_a_call_that_is_thrown_away_is_no_failure_of_the_tool() -> None:
    """Whoever throws it away wants no outcome, and no loop runs it any more."""
    handler = ToolHandler()
    handler.add(tool_from(raising(GeneratorExit())))
    request = Request.seal(tool("broken"))
    running = handler.run(request, EffectContext(request.envelope, "1", 1, 0, ""))
    with pytest.raises(GeneratorExit):
        running.send(None)  # type: ignore[attr-defined]


def test_two_tools_of_one_name_are_refused(app: EffectWorker) -> None:
    """The second would hide the first."""
    app.tool(raising(ValueError()))
    with pytest.raises(ConfigurationError, match="'broken' is taken"):
        app.tool(raising(ValueError()))


async def test_calls_of_a_batch_run_side_by_side(stage: Stage, app: EffectWorker) -> None:
    """Each is an effect of its own."""
    here = asyncio.Barrier(3)

    @app.tool
    async def meet(number: int) -> int:
        await here.wait()
        return number

    await stage.start(app)
    client: EffectClient = await stage.client()
    handles = [
        await client.submit(tool("meet", f"2:{n}", call_id=str(n), number=n)) for n in range(3)
    ]
    assert [payload(await handle.outcome(PATIENCE_S)) for handle in handles] == [0, 1, 2]


async def test_a_tool_with_a_lane_is_called_there(stage: Stage, app: EffectWorker) -> None:
    """Its worker consumes the lane by itself, and the common queue for its other tools."""

    @app.tool(lane="gpu")
    async def render() -> str:
        return "rendered"

    @app.tool
    async def add(a: int) -> int:
        return a

    assert app.routes == ("sleep", "tool_call", "tool_call.gpu")
    await stage.start(app)
    client = await stage.client()
    turn = client.turn(session_id="s1", turn_id="t1")
    lane = app.tools["render"].lane
    outcome = await turn.tool_call("render", {}, call_id="c", lane=lane, timeout=PATIENCE_S)
    assert payload(outcome) == "rendered"
    # Whatever arrives is run: a lane says where calls go, not which tools there are.
    outcome = await turn.tool_call("add", {"a": 1}, call_id="c", lane=lane, timeout=PATIENCE_S)
    assert payload(outcome) == 1
    outcome = await turn.tool_call("render", {}, call_id="c", timeout=PATIENCE_S)
    assert payload(outcome) == "rendered"


async def test_a_worker_of_one_lane_leaves_the_others_alone(
    stage: Stage, app: EffectWorker
) -> None:
    """So that a pool scales by itself."""

    @app.tool(lane="gpu")
    async def render() -> None: ...

    await stage.start(app, ["tool_call.gpu"])
    assert stage.broker.queue(NAMES.work_queue("tool_call")) is None
    assert stage.broker.queue(NAMES.work_queue("tool_call.gpu")) is not None


class Late:
    """A source whose tools are known once it is entered."""

    lane = ""
    time_limit_s = None

    def __init__(self, *names: str) -> None:
        self.names = names
        self.tools: dict[str, Tool] = {}

    async def __aenter__(self) -> Late:
        async def given() -> str:
            return self.names[0]

        self.tools = {name: tool_from(given, name=name) for name in self.names}
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.tools = {}


async def test_sources_bring_tools_while_the_worker_runs() -> None:
    """Own tools come first, then sources in their order."""
    handler = ToolHandler()
    handler.add(tool_from(raising(ValueError()), name="own"))
    handler.sources += [Late("a"), Late("b")]
    assert list(handler.tools) == ["own"]
    async with handler:
        assert sorted(handler.tools) == ["a", "b", "own"]
        found = handler.find("b")
        assert found is not None
        assert found.name == "b"
        assert handler.find("c") is None
    assert list(handler.tools) == ["own"]


async def test_sources_that_clash_are_left_again() -> None:
    """Nothing stays open behind a worker that did not start."""
    handler = ToolHandler()
    first, second = Late("a"), Late("b", "a")
    handler.sources += [first, second]
    with pytest.raises(ConfigurationError, match="'a'"):
        await handler.__aenter__()
    assert first.tools == second.tools == {}
