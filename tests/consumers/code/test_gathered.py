"""Calls that run side by side: ``asyncio.gather`` over tools, on both interpreters."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest

from effectmq.consumers.code.cpython.engine import CPythonEngine
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import Engine, Program
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.monty.engine import MontyEngine
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.results.outputs import failure, output_from
from effectmq.protocol.errors import EffectTimeoutError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.execution import ExecResponse
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tools import ToolControlFinish
from tests.consumers.code.conftest import SETTINGS
from tests.consumers.code.sandbox import SANDBOXED, sandboxed
from tests.consumers.code.stage import FakeHost, Recorder, ran
from tests.consumers.stage import PATIENCE_S, code
from tests.waiting import eventually

TOOLS = {"ask": ("n",), "bad": ("n",), "end": ("n",)}


@pytest.fixture(params=["monty", "cpython"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    """Either interpreter."""
    if request.param == "cpython":
        async with sandboxed() as boxed:
            yield boxed
        return
    async with MontyEngine(SETTINGS) as started:
        yield started


def settings_of(engine: Engine, **how: int) -> CodeSettings:
    """Limits that fit it."""
    from dataclasses import replace

    return replace(SANDBOXED if isinstance(engine, CPythonEngine) else SETTINGS, **how)


_GATHERED = [
    ("r = await asyncio.gather(ask(1), ask(2), ask(3))", "[[1], [2], [3]]", [1, 2, 3]),
    ("r = await asyncio.gather(*[ask(n) for n in range(3)])", "[[0], [1], [2]]", [0, 1, 2]),
    (
        "t = []\nfor n in range(2):\n    t.append(ask(n))\nr = await asyncio.gather(*t)",
        "[[0], [1]]",
        [0, 1],
    ),
    ("a = ask(1)\nb = ask(2)[0]\nr = (await a, b)", "([1], 2)", [1, 2]),
    (
        "async def two(n):\n    a = await ask(n)\n    return await ask(a[0] + 10)\n"
        "r = await asyncio.gather(two(1), two(2))",
        "[[11], [12]]",
        [1, 2, 11, 12],
    ),
    (
        "async def main():\n    return await asyncio.gather(ask(1), ask(2))\n"
        "r = asyncio.run(main())",
        "[[1], [2]]",
        [1, 2],
    ),
    ("x = ask(5)\nr = [x[0], *(await asyncio.gather(ask(1)))]", "[5, [1]]", [5, 1]),
    ("r = await asyncio.gather(ask(1), asyncio.sleep(1), ask(2))", "[[1], None, [2]]", [1, 2]),
]


@pytest.mark.parametrize(("text", "value", "asked"), _GATHERED)
async def test_calls_can_be_gathered(
    engine: Engine, text: str, value: str, asked: list[int]
) -> None:
    """In every usual way; calls that are not waited for later have their result at once."""
    host = FakeHost("ask")
    found = await engine.run(Program(f"import asyncio\n{text}\nr", None, "seed"), host)
    assert (found.value, found.error) == (value, None)
    assert [args[0] for _, args, _ in host.asked] == asked


async def test_one_that_fails_fails_where_it_is_waited_for(engine: Engine) -> None:
    """As with any coroutine; the others were asked all the same."""
    host = FakeHost("ask", "bad")
    host.answers["bad"] = CodeError("ValueError", "no")
    text = (
        "import asyncio\ntry:\n    await asyncio.gather(ask(1), bad(2), ask(3))\n"
        "except ValueError as e:\n    r = str(e)\nr"
    )
    found = await engine.run(Program(text, None, "seed"), host)
    assert (found.value, found.error) == ("'no'", None)
    assert len(host.asked) == 3
    found = await engine.run(
        Program("import asyncio\nr = await asyncio.gather(ask(1), bad(2))", None, "seed"), host
    )
    assert found.error is not None
    assert found.error.endswith("ValueError: no")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("r = await asyncio.gather(ask(1), bad(2), return_exceptions=True)\nstr(r[1])", "'no'"),
        ("t = asyncio.create_task(ask(1))\nawait t", "[1]"),
        ("async with asyncio.TaskGroup() as g:\n    t = g.create_task(ask(1))\nt.result()", "[1]"),
        ("await asyncio.wait_for(ask(1), 5)", "[1]"),
        ("[await one for one in asyncio.as_completed([ask(1), ask(2)])]", "[[1], [2]]"),
    ],
)
async def test_cpython_has_the_rest_of_asyncio(text: str, value: str) -> None:
    """Monty has ``gather``, without keywords."""
    host = FakeHost("ask", "bad")
    host.answers["bad"] = CodeError("ValueError", "no")
    async with sandboxed() as engine:
        found = await engine.run(Program(f"import asyncio\n{text}", None, "seed"), host)
    assert (found.value, found.error) == (value, None)


@pytest.mark.parametrize(
    "text",
    [
        "f = lambda n: ask(n)\nawait asyncio.gather(f(1), f(2))",
        "def f(n):\n    return ask(n)\nawait asyncio.gather(f(1), f(2))",
        "f = ask\nawait asyncio.gather(f(1), f(2), return_exceptions=True)",
        "await asyncio.gather(*map(ask, [1, 2]))",
        "async def f(a, b):\n    return await asyncio.gather(a, b)\nawait f(ask(1), ask(2))",
        "async def f(a):\n    return await asyncio.gather(*a)\nawait f([ask(1), ask(2)])",
        "f = lambda n: ask(n)\n[await f(1), await f(2)]",
        "f = lambda n: ask(n)\n[await asyncio.wait_for(f(n), 5) for n in (1, 2)]",
        "f = lambda n: ask(n)\n[await asyncio.shield(f(n)) for n in (1, 2)]",
        "f = lambda n: ask(n)\n[await one for one in asyncio.as_completed([f(1), f(2)])]",
        "f = lambda n: ask(n)\nt = [asyncio.create_task(f(n)) for n in (1, 2)]\n"
        "[await a for a in t]",
        "f = lambda n: ask(n)\nasync with asyncio.TaskGroup() as g:\n"
        "    t = [g.create_task(f(n)) for n in (1, 2)]\n[a.result() for a in t]",
    ],
)
async def test_cpython_waits_for_a_result_that_is_there_as_for_one_that_comes(text: str) -> None:
    """For whoever wrote the block a call is a coroutine, by whatever way it reaches the wait."""
    host = FakeHost("ask")
    async with sandboxed() as engine:
        found = await engine.run(Program(f"import asyncio\n{text}", None, "seed"), host)
    assert (found.value, found.error) == ("[[1], [2]]", None)
    assert [args for _, args, _ in host.asked] == [(1,), (2,)]


@pytest.mark.parametrize(
    "text", ["await asyncio.gather(1)", "await 1", "x = ask(1)\nawait asyncio.gather(object())"]
)
async def test_what_is_no_result_of_a_call_is_nothing_to_wait_for(text: str) -> None:
    """As Python says it."""
    async with sandboxed() as engine:
        found = await engine.run(Program(f"import asyncio\n{text}", None, "s"), FakeHost("ask"))
    assert found.error is not None
    assert "TypeError" in found.error


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("await asyncio.wait_for(ask(1), 5)", "Of asyncio there is gather"),
        ("asyncio.create_task(ask(1))", "Of asyncio there is gather"),
        ("from asyncio import TaskGroup", "Of asyncio there is gather"),
        ("async with asyncio.timeout(1):\n    pass", "Of asyncio there is gather"),
        ("async with asyncio.TaskGroup() as g:\n    pass", "Of asyncio there is gather"),
        ("try:\n    pass\nexcept* ValueError:\n    pass", "Of asyncio there is gather"),
        ("g = asyncio.gather(ask(1))\ng.cancel()", "Of asyncio there is gather"),
        ("f = lambda n: ask(n)\nawait asyncio.gather(f(1))", "returns its result at once"),
        ("f = lambda n: ask(n)\nawait f(1)", "returns its result at once"),
        ("await asyncio.gather(*map(ask, [1]))", "Use a comprehension"),
        ("r = await asyncio.gather(ask(1), return_exceptions=True)", "except Exception as e"),
    ],
)
async def test_monty_says_what_to_write_instead(text: str, hint: str) -> None:
    """Behind the error, for a model that asks again."""
    async with MontyEngine(SETTINGS) as engine:
        found = await engine.run(Program(f"import asyncio\n{text}", None, "s"), FakeHost("ask"))
    assert found.error is not None
    assert hint in found.error


async def test_monty_does_not_begin_what_would_stop_after_its_calls() -> None:
    """A tool that has run, of a block that failed, would run again with the next try."""
    host = FakeHost("ask")
    text = "import asyncio\nask(0)\nr = await asyncio.gather(\n    ask(1), return_exceptions=True)"
    async with MontyEngine(SETTINGS) as engine:
        before = await engine.run(Program("a = 1", None, "seed"), host)
        found = await engine.run(Program(text, before.state, "seed"), host)
        after = await engine.run(Program("a", found.state, "seed"), host)
    assert found.error is not None
    assert "line 4" in found.error
    assert host.asked == []
    assert after.value == "1"


@pytest.mark.parametrize(
    ("text", "value", "slept_s"),
    [
        ("await asyncio.wait_for(asyncio.sleep(8), 1)", "late", [1.0]),
        ("await asyncio.wait_for(asyncio.sleep(1), 8)", "None", [1.0]),
        ("await asyncio.wait_for(asyncio.Event().wait(), 3)", "late", [3.0]),
        ("await asyncio.wait_for(ask(1), 0.001)", "[1]", []),
        ("await asyncio.wait_for(asyncio.gather(ask(1), ask(2)), 0.001)", "[[1], [2]]", []),
        ("async with asyncio.timeout(2):\n        await asyncio.sleep(3)", "late", [2.0]),
        (
            "async with asyncio.timeout(2):\n"
            "        await asyncio.sleep(1)\n        await ask(1)\n        await asyncio.sleep(5)",
            "late",
            [1.0, 1.0],
        ),
        ("await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2, 'x'))", "[None, 'x']", [1, 2]),
        ("len((await asyncio.wait([asyncio.create_task(ask(1))], timeout=0.001))[0])", "1", []),
    ],
)
async def test_limits_of_time_run_out_by_the_clock_of_the_block(
    text: str, value: str, slept_s: list[float]
) -> None:
    """Which moves only when it sleeps, so that they run out in the same place in another run."""
    host = FakeHost("ask")
    kept = text if text.startswith("async with") else f"r = {text}"
    block = f"import asyncio\nr = None\ntry:\n    {kept}\nexcept TimeoutError:\n    r = 'late'\n"
    async with sandboxed() as engine:
        found = await engine.run(Program(f"{block}print(r)", None, "seed"), host)
    assert (found.printed.strip(), found.error) == (value, None)
    assert host.slept_s == slept_s


async def test_a_sleep_that_is_refused_is_so_where_the_code_sleeps() -> None:
    """Beside a limit, too."""
    text = (
        "import asyncio\ntry:\n    await asyncio.wait_for(asyncio.sleep(50), 70)\n"
        "except ValueError as e:\n    r = str(e)\ntry:\n"
        "    await asyncio.wait_for(asyncio.sleep(50), 20)\n"
        "except ValueError as e:\n    r += str(e)\nr"
    )
    async with sandboxed() as engine:
        found = await engine.run(Program(text, None, "seed"), FakeHost())
    assert (found.value, found.error) == ("'too longtoo long'", None)


async def test_a_block_that_waits_for_nothing_is_told_so() -> None:
    """Instead of waiting until its time is over."""
    async with sandboxed() as engine:
        text = "import asyncio\nawait asyncio.Event().wait()"
        found = await engine.run(Program(text, None, "seed"), FakeHost())
    assert found.error is not None
    assert "waits for something that cannot happen" in found.error


# As effects ------------------------------------------------------------------------------------


class Slow(Recorder):
    """A recorder whose answers come when they may, in any order."""

    def __init__(self, seed: int | None = None, together: int = 0) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._together = together
        self.now = self.most = 0
        self.gate = asyncio.Event()

    async def execute(self, envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        answer = await super().execute(envelope)
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= self._together:
            self.gate.set()
        try:
            await self.gate.wait()
            for _ in range(self._random.randrange(20)):
                await asyncio.sleep(0.001)
        finally:
            self.now -= 1
        return answer


async def run(engine: Engine, recorder: Recorder, text: str, **limits: int) -> ExecResponse:
    """Run one block with calls that are recorded; the engine is started already."""
    handler = CodeHandler(
        settings_of(engine, **limits),
        tools=lambda: TOOLS,
        execute=recorder.execute,
        engine=engine,
    )
    await handler.sessions.open()
    block = code(f"import asyncio\n{text}")
    request = Request.seal(block)
    async with asyncio.timeout(PATIENCE_S):
        return ran(await handler.run(request, EffectContext(block, request.effect_id, 1, 0, "")))


def numbers(recorder: Recorder) -> list[int]:
    """The numbers of the calls, in the order in which they were asked for."""
    keys = [json.loads(one)["invocation"]["replay"]["key"] for one in recorder.asked]
    return [int(key.rpartition("-")[2]) for key in keys]


async def test_gathered_calls_are_under_way_together(engine: Engine) -> None:
    """None of them is answered before all of them have been asked for."""
    recorder = Slow(together=4)
    found = await run(engine, recorder, "r = await asyncio.gather(*[ask(n) for n in range(4)])")
    assert found.error is None
    assert recorder.most == 4
    assert [call.args for call in found.tool_calls] == [{"n": n} for n in range(4)]


async def test_no_more_than_the_limit_are_under_way(engine: Engine) -> None:
    """The others wait for their turn, with the numbers that they have."""
    recorder = Slow(together=2)
    text = "r = await asyncio.gather(*[ask(n) for n in range(7)])\nlen(r)"
    found = await run(engine, recorder, text, parallel_calls=2)
    assert (found.observations, recorder.most) == (["7"], 2)
    assert numbers(recorder) == [1, 2, 3, 4, 5, 6, 7]


_BRANCHING = """
async def one(n):
    a = await ask(n)
    b = await ask(n + 10)
    if n % 2:
        await ask(n + 20)
    return n
print(await asyncio.gather(*[one(n) for n in range(5)]))
x = ask(99)
print(await asyncio.gather(one(7), ask(8)))
"""


async def test_a_block_that_is_run_again_asks_for_the_same_whatever_is_ready_first(
    engine: Engine,
) -> None:
    """Numbers, arguments and order; so all of it is found in the journal."""
    whole: set[tuple[bytes, ...]] = set()
    answers: set[str] = set()
    for seed in range(4):
        recorder = Slow(seed)
        found = await run(engine, recorder, _BRANCHING)
        whole.add(tuple(recorder.asked))
        answers.add(found.model_copy(update={"duration_ms": 0}).model_dump_json())
        again = await run(engine, recorder, _BRANCHING)
        assert len(recorder.carried_out) == len(recorder.asked) // 2, "each once"
        assert again.tool_calls == found.tool_calls
    assert len(whole) == 1
    assert len(answers) == 1


_LIMITED = """
async def one(n):
    try:
        return await asyncio.wait_for(ask(n), 0.001)
    except TimeoutError:
        return await ask(n + 1000)
await asyncio.gather(*[one(n) for n in range(5)])
"""
_GROUPED = """
async def one(n):
    try:
        await ask(n)
        if n == 2:
            raise ValueError
        await ask(n + 10)
    finally:
        await ask(n + 100)
try:
    async with asyncio.TaskGroup() as group:
        for n in range(5):
            group.create_task(one(n))
except* ValueError:
    await ask(99)
"""
_CANCELLED = """
async def one(n):
    await ask(n)
    await ask(n + 10)
gathered = asyncio.gather(*[one(n) for n in range(4)])
await asyncio.sleep(0)
gathered.cancel()
try:
    await gathered
except asyncio.CancelledError:
    await ask(99)
"""
_FIRST = """
tasks = [asyncio.create_task(ask(n)) for n in range(5)]
done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
for task in done:
    await ask(100 + (await task)["n"])
for task in left:
    task.cancel()
for one in asyncio.as_completed([ask(n) for n in range(3)]):
    await ask(200 + (await one)["n"])
"""
_SETS = """
tasks = [asyncio.create_task(ask(n)) for n in range(25)]
done, _ = await asyncio.wait(tasks)
for task in done:
    await ask((await task)["n"] + 100)
async def held(n):
    try:
        await asyncio.Event().wait()
    finally:
        await ask(n + 200)
try:
    async with asyncio.TaskGroup() as group:
        for n in range(25):
            group.create_task(held(n))
        await ask(99)
        raise ValueError
except* ValueError:
    pass
"""
_COMPLETED = """
async def one(n):
    a = await ask(n)
    return (await ask(a["n"] + 10))["n"]
for each in asyncio.as_completed([one(n) for n in range(12)]):
    await ask(100 + await each)
"""
_EACH = """
r = await asyncio.gather(ask(1), bad(2), asyncio.gather(ask(3), bad(4)), return_exceptions=True)
await ask(sum(isinstance(one, Exception) for one in r))
"""


@pytest.mark.parametrize("text", [_LIMITED, _GROUPED, _CANCELLED, _FIRST, _SETS, _COMPLETED, _EACH])
async def test_tasks_limits_and_groups_ask_for_the_same_when_they_are_run_again(text: str) -> None:
    """Whatever is ready first, and though the second run has its answers at once."""
    whole: set[tuple[bytes, ...]] = set()
    async with sandboxed() as engine:
        for seed in range(3):
            recorder = Slow(seed)
            recorder.outputs["bad"] = failure("execution", "x", "no")
            found = await run(engine, recorder, text)
            assert found.error is None
            first = tuple(recorder.asked)
            again = await run(engine, recorder, text)
            assert tuple(recorder.asked[len(first) :]) == first
            assert again.tool_calls == found.tool_calls
            whole.add(first)
    assert len(whole) == 1


async def test_a_limit_of_calls_holds_for_gathered_ones(engine: Engine) -> None:
    """It ends the block, and what it changed is not kept."""
    text = "r = await asyncio.gather(*[ask(n) for n in range(9)])"
    found = await run(engine, Slow(), text, max_tool_calls=4)
    assert found.error is not None
    assert "max_tool_calls" in found.error


async def test_a_tool_among_others_may_end_the_turn(engine: Engine) -> None:
    """Where it is waited for, and not in the moment in which it is ready."""
    recorder = Recorder()
    recorder.outputs["end"] = output_from("v").model_copy(
        update={"control": ToolControlFinish(value="the end")}
    )
    found = await run(engine, recorder, "await asyncio.gather(ask(1), end(2), ask(3))\nask(4)")
    assert found.terminal_finish == "the end"
    assert len(found.tool_calls) == 3


async def test_a_failed_call_is_among_the_calls_of_the_outcome(engine: Engine) -> None:
    """In the place in which it was asked for."""
    recorder = Recorder()
    recorder.outputs["bad"] = failure("timeout", "timeout", "too slow")
    found = await run(engine, recorder, "await asyncio.gather(ask(1), bad(2), ask(3))")
    assert found.error is not None
    assert found.error.endswith("too slow")
    assert [call.tool for call in found.tool_calls] == ["ask", "bad", "ask"]


async def test_what_is_begun_and_never_waited_for_is_recorded(engine: Engine) -> None:
    """The outcome tells of all that was done."""
    recorder = Slow(together=2)
    found = await run(
        engine, recorder, "a = ask(1)\nb = ask(2)\nif False:\n    await a\n    await b"
    )
    assert len(found.tool_calls) == 2


async def test_a_call_without_an_answer_fails_the_attempt_and_stops_the_others(
    engine: Engine,
) -> None:
    """Nothing of them goes on for nobody."""
    recorder = Slow(together=99)

    async def execute(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        command = envelope.command
        if isinstance(command, RuntimeEffectCommandToolCall) and command.call.tool_name == "bad":
            await eventually(lambda: recorder.now == 1)
            raise EffectTimeoutError("x", 1)
        return await Slow.execute(recorder, envelope)

    failing = Recorder()
    failing.execute = execute  # type: ignore[method-assign]
    with pytest.raises(EffectTimeoutError):
        await run(engine, failing, "await asyncio.gather(bad(1), ask(2))")
    assert recorder.now == 0
