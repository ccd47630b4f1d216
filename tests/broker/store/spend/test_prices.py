"""What calls cost, and how money is written."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from effectmq.broker.store.spend.prices import Price, list_price
from effectmq.broker.store.spend.records import NANOS, budget_nanos, nanos_of_price, usd_text
from effectmq.protocol.errors import ConfigurationError

MILLION = 1_000_000


def test_a_list_price_is_that_of_the_provider() -> None:
    """By its name, by its address, or by the model alone."""
    assert list_price("gpt-4o", MILLION, MILLION, 0) == 12_500_000_000
    assert list_price("gpt-4o", MILLION, 0, 0, provider="openai") == 2_500_000_000
    assert list_price("gpt-4o", MILLION, 0, 0, address="https://api.openai.com/v1") == 2_500_000_000
    assert list_price("gpt-4o", MILLION, 0, 0, address="http://gpu-1:8000/v1") is None
    cached = list_price("gpt-4o", MILLION, 0, MILLION)
    assert cached is not None
    assert 0 < cached < 2_500_000_000


@pytest.mark.parametrize("model", ["", "small-model", "x" * 201, "\ud800", "gpt-4o\n"])
def test_a_model_that_nobody_lists_has_no_price(model: str) -> None:
    """Which is not 0."""
    assert list_price(model, 1, 1, 0) is None


def test_counts_that_cannot_be_have_no_price() -> None:
    """They come from a provider."""
    assert list_price("gpt-4o", -1, 0, 0) is None
    assert list_price("gpt-4o", 1, 0, 2) is None


def test_without_the_package_nothing_has_a_list_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with the extra ``llm``."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert list_price("gpt-4o", 1, 1, 0) is None


def test_a_price_of_ones_own_is_exact() -> None:
    """To the nano; what the cache had may cost less, and more cached than asked cannot be."""
    price = Price(Decimal("0.15"), Decimal("0.6"), Decimal("0.075"))
    assert price.nanos(1, 0, 0) == 150
    assert price.nanos(MILLION, MILLION, 0) == 750_000_000
    assert price.nanos(10, 0, 4) == 6 * 150 + 4 * 75
    assert price.nanos(10, 0, 40) == 750
    assert Price(Decimal(1), Decimal(2)).nanos(10, 0, 4) == 10_000


@pytest.mark.parametrize("usd", ["-1", "NaN", "Infinity", "1000001"])
def test_a_price_that_is_none_is_refused(usd: str) -> None:
    with pytest.raises(ConfigurationError, match="dollars for a million tokens"):
        Price(Decimal(usd), Decimal(1))


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (38_000, "$0.000038"),
        (10_000_000, "$0.01"),
        (12_000_000, "$0.012"),
        (NANOS, "$1.00"),
        (1_234_567_890, "$1.23"),
        (10**9 * NANOS, "$1000000000.00"),
    ],
)
def test_money_is_shown_without_losing_what_is_small(nanos: int, text: str) -> None:
    """A call costs less than a cent, and is not shown as nothing."""
    assert usd_text(nanos) == text


def test_dollars_are_read_from_whatever_a_program_has() -> None:
    """A float means what it is written as."""
    assert nanos_of_price(0.1) == nanos_of_price("0.1") == nanos_of_price(Decimal("0.1"))
    assert nanos_of_price(0) == 0
    assert budget_nanos("1000000000") == 10**18
    with pytest.raises(ValueError, match="from 0 to 100000"):
        nanos_of_price("1e6")
    with pytest.raises(ConfigurationError, match="ceiling is 'ten'"):
        budget_nanos("ten")
