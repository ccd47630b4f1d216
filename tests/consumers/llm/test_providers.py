"""OpenAI's Responses, Anthropic and Gemini over real HTTP: text, tools, reasoning, and back."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from effectmq.consumers.llm.port import ModelCallError, ModelProvider
from effectmq.consumers.llm.providers import open_provider
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.wire.llm_request import (
    GenerationOptions,
    LlmContentBlock,
    LlmContentBlockToolResult,
)
from effectmq.protocol.wire.llm_response import (
    LlmOutputPartReasoning,
    LlmOutputPartText,
    LlmOutputPartToolCall,
    LlmResponse,
    LlmUsage,
)
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)
from tests.consumers.llm import dialects
from tests.consumers.llm.asking import KEY, LOOKUP, hosted, message, prompt
from tests.consumers.llm.server import Answer, FakeProvider, json_answer

ARGUMENTS = {"word": "x"}


#: Anthropic's library streams of its own accord when an answer could take long.
SHORT = GenerationOptions(output_token_cap=1_000)


@dataclass(frozen=True)
class Dialect:
    """
    How one provider says the same things.

    Attributes:
        model: A name that its library knows to reason.
        base: What comes after the address.
        key_header: Where the key is sent.
        text: "Hello" in one piece.
        streamed: "Hello" in pieces.
        turn: Reasoning, then a tool call.
        sent_back: That turn, found in the next request.
        reasoning: The reasoning on our wire.
        call: The tool call on our wire.
    """

    model: str
    base: str
    key_header: str
    text: Answer
    streamed: Callable[..., Answer]
    turn: Answer
    sent_back: Callable[[Any], list[Any]]
    reasoning: ProviderReasoningReplay | None
    call: ProviderReplayMeta | None
    reasoning_tokens: int = 2


DIALECTS = {
    "openai": Dialect(
        model="gpt-5",
        base="/v1",
        key_header="authorization",
        text=dialects.responses_answer(
            [
                {
                    "id": "msg-1",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
                }
            ]
        ),
        streamed=dialects.responses_events,
        turn=dialects.responses_answer(
            [
                {
                    "id": "rs_1",
                    "type": "reasoning",
                    "encrypted_content": "c2VjcmV0",
                    "summary": [{"type": "summary_text", "text": "hm"}],
                },
                {
                    "id": "fc_1",
                    "type": "function_call",
                    "call_id": "c1",
                    "name": "lookup",
                    "arguments": json.dumps(ARGUMENTS),
                },
            ]
        ),
        sent_back=lambda body: [
            {name: item.get(name) for name in ("type", "id", "encrypted_content", "call_id")}
            for item in body["input"]
            if item.get("type") in ("reasoning", "function_call")
        ],
        reasoning=ProviderReasoningReplay(
            item_id="rs_1", encrypted_content="c2VjcmV0", summary=["hm"]
        ),
        call=ProviderReplayMeta(item_id="fc_1"),
    ),
    "anthropic": Dialect(
        model="claude-haiku-5-5",
        base="",
        key_header="authorization",
        text=dialects.anthropic_answer([{"type": "text", "text": "Hello"}]),
        streamed=dialects.anthropic_events,
        turn=dialects.anthropic_answer(
            [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "tool_use", "id": "c1", "name": "lookup", "input": ARGUMENTS},
            ],
            "tool_use",
        ),
        sent_back=lambda body: body["messages"][1]["content"],
        reasoning=ProviderReasoningReplay(signature="c2ln"),
        call=None,
        reasoning_tokens=0,
    ),
    "google": Dialect(
        model="gemini-2.5-flash",
        base="",
        key_header="x-goog-api-key",
        text=dialects.google_answer([{"text": "Hello"}]),
        streamed=dialects.google_events,
        turn=dialects.google_answer(
            [
                {"text": "hm", "thought": True},
                {
                    "functionCall": {"id": "c1", "name": "lookup", "args": ARGUMENTS},
                    "thoughtSignature": "c2ln",
                },
            ]
        ),
        sent_back=lambda body: body["contents"][1]["parts"],
        reasoning=None,
        call=ProviderReplayMeta(opaque="c2ln"),
    ),
}

#: What each provider must find again in the next request.
SENT_BACK: dict[str, list[Any]] = {
    "openai": [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "c2VjcmV0", "call_id": None},
        {"type": "function_call", "id": "fc_1", "encrypted_content": None, "call_id": "c1"},
    ],
    "anthropic": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "tool_use", "id": "c1", "name": "lookup", "input": ARGUMENTS},
    ],
    "google": [
        {"text": "hm", "thought": True},
        {
            "functionCall": {"id": "c1", "name": "lookup", "args": ARGUMENTS},
            "thoughtSignature": "c2ln",
        },
    ],
}


@pytest.fixture(params=DIALECTS)
def name(request: pytest.FixtureRequest) -> str:
    """Each provider in turn."""
    found: str = request.param
    return found


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


async def serve(
    stack: AsyncExitStack, name: str, *answers: Answer
) -> tuple[ModelProvider, FakeProvider]:
    """A model of that provider, and the server that stands in for it."""
    dialect = DIALECTS[name]
    server = await stack.enter_async_context(FakeProvider(*answers))
    row = hosted(name, server.url + dialect.base, model=dialect.model)
    model = open_provider("fast", row, {"TEST_KEY": KEY})
    stack.push_async_callback(model.close)
    return model, server


@pytest.mark.parametrize("stream", [True, False])
async def test_plain_text_comes_back(stack: AsyncExitStack, name: str, stream: bool) -> None:
    """In pieces and whole, with its tokens, and with the key where the provider wants it."""
    dialect = DIALECTS[name]
    answer = dialect.streamed("Hel", "lo") if stream else dialect.text
    model, server = await serve(stack, name, answer)
    heard: list[str] = []
    response = await model.complete(
        prompt("hi", generation=SHORT), heard.append if stream else None
    )
    assert heard == (["Hel", "lo"] if stream else [])
    assert (response.full_text, response.terminal_reason) == ("Hello", "stop")
    assert response.usage == LlmUsage(
        input_tokens=11,
        output_tokens=7,
        cached_input_tokens=4,
        reasoning_tokens=dialect.reasoning_tokens,
    )
    meta = ResponseTextMeta(id="msg-1") if name == "openai" else None
    assert response.parts == [LlmOutputPartText(text="Hello", response_meta=meta)]
    assert KEY in server.seen[0].headers[dialect.key_header]


async def test_reasoning_and_a_tool_call_come_back_and_go_back(
    stack: AsyncExitStack, name: str
) -> None:
    """The answer, put into the next request with the tool's result, arrives as it was made."""
    dialect = DIALECTS[name]
    model, server = await serve(stack, name, dialect.turn, dialect.text)
    response = await model.complete(prompt("hi", tools=[LOOKUP], generation=SHORT))
    reasoning, call = response.parts
    assert reasoning == LlmOutputPartReasoning(text="hm", replay=dialect.reasoning)
    assert isinstance(call, LlmOutputPartToolCall)
    assert (call.call_id, call.tool_name, call.replay) == ("c1", "lookup", dialect.call)
    assert json.loads(call.input_json) == ARGUMENTS
    assert response.terminal_reason == "tool_use"

    result = LlmContentBlockToolResult(call_id="c1", content="found")
    history = prompt(
        "hi",
        message("Assistant", *blocks(response)),
        message("User", result),
        tools=[LOOKUP],
        generation=SHORT,
    )
    assert (await model.complete(history)).full_text == "Hello"
    sent = dialect.sent_back(server.seen[1].body)
    assert sent == SENT_BACK[name]
    assert "found" in json.dumps(server.seen[1].body)


def blocks(response: LlmResponse) -> list[LlmContentBlock]:
    """The parts of a response as the blocks of a message, as a runtime carries them over."""
    return [from_tree(LlmContentBlock, part) for part in to_tree(response)["parts"]]


async def test_a_stream_that_ends_without_an_end_is_broken(
    stack: AsyncExitStack, name: str
) -> None:
    """A proxy closed it as if it were whole."""
    whole = DIALECTS[name].streamed("Hel", "lo", "!")
    cut = Answer(headers=whole.headers, pieces=list(whole.pieces)[: -3 if name != "google" else -1])
    model, _ = await serve(stack, name, cut)
    with pytest.raises(ModelCallError) as failed:
        await model.complete(prompt("hi"), [].append)
    failure = failed.value.failure
    assert (failure.code, failure.retryable) == ("connection_failed", True)


async def test_a_busy_provider_is_asked_once_and_says_when_to_come_back(
    stack: AsyncExitStack, name: str
) -> None:
    """The libraries' own retries are off."""
    busy = json_answer({"error": {"message": "busy"}}, 429, retry_after="2")
    model, server = await serve(stack, name, busy)
    with pytest.raises(ModelCallError) as failed:
        await model.complete(prompt("hi"))
    failure = failed.value.failure
    assert (failure.code, failure.retryable, failure.after_s) == ("rate_limited", True, 2.0)
    assert len(server.seen) == 1


async def test_an_effort_arrives(stack: AsyncExitStack, name: str) -> None:
    """In each provider's own words for thinking."""
    model, server = await serve(stack, name, DIALECTS[name].text)
    await model.complete(prompt("hi", model_variant="high", generation=SHORT))
    body = server.seen[0].body
    effort = {
        "openai": lambda: body["reasoning"]["effort"] == "high",
        "anthropic": lambda: body["thinking"],
        "google": lambda: body["generationConfig"]["thinkingConfig"],
    }
    assert effort[name]()


async def test_the_key_is_taken_out_of_what_the_provider_echoes(
    stack: AsyncExitStack, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever the key was sent, and however loudly the libraries log."""
    caplog.set_level(logging.DEBUG)
    refusal = json_answer({"error": {"message": f"not your key: {KEY}"}}, 401)
    model, _ = await serve(stack, name, refusal)
    with pytest.raises(ModelCallError) as failed:
        await model.complete(prompt("hi"))
    assert failed.value.failure.code == "authentication_failed"
    assert KEY not in repr(failed.value) + repr(failed.value.failure)
    assert caplog.records
    assert not [record for record in caplog.records if KEY in str(record.__dict__)]


async def test_chat_completions_of_openai_itself(stack: AsyncExitStack) -> None:
    """The older of its two interfaces, with the session as the key of its cache."""
    server = await stack.enter_async_context(FakeProvider(dialects.chat_events("Hel", "lo")))
    row = hosted("openai-chat", f"{server.url}/v1", model="gpt-5")
    model = open_provider("fast", row, {"TEST_KEY": KEY})
    stack.push_async_callback(model.close)
    response = await model.complete(prompt("hi", session_id="s1"), [].append)
    assert response.full_text == "Hello"
    assert server.seen[0].path == "/v1/chat/completions"
    assert server.seen[0].body["prompt_cache_key"] == "s1"
