"""What a handler raises to say what should become of its effect."""

from __future__ import annotations

import warnings

from effectmq.protocol.errors.base import CodedError, EffectmqError

__all__ = [
    "HandlerError",
    "RejectEffectError",
    "RetryEffectError",
    "ToolCallError",
]


class HandlerError(EffectmqError):
    """Raised by a handler to say what to do with its effect."""


class RejectEffectError(HandlerError, CodedError):
    """
    Give up now: the effect is parked as ``rejected`` and the caller gets the code and message.

    Args:
        code: A short stable name for a program to branch on.
        message: A sentence for people.
    """


class RetryEffectError(HandlerError):
    """
    Try again, within the retry policy's budget.

    Args:
        message: What went wrong this time.
        after_s: The earliest next attempt, in seconds from now, for instance from a
            ``Retry-After`` header; ``None`` leaves it to the policy.
    """

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        self.after_s = after_s
        super().__init__(message)


class ToolCallError(HandlerError):
    """
    The tool failed. The failure is an outcome, and the effect is not lost.

    Args:
        message: A sentence for the model and for people.
        code: A short stable name.
        class_: A ``ToolFailureClass`` of the wire format.
        source: A ``ToolFailureSource`` of the wire format: where the failure was found.
        retry: Whether another attempt may help; only then does the tool's retry policy apply.
        after_s: The earliest next attempt, in seconds from now.
        after_ms: The same in milliseconds; deprecated.
        raw: Plain data that belongs to the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "tool_error",
        class_: str = "execution",
        source: str = "tool",
        retry: bool = False,
        after_s: float | None = None,
        after_ms: int | None = None,
        raw: object = None,
    ) -> None:
        if after_ms is not None:
            warnings.warn(
                "ToolCallError(after_ms=…) is deprecated; write after_s=…, in seconds",
                DeprecationWarning,
                stacklevel=2,
            )
        self.message = message
        self.code = code
        self.class_ = class_
        self.source = source
        self.retry = retry
        self.after_s = after_s if after_ms is None else after_ms / 1_000
        self.raw = raw
        super().__init__(message)
