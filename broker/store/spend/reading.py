"""Reading what was spent: sums by tenant, session or model, and the spend of single effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import RowReader
from effectmq.broker.store.spend.records import Dimension, Sums
from effectmq.protocol.messages.request import Identity

__all__ = ["SpendRow", "spend_by", "spend_by_day", "spend_of"]

_AMOUNTS = ", ".join(
    f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)"
    for name in ("calls", "input_tokens", "output_tokens", "cached_tokens", "nanos", "unpriced")
)
_BY_NAME = (
    f"SELECT name, {_AMOUNTS} FROM effectmq_spend_sums "
    "WHERE namespace = ? AND dimension = ? AND day >= ? GROUP BY name "
    "ORDER BY 6 DESC, 2 DESC, name LIMIT ?"
)
_BY_DAY = (
    f"SELECT day, {_AMOUNTS} FROM effectmq_spend_sums "
    "WHERE namespace = ? AND dimension = 'all' AND day >= ? GROUP BY day ORDER BY day"
)
_OF_EFFECT = (
    f"SELECT MAX(tenant), {_AMOUNTS} FROM effectmq_spend "
    "WHERE namespace = ? AND scope_id = ? AND replay_key = ? HAVING COUNT(*) > 0"
)


@dataclass(frozen=True, slots=True)
class SpendRow:
    """
    What was spent by one of several.

    Attributes:
        name: The tenant, session or model; empty for effects that name none.
        sums: What was spent.
    """

    name: str
    sums: Sums


class _Named(NamedTuple):
    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    nanos: int
    unpriced: int


class _Dated(NamedTuple):
    day: int
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    nanos: int
    unpriced: int


_NAMED = RowReader(_Named)
_DATED = RowReader(_Dated)


def spend_by(tx: Transaction, by: Dimension, since_day: int, limit: int) -> list[SpendRow]:
    """Those who have spent most since a day, in days since the Unix epoch."""
    rows = tx.execute(_BY_NAME, (tx.namespace, by, since_day, limit))
    return [SpendRow(row.name, Sums(*row[1:])) for row in _NAMED.all(rows)]


def spend_by_day(tx: Transaction, since_day: int) -> dict[int, Sums]:
    """What was spent on each day on which something was."""
    rows = tx.execute(_BY_DAY, (tx.namespace, since_day))
    return {row.day: Sums(*row[1:]) for row in _DATED.all(rows)}


def spend_of(tx: Transaction, effects: Sequence[Identity]) -> list[SpendRow | None]:
    """What each effect has spent, over all of its attempts, with its tenant; ``None`` for none."""
    found = tx.execute_each(
        _OF_EFFECT, [(tx.namespace, each.scope_id, each.replay_key) for each in effects]
    )
    named = [_NAMED.one(rows[0]) if rows else None for rows in found]
    return [None if row is None else SpendRow(row.name, Sums(*row[1:])) for row in named]
