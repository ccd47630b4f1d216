"""
What a call to a model costs: by a price that was set by hand, or by the list prices that the
package ``genai-prices`` brings.

The package comes with the extra ``llm``. Its prices are those of its release: nothing is asked of
another host. Loading them takes a quarter of a second, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from effectmq.broker.store.spend.records import MOST_NAME, nanos_of
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = ["Price", "list_price"]

_MILLION = 1_000_000
_MOST_USD = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """
    What a model costs, in US dollars for a million tokens.

    Attributes:
        input: Of the request.
        output: Of the answer.
        cached_input: Of the part of the request that came from the provider's cache; as ``input``
            when ``None``.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None

    def __post_init__(self) -> None:
        for usd in (self.input, self.output, self.cached_input):
            if usd is not None and not (usd.is_finite() and 0 <= usd <= _MOST_USD):
                raise ConfigurationError(
                    f"a price is {printable(str(usd), 60)}; expected dollars for a million tokens, "
                    f"from 0 to {_MOST_USD}"
                )

    def nanos(self, input_tokens: int, output_tokens: int, cached_tokens: int) -> int:
        """The price of a call in billionths of a dollar; the tokens as in ``Use``."""
        cached = max(0, min(cached_tokens, input_tokens))
        usd = (
            (input_tokens - cached) * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + output_tokens * self.output
        )
        return nanos_of(usd / _MILLION)


def list_price(
    model: str,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int,
    *,
    provider: str | None = None,
    address: str | None = None,
    at_s: float | None = None,
) -> int | None:
    """
    The list price of a call in billionths of a US dollar.

    Args:
        model: The name of the model, as its provider writes it.
        input_tokens: The tokens as in ``Use``, and so are the next two.
        output_tokens: Tokens of the answer.
        cached_tokens: Tokens that came from the cache.
        provider: Whose model it is; found by the model's name when ``None``.
        address: The address of a provider that is found by that.
        at_s: When it began, Unix seconds, because prices change; now when ``None``.

    Returns:
        ``None`` when no price is known: of a name of one's own, for instance, or without the
        package.
    """
    if not model or len(model) > MOST_NAME:
        return None
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    try:
        usage = Usage(
            input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens
        )
        at = None if at_s is None else datetime.fromtimestamp(at_s, UTC)
        found = (
            calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
            if address is None
            else calc_price(usage, model, provider_api_url=address, genai_request_timestamp=at)
        )
        return nanos_of(found.total_price)
    except Exception:
        # Model and counts are those of a stranger, and a price is not worth an effect.
        return None
