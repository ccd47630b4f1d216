"""
One call of a model, for both kinds of effect: check, load, ask, and judge a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol, Self

from effectmq.broker.store.spend.records import Use
from effectmq.consumers.decisions.retry import retry_wait_ms
from effectmq.consumers.handler import TryAgain
from effectmq.consumers.llm.models import ModelSettings
from effectmq.consumers.llm.numbers import ModelNumbers
from effectmq.consumers.llm.paying import Cashier
from effectmq.consumers.llm.port import CallFailure, ModelCallError, ModelProvider, Prompt
from effectmq.protocol.errors import RetryEffectError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.llm_response import LlmResponse, LlmUsage

__all__ = ["AttachmentSource", "ConfiguredModel", "ModelCalls", "too_slow"]

#: The pipeline's limit is this much longer than the model's, in seconds, so that the model's limit
#: ends the call: only this module knows whether text was streamed.
_MARGIN_S = 5.0


class AttachmentSource(Protocol):
    """Loads the bytes of attachments."""

    async def get(self, attachment_id: str) -> bytes:
        """
        The bytes of one attachment.

        Args:
            attachment_id: The SHA-256 of the bytes, 64 lowercase hex digits.

        Raises:
            EffectmqError: When it is missing, damaged, or cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """
    A row of the table of models, with the provider that answers for it.

    Attributes:
        settings: The row.
        provider: The provider.
    """

    settings: ModelSettings
    provider: ModelProvider


#: The ability of a worker that can load attachments for models.
_ATTACHMENTS = "attachments of model requests"


class ModelCalls:
    """
    The models of a worker. As a context manager it closes their connections on exit.

    Args:
        models: The models, by the names that requests use.
        attachments: Where the bytes of attachments are; without it a request may have none.
        now_s: The time of day, Unix seconds.
    """

    def __init__(
        self,
        models: Mapping[str, ConfiguredModel],
        attachments: AttachmentSource | None = None,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._models = dict(models)
        self._attachments = attachments
        self._now_s = now_s
        #: How often each model was asked, and what for.
        self.numbers = ModelNumbers()
        self._cashier = Cashier()

    @property
    def longest_limit_s(self) -> float | None:
        """The longest of all limits, in seconds; ``None`` without any model."""
        return max((self._limit_s(model) for model in self._models.values()), default=None)

    @property
    def abilities(self) -> dict[str, str]:
        """The abilities: its models, and whether it can load attachments."""
        able = {f"model {name}": "1" for name in self._models}
        return able if self._attachments is None else {**able, _ATTACHMENTS: "1"}

    def limit_s(self, name: str) -> float | None:
        """When the pipeline should stop waiting for a model, in seconds."""
        model = self._models.get(name)
        return self._limit_s(model) if model else None

    def _limit_s(self, model: ConfiguredModel) -> float:
        return model.settings.time_limit_s + _MARGIN_S

    async def __aenter__(self) -> Self:
        """Connections are opened by the first call that needs them."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close every provider's connections; a later call opens them again."""
        for model in self._models.values():
            await model.provider.close()

    async def complete(
        self, spec: LlmRequestSpec, attempt: int, hear: Callable[[str], float | None] | None
    ) -> LlmResponse:
        """
        Ask the model that a request names.

        Args:
            spec: The request.
            attempt: The number of the attempt, from 1.
            hear: Gets the text as it arrives, when the model can stream; may return how long the
                call may still take, in seconds.

        Raises:
            ModelCallError: When there is no answer, for any reason.
        """
        model = self._models.get(spec.model)
        if model is None:
            raise ModelCallError(self._not_configured(spec.model), lacks=f"model {spec.model}")
        _check_cap(spec, model.settings)
        prompt = Prompt(spec, await self._load(spec), attempt)
        try:
            response = await self._answer(model, prompt, hear)
        except ModelCallError as problem:
            self.numbers.failed(spec.model, problem.failure.code)
            raise
        self.numbers.answered(spec.model, response.usage)
        return response

    async def use(self, name: str, usage: LlmUsage | None) -> Use | None:
        """
        What a call has used and what it cost; ``None`` when that is not known.

        Args:
            name: The model, as the request names it.
            usage: What the provider says.
        """
        model = self._models.get(name)
        if model is None or usage is None:
            return None
        use = await self._cashier.use(name, model.settings, usage)
        if use.nanos is not None:
            self.numbers.paid(name, use.nanos)
        return use

    async def _answer(
        self,
        model: ConfiguredModel,
        prompt: Prompt,
        hear: Callable[[str], float | None] | None,
    ) -> LlmResponse:
        """Ask a provider, within the model's time limit."""
        try:
            async with asyncio.timeout(model.settings.time_limit_s) as limit:
                on_text = _shortening(limit, hear) if hear and model.settings.stream else None
                return await model.provider.complete(prompt, on_text)
        except ModelCallError:
            raise
        except TimeoutError:
            raise ModelCallError(too_slow(model.settings.time_limit_s)) from None
        except asyncio.CancelledError as problem:
            if _being_cancelled():
                raise
            # Something that the provider waited for was cancelled, not the effect.
            raise ModelCallError(_died(problem)) from problem
        except Exception as problem:
            # No failure of a provider but a defect: the log has its traceback.
            raise ModelCallError(_died(problem)) from problem

    async def _load(self, spec: LlmRequestSpec) -> tuple[bytes, ...]:
        ids = [attachment.reference.id for attachment in spec.attachments]
        if ids and self._attachments is None:
            raise ModelCallError(
                _unresolved(
                    "this worker has no attachment store; give llm_handlers one, so that the "
                    "attachments of a request can be loaded"
                ),
                lacks=_ATTACHMENTS,
            )
        found: dict[str, bytes] = {}
        for id_ in dict.fromkeys(ids):
            assert self._attachments is not None
            try:
                found[id_] = await self._attachments.get(id_)
            except Exception as problem:
                raise ModelCallError(_unresolved(describe(problem))) from None
        return tuple(found[id_] for id_ in ids)

    def again(self, request: Request, name: str, failure: CallFailure) -> TryAgain | None:
        """
        Another attempt, when both the failure and the model's policy allow it.

        Args:
            request: The attempt that failed.
            name: The model.
            failure: The failure.
        """
        model = self._models.get(name)
        if model is None or not failure.retryable:
            return None
        now_ms = round(self._now_s() * 1_000)
        wait_ms = retry_wait_ms(
            model.settings.retry,
            RetryEffectError(failure.message, after_s=failure.after_s),
            attempt=request.attempt,
            elapsed_ms=max(0, now_ms - (request.first_seen_ms or now_ms)),
        )
        if wait_ms is None:
            return None
        problem = f"{failure.code}: {printable(failure.message)}"
        return TryAgain(wait_ms, problem, promised=failure.after_s is not None)

    def _not_configured(self, name: str) -> CallFailure:
        near = get_close_matches(name, self._models, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(sorted(self._models)) or "none"
        return CallFailure(
            "model_not_configured",
            f"no model {printable(name, 100)!r} is configured for this worker.{hint} "
            f"Configured: {printable(known, 500)}",
        )


def _shortening(
    limit: asyncio.Timeout, hear: Callable[[str], float | None]
) -> Callable[[str], None]:
    def on_text(text: str) -> None:
        rest_s = hear(text)
        if rest_s is not None:
            end = asyncio.get_running_loop().time() + rest_s
            limit.reschedule(min(end, limit.when() or end))

    return on_text


def _check_cap(spec: LlmRequestSpec, settings: ModelSettings) -> None:
    cap, capacity = spec.generation.output_token_cap, settings.output_token_capacity
    if cap is not None and capacity is not None and cap > capacity:
        # The sentence is part of the wire format.
        raise ModelCallError(
            CallFailure(
                "output_token_cap_exceeds_model_capacity",
                f"requested output_token_cap {cap} exceeds model `{spec.model}` "
                f"output_token_capacity {capacity}",
            )
        )


def too_slow(limit_s: float) -> CallFailure:
    """The failure of a call that ran over a time limit, given in seconds."""
    return CallFailure(
        "timeout",
        f"the model did not finish within its time limit of {limit_s:g} s; raise time_limit_s of "
        "the model, or ask for less",
        retryable=True,
    )


def _unresolved(message: str) -> CallFailure:
    return CallFailure("attachment_resolution_failed", message)


def _died(problem: BaseException) -> CallFailure:
    return CallFailure("task_join_failed", f"internal task failed: {describe(problem)}")


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
