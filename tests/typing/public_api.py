"""
The public names as a user's type checker sees them. Read by mypy and pyright, never run.

A change that breaks this file breaks somebody's strict project.
"""

from __future__ import annotations

from typing import Any, assert_type

from effectmq import (
    Attachment,
    Chunk,
    Client,
    EffectContext,
    EffectFailedError,
    EffectmqError,
    EffectTimeoutError,
    FinishTurn,
    Handle,
    MapResult,
    OutcomeFailedError,
    Place,
    ProcessScope,
    Progress,
    RejectEffectError,
    RetryEffectError,
    RetryPolicy,
    RuntimeEffectEnvelope,
    Stream,
    ToolCall,
    ToolCallError,
    ToolContext,
    ToolReturn,
    TransportSettings,
    Turn,
    Worker,
    WorkerSettings,
)
from effectmq.consumers.code.cpython.engine import CPythonEngine
from effectmq.consumers.code.engine import Engine
from effectmq.consumers.code.functions import signatures
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.monty.engine import MontyEngine
from effectmq.consumers.code.settings import CodeSettings
from effectmq.protocol import (
    CheckpointDelivery,
    ExecutionSurfaceSync,
    LlmOutputPartToolCall,
    LlmRequestSpec,
    LlmToolSpec,
    RuntimeEffectCommandExecCode,
    RuntimeEffectControllerError,
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeProcess,
    RuntimeEffectOutcomeToolCall,
    arguments_from_model,
)
from effectmq.protocol.wire.tool_definitions import ToolDefinition

app = Worker(
    "memory://",
    namespace="ns",
    settings=WorkerSettings(concurrency=4, time_limit_s=10),
    transport=TransportSettings(heartbeat_s=5),
    name="w",
)
one_by_one = Worker(
    concurrency=8,
    route_concurrency={"llm_call": 64},
    time_limit_s=90,
    journal="none",
    heartbeat_s=30,
    delay_levels_s=[1, 5.5],
)
assert_type(one_by_one.place, Place)
assert_type(Client(place=one_by_one.place, identity="me", namespace=None).journal, str | None)


@app.tool
async def add(a: int, b: int) -> int:
    """Used without parentheses."""
    return a + b


@app.tool(name="greet", time_limit_s=2.5)
def greet(name: str, context: EffectContext) -> str:
    """Used with arguments, and not ``async``."""
    if context.attempt > 2:
        raise ToolCallError("no", code="c", class_="external", retry=True, after_s=0.005, raw={})
    return name


@app.tool
def twice(text: str) -> str:
    return text * 2


@app.tool
def shorten(text: str, to: int = 10) -> str:
    """Not ``async`` either."""
    return text[:to]


@app.handler("exec_code", retry=RetryPolicy(never_on=(ValueError,)), time_limit_s=60)
async def run(command: RuntimeEffectCommandExecCode, context: EffectContext) -> object:
    """A handler may return the outcome or plain data."""
    if not command.code:
        raise RejectEffectError("empty", "there is no code")
    if context.deadline_ms:
        raise RetryEffectError("later", after_s=1.5)
    return {"type": "exec_code", "result": {"Err": "no"}}


app.models({"demo": {"provider": "scripted", "script": [{"reply": "$text"}]}})


@app.tool(lane="gpu")
def draw(context: ToolContext) -> ToolReturn:
    """What a tool may return and do besides."""
    assert_type(context.emit("Page", "web.page", "drawn").started_process_ids, list[str])
    return ToolReturn(Attachment(b"", "image/png"), FinishTurn("done"))


app.mcp(["python", "server.py"], env={"A": "b"})
app.mcp("http://127.0.0.1/mcp", prefix="far.", headers={"a": "b"}, only=["x"], lane="gpu")


async def call_directly(context: EffectContext) -> None:
    """Decorated functions keep their types."""
    assert_type(await add(a=1, b=2), int)
    assert_type(greet("x", context=context), str)
    assert_type(await run(RuntimeEffectCommandExecCode(code=""), context), object)


async def produce(envelope: RuntimeEffectEnvelope) -> None:
    """What a producer writes."""
    async with Client("memory://", identity="me", namespace="ns") as client:
        assert_type(client, Client)
        handle = await client.submit(envelope, lane="gpu", deadline_s=5, timeout=1)
        assert_type(handle, Handle)
        assert_type(handle.done, bool)
        assert_type(await handle.outcome(timeout=3), RuntimeEffectOutcome)
        reply = await handle.reply()
        assert_type(reply.attempt, int)
        assert_type(reply.result, RuntimeEffectOutcome | RuntimeEffectControllerError)
        outcome = await client.execute(envelope, timeout=30)
        if isinstance(outcome, RuntimeEffectOutcomeToolCall):
            assert_type(outcome.result.call_id, str)
        if outcome.type == "exec_code":
            assert_type(outcome, RuntimeEffectOutcomeExecCode)
        assert_type(client.attach(envelope), Handle)
        async for progress in client.attach(envelope).progress():
            assert_type(progress, Progress)
            assert_type(progress.share, float | None)
        assert_type(client.counters["late"], int)


async def show(chunk: Chunk) -> None:
    """What an effect streams is taken by a function, or by a coroutine function."""
    assert_type((chunk.attempt, chunk.text), tuple[int, str])


async def turns(client: Client, request: LlmRequestSpec) -> None:
    """Invocations and replay keys are built for the caller."""
    turn = client.turn(session_id="s1", turn_id="t1", turn_index=0)
    assert_type(turn, Turn)
    called = await turn.tool_call("add", {"a": 1}, call_id="c", deadline_s=5)
    assert_type(called, RuntimeEffectOutcomeToolCall)
    assert_type(called.value, Any)
    assert_type(called.failed, bool)
    await turn.tool_call("draw", {}, call_id="c", lane=app.tools["draw"].lane)
    assert_type(app.tools["draw"].spec(), LlmToolSpec)
    assert_type(app.tools["draw"].definition(), ToolDefinition)
    assert_type(
        await turn.exec_code("1 + 1", timeout=5, on_chunk=show), RuntimeEffectOutcomeExecCode
    )
    await turn.tool_call("draw", {}, call_id="c2", on_progress=lambda told: print(told.done))
    assert_type(await turn.call(add, 1, b=2), int)
    assert_type(await turn.call(shorten, text="a", to=1), str)
    assert_type(await turn.with_options(timeout=90, call_id="c").call(add, a=1, b=2), int)
    answer = await turn.llm_call(request, on_chunk=lambda chunk: print(chunk.text), lane="big")
    assert_type(answer, RuntimeEffectOutcomeLlmCall)
    assert_type(answer.value, str)
    assert_type(answer.value_or(None), str | None)
    assert_type(await turn.direct(request, usage_source="t"), RuntimeEffectOutcomeDirect)
    assert_type((await turn.checkpoint("after_work")).value, CheckpointDelivery)
    surface = await turn.sync_execution_surface(update_machine_config=False)
    assert_type(surface.value, ExecutionSurfaceSync | None)
    assert_type((await turn.sleep(duration_s=5)).value, None)
    part = LlmOutputPartToolCall(call_id="c2", tool_name="add", input_json="{}")
    tools = [app.tools["add"].spec()]
    asked = await turn.tool_call_from_model(part, tools=tools, lane="gpu", timeout=5)
    assert_type(asked, RuntimeEffectOutcomeToolCall)
    both = await turn.tool_calls_from_model([part], lanes={"draw": "gpu"})
    assert_type(both, list[RuntimeEffectOutcomeToolCall])
    assert_type(arguments_from_model(part), dict[str, Any])
    assert_type(await turn.map(add, [1, 2], [3, 4], in_flight=2), list[MapResult[int]])
    named = await turn.map("add", [{"a": 1, "b": 2}], call_ids=["c"], number=9, timeout=5)
    assert_type(named, list[MapResult[Any]])
    batch = await turn.tool_calls([ToolCall("add", {"a": 1}, "c4")], in_flight=2, timeout=5)
    assert_type(batch, list[MapResult[Any]])
    assert_type((await turn.map(twice, ["a"]))[0].value_or(None), str | None)
    assert_type(turn.branch("a"), Turn)
    stream = turn.stream.llm_call(request, timeout=5, lane="big")
    async for chunk in stream:
        assert_type(chunk, Chunk)
    assert_type(stream, Stream[RuntimeEffectOutcomeLlmCall])
    assert_type(await stream.result(), RuntimeEffectOutcomeLlmCall)
    assert_type(await turn.stream.call(add, 1, b=2).result(), int)
    assert_type(await turn.with_options(timeout=9).stream(shorten, "a", 1).result(), str)
    envelopes = turn.tool_envelopes([ToolCall("add", {"a": 1, "b": 2}, "c1")])
    assert_type(envelopes, list[RuntimeEffectEnvelope])
    scope = client.process_scope("s1", parent=turn.invocation("exec_code"))
    assert_type(scope, ProcessScope)
    assert_type(await scope.wait("p1", timeout=60), RuntimeEffectOutcomeProcess)


async def failures(handle: Handle) -> str:
    """Errors carry what a program may want to branch on."""
    try:
        await handle.outcome(1.0)
    except EffectTimeoutError as error:
        assert_type(error.timeout_s, float)
    except OutcomeFailedError as error:
        assert_type(error.class_, str)
    except EffectFailedError as error:
        assert_type(error.code, str)
        return error.message
    except EffectmqError as error:
        return str(error)
    return ""


async def embed() -> None:
    """A worker inside of another program."""
    async with app as worker:
        assert_type(worker.kinds, tuple[str, ...])
    await app.run(["tool_call", "exec_code.gpu"])


async def code(client: Client) -> None:
    """What a worker adds to run code, and who carries its calls out."""
    handler = CodeHandler(
        CodeSettings(time_limit_s=5),
        tools=lambda: signatures(app.tools),
        execute=client.execute,
        images=app.attachments,
    )
    app.add(handler)
    engine: Engine = MontyEngine(CodeSettings())
    app.add(CodeHandler(engine=engine))
    sandboxed: Engine = CPythonEngine(CodeSettings(backend="cpython"))
    app.add(CodeHandler(engine=sandboxed))
