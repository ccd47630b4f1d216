"""Calls from code: their envelopes, their limits, and what comes back."""

from __future__ import annotations

import json

import pytest

from effectmq.consumers.code.calls import CodeCalls
from effectmq.consumers.code.data.values import CodeError
from effectmq.consumers.code.engine import BlockStoppedError
from effectmq.consumers.code.functions import Function
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.tools.results.outputs import failure
from effectmq.protocol.errors import (
    EffectFailedError,
    EffectMismatchError,
    EffectTimeoutError,
    RejectEffectError,
)
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from tests.consumers.code.stage import Recorder
from tests.consumers.stage import code

ECHO = Function("echo", "echo", ("text", "times"))
HASH = "ab" * 32


def calls(recorder: Recorder | None = None, **settings: int) -> CodeCalls:
    """The calls of one block."""
    return CodeCalls(
        code("x", "4").invocation,
        HASH,
        recorder.execute if recorder else None,
        CodeSettings(**settings),
    )


async def test_a_call_is_an_effect_caused_by_its_block() -> None:
    """Scope, subject, cause and key as the wire format has them for a child."""
    recorder = Recorder()
    await calls(recorder).call(ECHO, ("hé",), {"times": 2})
    assert [json.loads(one) for one in recorder.asked] == [
        {
            "invocation": {
                "scope": {
                    "session_id": "s1",
                    "turn_id": "t1",
                    "turn_index": 0,
                    "protocol_iteration": 0,
                },
                "subject": {
                    "type": "effect",
                    "effect_id": "4:code-abababababababab-1",
                    "kind": "tool_call",
                },
                "caused_by": {
                    "type": "effect",
                    "session_id": "s1",
                    "turn_id": "t1",
                    "effect_id": "4",
                },
                "replay": {"key": "s1:t1:0:0:exec_code:4:code-abababababababab-1"},
            },
            "command": {
                "type": "tool_call",
                "call": {
                    "call_id": "code-abababababababab-1",
                    "tool_name": "echo",
                    "args": {"text": "hé", "times": 2},
                },
            },
        }
    ]


async def test_a_sleep_is_an_effect_caused_by_its_block() -> None:
    """The sleep of a language, counted from 0."""
    recorder = Recorder()
    block = calls(recorder)
    assert [await block.sleep(1.5), await block.sleep(0), await block.sleep(2)] == [1500, 0, 2000]
    assert recorder.carried_out == [
        "s1:t1:0:0:exec_code:4:lashlang:foreground:sleep:0",
        "s1:t1:0:0:exec_code:4:lashlang:foreground:sleep:1",
    ]


async def test_the_same_calls_give_the_same_envelopes() -> None:
    """Byte for byte, so that a journal knows them."""
    recorder = Recorder()
    for _ in range(2):
        block = calls(recorder)
        await block.call(ECHO, (), {"times": 1, "text": "a"})
        await block.sleep(1)
        await block.call(ECHO, ("a",), {"times": 1})
    assert recorder.asked[:3] == recorder.asked[3:]
    assert len(recorder.carried_out) == 3


async def test_what_a_tool_gave_comes_back_and_is_written_down() -> None:
    """The value for the code, the record for the outcome."""
    recorder = Recorder()
    recorder.outputs["echo"] = {"deep": [1, None]}
    block = calls(recorder)
    value, _ = await block.call(ECHO, ("a",), {})
    assert value == {"deep": [1, None]}
    (record,) = block.records
    assert (record.call_id, record.tool, record.args) == (
        "code-abababababababab-1",
        "echo",
        {"text": "a"},
    )


async def test_what_a_call_gave_is_left_out_of_the_outcome_when_it_is_too_much() -> None:
    """The code gets all of it; so does whoever looks at the call's own outcome."""
    recorder = Recorder()
    block = calls(recorder, records_bytes=500)
    large = "x" * 1_000
    recorder.outputs["echo"] = large
    assert (await block.call(ECHO, ("a",), {}))[0] == large
    recorder.outputs["echo"] = failure("external", "down", large)
    with pytest.raises(CodeError):
        await block.call(ECHO, ("b",), {})
    recorder.outputs["echo"] = "small"
    await block.call(ECHO, ("c",), {})
    first, second, third = block.records
    assert first.args is None
    assert "left out here" in first.output.outcome.payload
    assert "left out here" in second.output.outcome.payload.message
    assert second.output.outcome.payload.code == "down"
    assert (third.args, third.output.outcome.payload) == ({"text": "c"}, "small")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((b"x",), "cannot be sent: it holds a bytes"),
        ((float("nan"),), "cannot be sent: it holds nan"),
        (("x" * 2_000,), "cannot be sent: it is over the limit of 1000 bytes"),
        ((1, 2, 3), "takes 2 positional arguments but 3 were given"),
    ],
)
async def test_arguments_that_cannot_be_sent_are_an_exception_in_the_code(
    args: tuple[object, ...], words: str
) -> None:
    """Nothing is asked, and no number is taken."""
    recorder = Recorder()
    block = calls(recorder, argument_bytes=1_000)
    with pytest.raises(CodeError, match=words):
        await block.call(ECHO, args, {})
    await block.call(ECHO, ("a",), {})
    assert recorder.carried_out == ["s1:t1:0:0:exec_code:4:code-abababababababab-1"]


async def test_one_call_too_many_ends_the_block() -> None:
    """By name; so does one sleep too many."""
    block = calls(Recorder(), max_tool_calls=1, max_sleeps=0)
    await block.call(ECHO, ("a",), {})
    with pytest.raises(BlockStoppedError, match=r"more than 1 tools \(max_tool_calls\)"):
        await block.call(ECHO, ("a",), {})
    with pytest.raises(BlockStoppedError, match=r"more than 0 times \(max_sleeps\)"):
        await block.sleep(1)


@pytest.mark.parametrize("duration_s", [-1.0, float("nan"), float("inf"), 1e9])
async def test_what_is_no_time_to_sleep_is_an_exception_in_the_code(duration_s: float) -> None:
    """Before anything is asked."""
    with pytest.raises(CodeError, match="cannot sleep for"):
        await calls(Recorder()).sleep(duration_s)


async def test_without_anybody_to_carry_it_out_there_is_no_sleep() -> None:
    """An exception in the code."""
    with pytest.raises(CodeError, match="a sleep is not available in this session"):
        await calls().sleep(1)


async def test_a_recorded_controller_error_is_an_exception_in_the_code() -> None:
    """It is the same when the block is run again, so the code may see it."""
    recorder = Recorder()
    recorder.outputs["echo"] = EffectFailedError("e", "effectmq_exhausted", "gave up")
    with pytest.raises(CodeError, match="RuntimeError: effectmq_exhausted: gave up"):
        await calls(recorder).call(ECHO, ("a",), {})


async def test_a_block_that_asks_for_something_else_when_run_again_is_refused() -> None:
    """The record says that the code depends on something besides its tools."""
    recorder = Recorder()
    recorder.outputs["echo"] = EffectMismatchError("e", "conflict", "args differ")
    with pytest.raises(RejectEffectError, match=r"effectmq_code_diverged.*args differ"):
        await calls(recorder).call(ECHO, ("a",), {})


async def test_no_answer_in_time_fails_the_attempt() -> None:
    """Not an exception in the code: the next time the answer may be there."""

    async def late(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
        raise EffectTimeoutError("e", 1.0)

    block = CodeCalls(code("x").invocation, HASH, late, CodeSettings())
    with pytest.raises(EffectTimeoutError):
        await block.call(ECHO, ("a",), {})
