"""
Answers in another form than was asked for, under another type, packed, cut off, or none at all:
each is read as what it is, or fails as what it is.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from effectmq.consumers.llm.port import CallFailure
from effectmq.consumers.llm.providers import open_provider
from effectmq.consumers.llm.reading.forms import Form, form_of
from effectmq.protocol.wire.llm_request import GenerationOptions
from effectmq.protocol.wire.llm_response import LlmOutputPartToolCall, LlmResponse
from tests.consumers.llm.asking import KEY, LOOKUP, hosted, prompt
from tests.consumers.llm.dialects import (
    anthropic_answer,
    chat_answer,
    google_answer,
    responses_answer,
)
from tests.consumers.llm.server import Answer, FakeProvider
from tests.consumers.llm.test_errors_inside_200 import PROVIDERS, STREAMS, asked

#: One for each way in which providers speak.
SPEAKING = [provider for provider in PROVIDERS if provider != "openai-chat"]
EVENTS = "text/event-stream"
JSON = "application/json"
PAGE = b"<!doctype html><html><head><title> Sign in </title></head><body>Proxy</body></html>"
REFUSED = b'{"error":{"message":"slow down","code":429,"type":"rate_limit_error"}}'
SPOKEN = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
WHOLE: dict[str, Answer] = {
    "openai-compatible": chat_answer("Hello"),
    "openai-chat": chat_answer("Hello"),
    "openai": responses_answer([SPOKEN]),
    "anthropic": anthropic_answer([{"type": "text", "text": "Hello"}]),
    "google": google_answer([{"text": "Hello"}]),
}


def answer(body: bytes, kind: str = "", packed: str = "") -> Answer:
    """What a server says."""
    headers = {"content-type": kind} if kind else {}
    if packed:
        headers["content-encoding"] = packed
    return Answer(headers=headers, pieces=[body] if body else [])


def whole(provider: str) -> bytes:
    """An answer in one piece."""
    return b"".join(WHOLE[provider].pieces)


def events(provider: str) -> bytes:
    """The same as a stream."""
    return b"".join(STREAMS[provider]("Hel", "lo").pieces)


def with_comments(stream: bytes) -> bytes:
    """As a proxy on Windows may hand it on."""
    told = b": hello\n\nretry: 1000\n\n" + stream.replace(b"data: ", b": on\nid: 7\ndata:")
    return b"\xef\xbb\xbf" + told.replace(b"\n", b"\r\n")


#: Each says "Hello".
READABLE: dict[str, Callable[[str], Answer]] = {
    "json": lambda p: answer(whole(p), JSON),
    "json as text": lambda p: answer(whole(p), "text/plain; charset=utf-8"),
    "json without a type": lambda p: answer(whole(p)),
    "json as a page": lambda p: answer(whole(p), "text/html"),
    "json as bytes": lambda p: answer(whole(p), "application/octet-stream"),
    "json as events": lambda p: answer(whole(p), EVENTS),
    "json with a mark": lambda p: answer(b"\xef\xbb\xbf \n" + whole(p), JSON),
    "json packed": lambda p: answer(gzip.compress(whole(p)), JSON, "gzip"),
    "events": lambda p: answer(events(p), f"{EVENTS}; charset=utf-8"),
    "events as json": lambda p: answer(events(p), JSON),
    "events as text": lambda p: answer(events(p), "text/plain"),
    "events without a type": lambda p: answer(events(p)),
    "events with comments": lambda p: answer(with_comments(events(p)), EVENTS),
    "events byte by byte": lambda p: replace(
        answer(b"", EVENTS), pieces=[bytes([one]) for one in events(p)]
    ),
    "events without the last line": lambda p: answer(events(p).rstrip(b"\n"), EVENTS),
    "events without an end mark": lambda p: answer(
        events(p).replace(b"data: [DONE]\n\n", b""), EVENTS
    ),
    "events packed": lambda p: answer(gzip.compress(events(p)), EVENTS, "gzip"),
    "events deflated": lambda p: answer(zlib.compress(events(p)), EVENTS, "deflate"),
}


@pytest.mark.parametrize("provider", SPEAKING)
@pytest.mark.parametrize("form", READABLE)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_read_as_what_it_is_and_not_as_what_was_asked_for(
    provider: str, form: str, stream: bool
) -> None:
    """Whatever its type says."""
    found = await asked(READABLE[form](provider), stream=stream, provider=provider)
    assert isinstance(found, LlmResponse), found
    assert found.full_text == "Hello"
    assert found.terminal_reason == "stop"


@pytest.mark.parametrize("provider", SPEAKING)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_may_be_written_in_what_it_says(provider: str, stream: bool) -> None:
    """Old servers say Latin-1, and mean it."""
    for body, kind in ((whole(provider), JSON), (events(provider), EVENTS)):
        told = body.replace(b'"lo"', b'"l\xf6"').replace(b"Hello", b"Hell\xf6")
        found = await asked(
            answer(told, f"{kind}; charset=iso-8859-1"), stream=stream, provider=provider
        )
        assert isinstance(found, LlmResponse), found
        assert found.full_text == "Hell\xf6"


async def test_nobody_is_asked_twice_for_an_answer_in_another_form() -> None:
    """The text goes out all the same."""
    async with FakeProvider(WHOLE["anthropic"]) as server:
        row = hosted("anthropic", server.url, model="claude-haiku-4-5")
        model = open_provider("fast", row, {"TEST_KEY": KEY})
        texts: list[str] = []
        short = prompt("hi", generation=GenerationOptions(output_token_cap=1_000))
        assert (await model.complete(short, texts.append)).full_text == "Hello"
        await model.close()
    assert texts == ["Hello"]
    assert len(server.seen) == 1


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
async def test_a_whole_answer_in_place_of_a_stream_keeps_its_tool_calls(reason: str) -> None:
    """And its usage."""
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    async with FakeProvider(chat_answer(None, calls=(call,), reason=reason)) as server:
        row = hosted("openai-compatible", f"{server.url}/v1")
        model = open_provider("fast", row, {"TEST_KEY": KEY})
        found = await model.complete(prompt("hi", tools=[LOOKUP]), [].append)
        await model.close()
    (part,) = found.parts
    assert isinstance(part, LlmOutputPartToolCall)
    assert part.tool_name == "lookup"
    assert found.usage.output_tokens == 7


#: Each is no answer: its code, and words of the sentence about it.
FAILING: dict[str, tuple[Callable[[str], Answer], str, str]] = {
    "empty": (lambda p: answer(b""), "unreadable_response", "it is empty"),
    "empty json": (lambda p: answer(b"", JSON), "unreadable_response", "it is empty"),
    "empty events": (lambda p: answer(b"", EVENTS), "unreadable_response", "it is empty"),
    "no content": (lambda p: Answer(204), "unreadable_response", "it is empty"),
    "a page": (lambda p: answer(PAGE, "text/html"), "unreadable_response", "'Sign in'"),
    "a page as json": (lambda p: answer(PAGE, JSON), "unreadable_response", "'Sign in'"),
    "a page as events": (lambda p: answer(PAGE, EVENTS), "unreadable_response", "'Sign in'"),
    "a page that refuses": (
        lambda p: replace(answer(PAGE, "text/html"), status=502),
        "server_error",
        "answered 502: a page with the title 'Sign in'",
    ),
    "a redirect": (
        lambda p: Answer(302, {"location": "/login?next=secret"}),
        "unreadable_response",
        "to '/login'; set base_url",
    ),
    "a text": (lambda p: answer(b"no healthy upstream", "text/plain"), "unreadable_response", "te"),
    "null": (lambda p: answer(b"null", JSON), "unreadable_response", "found text"),
    "a number": (lambda p: answer(b"7", JSON), "unreadable_response", "found text"),
    "an empty list": (lambda p: answer(b"[]", JSON), "unreadable_response", "not an object"),
    "half of it": (
        lambda p: answer(whole(p)[:-9], JSON),
        "unreadable_response",
        "not one complete document",
    ),
    "not packed": (
        lambda p: answer(events(p), EVENTS, "gzip"),
        "unreadable_response",
        "not gzip, as its content-encoding says",
    ),
    "packed in secret": (
        lambda p: answer(gzip.compress(whole(p)), JSON),
        "unreadable_response",
        "it is compressed (gzip)",
    ),
    "an end and nothing before it": (
        lambda p: answer(b"data: [DONE]\n\n", EVENTS),
        "unreadable_response",
        "holds no",
    ),
    "comments": (lambda p: answer(b": on\n\n: on\n\n", EVENTS), "unreadable_response", "holds no"),
    "an event that is not JSON": (
        lambda p: answer(events(p).partition(b"\n\n")[0] + b"\n\ndata: {nope\n\n", EVENTS),
        "unreadable_response",
        "an event of its stream is not JSON",
    ),
    "cut off": (
        lambda p: replace(answer(events(p)[:-200], EVENTS), drops=True),
        "connection_failed",
        "the connection to the provider failed",
    ),
    "an error": (lambda p: answer(REFUSED, JSON), "rate_limited", "slow down"),
    "an error as text": (lambda p: answer(REFUSED, "text/plain"), "rate_limited", "slow down"),
    "an error as a page": (lambda p: answer(REFUSED, "text/html"), "rate_limited", "slow down"),
    "an error as events": (lambda p: answer(REFUSED, EVENTS), "rate_limited", "slow down"),
    "an error in an event": (
        lambda p: answer(b"data: " + REFUSED + b"\n\n", "text/plain"),
        "rate_limited",
        "slow down",
    ),
}


@pytest.mark.parametrize(
    ("provider", "stream"),
    [*((provider, True) for provider in SPEAKING), ("openai-compatible", False)],
)
@pytest.mark.parametrize("form", FAILING)
async def test_what_is_no_answer_fails_as_what_it_is(
    provider: str, form: str, stream: bool
) -> None:
    """All of these may pass, so they are worth another try."""
    make, code, words = FAILING[form]
    found = await asked(make(provider), stream=stream, provider=provider)
    assert isinstance(found, CallFailure), found
    assert (found.code, found.retryable) == (code, True)
    assert words in found.message
    assert "secret" not in found.message


@pytest.mark.parametrize("provider", SPEAKING)
@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
async def test_a_stream_that_ends_before_its_answer_is_no_answer(provider: str, end: bytes) -> None:
    """Also when it ends as if it were whole."""
    begun = b"\n\n".join(events(provider).split(b"\n\n")[:1]) + b"\n\n"
    found = await asked(answer(begun + end, EVENTS), stream=True, provider=provider)
    assert isinstance(found, CallFailure), found
    assert found.code in ("connection_failed", "unreadable_response")
    assert found.retryable


@pytest.mark.parametrize(
    ("start", "ended", "form"),
    [
        (b"", False, None),
        (b"\xef\xbb", False, None),
        (b"dat", False, None),
        (b"  \n ", False, None),
        (b":\n", False, "events"),
        (b"data: {}", False, "events"),
        (b"{", True, "json"),
        (b"\xef\xbb\xbf", True, "nothing"),
        (json.dumps({"a": 1}).encode(), False, "json"),
        (b"database down", False, "other"),
    ],
)
def test_a_form_is_told_by_as_little_as_it_takes(
    start: bytes, ended: bool, form: Form | None
) -> None:
    """A stream is not held up for it."""
    assert form_of(start, "", ended=ended) == form
