"""Tool calls that servers spoil: made what they were where that is certain, and else no answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from effectmq.consumers.llm.port import ModelCallError
from effectmq.consumers.llm.providers import open_provider
from effectmq.consumers.llm.reading.tool_calls import (
    Gathering,
    GluedCallsError,
    values_in,
    whole_calls,
)
from effectmq.protocol.wire.llm_response import LlmOutputPartToolCall, LlmResponse
from tests.consumers.llm.asking import KEY, LOOKUP, hosted, prompt
from tests.consumers.llm.dialects import chat_answer, chat_events
from tests.consumers.llm.server import Answer, FakeProvider

GET = {"name": "get"}
NONE: Any = object()


def piece(index: Any, id_: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """One piece of a call; ``NONE`` leaves a member out."""
    function = {"name": name, "arguments": arguments}
    said = {"index": index, "id": id_, "type": "function"}
    kept = {key: value for key, value in said.items() if value is not NONE}
    return {**kept, "function": {k: v for k, v in function.items() if v is not NONE}}


#: How it was said, and what was meant.
CERTAIN: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "as the protocol has it": (
        [piece(0, "c1", "get", ""), piece(0, NONE, NONE, '{"a"'), piece(0, NONE, NONE, ":1}")],
        [("get", '{"a":1}')],
    ),
    "two calls": (
        [piece(0, "c1", "get", '{"a":1}'), piece(1, "c2", "put", '{"a":2}')],
        [("get", '{"a":1}'), ("put", '{"a":2}')],
    ),
    "pieces of two calls in turn": (
        [
            piece(0, "c1", "get", '{"a"'),
            piece(1, "c2", "get", '{"a"'),
            piece(0, NONE, NONE, ":1}"),
            piece(1, NONE, NONE, ":2}"),
        ],
        [("get", '{"a":1}'), ("get", '{"a":2}')],
    ),
    "id and name with every piece": (
        [piece(0, "c1", "get", '{"a"'), piece(0, "c1", "get", ":1"), piece(0, "c1", "get", "}")],
        [("get", '{"a":1}')],
    ),
    "empty id and name afterwards": (
        [piece(0, "c1", "get", '{"a"'), piece(0, "", "", ":1}")],
        [("get", '{"a":1}')],
    ),
    "null id and name afterwards": (
        [piece(0, "c1", "get", '{"a"'), piece(0, None, None, ":1}")],
        [("get", '{"a":1}')],
    ),
    "all calls numbered 0": (
        [piece(0, "c1", "get", '{"a":1}'), piece(0, "c2", "get", '{"a":2}')],
        [("get", '{"a":1}'), ("get", '{"a":2}')],
    ),
    "all calls numbered 0, in pieces": (
        [
            piece(0, "c1", "get", ""),
            piece(0, "", "", '{"a":1}'),
            piece(0, "c2", "put", ""),
            piece(0, "", "", '{"a":1}'),
        ],
        [("get", '{"a":1}'), ("put", '{"a":1}')],
    ),
    "no numbers": (
        [piece(NONE, "c1", "get", '{"a":1}'), piece(NONE, "c2", "get", '{"a":2}')],
        [("get", '{"a":1}'), ("get", '{"a":2}')],
    ),
    "no numbers, in pieces": (
        [piece(NONE, "c1", "get", '{"a"'), piece(NONE, NONE, NONE, ":1}")],
        [("get", '{"a":1}')],
    ),
    "another id with every piece": (
        [piece(0, "c1", "get", '{"a"'), piece(0, "x2", "get", ":1"), piece(0, "x3", "get", "}")],
        [("get", '{"a":1}')],
    ),
    "the arguments so far": (
        [piece(0, "c1", "get", '{"a"'), piece(0, "c1", "get", '{"a":1}')],
        [("get", '{"a":1}')],
    ),
    "everything twice": (
        [piece(0, "c1", "get", '{"a":1}'), piece(0, "c1", "get", '{"a":1}')],
        [("get", '{"a":1}')],
    ),
    "the very same call under two numbers": (
        [piece(0, "c1", "get", '{"a":1}'), piece(1, "c1", "get", '{"a":1}')],
        [("get", '{"a":1}')],
    ),
    "a name bit by bit": (
        [piece(0, "c1", "ge", ""), piece(0, NONE, "t", '{"a":1}')],
        [("get", '{"a":1}')],
    ),
    "the name so far": (
        [piece(0, "c1", "ge", ""), piece(0, NONE, "get", '{"a":1}')],
        [("get", '{"a":1}')],
    ),
    "a name that is said twice in one": (
        [piece(0, "c1", "getget", '{"a":1}')],
        [("get", '{"a":1}')],
    ),
    "a tool whose name repeats itself": (
        [piece(0, "c1", "pompom", '{"a":1}'), piece(0, "c1", "pompom", "")],
        [("pompom", '{"a":1}')],
    ),
    "arguments as an object": ([piece(0, "c1", "get", {"a": 1})], [("get", '{"a": 1}')]),
    "no arguments": ([piece(0, "c1", "get", NONE)], [("get", "")]),
    "arguments that are cut off": ([piece(0, "c1", "get", '{"a":')], [("get", '{"a":')]),
    "arguments that are an array": ([piece(0, "c1", "get", "[1]")], [("get", "[1]")]),
    "braces in a text": (
        [piece(0, "c1", "get", '{"a":"}{'), piece(0, "c1", "get", '"}')],
        [("get", '{"a":"}{"}')],
    ),
}
UNCERTAIN: dict[str, list[dict[str, Any]]] = {
    "two values under one id": [piece(0, "c1", "get", '{"a":1}'), piece(0, "c1", "", '{"a":2}')],
    "two values in one piece": [piece(0, "c1", "get", '{"a":1}{"a":2}')],
    "two equal values in one piece": [piece(0, "c1", "get", '{"a":1}{"a":1}')],
    "two equal values, the second without an id": [
        piece(0, "c1", "get", '{"a":1}'),
        piece(0, NONE, NONE, '{"a":1}'),
    ],
    "values with a space between": [piece(0, "c1", "get", '{"a":1} \n {"b":2}')],
    "three values": [piece(0, "c1", "get", "{}{}{}")],
    "many ids and no whole": [piece(0, "c1", "get", '{"a"'), piece(0, "c2", "get", '{"b"')],
    "two names in one call": [piece(0, "c1", "get", ""), piece(0, "c1", "put", '{"a":1}')],
    "no name": [piece(0, "c1", NONE, "{}")],
}
OFFERED = ["get", "put", "pompom"]


def gathered(pieces: list[dict[str, Any]], offered: list[str]) -> list[tuple[str, str]]:
    """What is made of the pieces."""
    gathering = Gathering(offered)
    for one in pieces:
        gathering.add([one])
    return named(gathering.calls())


def named(calls: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Names and arguments; numbers and ids are in order."""
    assert [call["index"] for call in calls] == list(range(len(calls)))
    ids = [call["id"] for call in calls if "id" in call]
    assert len(set(ids)) == len(ids)
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


@pytest.mark.parametrize("name", CERTAIN)
def test_calls_are_what_they_were_where_only_one_reading_makes_sense(name: str) -> None:
    """Whatever the server did to them."""
    pieces, meant = CERTAIN[name]
    assert gathered(pieces, OFFERED) == meant


@pytest.mark.parametrize("name", UNCERTAIN)
def test_where_nobody_can_tell_there_is_no_answer(name: str) -> None:
    """A call that was not meant may do harm."""
    with pytest.raises(GluedCallsError):
        gathered(UNCERTAIN[name], OFFERED)


def test_a_repeated_name_is_one_without_tools_on_offer_too() -> None:
    """Some requests name no tools, and go on with a conversation that has calls."""
    assert gathered([piece(0, "c1", "get", "{}"), piece(0, "c1", "get", "")], []) == [("get", "{}")]


def test_a_name_that_may_be_either_is_uncertain() -> None:
    """There are tools for both readings."""
    with pytest.raises(GluedCallsError, match="'get' or 'getget'"):
        gathered([piece(0, "c1", "get", "{}"), piece(0, "c1", "get", "")], ["get", "getget"])
    assert gathered([piece(0, "c1", "getget", "{}")], ["get", "getget"]) == [("getget", "{}")]


def test_whole_calls_keep_the_arguments_as_the_model_wrote_them() -> None:
    """Wrong ones, too, so that it gets to read what is wrong; ids are made different."""
    said = [
        piece(NONE, "c1", "getget", '{"a":1}{"a":2}'),
        piece(NONE, "c1", "get", '{"b":1}'),
        piece(NONE, "c1", "get", '{"b":1}'),
        piece(NONE, NONE, "put", None),
    ]
    calls = whole_calls(said, OFFERED)
    assert named(calls) == [("get", '{"a":1}{"a":2}'), ("get", '{"b":1}'), ("put", "")]
    assert [call.get("id") for call in calls] == ["c1", "c1-2", None]


@pytest.mark.parametrize("index", [[0], {}, None, True, "0"])
def test_a_number_that_is_none_is_no_defect(index: Any) -> None:
    """The piece is placed by its id, or after the one before it."""
    pieces = [piece(index, "c1", "get", '{"a"'), piece(index, NONE, NONE, ":1}")]
    assert gathered(pieces, OFFERED) == [("get", '{"a":1}')]


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("{}", 1), ("{}{}", 2), ("1 2", 2), ('"}{"', 1), ("{", None), ("{}x", None)],
)
def test_values_in_a_row_are_counted(text: str, count: int | None) -> None:
    """And what is none of them is nothing."""
    assert values_in(text) == count


# Over HTTP ------------------------------------------------------------------------------------


async def answered(
    answer: Answer, *, stream: bool, provider: str = "openai-compatible"
) -> LlmResponse:
    """What a model says whose server answers so."""
    async with FakeProvider(answer) as server:
        row = hosted(provider, f"{server.url}/v1")
        model = open_provider("fast", row, {"TEST_KEY": KEY})
        tools = [replace_name(name) for name in OFFERED]
        try:
            async with asyncio.timeout(60):
                return await model.complete(
                    prompt("hi", tools=tools), [].append if stream else None
                )
        finally:
            await model.close()


def replace_name(name: str) -> Any:
    """A tool of that name."""
    return LOOKUP.model_copy(update={"name": name})


def calls_of(response: LlmResponse) -> list[tuple[str, Any]]:
    """Names and arguments."""
    parts = [part for part in response.parts if isinstance(part, LlmOutputPartToolCall)]
    ids = [part.call_id for part in parts]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    return [(part.tool_name, part.input_json) for part in parts]


@pytest.mark.parametrize("provider", ["openai-compatible", "openai-chat"])
@pytest.mark.parametrize(
    "name",
    ["id and name with every piece", "all calls numbered 0", "another id with every piece"],
)
async def test_a_spoilt_stream_gives_the_calls_that_were_meant(name: str, provider: str) -> None:
    """With its text, its end and its usage."""
    pieces, meant = CERTAIN[name]
    answer = chat_events("so", calls=tuple(pieces), reason="tool_calls")
    response = await answered(answer, stream=True, provider=provider)
    assert calls_of(response) == meant
    assert (response.full_text, response.terminal_reason) == ("so", "tool_use")
    assert response.usage.input_tokens == 11


@pytest.mark.parametrize("name", UNCERTAIN)
async def test_a_stream_that_nobody_can_read_is_never_passed_as_an_answer(name: str) -> None:
    """Asking again may help."""
    answer = chat_events(calls=tuple(UNCERTAIN[name]), reason="tool_calls")
    with pytest.raises(ModelCallError) as failed:
        await answered(answer, stream=True)
    failure = failed.value.failure
    assert (failure.code, failure.retryable) == ("unreadable_response", True)
    assert "expected for each call its own id, name and one JSON value" in failure.message


async def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    """Though it was asked to."""
    called = {"id": "c9", "type": "function", "function": {"name": "getget", "arguments": "{}"}}
    answer = chat_answer("Hello", calls=(called,), reason="tool_calls")
    for stream in (True, False):
        response = await answered(answer, stream=stream)
        assert (response.full_text, calls_of(response)) == ("Hello", [("get", "{}")])
        assert response.usage.cached_input_tokens == 4


async def test_usage_in_every_chunk_is_counted_once() -> None:
    """The last one is the whole bill, and comes after the end of the answer, too."""
    plain = chat_events("Hel", "lo")
    chunks = [piece.decode().removeprefix("data: ").strip() for piece in plain.pieces]
    bill = json.loads(chunks[-2])["usage"]
    pieces = [
        f"data: {json.dumps({**json.loads(chunk), 'usage': bill})}\n\n".encode()
        for chunk in chunks[:-1]
    ]
    response = await answered(replace(plain, pieces=[*pieces, b"data: [DONE]\n\n"]), stream=True)
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (11, 7, 4)
