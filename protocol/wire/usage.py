"""How many tokens were used, by whom."""

from __future__ import annotations

from effectmq.protocol.encoding.serde.model import I64, Usize, WireModel

__all__ = ["PromptUsage", "TokenLedgerEntry", "TokenUsage"]


class TokenUsage(WireModel):
    """
    Tokens used so far.

    Attributes:
        cached_input_tokens: Those of the input that came out of the provider's cache.
    """

    input_tokens: I64
    output_tokens: I64
    cached_input_tokens: I64
    reasoning_tokens: I64 = 0


class PromptUsage(WireModel):
    """
    How full the model's context was at the last call, in tokens.

    Attributes:
        context_budget_tokens: How much would have fitted.
    """

    prompt_context_tokens: Usize
    input_tokens: Usize
    cached_input_tokens: Usize
    context_budget_tokens: Usize = 0


class TokenLedgerEntry(WireModel):
    """What one source used of one model."""

    source: str
    model: str
    usage: TokenUsage
