"""A runner that was cut off, on every database: another takes over, and the zombie is fenced."""

from __future__ import annotations

import asyncio

from effectmq.broker.store.database import open_database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.consumers.processes import ProcessRunner, ProcessRunnerSettings, RunningProcess
from effectmq.consumers.tools.results.outputs import output_from
from effectmq.protocol.wire.process_events import ProcessAwaitOutputSuccess
from effectmq.protocol.wire.processes import ProcessLease
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from tests.conformance.process_stage import registration, tool_process
from tests.waiting import eventually

#: A lease that runs out while a test waits for it.
SHORT = ProcessRunnerSettings(lease_s=0.3, renew_s=0.1, sweep_s=0.02)
LONG = ProcessRunnerSettings(sweep_s=0.02)


class _CutOff(ProcessRegistry):
    """The registry of a program that gets nothing through any more, until its line is mended."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.mended = asyncio.Event()

    async def renew_lease(self, lease: ProcessLease, ttl_ms: int) -> ProcessLease:
        await self.mended.wait()
        return await super().renew_lease(lease, ttl_ms)


class _Tool:
    """Runs until it is let go, and says who it ran for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        self.begun.set()
        await self.release.wait()
        return output_from(self.name)


async def test_a_process_of_a_runner_that_was_cut_off_is_taken_over(database_url: str) -> None:
    """The other one's output counts; the first comes back, and writes nothing."""
    zombie, heir = _Tool("zombie"), _Tool("heir")
    async with (
        open_database(database_url) as first,
        open_database(database_url) as second,
        _CutOff(first) as cut_off,
        ProcessRegistry(second) as registry,
        ProcessRunner(cut_off, run_tool=zombie, settings=SHORT) as dying,
    ):
        await registry.register(registration("p1", input_=tool_process()))
        await zombie.begun.wait()
        async with ProcessRunner(registry, run_tool=heir, settings=LONG) as taking:
            await heir.begun.wait()
            # The zombie ends while its heir runs: its end is refused.
            zombie.release.set()
            await eventually(lambda: dying.running == ())
            assert await registry.events_after("p1", 0) == []
            heir.release.set()
            assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value="heir")
            await eventually(lambda: taking.running == ())
        events = await registry.events_after("p1", 0)
        assert [event.event_type for event in events] == ["process.completed"]
        assert (await registry.claim_lease("p1", "w", 1)).fencing_token == 3


async def test_a_runner_that_learns_that_its_lease_is_lost_stops(database_url: str) -> None:
    """Its tool is cancelled; what it would have given is never written."""
    zombie, heir = _Tool("zombie"), _Tool("heir")
    async with (
        open_database(database_url) as first,
        open_database(database_url) as second,
        _CutOff(first) as cut_off,
        ProcessRegistry(second) as registry,
        ProcessRunner(cut_off, run_tool=zombie, settings=SHORT) as dying,
    ):
        await registry.register(registration("p1", input_=tool_process()))
        await zombie.begun.wait()
        async with ProcessRunner(registry, run_tool=heir, settings=LONG):
            await heir.begun.wait()
            cut_off.mended.set()
            await eventually(lambda: dying.running == ())
            heir.release.set()
            assert await registry.await_process("p1") == ProcessAwaitOutputSuccess(value="heir")


async def test_many_runners_run_each_process_once(database_url: str) -> None:
    """They sweep at the same time, and a lease decides."""
    ran: list[str] = []

    async def tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        ran.append(process.record.id)
        return output_from(None)

    async with open_database(database_url) as first, open_database(database_url) as second:
        registries = [ProcessRegistry(first), ProcessRegistry(second)]
        async with registries[0], registries[1]:
            for number in range(20):
                await registries[0].register(registration(f"p{number}", input_=tool_process()))
            async with (
                ProcessRunner(registries[0], run_tool=tool, settings=LONG),
                ProcessRunner(registries[1], run_tool=tool, settings=LONG),
            ):
                for number in range(20):
                    await registries[0].await_process(f"p{number}")
    assert sorted(ran) == sorted(f"p{number}" for number in range(20))
