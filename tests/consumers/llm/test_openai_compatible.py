"""The whole way over real HTTP, to a server that speaks OpenAI's Chat Completions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.client.handle import Handle
from effectmq.consumers.llm import llm_handlers
from effectmq.consumers.llm.port import CallFailure, ModelCallError, ModelProvider
from effectmq.consumers.llm.providers import open_provider
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.wire.envelope import RuntimeEffectCommandDirect, RuntimeEffectCommandLlmCall
from effectmq.protocol.wire.llm_request import (
    GenerationOptions,
    LlmContentBlockImage,
    LlmContentBlockReasoning,
    LlmContentBlockToolCall,
    LlmContentBlockToolResult,
    LlmJsonSchema,
    LlmOutputSpecJsonSchema,
)
from effectmq.protocol.wire.llm_response import LlmOutputPartToolCall
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeLlmCall,
)
from tests.consumers.llm.asking import KEY, LOOKUP, attachment, hosted, message, prompt, spec
from tests.consumers.llm.dialects import chat_answer, chat_events
from tests.consumers.llm.server import Answer, FakeProvider, Play, json_answer
from tests.consumers.stage import PATIENCE_S, Stage, effect, hurry, logged
from tests.waiting import eventually

BUSY = json_answer({"error": {"message": "slow down"}}, 429, retry_after="0")


class Shop:
    """Servers and models that end with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def serve(self, *answers: Play) -> FakeProvider:
        return await self._stack.enter_async_context(FakeProvider(*answers))

    async def model(self, *answers: Play, **settings: Any) -> tuple[ModelProvider, FakeProvider]:
        server = await self.serve(*answers)
        row = hosted("openai-compatible", f"{server.url}/v1", **settings)
        model = open_provider("fast", row, {"TEST_KEY": KEY})
        self._stack.push_async_callback(model.close)
        return model, server

    async def failure(self, *answers: Play, stream: bool = True, **more: Any) -> CallFailure:
        """How a call of a model fails that is answered so."""
        model, _ = await self.model(*answers)
        with pytest.raises(ModelCallError) as failed:
            async with asyncio.timeout(PATIENCE_S):
                await model.complete(prompt("hi", **more), [].append if stream else None)
        return failed.value.failure


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        yield Shop(stack)


async def working(stage: Stage, server: FakeProvider, **settings: Any) -> EffectWorker:
    """A worker whose model ``fast`` is on that server."""
    worker = stage.worker()
    row = hosted("openai-compatible", f"{server.url}/v1", **settings)
    llm_call, direct = llm_handlers({"fast": row}, variables={"TEST_KEY": KEY})
    worker.add(llm_call)
    worker.add(direct)
    worker.use(llm_call.calls)
    return await stage.start(worker)


def call(text: str = "hi", effect_id: str = "1", **more: Any) -> Any:
    command = RuntimeEffectCommandLlmCall(request=spec(text, **more))
    return effect("llm_call", command, effect_id)


async def chunks(handle: Handle) -> list[tuple[int, str]]:
    async with asyncio.timeout(PATIENCE_S):
        return [(chunk.attempt, chunk.text) async for chunk in handle.chunks()]


# What is sent ---------------------------------------------------------------------------------


async def test_a_request_arrives_as_the_protocol_spells_it(shop: Shop) -> None:
    """Messages, image, tools, choice, cap, schema, key: everything that the request has."""
    model, server = await shop.model(chat_answer("ok"))
    called = LlmContentBlockToolCall(call_id="c1", tool_name="lookup", input_json='{"word":"x"}')
    returned = LlmContentBlockToolResult(call_id="c1", content="found")
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
    asked = prompt(
        message("System", "be brief"),
        message("User", "look", LlmContentBlockImage(attachment_idx=0)),
        message("Assistant", LlmContentBlockReasoning(text="hm"), "I will", called),
        message("User", returned),
        attachments=[attachment()],
        data=(b"\1\2\3\4",),
        tools=[LOOKUP],
        tool_choice="Required",
        generation=GenerationOptions(output_token_cap=99),
        output_spec=LlmOutputSpecJsonSchema(
            value=LlmJsonSchema(name="out", schema_=schema, strict=True)
        ),
    )
    await model.complete(asked)
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    body = seen.body
    system, user, assistant, tool = body["messages"]
    assert system == {"role": "system", "content": "be brief"}
    assert user["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQIDBA=="}},
    ]
    assert assistant["content"] == "<think>\nhm\n</think>\n\nI will"
    assert assistant["tool_calls"] == [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "lookup", "arguments": '{"word":"x"}'},
        }
    ]
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "found"}
    assert body["tools"][0]["function"]["name"] == "lookup"
    assert body["tool_choice"] == "required"
    assert body["model"] == "m-1"
    assert body["max_tokens"] == 99
    assert body["response_format"]["json_schema"]["schema"] == schema


async def test_any_json_object_is_the_servers_json_mode(shop: Shop) -> None:
    """With the word JSON in the instructions, which the protocol demands."""
    model, server = await shop.model(chat_answer("{}"))
    await model.complete(prompt("hi", output_spec="JsonObject"))
    body = server.seen[0].body
    assert body["response_format"] == {"type": "json_object"}
    assert "JSON" in json.dumps(body["messages"])


async def test_without_a_key_no_key_of_somebody_else_is_sent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when one lies around in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = await shop.serve(chat_answer("ok"))
    row = replace(hosted("openai-compatible", server.url), api_key_env=None)
    model = open_provider("fast", row, {})
    await model.complete(prompt("hi"))
    await model.close()
    assert KEY not in json.dumps(server.seen[0].headers)


# What is answered -----------------------------------------------------------------------------


async def test_text_reaches_the_caller_before_the_provider_has_finished(
    stage: Stage, shop: Shop
) -> None:
    """The server holds the second piece back until the first one has been read."""
    go_on = asyncio.Event()
    server = await shop.serve(chat_events("Hello", ", you", hold=go_on))
    await working(stage, server)
    client = await stage.client()
    handle = await client.submit(call())
    heard: list[tuple[int, int, str]] = []
    async with asyncio.timeout(PATIENCE_S):
        async for chunk in handle.chunks():
            assert not handle.done or heard
            heard.append((chunk.attempt, chunk.number, chunk.text))
            go_on.set()
    assert heard == [(1, 0, "Hello"), (1, 1, ", you")]
    result = await handle.outcome(PATIENCE_S)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(result.result, Ok)
    response = result.result.ok
    assert (response.full_text, response.terminal_reason) == ("Hello, you", "stop")
    assert response.usage.cached_input_tokens == 4
    assert result.text_streamed


async def test_direct_asks_for_the_answer_in_one_piece(stage: Stage, shop: Shop) -> None:
    """And books its tokens as any other."""
    server = await shop.serve(chat_answer("Hello"))
    await working(stage, server)
    client = await stage.client()
    command = RuntimeEffectCommandDirect(request=spec("hi"), usage_source="test")
    result = await client.execute(effect("direct", command, "1"), timeout=PATIENCE_S)
    assert isinstance(result, RuntimeEffectOutcomeDirect)
    assert isinstance(result.result, Ok)
    usage = result.result.ok.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (11, 7, 2)
    assert server.seen[0].body["stream"] is False


async def test_a_server_that_cannot_stream_is_not_asked_to(stage: Stage, shop: Shop) -> None:
    """The text comes with the outcome then."""
    server = await shop.serve(chat_answer("Hello"))
    await working(stage, server, stream=False)
    client = await stage.client()
    handle = await client.submit(call())
    assert await chunks(handle) == []
    result = await handle.outcome(PATIENCE_S)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert not result.text_streamed
    assert server.seen[0].body["stream"] is False


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call_comes_back_whole(shop: Shop, stream: bool) -> None:
    """Streamed in fragments or not."""
    function = {"name": "lookup", "arguments": '{"word":"x"}'}
    if stream:
        begin = {
            "index": 0,
            "id": "c9",
            "type": "function",
            "function": {**function, "arguments": ""},
        }
        rest = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"word"', ':"x"}')]
        answer = chat_events(calls=(begin, *rest), reason="tool_calls")
    else:
        called = {"id": "c9", "type": "function", "function": function}
        answer = chat_answer(None, calls=(called,), reason="tool_calls")
    model, _ = await shop.model(answer)
    heard: list[str] = []
    response = await model.complete(prompt("hi", tools=[LOOKUP]), heard.append if stream else None)
    assert response.parts == [
        LlmOutputPartToolCall(call_id="c9", tool_name="lookup", input_json='{"word":"x"}')
    ]
    assert response.terminal_reason == "tool_use"
    assert heard == []


@pytest.mark.parametrize(
    ("reason", "expected"), [("length", "output_limit"), ("content_filter", "content_filter")]
)
async def test_an_answer_that_was_cut_says_why(shop: Shop, reason: str, expected: str) -> None:
    """It is an answer all the same."""
    model, _ = await shop.model(chat_events("Hel", reason=reason))
    response = await model.complete(prompt("hi"), [].append)
    assert (response.full_text, response.terminal_reason) == ("Hel", expected)


# What goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (json_answer({"error": {"message": "no"}}, 401), "authentication_failed", False),
        (json_answer({"error": {"message": "no"}}, 404), "model_not_found", False),
        (json_answer({"error": {"message": "no"}}, 400), "invalid_request", False),
        (json_answer({"error": {"message": "no"}}, 500), "server_error", True),
        (json_answer({"error": {"message": "no"}}, 503), "unavailable", True),
        (
            json_answer({"error": {"message": "no", "code": "insufficient_quota"}}, 429),
            "quota_exceeded",
            False,
        ),
        (
            json_answer({"error": {"message": "no", "code": "context_length_exceeded"}}, 400),
            "context_overflow",
            False,
        ),
        (Answer(503, {"content-type": "text/html"}, [b"<h1>Bad"]), "unavailable", True),
        (Answer(drops=True), "connection_failed", True),
    ],
)
async def test_a_refusal_is_told_apart_by_its_kind(
    shop: Shop, answer: Answer, code: str, retryable: bool, stream: bool
) -> None:
    """Asked once: waiting and asking again is not the library's business."""
    failure = await shop.failure(answer, stream=stream)
    assert (failure.code, failure.retryable) == (code, retryable)


@pytest.mark.parametrize(
    ("answer", "stream"),
    [
        (Answer(200, {"content-type": "application/json"}, [b"{nope"]), False),
        (Answer(200, {"content-type": "text/plain"}, [b"hello"]), False),
        (json_answer({"choices": []}), False),
        (Answer(200, {"content-type": "text/event-stream"}, [b"data: {nope\n\n"]), True),
        (chat_events("Hel", reason=None), True),
    ],
)
async def test_an_answer_that_cannot_be_read_is_asked_for_again(
    shop: Shop, answer: Answer, stream: bool
) -> None:
    """A proxy that broke, usually; half an answer never passes for a whole one."""
    failure = await shop.failure(answer, stream=stream)
    assert (failure.code, failure.retryable) == ("unreadable_response", True)


async def test_a_stream_that_breaks_off_is_a_broken_connection(shop: Shop) -> None:
    """In the middle of the body."""
    failure = await shop.failure(chat_events("Hel", "lo", drops=True, reason=None))
    assert (failure.code, failure.retryable) == ("connection_failed", True)


async def test_nobody_at_the_address_is_a_broken_connection(shop: Shop) -> None:
    """The sentence says what the system said."""
    model, server = await shop.model(chat_answer("never"))
    await server.__aexit__()
    with pytest.raises(ModelCallError) as failed:
        await model.complete(prompt("hi"))
    assert failed.value.failure.code == "connection_failed"
    assert "connect" in failed.value.failure.message


async def test_a_busy_server_is_asked_again_after_what_it_said(
    stage: Stage, shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``retry-after-ms`` of 50: over a delay level, with the text from the start."""
    hurry(monkeypatch)
    busy = json_answer({"error": {"message": "slow down"}}, 429, retry_after_ms="50")
    server = await shop.serve(
        busy, chat_events("Hel", drops=True, reason=None), chat_events("Hello")
    )
    worker = await working(stage, server, longest_wait_s=0.001)
    client = await stage.client()
    handle = await client.submit(call())
    # What the second attempt streamed before it broke is void, as the third one's number says.
    assert await chunks(handle) == [(2, "Hel"), (3, "Hello")]
    result = await handle.outcome(PATIENCE_S)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(result.result, Ok)
    assert len(server.seen) == 3
    assert worker.counters["retried"] == 2
    assert next(getattr(record, "wait_ms", 0) for record in logged(caplog, "retry")) == 60


async def test_a_server_that_stays_busy_is_an_outcome(stage: Stage, shop: Shop) -> None:
    """Asked as often as the row says, then told."""
    server = await shop.serve(BUSY)
    await working(stage, server, attempts=3)
    client = await stage.client()
    result = await client.execute(call(), timeout=PATIENCE_S)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(result.result, Err)
    error = result.result.err
    assert (error.code, error.retryable) == ("rate_limited", True)
    assert error.message == "the provider answered 429: slow down"
    assert len(server.seen) == 3
    assert stage.letters() == []


@pytest.mark.parametrize("after_text", [True, False])
async def test_a_server_that_never_finishes_is_given_up_on(
    stage: Stage, shop: Shop, after_text: bool
) -> None:
    """Before its first word or in the middle; the time limit covers the whole call."""
    stuck = chat_events("Hel", "lo", hold=asyncio.Event()) if after_text else Answer(silent=True)
    server = await shop.serve(stuck)
    await working(stage, server, time_limit_s=0.5, attempts=1)
    client = await stage.client()
    result = await client.execute(call(), timeout=PATIENCE_S)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(result.result, Err)
    assert result.result.err.code == "timeout"
    assert result.text_streamed is after_text


async def test_many_calls_share_the_client_and_each_gets_its_own_answer(
    stage: Stage, shop: Shop
) -> None:
    """A worker runs many at a time."""
    server = await shop.serve(lambda seen: chat_events(seen.body["messages"][0]["content"]))
    await working(stage, server)
    client = await stage.client()
    handles = [await client.submit(call(f"text {n}", str(n))) for n in range(20)]
    texts: list[str] = []
    for handle in handles:
        result = await handle.outcome(PATIENCE_S)
        assert isinstance(result, RuntimeEffectOutcomeLlmCall)
        assert isinstance(result.result, Ok)
        texts.append(result.result.ok.full_text)
    assert texts == [f"text {n}" for n in range(20)]


async def test_a_model_may_be_used_again_after_it_was_closed(shop: Shop) -> None:
    """A worker that is started again."""
    model, server = await shop.model(chat_answer("ok"))
    for _ in range(2):
        await model.complete(prompt("hi"))
        await model.close()
    assert len(server.seen) == 2


# The key --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 500])
async def test_the_key_is_in_no_log_no_outcome_no_letter_and_no_repr(
    stage: Stage, shop: Shop, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """However loudly the logs are set, and though the server echoes everything it was sent."""

    def echo(seen: Any) -> Answer:
        words = f"bad key in {json.dumps(seen.headers)}"
        return json_answer({"error": {"message": words, "headers": seen.headers}}, status)

    caplog.set_level(logging.DEBUG)
    server = await shop.serve(echo)
    worker = await working(stage, server, attempts=2, longest_wait_s=0.001)
    client = await stage.client()
    reply = await (await client.submit(call())).reply(PATIENCE_S)
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert isinstance(reply.result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(reply.result.result, Err)
    assert "***" in reply.result.result.err.message
    await eventually(lambda: caplog.records)
    shown = [caplog.text, repr(reply), *map(repr, stage.letters())]
    shown += [repr(handler) + repr(vars(handler)) for handler in worker._handlers.values()]
    shown += [str(record.__dict__) for record in caplog.records]
    assert not [text for text in shown if KEY in text]


async def test_the_repr_of_a_model_says_which_one_it_is(shop: Shop) -> None:
    """And nothing secret."""
    model, _ = await shop.model(chat_answer("ok"))
    assert repr(model) == "HostedModel(openai-compatible:m-1)"
