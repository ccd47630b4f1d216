"""
The port between the handlers and whoever answers: a prompt in, a response or a failure out.

Two adapters keep it: ``scripted`` (by rule, offline) and ``hosted`` (providers over HTTP). A
failure is a value with the fields of the wire format's ``LlmCallError`` and one more, how long the
provider asked to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from effectmq.protocol.errors import HandlerError
from effectmq.protocol.wire.llm_request import LlmRequestSpec
from effectmq.protocol.wire.llm_response import LlmCallError, LlmResponse, LlmTerminalReason

__all__ = ["CallFailure", "ModelCallError", "ModelProvider", "Prompt", "unfit"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    One request, with everything that it refers to.

    Attributes:
        request: What is asked.
        attachments: The bytes of the request's ``attachments``, in the same order.
        attempt: Which attempt at the effect this is, from 1.
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
        retryable: Asking again may help.
        after_s: How long the provider asked to wait, in seconds; ``None`` when it did not.
        raw: The provider's own words.
        terminal_reason: ``provider_error`` unless the failure says how the answer ended.
    """

    code: str
    message: str
    retryable: bool = False
    after_s: float | None = None
    raw: str | None = None
    terminal_reason: LlmTerminalReason = "provider_error"

    def on_the_wire(self) -> LlmCallError:
        """The failure as an outcome carries it."""
        return LlmCallError(
            message=self.message,
            retryable=self.retryable,
            raw=self.raw,
            code=self.code,
            terminal_reason=self.terminal_reason,
        )


class ModelCallError(HandlerError):
    """
    A provider gave no response. It becomes an outcome or another try; it never parks its effect.

    Args:
        failure: What happened.
        lacks: What this worker lacks for it, and another may have; empty for nothing.
    """

    def __init__(self, failure: CallFailure, lacks: str = "") -> None:
        self.failure = failure
        self.lacks = lacks
        super().__init__(f"{failure.code}: {failure.message}")


def unfit(message: str) -> ModelCallError:
    """The failure of a request that cannot be put to the model, whoever is asked and how often."""
    return ModelCallError(CallFailure("invalid_request", message))


class ModelProvider(Protocol):
    """Answers prompts with one model."""

    async def complete(
        self, prompt: Prompt, on_text: Callable[[str], None] | None = None
    ) -> LlmResponse:
        """
        Answer one prompt.

        Args:
            prompt: What is asked.
            on_text: Called with each piece of the answer's text as it arrives; ``None`` asks for
                the answer in one piece.

        Raises:
            ModelCallError: When there is no answer; says whether asking again may help.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. It may be used again afterwards, also on another event loop."""
        ...
