"""The number of used tokens, by source."""

from __future__ import annotations

from effectmq.protocol.encoding.serde.model import I64, Usize, WireModel

__all__ = ["PromptUsage", "TokenLedgerEntry", "TokenUsage"]


class TokenUsage(WireModel):
    """
    Tokens used so far.

    Attributes:
        cached_input_tokens: Input tokens that came from the provider's cache.
    """

    input_tokens: I64
    output_tokens: I64
    cached_input_tokens: I64
    reasoning_tokens: I64 = 0


class PromptUsage(WireModel):
    """
    How full the model's context was at the last call, in tokens.

    Attributes:
        context_budget_tokens: The largest number that fits.
    """

    prompt_context_tokens: Usize
    input_tokens: Usize
    cached_input_tokens: Usize
    context_budget_tokens: Usize = 0


class TokenLedgerEntry(WireModel):
    """The tokens of one model that one source has used."""

    source: str
    model: str
    usage: TokenUsage
