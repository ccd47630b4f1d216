"""
What a host may do with an answer while it arrives, and when it is complete.

Hooks belong to turns, so only ``llm_call`` has them. A hook that fails ends the call with an
outcome that says so. The provider is not asked again, because the hook would see the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from effectmq.consumers.handler import call
from effectmq.consumers.llm.port import CallFailure, ModelCallError
from effectmq.protocol.text import describe
from effectmq.protocol.wire.llm_response import LlmOutputPartText, LlmResponse, LlmUsage

__all__ = ["NO_HOOKS", "Listening", "TurnHooks"]

#: How long a call that a hook ended may still take, so that its usage can arrive, in seconds.
_USAGE_S = 2.0

_NO_USAGE = LlmUsage(input_tokens=0, output_tokens=0, cached_input_tokens=0, reasoning_tokens=0)


@dataclass(frozen=True, slots=True)
class TurnHooks:
    """
    The functions of a host that see the answers of its turns.

    Attributes:
        on_text: Called on the event loop with all text so far, after each piece. When it returns a
            true value, the call ends there and the outcome is the text so far. It must be quick.
        on_response: Called with the complete response, in a thread when it is not ``async``; may
            return another response to replace it.
    """

    on_text: Callable[[str], bool | None] | None = None
    on_response: (
        Callable[[LlmResponse], Awaitable[LlmResponse | None] | LlmResponse | None] | None
    ) = None


NO_HOOKS = TurnHooks()


class Listening:
    """
    One call, as the hooks of the host see it.

    Args:
        hooks: The host's hooks.
        send: Gets the text after the hooks.
    """

    def __init__(self, hooks: TurnHooks, send: Callable[[str], None]) -> None:
        self._hooks = hooks
        self._send = send
        self._text = ""
        self._failure: CallFailure | None = None
        self._ended = False

    @property
    def streamed(self) -> bool:
        """Whether any text has arrived."""
        return bool(self._text)

    def hear(self, text: str) -> float | None:
        """
        Take a piece of text.

        Returns:
            How long the call may still take, in seconds, when it is to end here; else ``None``.
        """
        if self._ended or not text:
            return None
        self._text += text
        self._send(text)
        if self._hooks.on_text is None:
            return None
        try:
            self._ended = bool(self._hooks.on_text(self._text))
        except Exception as problem:
            self._ended = True
            self._failure = CallFailure("plugin_assistant_stream", describe(problem))
        if not self._ended:
            return None
        return 0.0 if self._failure else _USAGE_S

    async def concluded(self, call: Awaitable[LlmResponse]) -> LlmResponse:
        """
        The response of a call, after the hooks.

        Args:
            call: The call under way; when a hook has ended it, only its usage counts.

        Raises:
            ModelCallError: When the model or a hook failed.
        """
        try:
            response = await call
        except ModelCallError:
            if not self._ended:
                raise
            response = _said_so_far(self._text, _NO_USAGE)
        if self._failure is not None:
            raise ModelCallError(self._failure)
        if self._ended:
            response = _said_so_far(self._text, response.usage)
        return await self._judged(response)

    async def _judged(self, response: LlmResponse) -> LlmResponse:
        if self._hooks.on_response is None:
            return response
        try:
            other = await call(self._hooks.on_response, (response,), {})
            if other is not None and not isinstance(other, LlmResponse):
                raise TypeError(
                    f"on_response returned {type(other).__name__}; expected an LlmResponse or None"
                )
        except Exception as problem:
            failure = CallFailure("plugin_assistant_response", describe(problem))
            raise ModelCallError(failure) from None
        return response if other is None else other


def _said_so_far(text: str, usage: LlmUsage) -> LlmResponse:
    return LlmResponse(
        full_text=text,
        parts=[LlmOutputPartText(text=text)],
        usage=usage,
        terminal_reason="stop",
    )
