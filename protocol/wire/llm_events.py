"""Events of a model call while it runs. None of them is in an envelope or an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from effectmq.protocol.wire.llm_response import LlmOutputPart, LlmUsage

__all__ = [
    "LlmEventSender",
    "LlmProviderTraceEvent",
    "LlmProviderTraceSender",
    "LlmStreamEvent",
    "LlmStreamEventDelta",
    "LlmStreamEventPart",
    "LlmStreamEventReasoningDelta",
    "LlmStreamEventRetryStatus",
    "LlmStreamEventUsage",
]


@dataclass(frozen=True, slots=True)
class LlmStreamEventDelta:
    """
    A piece of the answer's text.

    Attributes:
        text: The text after all earlier pieces.
    """

    text: str


@dataclass(frozen=True, slots=True)
class LlmStreamEventReasoningDelta:
    """
    A piece of the model's reasoning.

    Attributes:
        text: The text after all earlier pieces.
    """

    text: str


@dataclass(frozen=True, slots=True)
class LlmStreamEventPart:
    """
    A part of the answer that is complete; its text may have come in pieces before.

    Attributes:
        part: The part, as it will be in the response.
    """

    part: LlmOutputPart


@dataclass(frozen=True, slots=True)
class LlmStreamEventUsage:
    """
    The number of tokens so far.

    Attributes:
        usage: The counts.
    """

    usage: LlmUsage


@dataclass(frozen=True, slots=True)
class LlmStreamEventRetryStatus:
    """
    The provider is asked again after a pause.

    Attributes:
        wait_seconds: How long the pause is.
        attempt: The attempt that failed, from 1.
        max_attempts: The largest number of attempts.
        reason: Why it failed.
    """

    wait_seconds: int
    attempt: int
    max_attempts: int
    reason: str


LlmStreamEvent = (
    LlmStreamEventDelta
    | LlmStreamEventReasoningDelta
    | LlmStreamEventPart
    | LlmStreamEventUsage
    | LlmStreamEventRetryStatus
)


@dataclass(frozen=True, slots=True)
class LlmProviderTraceEvent:
    """
    What a provider sent, word for word.

    Attributes:
        provider: Its name.
        event_name: The provider's own name for the event.
        raw: The event's text.
    """

    provider: str
    event_name: str
    raw: str


#: Called with each event of a call's stream.
LlmEventSender = Callable[[LlmStreamEvent], None]

#: Called with each event of a provider.
LlmProviderTraceSender = Callable[[LlmProviderTraceEvent], None]
