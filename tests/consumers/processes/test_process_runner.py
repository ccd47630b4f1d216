"""The runner of processes: what it runs, how that ends, and how it is stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.consumers.processes import (
    ProcessRunner,
    ProcessRunnerSettings,
    RunningProcess,
    runner,
)
from effectmq.consumers.tools.results.outputs import failure, output_from
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    ProcessRegistryError,
)
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputFailure,
    ProcessAwaitOutputSuccess,
)
from effectmq.protocol.wire.process_registration import ProcessInput, ProcessScope
from effectmq.protocol.wire.processes import ProcessExecutionContext, ProcessLease, ProcessRecord
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from tests.conformance.process_stage import (
    event_type,
    external,
    registration,
    request,
    tool_process,
)
from tests.consumers.stage import PATIENCE_S, logged
from tests.protocol.documents import example
from tests.waiting import eventually

SETTINGS = ProcessRunnerSettings(elsewhere_s=0.05, sweep_s=0.01, cancel_grace_s=0.05)
Runner = Callable[..., Awaitable[ProcessRunner]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Everything opened on it is closed with the test, within bounds."""
    async with AsyncExitStack() as opened:
        yield opened
        async with asyncio.timeout(PATIENCE_S):
            await opened.aclose()


@pytest.fixture
async def open_registry(
    stack: AsyncExitStack, tmp_path: Path
) -> Callable[[], Awaitable[ProcessRegistry]]:
    """Registries in one database that share nothing else, as those of several programs."""

    async def opened(of: type[ProcessRegistry] = ProcessRegistry) -> ProcessRegistry:
        database = await stack.enter_async_context(open_database(f"sqlite:///{tmp_path}/e.db"))
        return await stack.enter_async_context(of(database, poll_s=0.01))

    return opened


@pytest.fixture
async def registry(open_registry: Callable[[], Awaitable[ProcessRegistry]]) -> ProcessRegistry:
    """A registry in a fresh database."""
    return await open_registry()


@pytest.fixture
def start(stack: AsyncExitStack, registry: ProcessRegistry) -> Runner:
    """Starts a runner with these executors."""

    async def started(
        *, on: ProcessRegistry | None = None, settings: ProcessRunnerSettings = SETTINGS, **how: Any
    ) -> ProcessRunner:
        made = ProcessRunner(on or registry, settings=settings, **how)
        return await stack.enter_async_context(made)

    return started


def document(label: str) -> ProcessInput:
    """The input of a process in one of the contract's documents."""
    found: ProcessInput = example(label).command.command.registration.input
    return found


SESSION_TURN, LASHLANG = document("P4"), document("P3")


async def echo(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
    """A tool that gives back what it gets."""
    return output_from({"args": call.args, "process": process.record.id})


async def never(*arguments: object) -> Any:
    """What has to be stopped."""
    await asyncio.Event().wait()


async def test_an_external_process_ends_at_once_with_its_metadata(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Nothing runs it here."""
    await registry.register(registration("p1", input_=external({"n": 1})))
    await registry.request_cancel("p1", "too late")
    await start()
    output = await registry.await_process("p1")
    assert output == ProcessAwaitOutputSuccess(value={"metadata": {"n": 1}})


async def test_a_tool_process_ends_with_the_tools_output(
    registry: ProcessRegistry, start: Runner
) -> None:
    """And its lease is given back."""
    await registry.register(registration("p1", input_=tool_process(n=1)))
    await start(run_tool=echo)
    output = await registry.await_process("p1")
    assert output == ProcessAwaitOutputSuccess(value={"args": {"n": 1}, "process": "p1"})
    assert (await registry.claim_lease("p1", "somebody else", 1)).fencing_token == 2


async def test_a_poke_starts_a_process_before_the_next_sweep(
    registry: ProcessRegistry, start: Runner
) -> None:
    """The next sweep would be tomorrow."""
    running = await start(settings=ProcessRunnerSettings(sweep_s=86_400))
    await registry.register(registration("p1"))
    running.poke()
    assert isinstance(await registry.await_process("p1"), ProcessAwaitOutputSuccess)


async def raises(*arguments: object) -> Any:
    """What fails."""
    raise ValueError("not today")


async def leaves(*arguments: object) -> Any:
    """What would take the program with it."""
    raise SystemExit(3)


async def cancels_itself(*arguments: object) -> Any:
    """What was not asked to stop."""
    raise asyncio.CancelledError


async def gives_text(*arguments: object) -> Any:
    """What is no output."""
    return "text"


@pytest.mark.parametrize(
    ("input_", "executors", "class_", "code", "message"),
    [
        (tool_process(), {"run_tool": raises}, "internal", "process_tool_failed", "not today"),
        (tool_process(), {"run_tool": leaves}, "internal", "process_tool_failed", "SystemExit: 3"),
        (
            tool_process(),
            {"run_tool": cancels_itself},
            "internal",
            "process_tool_failed",
            "CancelledError",
        ),
        (
            tool_process(),
            {"run_tool": gives_text},
            "internal",
            "process_tool_failed",
            "expected a ToolCallOutput",
        ),
        (tool_process(), {}, "execution", "process_recovery_failed", "run_tool="),
        (
            SESSION_TURN,
            {"session_turn": raises},
            "execution",
            "process_session_turn_failed",
            "ValueError: not today",
        ),
        (
            SESSION_TURN,
            {"session_turn": gives_text},
            "execution",
            "process_session_turn_failed",
            "the session_turn runner returned a str; expected ProcessAwaitOutputSuccess",
        ),
        (
            SESSION_TURN,
            {"lashlang_process": never},
            "execution",
            "process_recovery_failed",
            "nothing to run a session_turn process with",
        ),
        (
            LASHLANG,
            {"lashlang_process": raises},
            "execution",
            "process_runtime_error",
            "ValueError: not today",
        ),
        (LASHLANG, {}, "execution", "process_recovery_failed", "lashlang_process="),
    ],
)
async def test_whatever_goes_wrong_is_the_output_of_the_one_process(
    registry: ProcessRegistry,
    start: Runner,
    input_: ProcessInput,
    executors: dict[str, Any],
    class_: str,
    code: str,
    message: str,
) -> None:
    """With the class and the code that the contract has for it; the runner goes on."""
    await registry.register(registration("p1", input_=input_))
    await start(**executors)
    output = await registry.await_process("p1")
    assert isinstance(output, ProcessAwaitOutputFailure)
    assert (output.class_, output.code) == (class_, code)
    assert message in output.message
    await registry.register(registration("p2"))
    assert isinstance(await registry.await_process("p2"), ProcessAwaitOutputSuccess)


async def test_a_program_that_raises_is_logged_with_its_traceback(
    registry: ProcessRegistry, start: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """By the name of its process."""
    await registry.register(registration("p1", input_=LASHLANG))
    await start(lashlang_process=raises)
    await registry.await_process("p1")
    (record,) = [one for one in caplog.records if getattr(one, "action", "") == "raised"]
    assert vars(record)["process_id"] == "p1"
    assert record.getMessage() == "process p1: its lashlang_process raised: ValueError: not today"
    assert "raise ValueError" in (record.exc_text or "")


async def test_a_tools_own_failure_keeps_its_class_and_code(
    registry: ProcessRegistry, start: Runner
) -> None:
    """It is the tool's, not the runner's."""

    async def fails(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        return failure("timeout", "too_slow", "took too long", raw={"s": 3})

    await registry.register(registration("p1", input_=tool_process()))
    await start(run_tool=fails)
    assert await registry.await_process("p1") == ProcessAwaitOutputFailure(
        class_="timeout", code="too_slow", message="took too long", raw={"s": 3}
    )


async def test_a_process_of_another_host_profile_fails(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Word for word."""
    await registry.register(registration("p1", host_profile_id="gpu"))
    await start()
    assert await registry.await_process("p1") == ProcessAwaitOutputFailure(
        class_="execution",
        code="process_recovery_failed",
        message="process `p1` was created for host profile `gpu` but this worker is `default`",
    )


async def test_what_one_runner_has_nothing_for_is_left_to_another(
    open_registry: Callable[[], Awaitable[ProcessRegistry]],
    registry: ProcessRegistry,
    start: Runner,
) -> None:
    """As while a deployment rolls: the older runner sees it first, and does not end it."""

    async def program(process: RunningProcess) -> ProcessAwaitOutput:
        return ProcessAwaitOutputSuccess(value="new")

    patient = replace(SETTINGS, elsewhere_s=60.0)
    await registry.register(registration("p1", input_=SESSION_TURN))
    await registry.register(registration("p2", host_profile_id="gpu"))
    old = await start(settings=patient)
    await eventually(lambda: {"p1", "p2"} <= set(old._left))
    other = await open_registry()
    await start(on=other, settings=patient, session_turn=program)
    gpu = replace(patient, host_profile_id="gpu")
    await start(on=await open_registry(), settings=gpu)
    assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value="new")
    assert isinstance(await registry.await_process("p2"), ProcessAwaitOutputSuccess)


async def test_a_program_emits_events_that_wake_whom_the_process_was_started_for(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Numbered from 0, so that a second run appends none of them twice."""
    target = ProcessScope(session_id="s1", agent_frame_id="f1")
    wakes: list[Any] = []

    async def program(process: RunningProcess) -> ProcessAwaitOutput:
        await process.emit("process.yield", {"step": 1})
        wakes.append((await process.emit("process.wake", {"text": "look"})).wake_delivery)
        return ProcessAwaitOutputSuccess(value=3)

    await registry.start(
        registration("p1", *LANGUAGE_EVENT_TYPES, input_=LASHLANG),
        context=ProcessExecutionContext(wake_target_scope=target),
    )
    await start(lashlang_process=program)
    assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value=3)
    assert wakes[0].target_scope_id == "session:s1/frame:f1"
    events = await registry.events_after("p1", 0)
    keys = [event.invocation.replay.key for event in events if event.invocation.replay]
    assert keys == [
        "process:p1:event:0",
        "process:p1:event:1",
        "process:p1:terminal:process.completed",
    ]


@pytest.mark.parametrize(
    ("input_", "argument", "message"),
    [
        (tool_process(), "run_tool", "tool call cancelled"),
        (SESSION_TURN, "session_turn", "background session turn was cancelled"),
        (LASHLANG, "lashlang_process", "lashlang process was cancelled"),
    ],
)
async def test_a_process_that_is_asked_to_stop_is_cancelled(
    open_registry: Callable[[], Awaitable[ProcessRegistry]],
    registry: ProcessRegistry,
    start: Runner,
    input_: ProcessInput,
    argument: str,
    message: str,
) -> None:
    """Whichever program asks."""
    await registry.register(registration("p1", input_=input_))
    running = await start(**{argument: never})
    await eventually(lambda: running.running == ("p1",))
    elsewhere = await open_registry()
    asked = await elsewhere.request_cancel("p1", "enough")
    assert asked.status.state == "running"
    output = await registry.await_process("p1")
    assert output == ProcessAwaitOutputCancelled(message=message)
    assert (await registry.get("p1")).status.state == "cancelled"


async def test_a_process_that_was_asked_to_stop_before_is_not_started(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Its tool is never called."""
    called: list[object] = []

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        called.append(call)
        return output_from(None)

    await registry.register(registration("p1", input_=tool_process()))
    await registry.request_cancel("p1", None)
    await start(run_tool=tool)
    assert isinstance(await registry.await_process("p1"), ProcessAwaitOutputCancelled)
    assert called == []


async def test_a_program_may_end_in_its_own_way_when_it_is_asked_to_stop(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Within the grace time."""
    begun = asyncio.Event()

    async def program(process: RunningProcess) -> ProcessAwaitOutput:
        try:
            begun.set()
            return await never()  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            return ProcessAwaitOutputSuccess(value="half of it")

    await registry.register(registration("p1", input_=SESSION_TURN))
    await start(session_turn=program)
    await begun.wait()
    await registry.request_cancel("p1", None)
    assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value="half of it")


async def test_a_program_that_does_not_stop_is_left(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Its process is cancelled all the same."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def program(process: RunningProcess) -> ProcessAwaitOutput:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return ProcessAwaitOutputSuccess(value="too late")

    await registry.register(registration("p1", input_=SESSION_TURN))
    running = await start(session_turn=program)
    await begun.wait()
    await registry.request_cancel("p1", None)
    assert isinstance(await registry.await_process("p1"), ProcessAwaitOutputCancelled)
    await eventually(lambda: running.running == ())
    release.set()
    await eventually(lambda: not running._stubborn)


async def test_no_more_processes_run_at_a_time_than_allowed(
    registry: ProcessRegistry, start: Runner
) -> None:
    """When one ends, the next begins, and all end."""
    at_once, most, release = 0, 0, asyncio.Event()

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1
        return output_from(None)

    for number in range(6):
        await registry.register(registration(f"p{number}", input_=tool_process()))
    limited = ProcessRunnerSettings(sweep_s=0.01, concurrency=2)
    await start(run_tool=tool, settings=limited)
    await eventually(lambda: at_once == 2)
    release.set()
    for number in range(6):
        await registry.await_process(f"p{number}")
    assert most == 2


async def test_a_runner_that_stops_gives_its_processes_to_another(
    registry: ProcessRegistry, start: Runner
) -> None:
    """At once, without waiting for the lease to run out; nothing was written."""
    await registry.register(registration("p1", input_=tool_process()))
    first = await start(run_tool=never)
    await eventually(lambda: first.running == ("p1",))
    await first.stop()
    assert first.running == ()
    assert await registry.events_after("p1", 0) == []
    await start(run_tool=echo)
    assert isinstance(await registry.await_process("p1"), ProcessAwaitOutputSuccess)


async def test_a_runner_that_stops_with_grace_lets_processes_end(
    registry: ProcessRegistry, start: Runner
) -> None:
    """And starts no more."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        begun.set()
        await release.wait()
        return output_from("done")

    await registry.register(registration("p1", input_=tool_process()))
    running = await start(run_tool=tool)
    await begun.wait()
    stopping = asyncio.ensure_future(running.stop(PATIENCE_S))
    await eventually(lambda: running._sweeping is None)
    await registry.register(registration("p2", input_=tool_process()))
    release.set()
    await stopping
    assert await registry.output("p1") == ProcessAwaitOutputSuccess(value="done")
    assert await registry.output("p2") is None


async def test_an_output_that_the_registry_refuses_becomes_a_failure(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Otherwise the process would run again and again."""
    refusing = event_type("process.completed", {"type": "null"})
    await registry.register(registration("p1", refusing, input_=tool_process()))
    await start(run_tool=echo)
    output = await registry.await_process("p1")
    assert isinstance(output, ProcessAwaitOutputFailure)
    assert output.code == "process_recovery_failed"
    assert "cannot be recorded: invalid `process.completed` payload" in output.message


async def test_a_process_that_cannot_be_ended_is_run_once(
    registry: ProcessRegistry, start: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and others go on."""
    called: list[str] = []

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        called.append(process.record.id)
        return output_from(None)

    refusing = [event_type(f"process.{name}", {"type": "null"}) for name in ("completed", "failed")]
    await registry.register(registration("p1", *refusing, input_=tool_process()))
    running = await start(run_tool=tool)
    await eventually(lambda: logged(caplog, "process_hopeless"))
    await eventually(lambda: running.running == ())
    await registry.register(registration("p2", input_=tool_process()))
    running.poke()
    await registry.await_process("p2")
    assert called == ["p1", "p2"]


async def test_a_process_that_its_host_ends_meanwhile_stays_as_it_ended(
    registry: ProcessRegistry, start: Runner
) -> None:
    """The runner's own output comes too late."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        begun.set()
        await release.wait()
        return output_from("mine")

    await registry.register(registration("p1", input_=tool_process()))
    running = await start(run_tool=tool)
    await begun.wait()
    theirs = ProcessAwaitOutputSuccess(value="theirs")
    await registry.complete("p1", theirs)
    release.set()
    await eventually(lambda: running.running == ())
    assert await registry.output("p1") == theirs


class _Outage(ProcessRegistry):
    """A registry whose database cannot be used for a while."""

    failures = 0

    async def complete(
        self, process_id: str, output: ProcessAwaitOutput, *, lease: ProcessLease | None = None
    ) -> ProcessRecord:
        self._fail()
        return await super().complete(process_id, output, lease=lease)

    async def claimable(self, limit: int) -> list[str]:
        self._fail()
        return await super().claimable(limit)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailableError("the database is away")


async def test_an_outage_of_the_database_is_waited_for(
    open_registry: Callable[[type[ProcessRegistry]], Awaitable[ProcessRegistry]],
    start: Runner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sweeping goes on afterwards, an end is written afterwards, and a tool ran once."""
    monkeypatch.setattr(runner, "_OUTAGE_S", 0.01)
    registry = await open_registry(_Outage)
    assert isinstance(registry, _Outage)
    called: list[object] = []

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        called.append(call)
        assert isinstance(registry, _Outage)
        registry.failures = 3
        return output_from("done")

    registry.failures = 3
    await registry.register(registration("p1", input_=tool_process()))
    await start(on=registry, run_tool=tool)
    assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value="done")
    assert len(called) == 1
    refusals = [one for one in caplog.records if "no process is started" in one.getMessage()]
    assert 1 <= len(refusals) <= 2


async def test_a_process_that_runs_elsewhere_is_left_alone(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Also when its lease was taken between the look and the claim."""
    await registry.register(registration("p1", input_=tool_process()))
    running = await start(run_tool=echo, settings=ProcessRunnerSettings(sweep_s=86_400))
    await registry.claim_lease("p1", "somebody else", 600_000)
    running._begin("p1")
    await eventually(lambda: running.running == ())
    assert await registry.output("p1") is None
    with pytest.raises(ProcessRegistryError, match="already leased by `somebody else`"):
        await registry.claim_lease("p1", "w", 1)


async def test_an_event_of_a_process_that_was_lost_is_not_appended(
    registry: ProcessRegistry, start: Runner
) -> None:
    """Emitting holds the lease to account, too."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def program(process: RunningProcess) -> ProcessAwaitOutput:
        begun.set()
        await release.wait()
        await process.emit("process.yield", 1)
        return ProcessAwaitOutputSuccess(value=1)

    await registry.register(registration("p1", *LANGUAGE_EVENT_TYPES, input_=LASHLANG))
    running = await start(lashlang_process=program)
    await begun.wait()
    # Its own owner takes a new lease: what runs has the old token.
    await registry.claim_lease("p1", running.owner_id, 600_000)
    release.set()
    await eventually(lambda: running.running == ())
    assert await registry.events_after("p1", 0) == []
    await registry.append_event("p1", request("process.yield", 1))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"lease_s": 0}, "lease_s is 0"),
        ({"renew_s": 10, "lease_s": 10}, "expected to renew several times within a lease"),
        ({"concurrency": 0}, "at least 1 process"),
    ],
)
def test_settings_with_which_nothing_can_run_are_refused(
    values: dict[str, Any], problem: str
) -> None:
    """When they are made, not when they are used."""
    with pytest.raises(ConfigurationError, match=problem):
        ProcessRunnerSettings(**values)


async def test_programs_that_are_not_async_run_in_threads(
    registry: ProcessRegistry, start: Runner
) -> None:
    """And one that does not end when it is asked to is left alone."""
    main, gate = threading.get_ident(), threading.Event()

    def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        return output_from(threading.get_ident() != main)

    def program(process: RunningProcess) -> ProcessAwaitOutput:
        gate.wait(PATIENCE_S)
        return ProcessAwaitOutputSuccess(value="too late")

    await registry.register(registration("p1", input_=tool_process(n=1)))
    await registry.register(registration("p2", input_=SESSION_TURN))
    running = await start(run_tool=tool, session_turn=program)
    assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value=True)
    await eventually(lambda: "p2" in running.running)
    await registry.request_cancel("p2", "enough")
    assert isinstance(await registry.await_process("p2"), ProcessAwaitOutputCancelled)
    gate.set()
