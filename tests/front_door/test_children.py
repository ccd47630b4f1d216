"""What effects hand down to those that they ask for: deadline and trace context."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from effectmq import Client, ToolContext, Worker
from effectmq.boundary import whole_boundary
from effectmq.broker.inheritance import Inheritance, carrying_out, detached, inherited
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.processes import ProcessRunnerSettings, RunningProcess
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.errors import EffectFailedError, ParentExpiredError
from effectmq.protocol.identity import invocations
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from effectmq.protocol.wire.process_event_types import LANGUAGE_EVENT_TYPES
from effectmq.protocol.wire.process_events import ProcessAwaitOutput, ProcessAwaitOutputSuccess
from effectmq.protocol.wire.process_registration import (
    LashlangProcessRef,
    ProcessInputLashlangProcess,
    ProcessRegistration,
    ProcessScope,
)
from effectmq.protocol.wire.processes import ProcessExecutionContext
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.brokers.provide import Broker
from tests.conformance.process_stage import external, registration, tool_process
from tests.waiting import eventually

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "congo=t61rcWkgMzE"
PATIENCE_S = 60.0


class Family:
    """A worker with the whole boundary, and what each of its tools' calls got."""

    def __init__(self, url: str, namespace: str, journal: str) -> None:
        self.namespace = namespace
        self.worker = Worker(url, journal=journal, namespace=namespace)
        self.journal = journal
        self.seen: list[tuple[str, int, str, str]] = []
        self.own: Client | None = None
        self.gate = asyncio.Event()
        worker = self.worker

        @worker.tool
        async def spy(who: str, ctx: ToolContext) -> int:
            self.note(who, ctx)
            return ctx.deadline_ms

        @worker.tool
        async def ask(who: str, ctx: ToolContext) -> int:
            """Asks on with a client of its own."""
            self.note(f"{who} itself", ctx)
            assert self.own is not None
            await self.own.turn("s", who).tool_call("spy", {"who": who}, call_id="c")
            with detached():
                await self.own.turn("s", f"{who}!").tool_call("spy", {"who": "free"}, call_id="c")
            return 1

        @worker.tool
        async def linger(who: str, ctx: ToolContext) -> int:
            """Takes longer than anybody wants."""
            self.note(who, ctx)
            await self.gate.wait()
            return 1

        @worker.tool(lane="gpu")
        def render(ctx: ToolContext) -> str:
            self.note("render", ctx)
            return "rendered"

        self.boundary = whole_boundary(
            worker,
            code=CodeSettings(),
            lashlang_process=self.program,
            processes=ProcessRunnerSettings(sweep_s=0.01),
        )

    def note(self, who: str, ctx: ToolContext) -> None:
        """Remember what a call got."""
        self.seen.append((who, ctx.deadline_ms, ctx.traceparent, ctx.tracestate))

    def of(self, who: str) -> tuple[int, str, str]:
        """What it got, once."""
        (found,) = [rest for name, *rest in self.seen if name == who]
        return tuple(found)  # type: ignore[return-value]

    async def program(self, process: RunningProcess) -> ProcessAwaitOutput:
        """Call a tool."""
        call = PreparedToolCall(call_id="c", tool_name="spy", args={"who": "program"})
        await self.boundary.run_tool(call, process)
        return ProcessAwaitOutputSuccess(value=1)


@asynccontextmanager
async def running(url: str, namespace: str, folder: Path) -> AsyncIterator[tuple[Family, Client]]:
    """A worker that runs, and a client of a producer."""
    family = Family(url, namespace, f"sqlite:///{folder}/j.db")
    async with (
        Client(url, namespace=family.namespace) as client,
        Client(url, namespace=family.namespace) as family.own,
        family.worker,
    ):
        yield family, client
        family.gate.set()


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Family, Client]]:
    """All of it in memory."""
    async with running(f"memory://{secrets.token_hex(4)}", "family", tmp_path) as made:
        yield made


Opened = tuple[Family, Client]


def block(client: Client, code: str) -> RuntimeEffectEnvelope:
    """A block of code of some turn."""
    turn = client.turn("s", secrets.token_hex(4))
    command = RuntimeEffectCommandExecCode(code=code)
    return RuntimeEffectEnvelope(invocation=turn.invocation("exec_code"), command=command)


async def test_a_call_from_code_gets_deadline_and_trace_of_its_block(opened: Opened) -> None:
    """Both, to the letter; without a deadline there is none."""
    pytest.importorskip("pydantic_monty")
    family, client = opened
    began_ms = time.time() * 1_000
    await client.execute(
        block(client, "spy('a')"),
        deadline_s=500,
        timeout=PATIENCE_S,
        traceparent=TRACE,
        tracestate=STATE,
    )
    deadline_ms, *trace = family.of("a")
    assert trace == [TRACE, STATE]
    assert began_ms + 400_000 < deadline_ms < began_ms + 600_000
    await client.execute(block(client, "spy('b')"), timeout=PATIENCE_S)
    assert family.of("b") == (0, "", "")


async def test_grandchildren_inherit_too_and_whoever_asks_with_a_client_of_its_own(
    opened: Opened,
) -> None:
    """From the block to the tool, from the tool to what it asks for."""
    pytest.importorskip("pydantic_monty")
    family, client = opened
    await client.execute(
        block(client, "ask('x')"),
        deadline_s=500,
        timeout=PATIENCE_S,
        traceparent=TRACE,
        tracestate=STATE,
    )
    assert family.of("x") == family.of("x itself")
    assert family.of("x")[0] > 0
    assert family.of("x")[1:] == (TRACE, STATE)
    assert family.of("free") == (0, TRACE, STATE), "what is detached has no deadline"


async def test_a_call_from_code_takes_the_lane_of_its_tool(opened: Opened) -> None:
    """Only there may be the machine that can do it."""
    pytest.importorskip("pydantic_monty")
    family, client = opened
    outcome = await client.execute(block(client, "render()"), timeout=PATIENCE_S)
    assert isinstance(outcome, RuntimeEffectOutcomeExecCode)
    assert isinstance(outcome.result, Ok)
    assert outcome.result.ok.error is None
    assert family.boundary.lane_of("render") == "gpu"
    assert family.boundary.lane_of("spy") is None


def process(kind: str) -> ProcessRegistration:
    """A process that calls the tool ``spy``, in one way or the other."""
    if kind == "tool_call":
        return registration("p1", input_=tool_process("spy", who="program"))
    language = ProcessInputLashlangProcess(
        module_ref="m",
        process_ref=LashlangProcessRef(component="c", pos=0),
        required_surface_ref="r",
        process_name="program",
    )
    return registration("p1", *LANGUAGE_EVENT_TYPES, input_=language)


@pytest.mark.parametrize("kind", ["tool_call", "lashlang_process"])
async def test_a_process_gets_the_trace_of_its_start_and_no_deadline(
    opened: Opened, kind: str
) -> None:
    """It outlives the effect that started it, which may have had a second."""
    family, client = opened
    with carrying_out(Inheritance(in_ms(500_000), TRACE, STATE)):
        await client.process_scope("s").start(process(kind), timeout=PATIENCE_S)
    await client.process_scope("s").wait("p1", timeout=PATIENCE_S)
    assert family.of("program") == (0, TRACE, STATE)


async def test_a_process_keeps_its_first_trace_and_the_contexts_members(opened: Opened) -> None:
    """Whoever starts it again changes nothing; what the wire knows of a context stays as it was."""
    family, _ = opened
    registry = family.boundary.registry
    taken = ProcessExecutionContext(wake_target_scope=ProcessScope(session_id="s"))
    made = registration("p9", input_=external())
    with carrying_out(Inheritance(0, TRACE, STATE, "acme")):
        await registry.start(made, context=taken)
    await registry.start(made)
    await registry.start(registration("p8", input_=external()))
    with carrying_out(Inheritance(tenant="acme")):
        await registry.start(registration("p7", input_=external()))
    assert await registry.trace_of("p9") == Inheritance(0, TRACE, STATE, "acme")
    assert await registry.trace_of("p7") == Inheritance(tenant="acme")
    assert await registry.execution_context("p9") == taken
    assert await registry.trace_of("p8") == Inheritance()


# Deadlines ---------------------------------------------------------------------------------------


def in_ms(ms: int) -> int:
    """A moment from now, Unix milliseconds."""
    return round(time.time() * 1_000) + ms


@pytest.mark.parametrize(
    ("parents", "own", "childs"), [(0, 0, 0), (5, 0, 5), (0, 5, 5), (5, 7, 5), (7, 5, 5)]
)
def test_a_child_has_the_earlier_deadline(parents: int, own: int, childs: int) -> None:
    """Its own may be earlier than its parent's, and never is a later one."""
    assert Inheritance(parents).earlier(own) == childs


async def test_a_trace_of_its_own_is_taken_whole(opened: Opened) -> None:
    """The state of one trace means nothing to another."""
    family, client = opened
    parent = Inheritance(in_ms(100_000), TRACE, STATE)
    with carrying_out(parent):
        handle = await client.submit(call("a"), traceparent="00-own", deadline_s=5_000)
        await handle.outcome(PATIENCE_S)
    assert family.of("a") == (parent.deadline_ms, "00-own", "")
    assert inherited() == Inheritance()


async def test_a_plain_function_hands_down_as_well(opened: Opened) -> None:
    """Its thread knows whose it is."""
    family, client = opened
    parent = Inheritance(in_ms(100_000), TRACE, STATE)
    found: list[Inheritance] = []

    @family.worker.tool
    def plain() -> bool:
        found.append(inherited())
        return True

    with carrying_out(parent):
        await client.execute(call("b", "plain"), timeout=PATIENCE_S)
    # Its parent said no priority, so it has the normal one, and so have its children.
    assert found == [replace(parent, priority="normal")]


async def test_an_expired_parent_starts_no_children(opened: Opened) -> None:
    """Nothing is sent; what is recorded is answered all the same."""
    family, client = opened
    async with Client(
        family.worker.broker, journal=family.journal, namespace=family.namespace
    ) as reader:
        done = await reader.execute(call("a"), timeout=PATIENCE_S)
        with carrying_out(Inheritance(in_ms(-10))):
            with pytest.raises(ParentExpiredError, match=r"not submitted.*ms ago.*detached"):
                await client.execute(call("late"), timeout=PATIENCE_S)
            with pytest.raises(ParentExpiredError):
                await client.submit(call("late"))
            assert await reader.execute(call("a"), timeout=PATIENCE_S) == done
            with detached():
                await client.execute(call("free"), timeout=PATIENCE_S)
    assert [who for who, *_ in family.seen] == ["a", "free"]


async def test_a_child_that_runs_at_its_parents_deadline_is_stopped(opened: Opened) -> None:
    """It is parked as any effect over its deadline, and so does not hold its slot for nobody."""
    pytest.importorskip("pydantic_monty")
    family, client = opened
    with pytest.raises(EffectFailedError) as failed:
        await client.execute(block(client, "linger('l')"), deadline_s=1.5, timeout=PATIENCE_S)
    assert failed.value.code == "effectmq_expired"
    await eventually(lambda: family.worker.counters["parked_expired"] == 2)
    assert family.of("l")[0] > 0


def call(who: str, tool: str = "spy") -> RuntimeEffectEnvelope:
    """A tool call; the same for the same words."""
    prepared = PreparedToolCall(
        call_id="c", tool_name=tool, args={"who": who} if tool == "spy" else {}
    )
    invocation = invocations.turn_effect(
        "tool_call", who, session_id="s", turn_id="calls", turn_index=0, protocol_iteration=0
    )
    return RuntimeEffectEnvelope(
        invocation=invocation, command=RuntimeEffectCommandToolCall(call=prepared)
    )


# Over a broker -----------------------------------------------------------------------------------


@pytest.mark.rabbitmq
@pytest.mark.one_broker
async def test_both_survive_a_real_broker(broker: Broker, namespace: str, tmp_path: Path) -> None:
    """As headers of messages, there and on to the children."""
    pytest.importorskip("pydantic_monty")
    async with running(broker.url, namespace, tmp_path) as (family, client):
        await client.execute(
            block(client, "ask('x')"),
            deadline_s=500,
            timeout=PATIENCE_S,
            traceparent=TRACE,
            tracestate=STATE,
        )
        with carrying_out(Inheritance(in_ms(500_000), TRACE, STATE)):
            await client.process_scope("s").start(process("tool_call"), timeout=PATIENCE_S)
        await client.process_scope("s").wait("p1", timeout=PATIENCE_S)
    assert family.of("x") == family.of("x itself")
    assert family.of("x")[0] > in_ms(0)
    assert family.of("x")[1:] == (TRACE, STATE)
    assert family.of("free") == family.of("program") == (0, TRACE, STATE)
