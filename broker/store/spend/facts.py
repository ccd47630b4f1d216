"""Sums and ceilings as plain data, the same for the command line and the HTTP API."""

from __future__ import annotations

from typing import Any

from effectmq.broker.store.spend.ceilings import Ceiling
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import Sums, usd_of

__all__ = ["ceiling_facts", "spend_facts", "sums_facts"]


def sums_facts(sums: Sums) -> dict[str, Any]:
    """What was spent; ``nanos`` is exact, ``usd`` the same in dollars."""
    return {
        "calls": sums.calls,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cached_tokens": sums.cached_tokens,
        "nanos": sums.nanos,
        "usd": usd_of(sums.nanos),
        "unpriced_calls": sums.unpriced,
    }


def spend_facts(row: SpendRow) -> dict[str, Any]:
    """What an effect has spent, with its tenant."""
    return {"tenant": row.name or None, **sums_facts(row.sums)}


def ceiling_facts(ceiling: Ceiling) -> dict[str, Any]:
    """A ceiling; the name is null for each, and for everything."""
    return {
        "by": ceiling.by,
        "name": ceiling.name,
        "per": ceiling.per,
        "usd": None if ceiling.nanos is None else usd_of(ceiling.nanos),
        "nanos": ceiling.nanos,
        "tokens": ceiling.tokens,
        "on_exceeded": ceiling.on_exceeded,
        "source": ceiling.source,
        "changed_ms": ceiling.changed_ms,
    }
