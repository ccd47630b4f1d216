"""
The adapter for real providers, through pydantic-ai.

Everything that speaks HTTP is in that library; here a prompt is translated on the way in, a
response or an exception on the way out, and text is handed on while it arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic_ai import ModelResponse
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model

from effectmq.consumers.llm.clients import make_client
from effectmq.consumers.llm.failures import failure_from
from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.port import CallFailure, ModelCallError, Prompt
from effectmq.consumers.llm.requests import Question, question_from
from effectmq.consumers.llm.responses import response_from
from effectmq.consumers.llm.targets import Target
from effectmq.protocol.wire.llm_response import LlmResponse

__all__ = ["HostedModel", "hosted_model"]


def hosted_model(name: str, settings: ModelSettings, key: str | None) -> HostedModel:
    """
    Make the model of a row.

    Args:
        name: The row's name, which is the provider's name of the model when it gives no other.
        settings: The row.
        key: The API key, when one is sent.

    Raises:
        ImportError: When the library of the provider is not installed.
    """
    return HostedModel(make_client(settings.model or name, settings, key), settings, key)


class HostedModel:
    """
    Args:
        model: The client of the provider.
        settings: The row of the table.
        key: The API key; only kept to be taken out of what the provider says.
    """

    def __init__(self, model: Model, settings: ModelSettings, key: str | None) -> None:
        self._model = model
        self._target = Target.of(model, settings)
        self._key = key
        self._opened = False

    def __repr__(self) -> str:
        return f"HostedModel({self._model.system}:{self._model.model_name})"

    async def complete(
        self, prompt: Prompt, on_text: Callable[[str], None] | None = None
    ) -> LlmResponse:
        """Ask the provider once; whatever it does wrong becomes a failure."""
        question = question_from(prompt, self._target)
        try:
            await self._open()
            if on_text is None:
                answer = await self._whole(question)
            else:
                answer = await self._streamed(question, on_text)
        except (asyncio.CancelledError, ModelCallError):
            raise
        except Exception as problem:
            raise ModelCallError(failure_from(problem, self._key)) from None
        return response_from(answer)

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
                    "the provider's stream ended before the answer did; what had arrived is void",
                    retryable=True,
                )
            )
        return answer

    async def _open(self) -> None:
        # Held open, so that calls share connections; the library makes a new pool after a close.
        if not self._opened:
            self._opened = True
            await self._model.__aenter__()

    async def close(self) -> None:
        """Close the pool of connections."""
        if self._opened:
            self._opened = False
            await self._model.__aexit__(None, None, None)


def _text_of(event: ModelResponseStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _ended(answer: ModelResponse) -> bool:
    """
    Whether the provider said why the answer ends.

    A proxy that gives up closes the stream as if it were whole, so only the reason tells.
    """
    return bool(answer.finish_reason or (answer.provider_details or {}).get("finish_reason"))
