"""``exec_code`` over a broker: blocks, sessions, calls, and what is run again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.database.port import Database
from effectmq.consumers.code.functions import signatures
from effectmq.consumers.code.handler import CodeHandler
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.handler import EffectContext, NotHere
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.registry import Tool
from effectmq.consumers.tools.results.outputs import failure, output_from
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectTimeoutError,
    RetryEffectError,
    ToolCallError,
)
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode, RuntimeEffectEnvelope
from effectmq.protocol.wire.execution import ExecResponse
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tool_value import encode_tool_value
from effectmq.protocol.wire.tools import ToolCallOutcomeFailure, ToolControlFail, ToolControlFinish
from tests.consumers.code.processes import living
from tests.consumers.code.stage import Recorder, ran, refused, run_block
from tests.consumers.stage import AT_ONCE, NAMES, PATIENCE_S, Stage, code, effect, logged
from tests.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\nrest"
GIVEN = AttachmentRef(id="b" * 64, media_type=MediaTypeImage(type="gif"), byte_len=9)
TOOLS = {"find": ("text", "limit"), "send": ("to",)}


class Store:
    """Keeps images in memory."""

    def __init__(self) -> None:
        self.kept: list[tuple[bytes, str]] = []

    async def put(self, data: bytes, media_type: str) -> AttachmentRef:
        self.kept.append((data, media_type))
        return AttachmentRef(id="a" * 64, media_type=MediaTypeImage(type="png"), byte_len=len(data))


async def run_here(
    handler: CodeHandler, *blocks: RuntimeEffectEnvelope
) -> list[RuntimeEffectOutcome]:
    """Run blocks without a broker, one after another, as attempts at their effects."""
    async with handler:
        return [await attempt(handler, block) for block in blocks]


async def attempt(handler: CodeHandler, block: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
    """One attempt, where there is no other worker."""
    request = Request.seal(block)
    result = await handler.run(request, EffectContext(block, request.effect_id, 1, 0, ""))
    return result.otherwise("") if isinstance(result, NotHere) else result


def recorded(recorder: Recorder, **options: object) -> CodeHandler:
    """A handler whose calls are answered by a recorder."""
    return CodeHandler(tools=lambda: TOOLS, execute=recorder.execute, **options)


async def started(stage: Stage, handler: CodeHandler) -> EffectWorker:
    """A worker for code."""
    worker = stage.worker()
    worker.add(handler)
    return await stage.start(worker, ["exec_code"])


async def test_a_block_is_answered_with_what_the_model_may_see(stage: Stage) -> None:
    """What was printed, then the last value; each with how it was cut."""
    await started(stage, CodeHandler(CodeSettings(observation_chars=4)))
    client = await stage.client()
    response = await run_block(client, "print('printed')\n[1]")
    assert response.observations == ["prin", "[1]"]
    assert [metadata.truncated for metadata in response.observation_truncation] == [True, False]
    assert [metadata.original_chars for metadata in response.observation_truncation] == [8, 3]
    assert response.error is None
    assert (response.tool_calls, response.images, response.terminal_finish) == ([], [], None)


async def test_a_failing_block_is_an_outcome(stage: Stage) -> None:
    """Its error is for the model; nothing is parked, nothing is tried again."""
    worker = await started(stage, CodeHandler())
    client = await stage.client()
    response = await run_block(client, "print(1)\n1 / 0")
    assert response.observations == ["1\n"]
    assert response.error is not None
    assert response.error.endswith("ZeroDivisionError: division by zero")
    assert worker.counters["retried"] == 0
    assert stage.letters() == []


@pytest.mark.parametrize("text", ["print('\\ud800')", "'\\ud800'", "raise ValueError('\\ud800')"])
async def test_half_of_a_surrogate_pair_does_not_keep_an_outcome_back(
    stage: Stage, text: str
) -> None:
    """It is no text on the wire, so something else stands for it."""
    await started(stage, CodeHandler())
    response = await run_block(await stage.client(), text)
    assert response.observations or response.error


async def test_a_long_error_loses_its_middle() -> None:
    """Where it happened, and what it says last."""
    handler = CodeHandler(CodeSettings(error_chars=100))
    (outcome,) = await run_here(handler, code("raise ValueError('x' * 1000 + 'end')"))
    error = ran(outcome).error
    assert error is not None
    assert error.startswith("Traceback (most recent call last)")
    assert "characters left out" in error
    assert error.endswith("xend")


async def test_a_session_goes_on_at_another_worker(stage: Stage, database: Database) -> None:
    """Its variables are in the database, and nowhere else."""
    client = await stage.client()
    first = await started(stage, CodeHandler(database=database))
    await run_block(client, "x = [1]\ndef last(): return x[-1]", "1")
    await first.stop()
    await started(stage, CodeHandler(database=database))
    response = await run_block(client, "x.append(last() + 1)\nx", "2")
    assert response.observations == ["[1, 2]"]


async def test_a_block_that_is_run_again_begins_before_itself(database: Database) -> None:
    """On another worker; the same outcome, and done once."""
    recorder = Recorder()
    blocks = [code("x = 1", "1"), code("x += 1\nfind(x)\nx", "2")]
    first = await run_here(recorded(recorder, database=database), *blocks)
    again = await run_here(recorded(recorder, database=database), blocks[1], code("x", "3"))
    assert ran(again[0]).observations == ran(first[1]).observations == ["2"]
    assert ran(again[1]).observations == ["2"]


async def test_a_block_that_is_run_again_asks_for_the_same_effects(database: Database) -> None:
    """Byte for byte and in order, whatever chance and time have to do with it."""
    recorder = Recorder()
    block = code(
        "import random, time, datetime\n"
        "for word in {'b', 'a', 'c'}:\n"
        "    find(word, limit=random.randint(0, 10**9))\n"
        "    time.sleep(random.random())\n"
        "    send([time.time(), str(datetime.datetime.now()), hash(word)])\n"
    )
    for _ in range(2):
        (outcome,) = await run_here(recorded(recorder, database=database), block)
        assert ran(outcome).error is None
    assert len(recorder.asked) == 18
    assert recorder.asked[:9] == recorder.asked[9:]
    assert len(recorder.carried_out) == 9


async def test_a_block_that_died_half_way_goes_on_from_its_record(database: Database) -> None:
    """The calls that were carried out are not carried out again."""
    recorder = Recorder()

    async def lose_the_second(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        if len(recorder.asked) == 1:
            raise EffectTimeoutError("e", 1.0)
        return await recorder.execute(envelope)

    block = code("a = find('a')\nb = find('b')\n[a, b]")
    broken = CodeHandler(database=database, tools=lambda: TOOLS, execute=lose_the_second)
    with pytest.raises(EffectTimeoutError):
        await run_here(broken, block)
    (outcome,) = await run_here(recorded(recorder, database=database), block)
    assert ran(outcome).observations == ["[{'text': 'a'}, {'text': 'b'}]"]
    assert recorder.asked[0] == recorder.asked[1]
    assert len(recorder.carried_out) == 2


async def test_blocks_of_one_session_at_a_time_are_tried_again() -> None:
    """The one that ends last has run on variables that were not the last."""
    handler = CodeHandler(tools=lambda: TOOLS, execute=Recorder().execute)

    async def interrupt(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        await attempt(handler, code("y = 2", "2"))
        return await Recorder().execute(envelope)

    handler._execute = interrupt
    async with handler:
        with pytest.raises(RetryEffectError, match="one after another"):
            await attempt(handler, code("find('a')", "1"))


async def test_code_calls_tools_of_other_workers(stage: Stage) -> None:
    """Each call an effect of its own, over the broker; failures are exceptions."""
    tools = stage.worker()

    @tools.tool
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @tools.tool(name="fail-always")
    async def fail_always() -> None:
        raise ToolCallError("no luck", code="unlucky", class_="permission_denied")

    await stage.start(tools, ["tool_call"])
    caller = await stage.client("code-worker")
    known = signatures(tools.tools)
    await started(stage, CodeHandler(tools=lambda: known, execute=caller.execute))
    client = await stage.client()
    response = await run_block(
        client,
        "total = add(add(1, 2), b=10)\n"
        "try:\n    fail_always()\nexcept PermissionError as problem:\n    print(problem)\n"
        "try:\n    add('x')\nexcept ValueError as problem:\n    print(str(problem)[:30])\n"
        "total",
    )
    assert response.observations == [
        "fail-always failed (unlucky): no luck\nadd failed (invalid_tool_args)\n",
        "13",
    ]
    assert [(call.tool, call.args) for call in response.tool_calls] == [
        ("add", {"a": 1, "b": 2}),
        ("add", {"a": 3, "b": 10}),
        ("fail-always", {}),
        ("add", {"a": "x"}),
    ]
    assert len({call.call_id for call in response.tool_calls}) == 4


async def test_a_journal_answers_the_calls_of_a_block_that_is_run_again(
    stage: Stage, tmp_path: Path
) -> None:
    """The attempt was lost after all its calls; the tools are not run a second time."""
    journal = f"sqlite:///{tmp_path}/journal.db"
    called: list[int] = []
    tools = stage.worker(journal=journal)

    @tools.tool
    async def book(seat: int) -> str:
        called.append(seat)
        return f"seat {seat}"

    await stage.start(tools, ["tool_call"])
    caller = await stage.client("code-worker", journal=journal)
    known = signatures(tools.tools)
    handler = CodeHandler(tools=lambda: known, execute=caller.execute, retry=AT_ONCE)
    keep, lost = handler.sessions.keep, [True]

    async def keep_and_be_lost_once(*kept: Any) -> None:
        await keep(*kept)
        if lost:
            lost.pop()
            raise OSError("the worker is gone, so to speak")

    handler.sessions.keep = keep_and_be_lost_once
    worker = await started(stage, handler)
    response = await run_block(await stage.client(), "[book(n) for n in (7, 8)]")
    assert response.observations == ["['seat 7', 'seat 8']"]
    assert worker.counters["retried"] == 1
    assert called == [7, 8]
    assert len(response.tool_calls) == 2


async def test_one_tool_call_too_many_ends_the_block() -> None:
    """And names the limit."""
    handler = recorded(Recorder(), settings=CodeSettings(max_tool_calls=2))
    (outcome,) = await run_here(handler, code("for n in range(9): find(n)"))
    response = ran(outcome)
    assert len(response.tool_calls) == 2
    assert response.error is not None
    assert "called more than 2 tools (max_tool_calls)" in response.error


async def test_without_anybody_to_carry_them_out_there_are_no_tools() -> None:
    """Their names are not defined."""
    (outcome,) = await run_here(CodeHandler(tools=lambda: TOOLS), code("find('a')"))
    error = ran(outcome).error
    assert error is not None
    assert error.endswith("NameError: name 'find' is not defined")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("finish({'answer': (1, 2)})\nprint('never')", {"answer": [1, 2]}),
        ("try:\n    finish(1)\nexcept BaseException:\n    find('a')", 1),
    ],
)
async def test_code_can_end_the_turn(text: str, value: object) -> None:
    """What follows is not run, and no call is made any more."""
    recorder = Recorder()
    (outcome,) = await run_here(recorded(recorder), code(text))
    response = ran(outcome)
    assert (response.terminal_finish, response.error) == (value, None)
    assert (response.observations, recorder.asked) == ([], [])


async def test_a_tool_can_end_the_turn_of_the_code_that_called_it() -> None:
    """With its own value; what follows the call is not run."""
    recorder = Recorder()
    control = ToolControlFinish(value={"image": GIVEN})
    recorder.outputs["find"] = output_from("x").model_copy(update={"control": control})
    (outcome,) = await run_here(recorded(recorder), code("find('a')\nprint('never')"))
    response = ran(outcome)
    assert response.terminal_finish == {"image": encode_tool_value(GIVEN)}
    assert (response.error, response.observations, len(response.tool_calls)) == (None, [], 1)


async def test_a_tool_can_fail_the_code_that_called_it() -> None:
    """Whatever its own outcome was."""
    recorder = Recorder()
    failed = failure("internal", "no_more", "stop here").outcome
    assert isinstance(failed, ToolCallOutcomeFailure)
    control = ToolControlFail(failure=failed.payload)
    recorder.outputs["find"] = output_from("x").model_copy(update={"control": control})
    (outcome,) = await run_here(recorded(recorder), code("find('a')"))
    assert (ran(outcome).error or "").endswith("RuntimeError: find failed (no_more): stop here")


async def test_the_session_goes_on_after_its_turn_was_ended() -> None:
    """The end of a turn is not the end of its variables."""
    first, second = code("x = 5\nfinish(x)", "1"), code("x", "2")
    outcomes = await run_here(CodeHandler(), first, second)
    assert ran(outcomes[1]).observations == ["5"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finish({1})", "finish() cannot send this: it holds a set"),
        ("finish(1, 2)", "takes 1 positional arguments but 2 were given"),
        ("finish(result=1)", "unexpected keyword argument 'result'"),
        ("show_image(b'text')", "these bytes are not an image"),
        ("show_image('text')", "shown from its bytes, or from an attachment"),
        ("show_image({'$lash_tool_value': 'x'})", "this is not an attachment"),
    ],
)
async def test_a_wrong_use_of_our_functions_is_an_exception(text: str, words: str) -> None:
    """Of the code's, for the model to read."""
    (outcome,) = await run_here(CodeHandler(), code(text))
    error = ran(outcome).error
    assert error is not None
    assert words in error


async def test_images_go_to_the_store_and_references_into_the_outcome() -> None:
    """Those that code made, and those that a tool gave it."""
    recorder, store = Recorder(), Store()
    recorder.outputs["find"] = {"image": GIVEN}
    block = code(f"show_image({PNG!r}, label='plot')\nshow_image(find('x')['image'])")
    (outcome,) = await run_here(recorded(recorder, images=store), block)
    response = ran(outcome)
    assert store.kept == [(PNG, "image/png")]
    assert [(image.mime, image.label, image.data) for image in response.images] == [
        ("image/png", "plot", [])
    ]
    assert response.images[0].reference is not None
    assert response.printed_images == [GIVEN]


async def test_without_a_store_small_images_travel_in_the_outcome() -> None:
    """Large ones are refused."""
    block = code(f"show_image({PNG!r})\nshow_image({PNG!r} + b'x' * 40_000)")
    response = ran((await run_here(CodeHandler(), block))[0])
    assert [bytes(image.data) for image in response.images] == [PNG]
    assert response.error is not None
    assert "the limit is 32768" in response.error


async def test_an_attachment_can_be_passed_from_tool_to_tool() -> None:
    """As the dictionary that it is in code."""
    recorder = Recorder()
    recorder.outputs["find"] = GIVEN
    (outcome,) = await run_here(recorded(recorder), code("send(find('x'))"))
    assert ran(outcome).tool_calls[1].args == {"to": encode_tool_value(GIVEN)}


async def test_variables_of_another_interpreter_are_an_answer_that_says_so() -> None:
    """Not an attempt that fails for ever."""
    handler = CodeHandler()
    start = await handler.sessions.start("s1", "x")
    await handler.sessions.keep("s1", "x", start, b"\x00", "monty 0.0.1")
    (outcome,) = await run_here(handler, code("1", "2"))
    assert "were kept by monty 0.0.1 and cannot be read by monty" in refused(outcome)


async def test_a_killed_process_fails_the_attempt_and_not_the_worker(stage: Stage) -> None:
    """Kill -9 in the middle of a block: it is run again, and all goes on."""
    before = living()
    killed: list[int] = []
    recorder = Recorder()

    async def kill_once(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        if not killed:
            (victim,) = living() - before
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
            await eventually(lambda: victim not in living())
        return await recorder.execute(envelope)

    handler = CodeHandler(tools=lambda: TOOLS, execute=kill_once, retry=AT_ONCE)
    worker = await started(stage, handler)
    client = await stage.client()
    response = await run_block(client, "find('a')", "1")
    assert response.observations == ["{'text': 'a'}"]
    assert worker.counters["retried"] == 1
    assert recorder.asked[0] == recorder.asked[1]
    assert (await run_block(client, "1 + 1", "2")).observations == ["2"]


async def test_waiting_too_long_fails_the_attempt(stage: Stage) -> None:
    """It is tried again, and what was carried out meanwhile is in the record."""
    recorder = Recorder()
    patience = iter([False, True])

    async def slow_once(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        outcome = await recorder.execute(envelope)
        if not next(patience):
            await eventually(lambda: False, PATIENCE_S)
        return outcome

    settings = CodeSettings(wait_limit_s=0.2)
    handler = CodeHandler(settings, tools=lambda: TOOLS, execute=slow_once, retry=AT_ONCE)
    worker = await started(stage, handler)
    response = await run_block(await stage.client(), "find('a')")
    assert response.observations == ["{'text': 'a'}"]
    assert worker.counters["timeouts"] == 1
    assert len(recorder.carried_out) == 1


async def test_the_processes_end_with_the_worker(stage: Stage) -> None:
    """And start with it: the first block finds one warm."""
    before = living()
    worker = await started(stage, CodeHandler(CodeSettings(warm_processes=2)))
    assert len(living() - before) == 2
    await worker.stop()
    await eventually(lambda: living() == before)


async def test_a_block_that_runs_does_not_keep_the_worker_from_stopping(stage: Stage) -> None:
    """It goes to another worker, and its process is gone."""
    before, recorder = living(), Recorder()

    async def never(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        await recorder.execute(envelope)
        await eventually(lambda: False, PATIENCE_S)
        raise AssertionError("it was waited for")

    worker = await started(stage, CodeHandler(tools=lambda: TOOLS, execute=never))
    await (await stage.client()).submit(code("find('a')"))
    await eventually(lambda: recorder.asked)
    async with asyncio.timeout(PATIENCE_S / 2):
        await worker.stop(0.0)
    await eventually(lambda: living() == before)
    await eventually(lambda: stage.ready(NAMES.work_queue("exec_code")) == 1)


async def test_a_worker_whose_code_cannot_start_does_not_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better than one that fails every block; nothing of it stays behind."""
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    worker = stage.worker()
    worker.add(CodeHandler())
    with pytest.raises(ConfigurationError, match="cannot be started"):
        await worker.start()
    monkeypatch.delenv("MONTY_BIN")
    await stage.start(worker)
    assert (await run_block(await stage.client(), "1")).observations == ["1"]


def test_without_its_package_code_says_how_to_get_it() -> None:
    """By the name of the extra; everything else works without it."""
    program = (
        "import sys\n"
        "sys.modules['pydantic_monty'] = None\n"
        "from effectmq.consumers.code.handler import CodeHandler\n"
        "from effectmq.protocol.errors import MissingExtraError\n"
        "try:\n    CodeHandler()\nexcept MissingExtraError as problem:\n    print(problem)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'effectmq[code]'" in ended.stdout


async def test_one_session_does_not_see_another() -> None:
    """Even where one process has run both."""
    handler = CodeHandler(CodeSettings(processes=1))
    other = effect("exec_code", RuntimeEffectCommandExecCode(code="x"), "1", "s2")
    outcomes = await run_here(handler, code("x = 1", "1"), other, code("x", "2"))
    assert "NameError" in (ran(outcomes[1]).error or "")
    assert ran(outcomes[2]).observations == ["1"]


async def test_tools_are_asked_for_anew_with_each_block() -> None:
    """A worker may register more of them."""
    known: dict[str, Sequence[str]] = {}
    handler = CodeHandler(tools=lambda: known, execute=Recorder().execute)
    async with handler:
        first = ran(await attempt(handler, code("find('a')", "1")))
        known["find"] = ("text",)
        second = ran(await attempt(handler, code("find('a')", "2")))
    assert (bool(first.error), second.error) == (True, None)


def test_an_outcome_has_the_form_of_the_wire() -> None:
    """All eight members, whether or not there is anything in them."""
    empty = ExecResponse(
        observations=[],
        observation_truncation=[],
        tool_calls=[],
        images=[],
        printed_images=[],
        duration_ms=0,
    )
    assert list(to_tree(empty)) == [
        "observations",
        "observation_truncation",
        "tool_calls",
        "images",
        "printed_images",
        "error",
        "duration_ms",
        "terminal_finish",
    ]


@pytest.mark.parametrize("late", [False, True])
async def test_names_that_code_cannot_use_are_found_at_the_start(
    stage: Stage, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    """
    Those of tools that are there only once the worker runs (MCP) included. One that comes later is
    left out with a warning, and blocks run on.
    """
    source, recorder = Source(), Recorder()
    app = stage.worker()
    app.tool(name="get-user")(_two)
    app._tools.sources.append(source)
    app.add(CodeHandler(tools=lambda: signatures(app.tools), execute=recorder.execute))
    if not late:
        source.coming = ("get_user",)
        with pytest.raises(ConfigurationError, match="'get-user' and 'get_user'"):
            await app.start(["exec_code"])
        assert not source.tools, "what was entered is left again"
        return
    await stage.start(app, ["exec_code"])
    source.bring("get_user", "print")
    client = await stage.client()
    for number in range(2):
        assert (await run_block(client, "get_user(); 1 + 1", str(number))).error is None
    told = [record.getMessage() for record in logged(caplog, "tool_not_in_code")]
    assert len(told) == 2, "once for each of the two"
    assert "both be called get_user" in " ".join(told)


def _two() -> int:
    return 2


class Source:
    """Brings tools when it is entered, as an MCP server does, and later."""

    lane = ""
    time_limit_s = None

    def __init__(self) -> None:
        self.coming: tuple[str, ...] = ()
        self.tools: dict[str, Tool] = {}

    def bring(self, *names: str) -> None:
        """More tools are there now."""
        self.tools |= {name: tool_from(_two, name=name) for name in names}

    async def __aenter__(self) -> Source:
        self.bring(*self.coming)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.tools = {}
