"""
What calls to models cost: as a worker has recorded it, else by list prices.

What was recorded before there were records of spend has tokens only; the list price of those is
what the call would have cost at that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from effectmq.api.views.effects import effect_view
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.browsing.inside import Inside, TokenCounts
from effectmq.broker.store.journal.archive.summaries import EffectSummary
from effectmq.broker.store.journal.progress import RecordedProgress
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.prices import list_price
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import usd_of

__all__ = ["cost_of", "effect_views"]

#: A longer name is no name of a provider's model.
_LONGEST = 200
_DAY_MS = 86_400_000


async def effect_views(
    archive: Archive, effects: Sequence[EffectSummary], insides: Sequence[Inside]
) -> list[dict[str, Any]]:
    """Effects with what is inside of them, what they cost and how far they are, in their order."""
    spent = await SpendBook(archive.database).of([effect.identity for effect in effects])
    told = await archive.progress(effects)
    # The first call loads all prices, which takes a quarter of a second.
    return await asyncio.to_thread(_views, effects, insides, spent, told)


def _views(
    effects: Sequence[EffectSummary],
    insides: Sequence[Inside],
    spent: Sequence[SpendRow | None],
    told: Sequence[RecordedProgress | None],
) -> list[dict[str, Any]]:
    return [
        effect_view(effect, inside, _cost(effect, inside, row), row, progress)
        for effect, inside, row, progress in zip(effects, insides, spent, told, strict=True)
    ]


def _cost(effect: EffectSummary, inside: Inside, spent: SpendRow | None) -> float | None:
    if spent is not None:
        # Without any price there is no cost, which is not 0.
        known = spent.sums.unpriced < spent.sums.calls
        return usd_of(spent.sums.nanos) if known else None
    if inside.tokens is None:
        return None
    return cost_of(inside.model, inside.tokens, effect.created_ms)


def cost_of(model: str, tokens: TokenCounts, at_ms: int) -> float | None:
    """
    The list price of one call in US dollars.

    Args:
        model: The name of the model, as its provider writes it.
        tokens: What the call took.
        at_ms: When it began, Unix milliseconds: prices change.

    Returns:
        ``None`` when no price is known: of a name of one's own, for instance, or without the
        package.
    """
    if not model or len(model) > _LONGEST:
        return None
    return _priced(model, tokens, at_ms // _DAY_MS)


@lru_cache(maxsize=8_192)
def _priced(model: str, tokens: TokenCounts, day: int) -> float | None:
    nanos = list_price(model, tokens.input, tokens.output, tokens.cached_input, at_s=day * 86_400)
    return None if nanos is None else usd_of(nanos)
