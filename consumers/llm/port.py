"""
The port between the handlers and the models: a prompt in, a response or a failure out.

It has two adapters: ``scripted`` (by rule, offline) and ``hosted`` (providers over HTTP). A failure
is a value with the fields of the wire format's ``LlmCallError``, and with the wait that the
provider asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from effectmq.protocol.errors import HandlerError
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.llm_response import (
    LlmCallError,
    LlmResponse,
    LlmTerminalReason,
    LlmUsage,
)

__all__ = ["CallFailure", "ModelCallError", "ModelProvider", "Prompt", "unfit"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    One request, with everything that it refers to.

    Attributes:
        request: The request.
        attachments: The bytes of the request's ``attachments``, in the same order.
        attempt: The number of the attempt at the effect, from 1.
    """

    request: LlmRequestSpec
    attachments: tuple[bytes, ...] = ()
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class CallFailure:
    """
    Why there is no response.

    Attributes:
        code: For programs, for instance ``rate_limited``.
        message: A sentence for people.
        retryable: Whether another attempt may help.
        after_s: The wait that the provider asked for, in seconds; ``None`` for none.
        raw: The provider's own words.
        terminal_reason: ``provider_error`` unless the failure says how the answer ended.
        usage: What the provider says that it used all the same; ``None`` when it says nothing.
    """

    code: str
    message: str
    retryable: bool = False
    after_s: float | None = None
    raw: str | None = None
    terminal_reason: LlmTerminalReason = "provider_error"
    usage: LlmUsage | None = None

    def on_the_wire(self) -> LlmCallError:
        """The failure in the form of the wire."""
        return LlmCallError(
            message=self.message,
            retryable=self.retryable,
            raw=self.raw,
            code=self.code,
            terminal_reason=self.terminal_reason,
        )


class ModelCallError(HandlerError):
    """
    A provider gave no response. It becomes an outcome or another attempt, and never parks its
    effect.

    Args:
        failure: The failure.
        lacks: The ability that this worker lacks for it, and another may have; empty for none.
    """

    def __init__(self, failure: CallFailure, lacks: str = "") -> None:
        self.failure = failure
        self.lacks = lacks
        super().__init__(f"{failure.code}: {failure.message}")


def unfit(message: str) -> ModelCallError:
    """The failure of a request that no attempt and no worker can send to the model."""
    return ModelCallError(CallFailure("invalid_request", message))


class ModelProvider(Protocol):
    """Answers prompts with one model."""

    async def complete(
        self, prompt: Prompt, on_text: Callable[[str], None] | None = None
    ) -> LlmResponse:
        """
        Answer one prompt.

        Args:
            prompt: The request.
            on_text: Called with each piece of the answer's text as it arrives; ``None`` asks for
                the answer in one piece.

        Raises:
            ModelCallError: When there is no answer; says whether another attempt may help.
        """
        ...

    async def close(self) -> None:
        """Close the connections. It may be used again afterwards, also on another event loop."""
        ...
