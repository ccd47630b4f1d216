"""
From a response of pydantic-ai to the response on the wire. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from pydantic_ai.messages import (
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.usage import RequestUsage

from effectmq.consumers.llm.hosted.targets import REDACTED
from effectmq.consumers.llm.hosted.tool_names import ToolNames
from effectmq.protocol.text import printable
from effectmq.protocol.wire.llm_response import (
    LlmOutputPart,
    LlmOutputPartReasoning,
    LlmOutputPartText,
    LlmOutputPartToolCall,
    LlmResponse,
    LlmTerminalReason,
    LlmUsage,
)
from effectmq.protocol.wire.provider_meta import (
    ProviderReasoningReplay,
    ProviderReplayMeta,
    ResponseTextMeta,
)

__all__ = ["response_from", "usage_of"]

_ENDS: dict[str, LlmTerminalReason] = {
    "stop": "stop",
    "length": "output_limit",
    "content_filter": "content_filter",
    "tool_call": "tool_use",
    "error": "provider_error",
}
#: Reasons for an end that need no explanation.
_USUAL = frozenset({"stop", "tool_use"})
#: Reasons of providers for an answer that ended because the conversation filled the context.
_OVERFLOWS = frozenset({"model_context_window_exceeded"})
_MAX_I64 = 2**63 - 1


def response_from(answer: ModelResponse, names: ToolNames | None = None) -> LlmResponse:
    """
    Translate a whole answer.

    Parts without a form on the wire (files, a provider's own tools) are left out, and
    ``terminal_diagnostic`` counts them.

    Args:
        answer: The answer of pydantic-ai.
        names: The names under which the tools of the request were sent.
    """
    parts = list(_parts(answer.parts, names))
    reason = _reason(answer)
    return LlmResponse(
        full_text="".join(part.text for part in parts if isinstance(part, LlmOutputPartText)),
        parts=parts,
        usage=usage_of(answer.usage),
        terminal_reason=reason,
        terminal_diagnostic=_diagnostic(answer, reason),
        provider_usage=_provider_usage(answer.usage),
    )


# Parts ---------------------------------------------------------------------------------------


def _parts(parts: Sequence[ModelResponsePart], names: ToolNames | None) -> Iterable[LlmOutputPart]:
    # The pieces of one reasoning summary share an id, and are one part on the wire.
    for id_, run in groupby(parts, _reasoning_id):
        pieces = list(run)
        if id_ is not None:
            yield _reasoning([piece for piece in pieces if isinstance(piece, ThinkingPart)])
            continue
        for piece in pieces:
            match piece:
                case TextPart():
                    yield LlmOutputPartText(text=_clean(piece.content), response_meta=_meta(piece))
                case ThinkingPart():
                    yield _reasoning([piece])
                case ToolCallPart():
                    yield _tool_call(piece, names)
                case _:
                    pass


def _reasoning_id(part: ModelResponsePart) -> str | None:
    if isinstance(part, ThinkingPart) and part.id != REDACTED:
        return part.id
    return None


def _meta(part: TextPart) -> ResponseTextMeta | None:
    phase = (part.provider_details or {}).get("phase")
    if part.id is None and not isinstance(phase, str):
        return None
    return ResponseTextMeta(id=part.id, phase=phase if isinstance(phase, str) else None)


def _reasoning(pieces: list[ThinkingPart]) -> LlmOutputPartReasoning:
    first = pieces[0]
    texts = [_clean(piece.content) for piece in pieces if piece.content]
    return LlmOutputPartReasoning(text="\n\n".join(texts), replay=_replay(first, pieces, texts))


def _replay(
    first: ThinkingPart, pieces: list[ThinkingPart], texts: list[str]
) -> ProviderReasoningReplay | None:
    signature = next((piece.signature for piece in pieces if piece.signature), None)
    thought = (first.provider_details or {}).get("thought_signature")
    if first.id == REDACTED:
        return ProviderReasoningReplay(signature=signature, redacted=True)
    if first.id is not None:
        # Only OpenAI's reasoning has ids, and its signature is the encrypted reasoning itself.
        return ProviderReasoningReplay(item_id=first.id, encrypted_content=signature, summary=texts)
    if signature or isinstance(thought, str):
        return ProviderReasoningReplay(signature=signature or thought)
    return None


def _tool_call(part: ToolCallPart, names: ToolNames | None) -> LlmOutputPartToolCall:
    details = part.provider_details or {}
    replay = None
    if part.id is not None or details:
        replay = ProviderReplayMeta(item_id=part.id, opaque=_opaque(details))
    arguments = part.args if isinstance(part.args, str) else json.dumps(part.args or {})
    return LlmOutputPartToolCall(
        call_id=part.tool_call_id,
        tool_name=names.own(part.tool_name) if names else part.tool_name,
        input_json=_clean(arguments) or "{}",
        replay=replay,
    )


def _opaque(details: dict[str, Any]) -> str | None:
    if not details:
        return None
    signature = details.get("thought_signature")
    if isinstance(signature, str) and len(details) == 1:
        return signature
    return json.dumps(details, default=str)


def _clean(text: str) -> str:
    """The text without half surrogate pairs: JSON can spell them, and a text cannot hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# The end, and the usage ----------------------------------------------------------------------


def _reason(answer: ModelResponse) -> LlmTerminalReason:
    if _provider_reason(answer) in _OVERFLOWS:
        return "context_overflow"
    calls = any(isinstance(part, ToolCallPart) for part in answer.parts)
    found = _ENDS.get(answer.finish_reason or "", "unknown")
    # Several providers give no reason of its own for a stop at a tool call.
    return "tool_use" if calls and found in ("stop", "unknown") else found


def _provider_reason(answer: ModelResponse) -> str | None:
    found = (answer.provider_details or {}).get("finish_reason")
    return found if isinstance(found, str) else None


def _diagnostic(answer: ModelResponse, reason: LlmTerminalReason) -> str | None:
    details = answer.provider_details or {}
    said: list[str] = []
    if reason not in _USUAL:
        said += [str(details[name]) for name in ("finish_reason", "refusal") if details.get(name)]
    kept = TextPart | ThinkingPart | ToolCallPart
    left_out = sum(not isinstance(part, kept) for part in answer.parts)
    if left_out:
        said.append(f"{left_out} part(s) of the answer have no form on the wire and were left out")
    return printable("; ".join(said)) if said else None


def usage_of(usage: RequestUsage) -> LlmUsage:
    """The counts of a provider in the form of the wire."""
    return LlmUsage(
        input_tokens=_tokens(usage.input_tokens),
        output_tokens=_tokens(usage.output_tokens),
        cached_input_tokens=_tokens(usage.cache_read_tokens),
        reasoning_tokens=_tokens(usage.output_reasoning_tokens),
    )


def _tokens(count: int) -> int:
    return max(0, min(int(count), _MAX_I64))


def _provider_usage(usage: RequestUsage) -> dict[str, int] | None:
    """Every count of the provider, under pydantic-ai's names; ``None`` without any."""
    if not usage.has_values():
        return None
    known = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_reasoning_tokens": usage.output_reasoning_tokens,
    }
    found = {**usage.details, **known}
    return {name: _tokens(count) for name, count in found.items() if count}
