"""``llm_call`` and ``direct`` through a whole broker in memory, with scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.client.handle import Handle
from effectmq.consumers.handler import EffectContext, TryAgain
from effectmq.consumers.llm import (
    ConfiguredModel,
    DirectHandler,
    LlmCallHandler,
    ModelCalls,
    ModelProvider,
    ModelSettings,
    Prompt,
    llm_handlers,
    read_models,
)
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.errors import EffectmqError, RejectEffectError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.llm_request import (
    GenerationOptions,
    LlmContentBlockImage,
    LlmRequestSpec,
)
from effectmq.protocol.wire.llm_response import LlmCallError, LlmResponse, LlmUsage
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeLlmCall,
)
from tests.consumers.llm.asking import attachment, message, spec
from tests.consumers.stage import PATIENCE_S, Stage, effect, hurry, logged, nap, outcome

ANSWER = LlmResponse(
    full_text="ok",
    parts=[],
    usage=LlmUsage(input_tokens=0, output_tokens=0, cached_input_tokens=0, reasoning_tokens=0),
    terminal_reason="stop",
)


def call(request: LlmRequestSpec, effect_id: str = "1") -> RuntimeEffectEnvelope:
    return effect("llm_call", RuntimeEffectCommandLlmCall(request=request), effect_id)


def direct(request: LlmRequestSpec, effect_id: str = "1") -> RuntimeEffectEnvelope:
    command = RuntimeEffectCommandDirect(request=request, usage_source="test")
    return effect("direct", command, effect_id)


def row(**rule: Any) -> dict[str, Any]:
    """A scripted model with one rule."""
    return {"provider": "scripted", "script": [rule]}


class Odd:
    """A provider of a test's own."""

    def __init__(self, answer: Callable[[Prompt], Any]) -> None:
        self._answer = answer
        self.closed = 0

    async def complete(
        self, prompt: Prompt, on_text: Callable[[str], None] | None = None
    ) -> LlmResponse:
        if on_text is not None:
            on_text("")
        result: LlmResponse = await self._answer(prompt)
        return result

    async def close(self) -> None:
        self.closed += 1


def odd(answer: Callable[[Prompt], Any], **settings: Any) -> ModelCalls:
    """Calls with that provider, under the name of ``fast``."""
    row = ModelSettings(provider="scripted", **settings)
    return ModelCalls({"fast": ConfiguredModel(row, Odd(answer))})


async def run(handler: LlmCallHandler | DirectHandler, envelope: RuntimeEffectEnvelope) -> Any:
    """One attempt, without a broker."""
    request = Request.seal(envelope)
    context = EffectContext(envelope, "1", 1, 0, "")
    return await handler.run(request, context)


def failure(result: Any) -> LlmCallError:
    """The failure in an outcome."""
    assert isinstance(result, RuntimeEffectOutcomeLlmCall | RuntimeEffectOutcomeDirect)
    assert isinstance(result.result, Err)
    return result.result.err


async def working(stage: Stage, table: dict[str, Any], **more: Any) -> EffectWorker:
    worker = stage.worker()
    llm_call, direct_ = llm_handlers(read_models(table), **more)
    worker.add(llm_call)
    worker.add(direct_)
    worker.use(llm_call.calls)
    return await stage.start(worker)


async def chunks(handle: Handle) -> list[tuple[int, int, str]]:
    async with asyncio.timeout(PATIENCE_S):
        return [(chunk.attempt, chunk.number, chunk.text) async for chunk in handle.chunks()]


async def test_text_streams_back_while_it_is_produced_and_the_outcome_is_whole(
    stage: Stage,
) -> None:
    """Numbered, tagged with the attempt, and together the text of the outcome."""
    await working(stage, {"fast": row(reply="Once upon a time", piece_chars=5)})
    client = await stage.client()
    handle = await client.submit(call(spec("tell me")))
    assert await chunks(handle) == [
        (1, 0, "Once "),
        (1, 1, "upon "),
        (1, 2, "a tim"),
        (1, 3, "e"),
    ]
    result = await outcome(handle)
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(result.result, Ok)
    assert result.result.ok.full_text == "Once upon a time"
    assert result.text_streamed


async def test_direct_gives_one_whole_answer_and_streams_nothing(stage: Stage) -> None:
    """Its caller reads the response, not a stream."""
    worker = await working(stage, {"fast": row(reply="Once")})
    client = await stage.client()
    handle = await client.submit(direct(spec("tell me")))
    assert await chunks(handle) == []
    result = await outcome(handle)
    assert isinstance(result, RuntimeEffectOutcomeDirect)
    assert isinstance(result.result, Ok)
    assert worker.counters["chunks"] == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_text_streamed_says_whether_any_text_went_out(stage: Stage, stream: bool) -> None:
    """Not when there was none, nor when the server cannot stream."""
    silent = {**row(reply="said" if not stream else ""), "stream": stream}
    await working(stage, {"fast": silent})
    client = await stage.client()
    result = await client.execute(call(spec("?")))
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert not result.text_streamed


async def test_a_busy_provider_is_asked_again_over_a_delay_level_not_before_it_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """``Retry-After`` is a promise: the level above it, never the one below."""
    hurry(monkeypatch)
    busy = {"times": 2, "after_s": 0.05, "after_chars": 4}
    worker = await working(stage, {"fast": row(reply="at last", failure=busy)})
    client = await stage.client()
    handle = await client.submit(call(spec("?")))
    assert await chunks(handle) == [(1, 0, "at l"), (2, 0, "at l"), (3, 0, "at last")]
    reply = await handle.reply(PATIENCE_S)
    assert reply.attempt == 3
    assert worker.counters["delayed"] == 2
    # Of the stage's 30, 60 and 120 ms, the first that keeps the promise of 50.
    assert [getattr(record, "wait_ms", 0) for record in logged(caplog, "retry")] == [60, 60]
    assert stage.letters() == []


@pytest.mark.parametrize("kind", ["llm_call", "direct"])
async def test_a_provider_that_stays_busy_is_an_outcome_and_parks_nothing(
    stage: Stage, kind: str
) -> None:
    """With the provider's own fields, after as many attempts as the row allows."""
    busy = {"times": 9, "message": "busy", "after_s": 0}
    worker = await working(stage, {"fast": {**row(failure=busy), "attempts": 3}})
    client = await stage.client()
    envelope = call(spec("?")) if kind == "llm_call" else direct(spec("?"))
    result = await client.execute(envelope, timeout=PATIENCE_S)
    assert failure(result) == LlmCallError(
        message="busy", retryable=True, code="rate_limited", terminal_reason="provider_error"
    )
    assert worker.counters["started"] == 3
    assert stage.letters() == []


async def test_what_asking_again_cannot_mend_is_an_outcome_at_once(stage: Stage) -> None:
    """One attempt."""
    refused = {"times": 9, "retryable": False, "code": "authentication_failed"}
    worker = await working(stage, {"fast": row(failure=refused)})
    client = await stage.client()
    result = await client.execute(call(spec("?")))
    assert failure(result).code == "authentication_failed"
    assert worker.counters["started"] == 1


async def test_a_failure_after_some_text_says_that_text_went_out(stage: Stage) -> None:
    """Whoever showed it must take it back."""
    broken = {"times": 9, "retryable": False, "after_chars": 3}
    await working(stage, {"fast": row(reply="half an answer", failure=broken)})
    client = await stage.client()
    result = await client.execute(call(spec("?")))
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert result.text_streamed
    assert isinstance(result.result, Err)


@pytest.mark.parametrize(("cap", "refused"), [(1_000, False), (1_001, True), (None, False)])
async def test_a_cap_above_the_capacity_of_the_model_is_refused_in_the_contracts_words(
    stage: Stage, cap: int | None, refused: bool
) -> None:
    """Without asking the provider."""
    await working(stage, {"fast": {**row(reply="ok"), "output_token_capacity": 1_000}})
    client = await stage.client()
    request = spec("?", generation=GenerationOptions(output_token_cap=cap))
    result = await client.execute(call(request))
    assert isinstance(result, RuntimeEffectOutcomeLlmCall)
    assert isinstance(result.result, Err) is refused
    if refused:
        assert failure(result) == LlmCallError(
            message="requested output_token_cap 1001 exceeds model `fast` "
            "output_token_capacity 1000",
            retryable=False,
            code="output_token_cap_exceeds_model_capacity",
            terminal_reason="provider_error",
        )


async def test_a_model_that_is_not_configured_is_an_outcome_that_names_the_others(
    stage: Stage,
) -> None:
    """With the nearest first."""
    await working(stage, {"fast": row(), "slow": row()})
    client = await stage.client()
    found = failure(await client.execute(call(spec("?", model="fats"))))
    assert (found.code, found.retryable) == ("model_not_configured", False)
    assert "Did you mean fast? Configured: fast, slow" in found.message


@pytest.mark.parametrize("kind", ["llm_call", "direct"])
async def test_a_model_that_another_worker_has_is_asked_there(stage: Stage, kind: str) -> None:
    """A row that an older worker lacks is no fact about the request."""
    old = await working(stage, {"slow": row(reply="old")})
    await working(stage, {"slow": row(reply="old"), "fast": row(reply="new")})
    client = await stage.client()
    for number in range(12):
        request = spec("?", model="fast")
        envelope = (
            call(request, str(number)) if kind == "llm_call" else direct(request, str(number))
        )
        result = await client.execute(envelope)
        assert isinstance(result, RuntimeEffectOutcomeLlmCall | RuntimeEffectOutcomeDirect)
        assert isinstance(result.result, Ok)
    assert old.counters["elsewhere"] > 0


# Attachments ----------------------------------------------------------------------------------


class Store:
    """Attachments in a dict."""

    def __init__(self, found: dict[str, bytes]) -> None:
        self._found = found
        self.asked: list[str] = []

    async def get(self, attachment_id: str) -> bytes:
        self.asked.append(attachment_id)
        if attachment_id not in self._found:
            raise EffectmqError(f"there is no attachment {attachment_id[:8]}")
        return self._found[attachment_id]


async def test_attachments_are_loaded_once_each_and_handed_over_in_order() -> None:
    """Two places may show one image."""
    prompts: list[Prompt] = []

    async def answer(prompt: Prompt) -> LlmResponse:
        prompts.append(prompt)
        return ANSWER

    store = Store({"a" * 64: b"A", "b" * 64: b"B"})
    settings = ModelSettings(provider="scripted")
    calls = ModelCalls({"fast": ConfiguredModel(settings, Odd(answer))}, store)
    named = [attachment("b" * 64), attachment("a" * 64), attachment("b" * 64)]
    request = spec(message("User", LlmContentBlockImage(attachment_idx=0)), attachments=named)
    await calls.complete(request, 4, None)
    assert prompts == [Prompt(request, (b"B", b"A", b"B"), 4)]
    assert store.asked == ["b" * 64, "a" * 64]


@pytest.mark.parametrize(
    ("store", "words"),
    [(Store({}), "there is no attachment aaaaaaaa"), (None, "has no attachment store")],
)
async def test_an_attachment_that_cannot_be_loaded_is_an_outcome(
    stage: Stage, store: Store | None, words: str
) -> None:
    """The provider is not asked."""
    await working(stage, {"fast": row()}, attachments=store)
    client = await stage.client()
    request = spec("look", attachments=[attachment()])
    found = failure(await client.execute(call(request)))
    assert (found.code, found.terminal_reason) == (
        "attachment_resolution_failed",
        "provider_error",
    )
    assert words in found.message
    assert not found.retryable


# What goes wrong inside -----------------------------------------------------------------------


async def test_a_model_that_takes_too_long_timed_out_and_is_asked_again(stage: Stage) -> None:
    """At the limit of its row."""
    slow = {**row(reply="late", pause_s=60), "time_limit_s": 0.05, "attempts": 1}
    await working(stage, {"fast": slow})
    client = await stage.client()
    found = failure(await client.execute(call(spec("?"))))
    assert (found.code, found.retryable) == ("timeout", True)
    assert "0.05 s" in found.message


async def test_another_try_is_what_a_timeout_comes_to_while_the_policy_lasts() -> None:
    """In the pipeline's terms, whoever noticed it."""

    async def answer(prompt: Prompt) -> LlmResponse:
        raise TimeoutError

    calls = odd(answer)
    for handler, envelope in (
        (LlmCallHandler(calls), call(spec("?"))),
        (DirectHandler(calls), direct(spec("?"))),
    ):
        assert isinstance(await run(handler, envelope), TryAgain)
        assert isinstance(handler.timed_out(Request.seal(envelope), 9.0), TryAgain)


async def test_a_defect_of_a_provider_is_an_outcome_and_not_tried_again() -> None:
    """The contract's row for a task that died."""

    async def answer(prompt: Prompt) -> LlmResponse:
        raise ZeroDivisionError("division by zero")

    found = failure(await run(LlmCallHandler(odd(answer)), call(spec("?"))))
    assert found == LlmCallError(
        message="internal task failed: ZeroDivisionError: division by zero",
        retryable=False,
        code="task_join_failed",
        terminal_reason="provider_error",
    )


async def test_a_cancellation_inside_a_provider_is_not_one_of_the_effect() -> None:
    """And one of the effect goes through."""
    reached = asyncio.Event()

    async def answer(prompt: Prompt) -> LlmResponse:
        reached.set()
        if prompt.request.session_id == "inside":
            raise asyncio.CancelledError
        await asyncio.Event().wait()
        return ANSWER

    handler = LlmCallHandler(odd(answer))
    found = failure(await run(handler, call(spec("?", session_id="inside"))))
    assert found.code == "task_join_failed"
    reached.clear()
    task = asyncio.create_task(run(handler, call(spec("?"))))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("kind", "executor"), [("llm_call", "turn"), ("direct", "direct")])
async def test_another_command_is_refused_in_the_contracts_words(kind: str, executor: str) -> None:
    """It cannot come here through a queue."""
    handlers = {one.kind: one for one in llm_handlers({})}
    with pytest.raises(RejectEffectError) as refused:
        await run(handlers[kind], nap(1))
    assert refused.value.code == "runtime_effect_local_executor_mismatch"
    assert refused.value.message == f"local {executor} executor cannot execute sleep command"


async def test_the_pipelines_limit_lies_behind_that_of_the_model() -> None:
    """So that the model's strikes, which knows whether text went out."""
    models = {
        "fast": ModelSettings(provider="scripted", time_limit_s=10),
        "slow": ModelSettings(provider="scripted", time_limit_s=100),
    }
    for handler in llm_handlers(models):
        make = call if handler.kind == "llm_call" else direct
        limit = handler.limit_s(Request.seal(make(spec("?"))))
        assert limit is not None
        assert limit > 10
        assert handler.limit_s(Request.seal(make(spec("?", model="none")))) is None
        assert handler.time_limit_s is not None
        assert handler.time_limit_s > 100
    assert llm_handlers({})[0].time_limit_s is None


async def test_a_worker_that_stops_closes_its_providers(stage: Stage) -> None:
    """And may be started again."""

    async def answer(prompt: Prompt) -> LlmResponse:
        return ANSWER

    provider: ModelProvider = Odd(answer)
    calls = ModelCalls({"fast": ConfiguredModel(ModelSettings(provider="scripted"), provider)})
    worker = stage.worker()
    worker.add(LlmCallHandler(calls))
    worker.use(calls)
    client: EffectClient | None = None
    for times in (1, 2):
        await worker.start()
        client = client or await stage.client()
        result = await client.execute(call(spec("?"), str(times)))
        assert isinstance(result, RuntimeEffectOutcomeLlmCall)
        await worker.stop()
        assert getattr(provider, "closed", 0) == times
