"""All eight kinds on one worker, with one line."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client, Worker
from effectmq.boundary import Boundary, whole_boundary
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.processes import ProcessRunnerSettings, RunningProcess
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    TransportClosedError,
)
from effectmq.protocol.kinds import EFFECT_KINDS
from effectmq.protocol.wire.llm_request import LlmContentBlockText, LlmMessage, LlmRequestSpec
from effectmq.protocol.wire.messages import PluginMessage
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES
from effectmq.protocol.wire.process_events import ProcessAwaitOutput, ProcessAwaitOutputSuccess
from effectmq.protocol.wire.process_registration import (
    LashlangProcessRef,
    ProcessInputLashlangProcess,
    ProcessScope,
)
from effectmq.protocol.wire.processes import ProcessExecutionContext
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.conformance.process_stage import registration, tool_process

_MODELS = {"demo": {"provider": "scripted", "script": [{"reply": "I heard: $text"}]}}
_SESSION = ProcessScope(session_id="s")


class Stage:
    """A worker with the whole boundary, and what its tool was called with."""

    def __init__(self, journal: str, **how: Any) -> None:
        self.worker = Worker(f"memory://{secrets.token_hex(4)}", journal=journal)
        self.doubled: list[int] = []

        @self.worker.tool
        def double(n: int) -> int:
            """Twice as much."""
            self.doubled.append(n)
            return 2 * n

        self.boundary: Boundary = whole_boundary(
            self.worker,
            models=_MODELS,
            prompt="Be brief.",
            code=CodeSettings(),
            lashlang_process=self.program,
            processes=ProcessRunnerSettings(sweep_s=0.01),
            **how,
        )

    async def program(self, process: RunningProcess) -> ProcessAwaitOutput:
        """Call the tool, wake the session, end."""
        call = PreparedToolCall(call_id="c", tool_name="double", args={"n": 5})
        output = await self.boundary.run_tool(call, process)
        payload: Any = getattr(output.outcome, "payload", None)
        await process.emit("process.wake", {"text": f"it is {payload}"})
        return ProcessAwaitOutputSuccess(value=payload)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """A journal of this test."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def stage(journal: str) -> Stage:
    """Not started yet."""
    return Stage(journal)


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[Client]:
    """A client of the started worker, with its journal."""
    async with (
        stage.worker,
        Client(stage.worker.broker, journal=stage.worker.journal) as opened,
    ):
        yield opened


def ask(text: str) -> LlmRequestSpec:
    """A request to the model."""
    block = LlmContentBlockText(text=text, cache_breakpoint=False)
    return LlmRequestSpec(
        model="demo",
        messages=[LlmMessage(role="User", blocks=[block])],
        attachments=[],
        tools=[],
        tool_choice="None",
    )


async def whole_turn(client: Client) -> dict[str, Any]:
    """One effect of each kind, and what came of it."""
    turn = client.turn("s", "t")
    processes = client.process_scope("s")
    results: dict[str, Any] = {}

    async def note(name: str, running: Any) -> None:
        results[name] = (await running).result

    await note("surface", turn.sync_execution_surface(update_machine_config=True))
    await note("model", turn.llm_call(ask("hello")))
    await note("direct", turn.direct(ask("hello"), usage_source="test"))
    await note("tool", turn.tool_call("double", {"n": 2}, call_id="call-1"))
    await note("code", turn.exec_code("x = double(3)\nprint(x)"))
    await turn.sleep(duration_s=0.001)
    await note("start", processes.start(registration("p1", input_=tool_process("double", n=4))))
    await note("end", processes.wait("p1"))
    await note("checkpoint", turn.checkpoint("after_work"))
    return results


async def test_one_worker_takes_every_kind(stage: Stage) -> None:
    """None is missing."""
    assert set(stage.worker.kinds) == set(EFFECT_KINDS)


async def test_every_kind_is_carried_out(stage: Stage, client: Client) -> None:
    """Tools run for the turn, for code and for a process; the surface has them."""
    results = await whole_turn(client)
    assert results["surface"].ok.system_prompt == "Be brief."
    assert [tool.name for tool in results["surface"].ok.tool_specs] == ["double"]
    assert results["model"].ok.full_text == results["direct"].ok.full_text == "I heard: hello"
    assert results["code"].ok.observations == ["6\n"]
    assert results["end"].output == ProcessAwaitOutputSuccess(value=8)
    assert results["checkpoint"].ok.turn_causes == []
    assert stage.doubled == [2, 3, 4]


async def test_a_turn_run_again_runs_nothing_again(stage: Stage, client: Client) -> None:
    """Neither a body nor an attempt; and without a broker it is answered as well."""
    first = await whole_turn(client)
    async with open_archive(stage.worker.journal or "") as archive:
        before = {one.identity: one.attempts for one in await archive.find(EffectFilter())}
        assert await whole_turn(client) == first
        async with Client(
            "memory://nobody", journal=stage.worker.journal, replay="strict"
        ) as replayer:
            assert await whole_turn(replayer) == first
        after = {one.identity: one.attempts for one in await archive.find(EffectFilter())}
    assert after == before
    assert stage.doubled == [2, 3, 4]


async def test_a_wake_reaches_the_sessions_next_checkpoint(stage: Stage, client: Client) -> None:
    """As a turn cause, once, with the text that the process gave it."""
    language = ProcessInputLashlangProcess(
        module_ref="m",
        process_ref=LashlangProcessRef(component="c", pos=0),
        required_surface_ref="r",
        process_name="program",
    )
    processes = client.process_scope("s")
    await processes.start(
        registration("p1", *LANGUAGE_EVENT_TYPES, input_=language),
        context=ProcessExecutionContext(wake_target_scope=_SESSION),
    )
    ended: Any = await processes.wait("p1")
    assert ended.result.output == ProcessAwaitOutputSuccess(value=10)
    turn = client.turn("s", "t")
    woken: Any = await turn.checkpoint("after_work")
    (cause,) = woken.result.ok.turn_causes
    assert cause.text.endswith("it is 10")
    assert cause.origin.process_id == "p1"
    silent: Any = await turn.checkpoint("before_completion")
    assert silent.result.ok.turn_causes == []


async def test_a_message_in_the_inbox_reaches_the_checkpoint(stage: Stage, client: Client) -> None:
    """Whoever has the boundary can leave one."""
    await stage.boundary.inbox.put_message("s", PluginMessage(role="User", content="stop"))
    delivered: Any = await client.turn("s", "t").checkpoint("after_work")
    assert [message.content for message in delivered.result.ok.messages] == ["stop"]


async def test_without_a_journal_it_does_not_start() -> None:
    """And says what is missing."""
    with pytest.raises(ConfigurationError, match="this worker has no journal; name one"):
        await Stage("none").worker.start()


@pytest.mark.parametrize("kind", ["llm_call", "direct", "sleep", "tool_call"])
async def test_kinds_that_keep_nothing_open_nothing(kind: str) -> None:
    """They need neither a journal nor a second connection."""
    stage = Stage("none")
    async with AsyncExitStack() as stack:
        await stage.worker.start([kind])
        stack.push_async_callback(stage.worker.stop)
        with pytest.raises(DatabaseUnavailableError, match="is not open"):
            await stage.boundary.inbox.waiting("s")


async def test_a_checkpoint_worker_opens_the_database_and_nothing_else(stage: Stage) -> None:
    """Nothing submits effects there, and nothing runs processes."""
    async with AsyncExitStack() as stack:
        await stage.worker.start(["checkpoint"])
        stack.push_async_callback(stage.worker.stop)
        assert await stage.boundary.inbox.waiting("s") == 0
        await stage.boundary.registry.register(registration("p1"))
        with pytest.raises(TransportClosedError, match="takes neither exec_code nor process"):
            _ = stage.boundary.calls.client


async def test_tools_may_use_the_inbox(journal: str) -> None:
    """Where they say so, it is open for them."""
    stage = Stage(journal, tools_use_inbox=True)
    async with AsyncExitStack() as stack:
        await stage.worker.start(["tool_call"])
        stack.push_async_callback(stage.worker.stop)
        assert await stage.boundary.inbox.waiting("s") == 0
