"""What a model asks for in a turn: its mistakes are told to it, again whenever the turn is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client, Worker
from effectmq.boundary import whole_boundary
from effectmq.protocol import LlmOutputPartToolCall, ToolFailure
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from examples.agent.loop import Agent
from tests.consumers.llm.dialects import chat_answer
from tests.consumers.llm.server import Answer, FakeProvider, Seen

pytest.importorskip("pydantic_ai")

GOOD = ("get", '{"a": 1}')
#: What the model asks for, and what it has to read.
ASKED: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "good": ([GOOD], ["1"]),
    "nothing": ([("get", "")], ["0"]),
    "cut off": ([("get", '{"a": ')], ["not JSON"]),
    "an array": ([("get", "[1, 2]")], ["found an array"]),
    "two objects": ([("get", '{"a": 1}{"a": 2}')], ["several JSON values in a row"]),
    "nan": ([("get", '{"a": NaN}')], ["NaN"]),
    "half an emoji": ([("get", '{"a": "\\ud83d"}')], ["surrogate"]),
    "a value that does not fit": ([("get", '{"a": "x"}')], ["invalid arguments for tool get"]),
    "an argument too many": ([("get", '{"b": 1}')], ["invalid arguments for tool get"]),
    "no such tool": ([("got", "{}")], ["Did you mean get?"]),
    "good beside bad": ([GOOD, ("get", "[]"), ("got", "{}")], ["1", "an array", "Did you mean"]),
    "bad arguments for the turn's own": ([("remind_me", "[1]")], ["error: found an array"]),
    "none for the turn's own": ([("run_code", "{}")], ["error: "]),
    "odd ones for the turn's own": ([("remind_me", '{"after_ms": "x", "about": 1}')], ["error: "]),
    "an id for the turn's own": ([("run_code", '{"call_id": "x", "code": "1"}')], ["error: "]),
}


def play(seen: Seen) -> Answer:
    """A model that asks for what its name says, reads the results, and is done."""
    calls, words = ASKED[seen.body["model"]]
    results = [one["content"] for one in seen.body["messages"] if one["role"] == "tool"]
    if results:
        assert len(results) == len(words), results
        for result, word in zip(results, words, strict=True):
            assert word in result, results
        return chat_answer("done")
    asked = tuple(
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": text}}
        for number, (name, text) in enumerate(calls)
    )
    return chat_answer(None, calls=asked, reason="tool_calls")


@pytest.mark.parametrize("name", ASKED)
async def test_a_model_gets_to_read_what_was_wrong_with_its_call(tmp_path: Path, name: str) -> None:
    """And goes on; what it said is recorded, so the turn comes to the same end again."""
    async with FakeProvider(play) as server:
        app = Worker(f"memory://{tmp_path.name}", journal=f"sqlite:///{tmp_path}/journal.db")
        bodies: list[int] = []

        @app.tool
        def get(a: int = 0) -> int:
            bodies.append(a)
            return a

        row = {
            "provider": "openai-compatible",
            "model": name,
            "base_url": f"{server.url}/v1",
            "attempts": 1,
            "stream": False,
        }
        whole_boundary(app, models={"agent": row}, prompt="p")
        async with app, Client(f"memory://{tmp_path.name}") as client:
            for _ in range(2):
                assert await Agent(client, "s", "t").answer("q") == "done"
        assert len(server.seen) == 2, "the second run is answered from the journal"
        good = [text for tool, text in ASKED[name][0] if tool == "get" and text in (GOOD[1], "")]
        assert len(bodies) == len(good)


async def test_numbers_after_a_bad_call_are_those_after_a_good_one() -> None:
    """Otherwise the rest of the turn would run again when a model is told something else."""
    app = Worker("memory://numbers", journal="none")

    @app.tool
    def get(a: int = 0) -> int:
        return a

    async with app, Client("memory://numbers") as client:
        keys: list[Any] = []
        for text in ("{}", "[]"):
            turn = client.turn("s", text)
            part = LlmOutputPartToolCall(call_id="c1", tool_name="get", input_json=text)
            outcome = await turn.tool_call_from_model(part, timeout=60)
            assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
            failed = isinstance(outcome.result.output.outcome.payload, ToolFailure)
            assert failed is (text == "[]")
            keys.append(turn.invocation("sleep").subject)
        assert keys[0] == keys[1]
        turn = client.turn("s", "empty")
        assert await turn.tool_calls_from_model([]) == []
        parts = [
            LlmOutputPartToolCall(
                call_id=f"c{number}", tool_name="get", input_json=json.dumps({"a": number})
            )
            for number in range(5)
        ]
        outcomes = await turn.tool_calls_from_model(parts, tools=[app.tools["get"].spec()])
        assert [one.result.output.outcome.payload for one in outcomes] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"a": "x" * 2_000_000}),
        json.dumps({"a": [0] * 200_000}),
        json.dumps({"a": "x" * (1024 * 1024 - 320)}),
        json.dumps({"a": [0] * 99_980}),
    ],
    ids=["too large", "too many values", "too large to be said again", "too many to be said again"],
)
async def test_arguments_that_are_too_large_are_told_to_the_model(text: str) -> None:
    """Whether the call or only its outcome has no room for them; nothing is raised, or parked."""
    app = Worker("memory://large", journal="none")

    @app.tool
    def get(a: object = 0) -> str:
        return "x"

    async with app, Client("memory://large") as client:
        turn = client.turn("s", "t")
        part = LlmOutputPartToolCall(call_id="c1", tool_name="get", input_json=text)
        outcome = await turn.tool_call_from_model(part, timeout=60)
        failure = outcome.result.output.outcome.payload
        assert isinstance(failure, ToolFailure)
        assert failure.code in ("invalid_tool_args", "tool_result_too_large")
        (read,) = outcome.result.model_return.parts
        assert read.type == "text"
        assert failure.message in read.text
        assert len(read.text) < 1_000
