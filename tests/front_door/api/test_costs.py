"""What calls to models cost, where a price is known."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from effectmq.api.views import costs
from effectmq.api.views.costs import cost_of
from effectmq.broker.store.journal.archive.browsing.inside import TokenCounts

NOV_2026_MS = 1_793_500_000_000
TOKENS = TokenCounts(input=1_000_000, output=1_000_000, cached_input=0, reasoning=0)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    costs._priced.cache_clear()


def test_a_call_costs_what_its_provider_lists() -> None:
    """Tokens out of the cache are cheaper."""
    whole = cost_of("gpt-4o", TOKENS, NOV_2026_MS)
    cached = cost_of("gpt-4o", replace(TOKENS, cached_input=1_000_000), NOV_2026_MS)
    assert whole == 12.5
    assert cached is not None
    assert 10 < cached < whole


@pytest.mark.parametrize("model", ["small-model", "", "\ud800", "x" * 100_000, "gpt-4o\n"])
def test_a_model_that_nobody_lists_has_no_cost(model: str) -> None:
    """Which is not 0."""
    assert cost_of(model, TOKENS, NOV_2026_MS) is None


@pytest.mark.parametrize(
    "tokens", [replace(TOKENS, input=-1), replace(TOKENS, cached_input=2_000_000)]
)
def test_counts_that_cannot_be_have_no_cost(tokens: TokenCounts) -> None:
    """They come from a worker, and any may be wrong."""
    assert cost_of("gpt-4o", tokens, NOV_2026_MS) is None


def test_without_the_package_nothing_has_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with the extra ``llm``."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert cost_of("gpt-4o", TOKENS, NOV_2026_MS) is None
