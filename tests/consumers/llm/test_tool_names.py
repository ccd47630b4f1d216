"""Tools whose names a provider refuses: sent under another, and found again."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from effectmq.consumers.llm.hosted.targets import Family
from effectmq.consumers.llm.hosted.tool_names import ToolNames
from effectmq.consumers.llm.providers import open_provider
from effectmq.protocol.wire.llm_request import (
    GenerationOptions,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
)
from effectmq.protocol.wire.llm_response import LlmOutputPartToolCall
from tests.consumers.llm import dialects
from tests.consumers.llm.asking import KEY, LOOKUP, hosted, message, prompt, spec
from tests.consumers.llm.server import Answer, FakeProvider, Seen

ODD = [
    "files.read",
    "files/read",
    "files read",
    "files:read",
    "files_read",
    "files-read",
    "x" * 64,
    "x" * 65,
    "x" * 64 + ".",
    "x" * 200,
    "größe",
    "天気",
    "🙂",
    "1st",
    "_",
    "-",
    ".",
    "..",
    "a.b",
    "a_b",
    "a..b",
    "Files.Read",
]
RULES: dict[Family, str] = {
    "openai": r"[a-zA-Z0-9_-]{1,64}",
    "anthropic": r"[a-zA-Z0-9_-]{1,64}",
    "google": r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}",
}


def tool(name: str) -> Any:
    """A tool of that name."""
    return LOOKUP.model_copy(update={"name": name})


@pytest.mark.parametrize("family", RULES)
def test_every_name_is_sent_as_one_that_is_taken_and_comes_back(family: Family) -> None:
    """No two as one; those that are taken as they are; the same in whatever order."""
    names = ToolNames.of(spec("hi", tools=[tool(name) for name in ODD]), family)
    sent = [names.sent(name) for name in ODD]
    assert len(set(sent)) == len(ODD)
    assert [names.own(name) for name in sent] == ODD
    for name, there in zip(ODD, sent, strict=True):
        assert re.fullmatch(RULES[family], there)
        if re.fullmatch(RULES[family], name):
            assert there == name
    backwards = ToolNames.of(spec("hi", tools=[tool(name) for name in reversed(ODD)]), family)
    assert [backwards.sent(name) for name in ODD] == sent
    alone = [ToolNames.of(spec("hi", tools=[tool(name)]), family).sent(name) for name in ODD]
    assert alone == sent


def test_a_tool_that_has_the_made_name_keeps_it() -> None:
    """However unlikely, the two stay apart."""
    made = ToolNames.of(spec("hi", tools=[tool("a.b")]), "openai").sent("a.b")
    names = ToolNames.of(spec("hi", tools=[tool("a.b"), tool(made)]), "openai")
    assert names.sent(made) == made
    assert names.sent("a.b") != made
    assert (names.own(names.sent("a.b")), names.own(made)) == ("a.b", made)


def test_a_name_that_nobody_sent_is_left_as_it_is() -> None:
    """A model may make one up; whoever runs it says that there is no such tool."""
    names = ToolNames.of(spec("hi", tools=[tool("a.b")]), "openai")
    assert names.own("a_b") == "a_b"


def _chat(name: str) -> Answer:
    called = {"id": "c2", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return dialects.chat_answer(None, calls=(called,), reason="tool_calls")


def _responses(name: str) -> Answer:
    item = {"id": "fc_1", "type": "function_call", "call_id": "c2", "name": name, "arguments": "{}"}
    return dialects.responses_answer([item])


def _anthropic(name: str) -> Answer:
    block = {"type": "tool_use", "id": "c2", "name": name, "input": {}}
    return dialects.anthropic_answer([block], "tool_use")


def _google(name: str) -> Answer:
    return dialects.google_answer([{"functionCall": {"id": "c2", "name": name, "args": {}}}])


#: Of each provider: its base, a model, its answer, and where names stand in a request.
PROVIDERS: dict[str, Any] = {
    "openai-compatible": (
        "/v1",
        "m-1",
        _chat,
        r'"function": \{"name": "([^"]*)"|"name": "([^"]*)"',
    ),
    "openai": ("/v1", "gpt-5", _responses, ""),
    "anthropic": ("", "claude-haiku-4-5", _anthropic, ""),
    "google": ("", "gemini-2.5-flash", _google, ""),
}


def _names_in(value: Any) -> list[str]:
    """Every name in a request."""
    found: list[str] = []
    if isinstance(value, dict):
        found += [value["name"]] if isinstance(value.get("name"), str) else []
        for item in value.values():
            found += _names_in(item)
    elif isinstance(value, list):
        for item in value:
            found += _names_in(item)
    return found


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_conversation_with_such_tools_goes_there_and_back(provider: str) -> None:
    """In the tools on offer, in the calls and results so far, and in the answer."""
    base, model_name, answer, _ = PROVIDERS[provider]
    family: Family = provider if provider in ("anthropic", "google") else "openai"  # type: ignore[assignment]
    odd = ["files.read", "x" * 80, "天気", "fine"]

    def play(seen: Seen) -> Answer:
        names = _names_in(seen.body)
        assert all(re.fullmatch(RULES[family], name) for name in names), names
        sent.update(names)
        return answer(ToolNames.of(asked.request, family).sent("files.read"))

    sent: set[str] = set()
    asked = prompt(
        message("User", "look"),
        message(
            "Assistant",
            LlmContentBlockToolCall(call_id="c1", tool_name="gone.tool", input_json="{}"),
        ),
        message("User", LlmContentBlockToolResult(call_id="c1", content="found")),
        tools=[tool(name) for name in odd],
        generation=GenerationOptions(output_token_cap=1_000),
    )
    async with FakeProvider(play) as server:
        row = hosted(provider, f"{server.url}{base}", model=model_name)
        model = open_provider("fast", row, {"TEST_KEY": KEY})
        async with asyncio.timeout(60):
            response = await model.complete(asked)
        await model.close()
    names = ToolNames.of(asked.request, family)
    assert {names.sent(name) for name in [*odd, "gone.tool"]} <= sent
    (part,) = response.parts
    assert isinstance(part, LlmOutputPartToolCall)
    assert part.tool_name == "files.read"
