"""The answer of a language model, or why there is none."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from effectmq.protocol.encoding.serde.model import (
    EXTERNAL,
    I64,
    UNIT,
    ExternalVariant,
    Json,
    WireModel,
)
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)

__all__ = [
    "LlmCallError",
    "LlmOutputPart",
    "LlmOutputPartReasoning",
    "LlmOutputPartText",
    "LlmOutputPartToolCall",
    "LlmResponse",
    "LlmTerminalReason",
    "LlmUsage",
]

LlmTerminalReason = Annotated[
    Literal[
        "stop",
        "tool_use",
        "output_limit",
        "context_overflow",
        "content_filter",
        "provider_error",
        "cancelled",
        "unknown",
    ],
    UNIT,
]


class LlmOutputPartText(ExternalVariant):
    """Text of the answer."""

    wire_name: ClassVar[str] = "Text"

    text: str
    response_meta: ResponseTextMeta | None = None


class LlmOutputPartReasoning(ExternalVariant):
    """Reasoning of the model."""

    wire_name: ClassVar[str] = "Reasoning"

    text: str
    replay: ProviderReasoningReplay | None = None


class LlmOutputPartToolCall(ExternalVariant):
    """
    A tool call that the model asks for.

    Attributes:
        input_json: The arguments as JSON text.
    """

    wire_name: ClassVar[str] = "ToolCall"

    call_id: str
    tool_name: str
    input_json: str
    replay: ProviderReplayMeta | None = None


LlmOutputPart = Annotated[
    LlmOutputPartText | LlmOutputPartReasoning | LlmOutputPartToolCall, EXTERNAL
]


class LlmUsage(WireModel):
    """
    The tokens of one call.

    Attributes:
        cached_input_tokens: Input tokens that came from the provider's cache.
    """

    input_tokens: I64
    output_tokens: I64
    cached_input_tokens: I64
    reasoning_tokens: I64


class LlmResponse(WireModel):
    """
    A model's whole answer.

    Attributes:
        full_text: The text parts joined.
        terminal_diagnostic: The provider's words on an unusual end.
        provider_usage: The usage as the provider reports it.
        request_body: The request that was sent, when it is kept.
        http_summary: The HTTP exchange in one line, when it is kept.
    """

    full_text: str
    parts: list[LlmOutputPart]
    usage: LlmUsage
    terminal_reason: LlmTerminalReason
    terminal_diagnostic: str | None = None
    provider_usage: Json = None
    request_body: str | None = None
    http_summary: str | None = None


class LlmCallError(WireModel):
    """
    A failed call to a provider.

    Attributes:
        retryable: Whether another attempt may help.
        raw: The provider's own words.
        code: For programs, for instance ``rate_limited``.
    """

    message: str
    retryable: bool
    raw: str | None = None
    code: str | None = None
    terminal_reason: LlmTerminalReason
    request_body: str | None = None
