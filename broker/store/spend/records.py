"""
The values of spend: what an effect used, sums of it, and ceilings.

Money is a whole number of *nanos*: billionths of a US dollar. One token of the cheapest models
costs tens of them, so sums are exact, and 64 bits hold nine billion dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Literal, get_args

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable

__all__ = [
    "DIMENSIONS",
    "MOST_NAME",
    "NANOS",
    "PERIODS",
    "Dimension",
    "OnExceeded",
    "Payer",
    "Period",
    "Spend",
    "Sums",
    "Use",
    "budget_nanos",
    "nanos_of",
    "nanos_of_price",
    "shown_model",
    "usd_of",
    "usd_text",
]

#: Nanos of one dollar.
NANOS: Final = 1_000_000_000
#: More in one call is a provider's mistake; bounded, so that no sum runs over.
_MOST_TOKENS = 10**10
_MOST_NANOS = 100_000 * NANOS
#: Dollars of a ceiling.
_MOST_BUDGET = 10**9
#: Characters of a model's name.
MOST_NAME = 200

Dimension = Literal["all", "tenant", "session", "model"]
Period = Literal["day", "month", "ever"]
OnExceeded = Literal["refuse", "wait"]

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
PERIODS: tuple[Period, ...] = get_args(Period)


@dataclass(frozen=True, slots=True)
class Use:
    """
    What one call has used.

    Attributes:
        model: The model, by the name that the request has for it.
        input_tokens: Tokens of the request, those from the provider's cache included.
        output_tokens: Tokens of the answer, reasoning included.
        cached_tokens: Tokens of the request that came from the cache.
        nanos: The price in billionths of a US dollar; ``None`` when it is not known.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    nanos: int | None = None

    def bounded(self) -> Use:
        """The same within what the tables keep: counts come from providers."""
        return Use(
            shown_model(self.model),
            _within(self.input_tokens, _MOST_TOKENS),
            _within(self.output_tokens, _MOST_TOKENS),
            _within(self.cached_tokens, _MOST_TOKENS),
            None if self.nanos is None else _within(self.nanos, _MOST_NANOS),
        )


@dataclass(frozen=True, slots=True)
class Payer:
    """
    For whom and for which model an effect spends.

    Attributes:
        tenant: The tenant, or empty.
        session: The session.
        model: The model that its request names, or empty.
    """

    tenant: str
    session: str
    model: str

    @classmethod
    def of(cls, request: Request, model: str = "") -> Payer:
        """That of an effect."""
        session = request.envelope.invocation.scope.session_id
        return cls(request.tenant, session, shown_model(model))


@dataclass(frozen=True, slots=True)
class Spend:
    """
    What a worker spent on an effect while it held its lease, to be written with the record.

    Attributes:
        tenant: The tenant, or empty.
        session: The session.
        uses: The calls.
    """

    tenant: str
    session: str
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """
    What was spent, summed up.

    Attributes:
        calls: How many calls were paid for.
        input_tokens: As in ``Use``, and so are the next two.
        output_tokens: Tokens of the answers.
        cached_tokens: Tokens that came from the cache.
        nanos: Billionths of a US dollar.
        unpriced: How many of the calls had no known price, and are missing in ``nanos``.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    nanos: int = 0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of requests and answers together."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.nanos + other.nanos,
            self.unpriced + other.unpriced,
        )

    @classmethod
    def of(cls, use: Use) -> Sums:
        """The sums of one call."""
        return cls(
            1,
            use.input_tokens,
            use.output_tokens,
            use.cached_tokens,
            use.nanos or 0,
            int(use.nanos is None),
        )


def shown_model(model: str) -> str:
    """A model's name as it is kept: it comes from a request, and may hold anything."""
    return printable(model, MOST_NAME)[:MOST_NAME]


def nanos_of(usd: Decimal) -> int:
    """Dollars in nanos, rounded to the nearest."""
    return int((usd * NANOS).to_integral_value(ROUND_HALF_EVEN))


def nanos_of_price(usd: Decimal | float | str) -> int:
    """
    The price of a call in dollars in nanos.

    Raises:
        ValueError: When it is no number, below 0, or more than a call may cost.
    """
    return _dollars("the price", usd, _MOST_NANOS // NANOS)


def budget_nanos(usd: Decimal | float | str) -> int:
    """
    The amount of a ceiling in dollars in nanos.

    Raises:
        ConfigurationError: When it is no number, below 0, or more than a billion.
    """
    try:
        return _dollars("the ceiling", usd, _MOST_BUDGET)
    except ValueError as problem:
        raise ConfigurationError(str(problem)) from None


def _dollars(what: str, usd: Decimal | float | str, most: int) -> int:
    try:
        exact = Decimal(str(usd))
    except ArithmeticError:
        exact = Decimal("NaN")
    if not (exact.is_finite() and 0 <= exact <= most):
        raise ValueError(
            f"{what} is {printable(repr(usd), 60)}; expected US dollars from 0 to {most}"
        )
    return nanos_of(exact)


def usd_of(nanos: int) -> float:
    """Nanos in dollars, for JSON."""
    return nanos / NANOS


def usd_text(nanos: int) -> str:
    """Nanos as people read them: two decimals, and more for what is less than a cent."""
    exact = Decimal(nanos) / NANOS
    if nanos % (NANOS // 100) == 0 or abs(nanos) >= NANOS:
        return f"${exact:.2f}"
    return f"${exact.normalize():f}"


def _within(value: int, most: int) -> int:
    return max(0, min(value, most))
