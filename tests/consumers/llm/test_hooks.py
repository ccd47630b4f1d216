"""What a host does with an answer while it arrives, and when it is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.llm import (
    ConfiguredModel,
    LlmCallHandler,
    ModelCalls,
    ModelSettings,
    Prompt,
    TurnHooks,
    llm_handlers,
    read_models,
)
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandLlmCall
from effectmq.protocol.wire.llm_response import (
    LlmCallError,
    LlmOutputPartText,
    LlmResponse,
    LlmUsage,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeLlmCall
from tests.consumers.llm.asking import spec
from tests.consumers.stage import PATIENCE_S, effect

REQUEST = Request.seal(effect("llm_call", RuntimeEffectCommandLlmCall(request=spec("?")), "1"))


async def outcome_of(
    handler: LlmCallHandler, sent: list[str] | None = None
) -> RuntimeEffectOutcomeLlmCall:
    """One attempt, and what it streamed."""
    stream: Callable[[str], None] = [].append if sent is None else sent.append
    context = EffectContext(REQUEST.envelope, "1", 1, 0, "", stream)
    async with asyncio.timeout(PATIENCE_S):
        result = await handler.run(REQUEST, context)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    return result


def scripted(hooks: TurnHooks, **rule: Any) -> LlmCallHandler:
    """The handler of a model that says ``abcdef`` in pieces of two."""
    script = [{"reply": "abcdef", "piece_chars": 2, **rule}]
    return llm_handlers(
        read_models({"fast": {"provider": "scripted", "script": script}}), hooks=hooks
    )[0]


async def test_a_hook_hears_all_text_so_far_and_may_end_the_call() -> None:
    """The outcome is what was said up to there, and it stopped; the usage came after it."""
    heard: list[str] = []

    def enough(text: str) -> bool:
        heard.append(text)
        return len(text) >= 4

    sent: list[str] = []
    result = await outcome_of(scripted(TurnHooks(on_text=enough)), sent)
    assert heard == ["ab", "abcd"]
    assert sent == ["ab", "cd"]
    assert result.result == Ok(
        LlmResponse(
            full_text="abcd",
            parts=[LlmOutputPartText(text="abcd")],
            usage=LlmUsage(
                input_tokens=1, output_tokens=1, cached_input_tokens=0, reasoning_tokens=0
            ),
            terminal_reason="stop",
        )
    )
    assert result.text_streamed


@pytest.mark.parametrize("fails", [True, False])
async def test_a_call_that_a_hook_ended_does_not_wait_for_ever_for_its_usage(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that goes on talking, or breaks, after the end: no usage, and no failure."""
    monkeypatch.setattr("effectmq.consumers.llm.hooks._USAGE_S", 0.01)

    class Talkative:
        async def complete(
            self, prompt: Prompt, on_text: Callable[[str], None] | None = None
        ) -> LlmResponse:
            assert on_text is not None
            on_text("ab")
            if fails:
                raise OSError("gone")
            while True:
                await asyncio.sleep(0)
                on_text("more")

        async def close(self) -> None: ...

    row = ModelSettings(provider="scripted")
    calls = ModelCalls({"fast": ConfiguredModel(row, Talkative())})
    result = await outcome_of(LlmCallHandler(calls, TurnHooks(on_text=lambda text: True)))
    assert isinstance(result.result, Ok)
    assert result.result.ok.full_text == "ab"
    assert result.result.ok.usage.output_tokens == 0


async def test_a_stream_hook_that_fails_ends_the_call_with_the_contracts_code() -> None:
    """At once, and without another try."""

    def fail(text: str) -> None:
        raise ValueError("cannot show this")

    result = await outcome_of(scripted(TurnHooks(on_text=fail), pause_s=0.001))
    assert result.result == Err(
        LlmCallError(
            message="ValueError: cannot show this",
            retryable=False,
            code="plugin_assistant_stream",
            terminal_reason="provider_error",
        )
    )
    assert result.text_streamed


@pytest.mark.parametrize("waits", [True, False])
async def test_a_response_hook_may_put_another_response_in_its_place(waits: bool) -> None:
    """As a function or a coroutine function."""

    def shout(response: LlmResponse) -> LlmResponse:
        return response.model_copy(update={"full_text": response.full_text.upper()})

    async def later(response: LlmResponse) -> LlmResponse:
        await asyncio.sleep(0)
        return shout(response)

    result = await outcome_of(scripted(TurnHooks(on_response=later if waits else shout)))
    assert isinstance(result.result, Ok)
    assert result.result.ok.full_text == "ABCDEF"


async def test_a_response_hook_that_only_looks_changes_nothing() -> None:
    """``None`` is not a response."""
    seen: list[str] = []

    def look(response: LlmResponse) -> None:
        seen.append(response.full_text)

    result = await outcome_of(scripted(TurnHooks(on_response=look)))
    assert isinstance(result.result, Ok)
    assert [result.result.ok.full_text] == seen == ["abcdef"]


async def test_a_response_hook_that_fails_is_an_outcome_with_the_contracts_code() -> None:
    """The provider is not asked again: the hook would see the same."""

    def fail(response: LlmResponse) -> None:
        raise ValueError("not this")

    result = await outcome_of(scripted(TurnHooks(on_response=fail)))
    assert isinstance(result.result, Err)
    error = result.result.err
    assert (error.code, error.retryable) == ("plugin_assistant_response", False)
    assert error.message == "ValueError: not this"


async def test_a_failure_of_the_model_passes_the_hooks_by() -> None:
    """They see answers only."""

    def never(response: LlmResponse) -> None:
        raise AssertionError("there was no response")

    broken = {"times": 1, "retryable": False, "code": "broken"}
    result = await outcome_of(scripted(TurnHooks(on_response=never), failure=broken))
    assert isinstance(result.result, Err)
    assert result.result.err.code == "broken"
