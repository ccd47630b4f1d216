"""Answers that say 200 and are none: errors in the body and in the stream, and nothing at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from effectmq.consumers.llm.port import CallFailure, ModelCallError
from effectmq.consumers.llm.providers import open_provider
from effectmq.consumers.llm.reading.bodies import error_in, says_quota, status_of
from effectmq.protocol.wire.llm_request import GenerationOptions
from effectmq.protocol.wire.llm_response import LlmResponse
from tests.consumers.llm.asking import KEY, hosted, prompt
from tests.consumers.llm.dialects import (
    anthropic_answer,
    anthropic_events,
    chat_answer,
    chat_events,
    google_answer,
    google_events,
    responses_answer,
    responses_events,
)
from tests.consumers.llm.server import Answer, FakeProvider, events, json_answer

PROVIDERS: dict[str, tuple[str, str]] = {
    "openai-compatible": ("/v1", "m-1"),
    "openai-chat": ("/v1", "gpt-4o"),
    "openai": ("/v1", "gpt-5"),
    "anthropic": ("", "claude-haiku-4-5"),
    "google": ("", "gemini-2.5-flash"),
}
BASE = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
CHUNK = {**BASE, "object": "chat.completion.chunk"}
FILTERED = [{"content_filter_results": {"hate": {"filtered": True}}}]
DONE = b"data: [DONE]\n\n"
#: How each provider streams a text.
STREAMS: dict[str, Callable[..., Answer]] = {
    "openai-compatible": chat_events,
    "openai-chat": chat_events,
    "openai": responses_events,
    "anthropic": anthropic_events,
    "google": google_events,
}
BEGUN = {provider: stream("Hel", "lo") for provider, stream in STREAMS.items()}


async def asked(
    answer: Answer, *, stream: bool = False, provider: str = "openai-compatible"
) -> LlmResponse | CallFailure:
    """What becomes of an answer."""
    base, name = PROVIDERS[provider]
    async with FakeProvider(answer) as server:
        row = hosted(provider, f"{server.url}{base}", model=name)
        model = open_provider("fast", row, {"TEST_KEY": KEY})
        # Anthropic's library streams of its own accord when an answer could take long.
        short = prompt("hi", generation=GenerationOptions(output_token_cap=1_000))
        try:
            async with asyncio.timeout(60):
                return await model.complete(short, [].append if stream else None)
        except ModelCallError as problem:
            return problem.failure
        finally:
            await model.close()


async def failed(answer: Answer, **options: Any) -> CallFailure:
    """How an answer fails."""
    failure = await asked(answer, **options)
    assert isinstance(failure, CallFailure), failure
    return failure


#: An error body, and what it is.
ERRORS: list[tuple[Any, str, bool]] = [
    ({"error": {"message": "slow down", "code": 429}}, "rate_limited", True),
    ({"error": {"message": "x", "code": "429"}}, "rate_limited", True),
    ({"error": {"message": "x", "type": "rate_limit_error"}}, "rate_limited", True),
    ({"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}, "rate_limited", True),
    ({"error": {"message": "x", "code": "insufficient_quota"}}, "quota_exceeded", False),
    ({"error": {"message": "x", "code": 402}}, "quota_exceeded", False),
    ({"error": {"message": "x", "type": "billing_error"}}, "quota_exceeded", False),
    (
        {
            "error": {
                "message": "Provider returned error",
                "code": 429,
                "metadata": {"raw": '{"error":{"code":"insufficient_quota"}}'},
            }
        },
        "quota_exceeded",
        False,
    ),
    ({"error": {"message": "x", "type": "overloaded_error"}}, "overloaded", True),
    ({"error": {"message": "x", "code": 503}}, "unavailable", True),
    ({"error": {"message": "x", "code": 502}}, "server_error", True),
    ({"error": {"message": "x", "code": 401}}, "authentication_failed", False),
    ({"error": {"message": "x", "code": 404}}, "model_not_found", False),
    ({"error": {"message": "x", "type": "invalid_request_error"}}, "invalid_request", False),
    ({"error": {"message": "x", "type": "strange"}}, "server_error", True),
    ({"error": "the model is loading"}, "server_error", True),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("body", "code", "retryable"), ERRORS)
async def test_an_error_in_the_body_is_read_as_one_with_its_status(
    body: Any, code: str, retryable: bool, stream: bool
) -> None:
    """The provider's sentence is in the message; whole answers and streams alike."""
    answer = events({**CHUNK, "choices": []}, body) if stream else json_answer(body)
    failure = await failed(answer, stream=stream)
    assert (failure.code, failure.retryable) == (code, retryable)
    error = body["error"]
    assert (error if isinstance(error, str) else error["message"]) in failure.message
    # A server that does not stream says it in one piece, whatever it was asked for.
    assert (await failed(json_answer(body), stream=True)).code == code


async def test_an_event_that_is_named_an_error_is_one() -> None:
    """Whether its data is the error, or has it."""
    for body in ({"message": "busy", "code": 429}, {"error": {"message": "busy", "code": 429}}):
        data = f"event: error\ndata: {json.dumps(body)}\n\n".encode()
        answer = Answer(headers={"content-type": "text/event-stream"}, pieces=[data])
        failure = await failed(answer, stream=True)
        assert failure.code == "rate_limited"
        assert "busy" in failure.message


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("body", "code", "retryable"),
    [
        ({"error": {"message": "x", "code": 429}}, "rate_limited", True),
        ({"error": {"message": "x", "code": "insufficient_quota"}}, "quota_exceeded", False),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
            "overloaded",
            True,
        ),
    ],
)
async def test_so_it_is_with_every_provider(
    provider: str, body: Any, code: str, retryable: bool
) -> None:
    """Gateways put the same errors before all of them, in one piece and into open streams."""
    for kind in ("application/json", "application/problem+json; charset=utf-8", "text/plain"):
        answer = json_answer(body, content_type=kind)
        failure = await failed(answer, provider=provider)
        assert (failure.code, failure.retryable) == (code, retryable), kind
    for name in ("", "event: error\n"):
        data = f"{name}data: {json.dumps(body)}\n\n".encode()
        begun = [*BEGUN[provider].pieces[:1], data]
        for pieces in ([data], begun):
            answer = Answer(headers={"content-type": "text/event-stream"}, pieces=pieces)
            failure = await failed(answer, provider=provider, stream=True)
            assert (failure.code, failure.retryable) == (code, retryable), pieces


@pytest.mark.parametrize("provider", ["anthropic", "google", "openai"])
@pytest.mark.parametrize(
    ("error", "code", "after_s"),
    [
        ({"code": 401, "message": "x"}, "authentication_failed", None),
        ({"type": "permission_error", "message": "x"}, "authentication_failed", None),
        ({"type": "not_found_error", "message": "x"}, "model_not_found", None),
        ({"code": 402, "message": "x"}, "quota_exceeded", None),
        ({"code": "context_length_exceeded", "message": "x"}, "context_overflow", None),
        ({"status": "UNAVAILABLE", "message": "x"}, "unavailable", None),
        ({"code": 429, "details": [{"retryDelay": "7s"}]}, "rate_limited", 7),
        (
            {"code": 429, "details": [{"violations": [{"quotaId": "RequestsPerDayPerModel"}]}]},
            "quota_exceeded",
            None,
        ),
        ("the model is loading", "server_error", None),
    ],
)
async def test_an_error_in_a_stream_is_that_of_its_status(
    provider: str, error: Any, code: str, after_s: float | None
) -> None:
    """Also of libraries that look for the errors of their own provider only."""
    failure = await failed(events({"error": error}), provider=provider, stream=True)
    assert (failure.code, failure.after_s) == (code, after_s)


async def test_the_key_is_not_in_an_error_of_a_stream() -> None:
    """Some echo the key that they refuse."""
    answer = events({"error": {"code": 401, "message": f"wrong key {KEY}"}})
    failure = await failed(answer, provider="anthropic", stream=True)
    assert KEY not in f"{failure.message} {failure.raw}"


@pytest.mark.parametrize("provider", BEGUN)
async def test_the_word_error_in_an_answer_is_none(provider: str) -> None:
    """A stream is told on as it came."""
    said = 'He said: {"error": {"code": 429}}'
    found = await asked(STREAMS[provider](said, "!"), provider=provider, stream=True)
    assert isinstance(found, LlmResponse)
    assert found.full_text == f"{said}!"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "6m0s"}, 360),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "999999999"}, 86_400),
        ({"x_ratelimit_reset_requests": "1m1s", "x_ratelimit_remaining_requests": "0"}, 61),
        ({"anthropic_ratelimit_requests_reset": "2001-01-01T00:00:00Z"}, 0),
    ],
)
async def test_a_wait_is_read_whoever_asks_for_it(
    provider: str, headers: dict[str, str], after_s: float | None
) -> None:
    """In every form; the tables are in the tests of ``retry_after``."""
    busy = json_answer({"error": {"message": "x", "type": "rate_limit_error"}}, 429, **headers)
    failure = await failed(busy, provider=provider)
    assert (failure.code, failure.after_s) == ("rate_limited", after_s)


async def test_a_quota_is_not_tried_again_whatever_the_header_says() -> None:
    """Whoever is told to come back would come back for ever."""
    body = {"error": {"message": "x", "code": "insufficient_quota"}}
    failure = await failed(json_answer(body, 429, x_should_retry="true", retry_after="1"))
    assert (failure.code, failure.retryable, failure.after_s) == ("quota_exceeded", False, None)


def whole(choice: Any, **more: Any) -> Answer:
    """An answer with one choice."""
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return json_answer({**BASE, "choices": [choice], "usage": usage, **more})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("choices", "more", "code"),
    [
        ([], {}, "unreadable_response"),
        (None, {}, "unreadable_response"),
        ([], {"prompt_filter_results": FILTERED}, "content_filter"),
        ([], {"promptFeedback": {"blockReason": "SAFETY"}}, "content_filter"),
    ],
)
async def test_an_answer_without_a_choice_is_no_defect_of_the_worker(
    choices: Any, more: dict[str, Any], code: str, stream: bool
) -> None:
    """A filter is told apart; what it cost is kept with the words."""
    body = {**BASE, "choices": choices, **more}
    answer = events(body, end=DONE) if stream else json_answer({**body, "usage": {"total": 3}})
    failure = await failed(answer, stream=stream)
    assert (failure.code, failure.retryable) == (code, code != "content_filter")
    assert failure.raw
    assert stream or '"total": 3' in failure.raw


@pytest.mark.parametrize(
    "choice",
    [
        "text",
        {"index": 0, "finish_reason": "stop"},
        {"index": 0, "finish_reason": "stop", "message": None},
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": 7}},
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]},
        },
    ],
)
async def test_a_choice_that_is_none_cannot_be_read(choice: Any) -> None:
    """Asking again may help."""
    failure = await failed(whole(choice))
    assert (failure.code, failure.retryable) == ("unreadable_response", True)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_ends_with_an_error_is_one(stream: bool) -> None:
    """As a gateway says it: in the choice, or as the reason of its end."""
    told = {"index": 0, "finish_reason": "error", "error": {"code": 503, "message": "upstream"}}
    if stream:
        answers = [
            events({**CHUNK, "choices": [{**told, "delta": {"content": ""}}]}),
            chat_events("Hel", reason="error"),
        ]
    else:
        message = {"role": "assistant", "content": ""}
        answers = [whole({**told, "message": message}), chat_answer("Hel", reason="error")]
    assert (await failed(answers[0], stream=stream)).code == "unavailable"
    failure = await failed(answers[1], stream=stream)
    assert (failure.code, failure.retryable) == ("server_error", True)


@pytest.mark.parametrize(
    ("message", "reason", "text", "end"),
    [
        ({"content": None}, "stop", "", "stop"),
        ({"content": None}, "length", "", "output_limit"),
        ({"content": None}, "content_filter", "", "content_filter"),
        ({"content": None, "refusal": "I cannot"}, "stop", "", "content_filter"),
        ({"content": "Hel"}, "length", "Hel", "output_limit"),
        ({"content": "Hello"}, None, "Hello", "stop"),
    ],
)
async def test_an_odd_end_of_a_whole_answer_is_told(
    message: dict[str, Any], reason: str | None, text: str, end: str
) -> None:
    """As that of a stream is."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    found = await asked(whole(choice))
    assert isinstance(found, LlmResponse)
    assert (found.full_text, found.terminal_reason) == (text, end)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (3, 4)


@pytest.mark.parametrize("usage", [None, "free", {"prompt_tokens": None}, {"prompt_tokens": "x"}])
async def test_an_answer_is_not_lost_for_a_bill_that_cannot_be_read(usage: Any) -> None:
    """It counts as nothing then."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    found = await asked(whole(choice, usage=usage))
    assert isinstance(found, LlmResponse)
    assert (found.full_text, found.usage.input_tokens) == ("x", 0)


@pytest.mark.parametrize(
    ("provider", "answer", "code"),
    [
        ("google", json_answer({"candidates": []}), "unreadable_response"),
        ("google", google_answer([], "MALFORMED_FUNCTION_CALL"), "server_error"),
        ("anthropic", json_answer({"type": "message", "content": None}), "unreadable_response"),
        (
            "openai",
            responses_answer(
                [], status="failed", error={"code": "rate_limit_exceeded", "message": "x"}
            ),
            "rate_limited",
        ),
        (
            "openai",
            responses_answer(
                [], status="failed", error={"code": "insufficient_quota", "message": "x"}
            ),
            "quota_exceeded",
        ),
    ],
)
async def test_the_other_dialects_have_their_own_ways_to_say_nothing(
    provider: str, answer: Answer, code: str
) -> None:
    """None of them is a defect in the worker."""
    assert (await failed(answer, provider=provider)).code == code


async def test_a_refusal_of_anthropic_is_an_answer() -> None:
    """With its reason."""
    found = await asked(anthropic_answer([], "refusal"), provider="anthropic")
    assert isinstance(found, LlmResponse)
    assert found.terminal_reason == "content_filter"


@pytest.mark.parametrize("body", [None, 7, "text", [], [7], {}, {"error": None}, {"error": {}}])
def test_what_is_no_error_is_none(body: Any) -> None:
    """Whatever it is otherwise."""
    assert error_in(body) is None
    assert not says_quota(body)


def test_an_error_beside_an_answer_is_none() -> None:
    """Some say ``error`` with every answer; the Responses of OpenAI do."""
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    assert error_in({"choices": [choice], "error": {"message": "", "code": 0}}) is None
    assert error_in({"error": None, "output": []}) is None


@pytest.mark.parametrize("code", [True, 200, 700, -1, 1.5, None, "x", [], {}])
def test_a_code_that_is_no_status_is_a_bad_gateway(code: Any) -> None:
    """Asking again may help."""
    assert status_of({"error": {"code": code}}) == 502
    assert json.dumps(code)
