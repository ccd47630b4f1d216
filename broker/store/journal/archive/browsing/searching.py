"""
Effects found by what no index has: their tool, or their model.

They are looked for in the order of changes, a part at a time: one search looks at so many effects
and no more, and says where to go on. So a search over a million effects is a chain of short looks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.browsing.inside import Inside, insides
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectSummary, Place, find

__all__ = ["Found", "search"]

#: How many effects one search looks at, and in which steps.
_LOOKS = 2_000
_STEP = 250


@dataclass(frozen=True, slots=True)
class Found:
    """
    What one search found.

    Attributes:
        effects: The effects, with what is inside of each.
        after: Where the next search begins; ``None`` when there is nothing behind.
    """

    effects: list[tuple[EffectSummary, Inside]]
    after: Place | None


def search(
    tx: Transaction,
    chosen: EffectFilter,
    *,
    limit: int,
    after: Place | None = None,
    tools: Collection[str] = (),
    models: Collection[str] = (),
) -> Found:
    """
    The chosen effects, the last changed first.

    Args:
        tx: The transaction.
        chosen: Which effects.
        limit: The most effects.
        after: Where the search before ended.
        tools: Of one of these tools; any when there are none.
        models: For one of these models; any when there are none.
    """
    if not tools and not models:
        page = find(tx, chosen, limit=limit + 1, after=after)
        shown = page[:limit]
        more = shown[-1].place if len(page) > limit else None
        return Found(list(zip(shown, insides(tx, shown), strict=True)), more)
    chosen = replace(chosen, kinds=chosen.kinds or _kinds_of(tools, models))
    found: list[tuple[EffectSummary, Inside]] = []
    for _ in range(_LOOKS // _STEP):
        page = find(tx, chosen, limit=_STEP, after=after)
        for effect, inside in zip(page, insides(tx, page), strict=True):
            after = effect.place
            if _fits(inside, tools, models):
                found.append((effect, inside))
                if len(found) == limit:
                    return Found(found, after)
        if len(page) < _STEP:
            return Found(found, None)
    return Found(found, after)


def _kinds_of(tools: Collection[str], models: Collection[str]) -> tuple[str, ...]:
    """The kinds that have such a thing at all."""
    return (*(("tool_call",) if tools else ()), *(("llm_call", "direct") if models else ()))


def _fits(inside: Inside, tools: Collection[str], models: Collection[str]) -> bool:
    return (bool(tools) and inside.tool in tools) or (bool(models) and inside.model in models)
