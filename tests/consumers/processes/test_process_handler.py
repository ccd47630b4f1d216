"""The effect kind ``process`` from end to end: client, broker, worker, registry, runner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.turns.process_scope import ProcessScope as Processes
from effectmq.broker.store.database import open_database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.processes import (
    ProcessHandler,
    ProcessRunner,
    ProcessRunnerSettings,
    tools_as_effects,
)
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    EffectFailedError,
    RejectEffectError,
)
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeProcess
from effectmq.protocol.wire.process_commands import (
    ProcessCommandAwait,
    ProcessCommandList,
)
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutputCancelled,
    ProcessAwaitOutputSuccess,
)
from effectmq.protocol.wire.process_registration import ProcessScope
from effectmq.protocol.wire.processes import ProcessExecutionContext
from tests.conformance.process_stage import (
    DONE,
    TOOL,
    event_type,
    granted,
    held,
    registration,
    request,
    tool_process,
)
from tests.consumers.stage import PATIENCE_S, Stage, code, gathered, hurry
from tests.waiting import eventually

S1, S2 = ProcessScope(session_id="s1"), ProcessScope(session_id="s2")
SETTINGS = ProcessRunnerSettings(sweep_s=0.01, cancel_grace_s=0.05)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[ProcessRegistry]:
    """A registry in a fresh database."""
    async with (
        open_database(f"sqlite:///{tmp_path}/e.db") as database,
        ProcessRegistry(database, poll_s=0.01) as opened,
    ):
        yield opened


@pytest.fixture
async def processes(stage: Stage, registry: ProcessRegistry) -> Processes:
    """Operations of session s1, with a worker that answers them and nobody who runs anything."""
    await serving(stage, registry)
    return (await stage.client()).process_scope("s1")


async def serving(stage: Stage, registry: ProcessRegistry, **how: Any) -> EffectWorker:
    """A started worker for processes."""
    settings = {"concurrency": how.pop("concurrency", 4)}
    worker = stage.worker(**settings)
    worker.add(ProcessHandler(registry, **how))
    return await stage.start(worker)


def result(outcome: RuntimeEffectOutcome) -> Any:
    """What the operation gave."""
    assert isinstance(outcome, RuntimeEffectOutcomeProcess)
    return outcome.result


async def test_a_process_is_started_run_and_awaited(
    stage: Stage, registry: ProcessRegistry
) -> None:
    """Its tool is an effect of its own, on another worker."""
    tools = stage.worker()

    @tools.tool
    async def double(n: int) -> int:
        return 2 * n

    await stage.start(tools)
    client = await stage.client()
    async with ProcessRunner(
        registry,
        run_tool=tools_as_effects(client),
        # Only the poke of the start can be what runs it.
        settings=ProcessRunnerSettings(sweep_s=86_400),
    ) as runner:
        await serving(stage, registry, poke=runner.poke)
        processes = client.process_scope("s1")
        started = result(
            await processes.start(
                registration("p1", input_=tool_process("double", n=21)), grant=granted("s1")
            )
        )
        assert started.record.status.state == "running"
        awaited = result(await processes.wait("p1", timeout=PATIENCE_S))
        assert awaited.output == ProcessAwaitOutputSuccess(value=42)
        assert result(await processes.list()).entries == []
        ((handle, record),) = result(await processes.list(mode="all")).entries
        assert (handle.descriptor, record.status.state) == (TOOL, "completed")


async def test_a_tool_that_is_nowhere_is_a_failure_of_the_process(
    stage: Stage, registry: ProcessRegistry
) -> None:
    """Nobody consumes tool calls, and the client says so."""
    client = await stage.client()
    await serving(stage, registry)
    async with ProcessRunner(registry, run_tool=tools_as_effects(client), settings=SETTINGS):
        processes = client.process_scope("s1")
        await processes.start(registration("p1", input_=tool_process()))
        output = result(await processes.wait("p1", timeout=PATIENCE_S)).output
    assert (output.class_, output.code) == ("internal", "process_tool_failed")
    assert "tool_call" in output.message


async def test_starting_a_process_twice_gives_the_same_record(processes: Processes) -> None:
    """And something else under its id is refused with the registry's text."""
    first = result(await processes.start(registration("p1")))
    assert result(await processes.start(registration("p1"))) == first
    with pytest.raises(EffectFailedError) as caught:
        await processes.start(registration("p1", event_type("other")))
    assert caught.value.code == "plugin"
    assert caught.value.message.startswith(
        "plugin session error: process `p1` registration hash conflict: existing "
    )


async def test_what_a_process_takes_along_is_kept_for_its_runner(
    processes: Processes, registry: ProcessRegistry
) -> None:
    """The start itself does not look at it."""
    context = ProcessExecutionContext(wake_target_scope=S1)
    await processes.start(registration("p1"), context=context)
    assert await registry.execution_context("p1") == context


async def test_a_signal_appends_the_given_event(
    processes: Processes, registry: ProcessRegistry
) -> None:
    """And gives it back; the same key again gives the same event."""
    await processes.start(registration("p1", *LANGUAGE_EVENT_TYPES))
    go = request("process.signal", {"go": 1}, key="process:p1:signal:go")
    first = result(await processes.signal("p1", "go", go)).event
    assert first.sequence == 1
    assert result(await processes.signal("p1", "go", go)).event == first
    assert await registry.events_after("p1", 0) == [first]


async def test_cancelling_gives_the_record_as_it_is(
    processes: Processes, registry: ProcessRegistry
) -> None:
    """The state changes when whoever runs it has stopped."""
    await processes.start(registration("p1"))
    record = result(await processes.cancel("p1", "requested by host")).record
    assert record.status.state == "running"
    (event,) = await registry.events_after("p1", 0)
    assert event.payload == {"reason": "requested by host"}


async def test_a_running_process_is_cancelled_over_the_broker(
    stage: Stage, registry: ProcessRegistry
) -> None:
    """Start, cancel, await."""

    async def never(*arguments: object) -> Any:
        await asyncio.Event().wait()

    async with ProcessRunner(registry, run_tool=never, settings=SETTINGS) as runner:
        await serving(stage, registry, poke=runner.poke)
        processes = (await stage.client()).process_scope("s1")
        await processes.start(registration("p1", input_=tool_process()))
        await eventually(lambda: runner.running == ("p1",))
        await processes.cancel("p1")
        output = result(await processes.wait("p1", timeout=PATIENCE_S)).output
    assert output == ProcessAwaitOutputCancelled(message="tool call cancelled")


async def test_handles_are_transferred_and_a_session_is_deleted(
    processes: Processes, registry: ProcessRegistry
) -> None:
    """What nobody holds any more is asked to stop, in order."""
    for id_ in ("b", "a", "moved"):
        await processes.start(registration(id_), grant=granted("s1"))
    await processes.transfer(S1, S2, ["moved"])
    with pytest.raises(EffectFailedError) as caught:
        await processes.transfer(S1, S2, ["moved", "b"])
    assert caught.value.message == (
        "plugin session error: process handle `moved` is not granted to session `s1`"
    )
    report = result(await processes.delete_session()).report
    assert report.revoked_handle_count == 2
    assert report.cancel_process_ids == ["a", "b"]
    for id_ in ("a", "b"):
        (event,) = await registry.events_after(id_, 0)
        assert event.payload == {"reason": "session deleted"}
    assert await registry.events_after("moved", 0) == []
    assert [record.id for _, record in await registry.list_handles(S2)] == ["moved"]


@pytest.mark.parametrize("operation", ["wait", "cancel", "signal"])
@pytest.mark.parametrize("journal", [False, True])
async def test_what_arrives_before_the_start_waits_for_it(
    stage: Stage,
    registry: ProcessRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    journal: bool,
) -> None:
    """That there is none yet is no fact about the effect, and is not recorded as one."""
    hurry(monkeypatch)
    worker = stage.worker(journal=f"sqlite:///{tmp_path}/journal.db" if journal else None)
    worker.add(ProcessHandler(registry, first_wait_s=0.02))
    await stage.start(worker)
    processes = (await stage.client()).process_scope("s1")
    asked = {
        "wait": lambda: processes.wait("p1", timeout=PATIENCE_S),
        "cancel": lambda: processes.cancel("p1", timeout=PATIENCE_S),
        "signal": lambda: processes.signal("p1", "g", request("event"), timeout=PATIENCE_S),
    }
    early = asyncio.ensure_future(asked[operation]())
    await eventually(lambda: worker.counters["started"] >= 2)
    await processes.start(registration("p1", event_type("event")))
    if operation == "wait":
        await registry.complete("p1", DONE)
    assert isinstance(await early, RuntimeEffectOutcomeProcess)
    assert worker.counters["parked"] == 0


async def test_an_unknown_process_is_refused_and_parked(
    stage: Stage, registry: ProcessRegistry
) -> None:
    """After the time for its start, with the registry's text, as every controller error."""
    await serving(stage, registry, start_wait_s=0)
    processes = (await stage.client()).process_scope("s1")
    with pytest.raises(EffectFailedError) as caught:
        await processes.wait("no")
    assert (caught.value.code, caught.value.message) == (
        "plugin",
        "plugin session error: unknown process `no`",
    )
    (letter,) = await stage.parked()
    assert letter.reason == "rejected"


# Waiting


async def test_awaiting_holds_no_slot(
    stage: Stage, registry: ProcessRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many wait where one effect runs at a time, and others still get through."""
    hurry(monkeypatch)
    worker = await serving(stage, registry, concurrency=1, linger_s=0, first_wait_s=0.02)
    client = await stage.client()
    processes = client.process_scope("s1")
    for number in range(5):
        await held(registry, f"p{number}", "s1")
    handles = [
        await client.submit(processes.envelope(ProcessCommandAwait(process_id=f"p{n}")))
        for n in range(5)
    ]
    # Every one of them has been looked at, and then somebody else is served.
    await eventually(lambda: worker.counters["started"] >= 10)
    listing = processes.envelope(ProcessCommandList(owner_scope=S1))
    assert len(result(await client.execute(listing, timeout=PATIENCE_S)).entries) == 5
    for number in range(5):
        await registry.complete(f"p{number}", DONE)
    replies = await gathered(handles)
    assert [reply.attempt for reply in replies] == [1] * 5
    for reply in replies:
        assert isinstance(reply.result, RuntimeEffectOutcomeProcess)
        assert reply.result.result.output == DONE  # type: ignore[union-attr]
    assert worker.counters["retried"] == 0


async def test_a_quick_process_is_answered_without_leaving_the_worker(
    stage: Stage, registry: ProcessRegistry
) -> None:
    """Which lingers for a moment after the first look."""
    worker = await serving(stage, registry, linger_s=PATIENCE_S)
    client = await stage.client()
    await held(registry, "p1")
    awaiting = asyncio.ensure_future(client.process_scope("s1").wait("p1", timeout=PATIENCE_S))
    await eventually(lambda: worker.counters["started"] == 1)
    await registry.complete("p1", DONE)
    assert result(await awaiting).output == DONE
    assert worker.counters["started"] == 1


async def test_an_await_with_a_deadline_is_given_up_at_it(
    stage: Stage, registry: ProcessRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process itself goes on."""
    hurry(monkeypatch)
    await serving(stage, registry, linger_s=0, first_wait_s=0.02)
    client: EffectClient = await stage.client()
    await held(registry, "p1")
    envelope = client.process_scope("s1").envelope(ProcessCommandAwait(process_id="p1"))
    handle = await client.submit(envelope, deadline_s=0.3)
    with pytest.raises(EffectFailedError, match="the deadline passed") as caught:
        await handle.outcome(PATIENCE_S)
    assert caught.value.code == "effectmq_expired"
    assert await registry.output("p1") is None


async def test_with_a_journal_an_operation_is_answered_as_it_was_the_first_time(
    stage: Stage, registry: ProcessRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an await that had to be called again, and a listing that would differ by now."""
    hurry(monkeypatch)
    worker = stage.worker(journal=f"sqlite:///{tmp_path}/journal.db")
    worker.add(ProcessHandler(registry, linger_s=0, first_wait_s=0.02))
    await stage.start(worker)
    client = await stage.client()
    processes = client.process_scope("s1")
    await held(registry, "p1", "s1")
    before = result(await processes.list())
    awaiting = asyncio.ensure_future(processes.wait("p1", timeout=PATIENCE_S))
    await eventually(lambda: worker.counters["started"] >= 4)
    await registry.complete("p1", DONE)
    assert result(await awaiting).output == DONE
    started = worker.counters["started"]
    later = (await stage.client()).process_scope("s1")
    assert result(await later.wait("p1")).output == DONE
    assert result(await later.list()) == before
    assert worker.counters["started"] == started


async def test_registry_and_runner_live_with_the_worker(stage: Stage, tmp_path: Path) -> None:
    """Given to it in the order in which they need each other."""
    database = open_database(f"sqlite:///{tmp_path}/e.db")
    registry = ProcessRegistry(database)
    runner = ProcessRunner(registry)
    worker = stage.worker()
    for resource in (database, registry, runner):
        worker.use(resource)
    worker.add(ProcessHandler(registry, poke=runner.poke))
    await stage.start(worker)
    processes = (await stage.client()).process_scope("s1")
    await processes.start(registration("p1"))
    output = result(await processes.wait("p1", timeout=PATIENCE_S)).output
    assert output == ProcessAwaitOutputSuccess(value={"metadata": None})
    await worker.stop()
    assert runner._sweeping is None


class _Away(ProcessRegistry):
    """A registry whose database cannot be used at first."""

    failures = 1

    async def request_cancel(self, process_id: str, reason: str | None) -> Any:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailableError("the database is away")
        return await super().request_cancel(process_id, reason)


async def test_an_operation_is_tried_again_when_the_database_is_back(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no refusal of the registry."""
    hurry(monkeypatch)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(f"sqlite:///{tmp_path}/e.db"))
        registry = await stack.enter_async_context(_Away(database))
        await held(registry, "p1")
        worker = await serving(stage, registry)
        outcome = await (await stage.client()).process_scope("s1").cancel("p1", timeout=PATIENCE_S)
        assert result(outcome).record.id == "p1"
        assert worker.counters["retried"] == 1
        await worker.stop(0.0)


async def test_a_command_of_another_kind_is_refused(registry: ProcessRegistry) -> None:
    """It cannot come by the broker, which knows kinds apart."""
    sealed = Request.seal(code("x"))
    context = EffectContext(sealed.envelope, "1", 1, 0, "")
    with pytest.raises(RejectEffectError, match="cannot execute exec_code command"):
        await ProcessHandler(registry).run(sealed, context)


async def test_waits_in_milliseconds_still_work_and_are_told(registry: ProcessRegistry) -> None:
    """At the line of the program, with the seconds to write instead."""
    with pytest.warns(DeprecationWarning, match="takes seconds") as told:
        ProcessHandler(registry, first_wait_ms=1_500, longest_wait_ms=20_000)
    assert [str(one.message).rpartition("write ")[2] for one in told] == [
        "ProcessHandler(first_wait_s=1.5)",
        "ProcessHandler(longest_wait_s=20.0)",
    ]
    assert {one.filename for one in told} == {__file__}
    with pytest.raises(ConfigurationError, match="first_wait_s is -1; expected seconds"):
        ProcessHandler(registry, first_wait_s=-1)
