"""The kinds of a worker one by one: any of them, in any order, each with what it needs."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import permutations

import pytest

from effectmq import Client, Worker
from effectmq.consumers.processes import RunningProcess
from effectmq.consumers.sessions import CheckpointContext
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    TransportClosedError,
)
from effectmq.protocol.wire.execution import CheckpointDelivery
from effectmq.protocol.wire.messages import PluginMessage
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES
from effectmq.protocol.wire.process_events import ProcessAwaitOutput, ProcessAwaitOutputSuccess
from effectmq.protocol.wire.process_registration import (
    LashlangProcessRef,
    ProcessInputLashlangProcess,
)
from effectmq.protocol.wire.process_registration import ProcessScope as Owner
from effectmq.protocol.wire.processes import ProcessExecutionContext
from tests.conformance.process_stage import registration, tool_process

MODELS = {"m": {"provider": "scripted", "script": [{"reply": "You said: $text"}]}}
WAKING = ProcessInputLashlangProcess(
    module_ref="m",
    process_ref=LashlangProcessRef(component="c", pos=0),
    required_surface_ref="r",
    process_name="program",
)


@pytest.fixture
def app() -> Worker:
    """Not started yet."""
    return worker()


def worker(*, name: str = "", journal: str | None = None) -> Worker:
    """On a broker of its own, unless it is named."""
    return Worker(f"memory://{name or secrets.token_hex(4)}", journal=journal)


def add_tool(app: Worker, calls: list[int] | None = None) -> None:
    """One tool."""

    @app.tool
    def double(n: int) -> int:
        """Twice as much."""
        if calls is not None:
            calls.append(n)
        return 2 * n


@asynccontextmanager
async def started(app: Worker, *kinds: str) -> AsyncGenerator[Client]:
    """Take these kinds, all by default, and have a client beside it."""
    await app.start(kinds)
    try:
        async with Client(app.broker) as client:
            yield client
    finally:
        await app.stop()


async def wake(process: RunningProcess) -> ProcessAwaitOutput:
    """A program that wakes its session."""
    await process.emit("process.wake", {"text": "ready"})
    return ProcessAwaitOutputSuccess(value="done")


# Subsets ----------------------------------------------------------------------------------------


async def test_only_sessions(app: Worker) -> None:
    """A prompt, the tools, what was left, what a hook adds; and nothing that calls anybody."""
    add_tool(app)
    sessions = app.sessions("Be brief.")

    @sessions.hook
    def remind(facts: CheckpointContext) -> CheckpointDelivery:
        said = PluginMessage(role="User", content=f"you are in {facts.session_id}")
        return CheckpointDelivery(messages=[said], transient_messages=[], turn_causes=[])

    async with started(app) as client:
        turn = client.turn("s", "t")
        surface = (await turn.sync_execution_surface(update_machine_config=True)).value
        assert surface is not None
        assert surface.system_prompt == "Be brief."
        assert [one.name for one in surface.tool_specs] == ["double"]
        await sessions.inbox.put_message("s", PluginMessage(role="User", content="hello"))
        delivered = (await turn.checkpoint("after_work")).value
        assert [one.content for one in delivered.messages] == ["hello", "you are in s"]
        with pytest.raises(TransportClosedError, match="takes neither exec_code nor process"):
            _ = app.parts.calls.client


async def test_only_code_with_the_tools_of_another_worker() -> None:
    """Its blocks call them by name; they run there, on their lane."""
    calls: list[int] = []
    tools, blocks = worker(name="code-and-tools"), worker(name="code-and-tools")

    @tools.tool(lane="slow")
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    blocks.code(tools_of=[tools], time_limit_s=5)
    async with tools, started(blocks, "exec_code") as client:
        ran = await client.turn("s", "t").exec_code("x = double(n=21)\nprint(x)")
        assert ran.value == "42\n"
        assert calls == [21]
    assert "tool_call" not in blocks.kinds


async def test_only_processes(app: Worker) -> None:
    """Without code and sessions; a wake waits in the database for whoever has the session."""
    kept = app.processes(lashlang_process=wake, sweep_s=0.01)
    async with started(app) as client:
        processes = client.process_scope("s")
        await processes.start(
            registration("p1", *LANGUAGE_EVENT_TYPES, input_=WAKING),
            context=ProcessExecutionContext(wake_target_scope=Owner(session_id="s")),
        )
        assert (await processes.wait("p1")).value == "done"
        assert (await kept.registry.get("p1")).id == "p1"
        assert await app.parts.inbox.waiting("s") == 1


async def test_processes_without_code_call_tools(app: Worker) -> None:
    """As effects of their own."""
    calls: list[int] = []
    add_tool(app, calls)
    app.processes(sweep_s=0.01)
    async with started(app) as client:
        processes = client.process_scope("s")
        await processes.start(registration("p1", input_=tool_process("double", n=4)))
        assert (await processes.wait("p1")).value == 8
    assert calls == [4]


def register_all(app: Worker) -> dict[str, Callable[[], object]]:
    """Each method, by its name."""
    return {
        "models": lambda: app.models(MODELS),
        "code": lambda: app.code(time_limit_s=5),
        "processes": lambda: app.processes(lashlang_process=wake, sweep_s=0.01),
        "sessions": lambda: app.sessions("Be brief."),
        "tool": lambda: add_tool(app),
    }


@pytest.mark.parametrize("order", [*permutations(("code", "processes", "sessions", "tool"))])
async def test_the_order_of_calls_does_not_matter(app: Worker, order: tuple[str, ...]) -> None:
    """Parts are opened once, each before what needs it, and closed after it."""
    for method in order:
        register_all(app)[method]()
    async with started(app) as client:
        turn, processes = client.turn("s", "t"), client.process_scope("s")
        assert (await turn.exec_code("print(double(1))")).value == "2\n"
        await processes.start(
            registration("p1", *LANGUAGE_EVENT_TYPES, input_=WAKING),
            context=ProcessExecutionContext(wake_target_scope=Owner(session_id="s")),
        )
        await processes.wait("p1")
        woken = (await turn.checkpoint("after_work")).value
        assert len(woken.turn_causes) == 1
    with pytest.raises(DatabaseUnavailableError, match="is not open"):
        await app.parts.inbox.waiting("s")


async def test_a_worker_starts_again(app: Worker) -> None:
    """With everything that it had."""
    sessions = app.sessions()
    for _ in range(2):
        async with started(app):
            assert await sessions.inbox.waiting("s") == 0


# What each opens --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llm_call", "direct", "sleep", "tool_call"])
async def test_kinds_that_keep_nothing_need_no_journal(kind: str) -> None:
    """Whatever else was registered."""
    app = worker(journal="none")
    for method in register_all(app).values():
        method()
    async with started(app, kind):
        pass


@pytest.mark.parametrize("method", ["code", "processes", "sessions"])
async def test_kinds_that_keep_something_say_that_there_is_no_journal(method: str) -> None:
    """When they are taken, not when they are registered."""
    app = worker(journal="none")
    register_all(app)[method]()
    with pytest.raises(ConfigurationError, match="has no journal; name one with journal="):
        await app.start()


async def test_code_alone_opens_neither_inbox_nor_processes(app: Worker) -> None:
    """Only the database and a client."""
    for method in ("code", "processes", "sessions"):
        register_all(app)[method]()
    async with started(app, "exec_code"):
        assert app.parts.calls.client is not None
        with pytest.raises(ConfigurationError, match="is not open"):
            await app.parts.registry.register(registration("p1"))


async def test_tools_may_use_inbox_and_registry(app: Worker) -> None:
    """Where they say so, these are open for them."""
    add_tool(app)
    sessions = app.sessions(tools_use_inbox=True)
    kept = app.processes(tools_use_registry=True)
    async with started(app, "tool_call"):
        assert await sessions.inbox.waiting("s") == 0
        await kept.registry.register(registration("p1"))
        with pytest.raises(TransportClosedError):
            _ = app.parts.calls.client


# Mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["models", "code", "processes", "sessions"])
async def test_twice_is_a_mistake_and_changes_nothing(app: Worker, method: str) -> None:
    """The sentence names the method; what was there works on."""
    again = register_all(app)[method]
    again()
    kinds = app.kinds
    with pytest.raises(
        ConfigurationError, match=rf"have a handler already; call {method}\(\) once"
    ):
        again()
    assert app.kinds == kinds
    async with app:
        pass


async def test_beside_a_handler_of_ones_own_nothing_is_half_registered(app: Worker) -> None:
    """Of two kinds that belong together, either both are had or none."""

    @app.handler("sync_execution_surface")
    async def own(command: object) -> None: ...

    before = app.kinds
    with pytest.raises(ConfigurationError, match=r"^sync_execution_surface effects have a handler"):
        app.sessions()
    assert app.kinds == before


@pytest.mark.parametrize("method", ["code", "processes", "sessions"])
async def test_a_running_worker_takes_no_more(app: Worker, method: str) -> None:
    """And has no handler whose parts are not open."""
    async with app:
        with pytest.raises(ConfigurationError, match="runs already"):
            register_all(app)[method]()
        assert app.kinds == ("sleep",)


def test_an_unknown_argument_is_a_type_error(app: Worker) -> None:
    """As everywhere in Python."""
    with pytest.raises(TypeError, match=r"Worker\.code\(\) got an unexpected keyword argument"):
        app.code(time_limit=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Worker\.processes\(\) got an unexpected keyword"):
        app.processes(workers=5)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="lease_s"):
        app.processes(lease_s=1, renew_s=2)
    assert app.kinds == ("sleep",)
