"""
The adapter for real providers, through pydantic-ai.

That library does everything that uses HTTP. This module translates a prompt on the way in, and a
response or an exception on the way out, and passes text on while it arrives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from pydantic_ai import ModelResponse
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)
from pydantic_ai.models import Model

from effectmq.consumers.llm.hosted.clients import make_client
from effectmq.consumers.llm.hosted.requests import Question, question_from
from effectmq.consumers.llm.hosted.responses import response_from, usage_of
from effectmq.consumers.llm.hosted.targets import Target
from effectmq.consumers.llm.hosted.tool_names import ToolNames
from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.port import CallFailure, ModelCallError, Prompt
from effectmq.consumers.llm.reading.chat import glued
from effectmq.consumers.llm.reading.failures import failure_from, paid_for, without_key
from effectmq.consumers.llm.reading.tool_calls import values_in
from effectmq.consumers.llm.reading.wire import SEEN, Seen, WireClient
from effectmq.protocol.text import printable
from effectmq.protocol.wire.llm_response import LlmResponse

__all__ = ["HostedModel", "hosted_model"]


def hosted_model(name: str, settings: ModelSettings, key: str | None) -> HostedModel:
    """
    Make the model of a row.

    Args:
        name: The row's name; it is also the provider's name of the model, unless the row has
            another.
        settings: The row.
        key: The API key, when one is sent.

    Raises:
        ImportError: When the library of the provider is not installed.
    """

    def make() -> tuple[Model, WireClient]:
        wire = WireClient(chat=settings.provider in ("openai-chat", "openai-compatible"))
        return make_client(settings.model or name, settings, key, wire), wire

    return HostedModel(make, settings, key)


class HostedModel:
    """
    A model of a real provider, asked through pydantic-ai.

    Args:
        make: Makes the provider's client, and the HTTP client of its requests.
        settings: The row of the table.
        key: The API key; kept only to be removed from the provider's texts.
    """

    def __init__(
        self, make: Callable[[], tuple[Model, WireClient]], settings: ModelSettings, key: str | None
    ) -> None:
        self._make = make
        self._model, wire = make()
        #: ``None`` after it was closed, until the next call.
        self._wire: WireClient | None = wire
        self._target = Target.of(self._model, settings)
        self._key = key

    def __repr__(self) -> str:
        return f"HostedModel({self._model.system}:{self._model.model_name})"

    async def complete(
        self, prompt: Prompt, on_text: Callable[[str], None] | None = None
    ) -> LlmResponse:
        """Ask the provider once; every error becomes a failure."""
        names = ToolNames.of(prompt.request, self._target.family)
        question = question_from(prompt, self._target, names)
        seen = Seen()
        SEEN.set(seen)
        if self._wire is None:
            self._model, self._wire = self._make()
        try:
            answer = await self._answer(question, on_text, seen)
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            raise ModelCallError(self._failure(problem, seen)) from None
        _check_end(answer)
        return response_from(answer, names)

    def _failure(self, problem: Exception, seen: Seen) -> CallFailure:
        """A failure that was found below the library is the cause; other errors are translated."""
        found: BaseException | None = problem
        while found is not None and not isinstance(found, ModelCallError):
            found = found.__cause__ or found.__context__
        if found is not None:
            failure = without_key(found.failure, self._key)
            return replace(failure, usage=failure.usage or paid_for(seen.usage))
        return failure_from(
            problem, self._key, headers=seen.headers, answered=seen.answered, usage=seen.usage
        )

    async def _answer(
        self, question: Question, on_text: Callable[[str], None] | None, seen: Seen
    ) -> ModelResponse:
        try:
            if on_text is None:
                return await self._whole(question)
            return await self._streamed(question, on_text)
        except Exception:
            if seen.given is None:
                raise
        # The answer has arrived in the other form, and is read again; no second request is sent.
        if on_text is None:
            return await self._streamed(question, _to_nobody)
        answer = await self._whole(question)
        for part in answer.parts:
            if isinstance(part, TextPart) and part.content:
                on_text(part.content)
        return answer

    async def _whole(self, question: Question) -> ModelResponse:
        return await model_request(
            self._model,
            question.messages,
            model_settings=question.settings,
            model_request_parameters=question.parameters,
            instrument=False,
        )

    async def _streamed(self, question: Question, on_text: Callable[[str], None]) -> ModelResponse:
        async with model_request_stream(
            self._model,
            question.messages,
            model_settings=question.settings,
            model_request_parameters=question.parameters,
            instrument=False,
        ) as stream:
            async for event in stream:
                piece = _text_of(event)
                if piece:
                    on_text(piece)
            answer = stream.get()
        if not _ended(answer):
            raise ModelCallError(
                CallFailure(
                    "connection_failed",
                    "the provider's stream ended before the answer was complete; it is dropped",
                    retryable=True,
                )
            )
        for part in answer.parts:
            if isinstance(part, ToolCallPart) and isinstance(part.args, str):
                count = values_in(part.args)
                if count is not None and count > 1:
                    raise glued(f"arguments of {count} JSON values in a row")
        return answer

    async def close(self) -> None:
        """Close the pool of connections."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.aclose()


def _to_nobody(text: str) -> None:
    """Discard the pieces: the caller wants a whole answer."""


def _text_of(event: ModelResponseStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _check_end(answer: ModelResponse) -> None:
    """
    Refuse an answer without content.

    Raises:
        ModelCallError: When there is neither an answer nor a reason, or the reason is an error.
    """
    if answer.finish_reason == "error":
        reason = (answer.provider_details or {}).get("finish_reason")
        code, problem = "server_error", f"the provider ended the answer with an error: {reason}"
    elif not answer.parts and not _ended(answer):
        code, problem = "unreadable_response", "the provider's answer cannot be read: it is empty"
    else:
        return
    counts = answer.usage.opentelemetry_attributes()
    usage = {name: count for name, count in counts.items() if count}
    raw = f"usage: {json.dumps(usage)}" if usage else None
    paid = usage_of(answer.usage) if usage else None
    raise ModelCallError(CallFailure(code, printable(problem), retryable=True, raw=raw, usage=paid))


def _ended(answer: ModelResponse) -> bool:
    """
    Whether the provider said why the answer ends.

    A proxy that gives up closes the stream as if it were complete, so only the reason shows that it
    is.
    """
    return bool(answer.finish_reason or (answer.provider_details or {}).get("finish_reason"))
