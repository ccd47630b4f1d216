"""Writing what was spent: into the ledger and the sums, in the transaction of the record."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.spend.records import Spend, Sums, Use
from effectmq.protocol.messages.request import Identity

__all__ = ["add", "forget_before", "forget_effects"]

_DAY_MS = 86_400_000
_BATCH = 1_000
#: Sums that many workers add to are kept in so many rows a day, where they write side by side.
_SHARDS = 8

_LEDGER = (
    "INSERT INTO effectmq_spend (namespace, scope_id, replay_key, fence, part, at_ms, tenant, "
    "session_id, model, calls, input_tokens, output_tokens, cached_tokens, nanos, unpriced) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (namespace, scope_id, replay_key, fence, part) DO NOTHING RETURNING part"
)
_SUMMED = ("calls", "input_tokens", "output_tokens", "cached_tokens", "nanos", "unpriced")
_DAYS = (
    "INSERT INTO effectmq_spend_sums "
    f"(namespace, dimension, name, day, shard, {', '.join(_SUMMED)}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (namespace, dimension, name, day, shard) DO UPDATE SET "
    + ", ".join(f"{name} = effectmq_spend_sums.{name} + excluded.{name}" for name in _SUMMED)
)
_FORGET = (
    "DELETE FROM effectmq_spend WHERE namespace = ? AND (scope_id, replay_key, fence, part) IN "
    "(SELECT scope_id, replay_key, fence, part FROM effectmq_spend "
    "WHERE namespace = ? AND at_ms < ? LIMIT ?) RETURNING part"
)
_FORGET_EFFECT = (
    "DELETE FROM effectmq_spend WHERE namespace = ? AND scope_id = ? AND replay_key = ?"
)
_FORGET_DAYS = "DELETE FROM effectmq_spend_sums WHERE namespace = ? AND day < ?"

#: A stay of an effect at a worker, by its fence, and what was spent in it.
Stay = tuple[Identity, int, Spend]


def add(tx: Transaction, stays: Iterable[Stay], now_ms: int) -> None:
    """
    Note what was spent, once for each stay, however often it is recorded.

    Args:
        tx: The transaction that records how the stays ended.
        stays: Each with its fence.
        now_ms: The database's wall clock, Unix milliseconds.
    """
    rows = [
        (identity, fence, part, spend, use.bounded())
        for identity, fence, spend in stays
        for part, use in enumerate(spend.uses)
    ]
    written = tx.execute_each(
        _LEDGER,
        [
            (
                tx.namespace,
                identity.scope_id,
                identity.replay_key,
                fence,
                part,
                now_ms,
                spend.tenant,
                spend.session,
                use.model,
                *_amounts(Sums.of(use)),
            )
            for identity, fence, part, spend, use in rows
        ],
    )
    sums: dict[tuple[str, str], Sums] = {}
    for (_, _, _, spend, use), found in zip(rows, written, strict=True):
        for key in _keys(spend, use) if found else ():
            sums[key] = sums.get(key, Sums()).plus(Sums.of(use))
    day, shard = now_ms // _DAY_MS, _shard() if tx.dialect == "postgres" else 0
    # In one order in every transaction, so that two never wait for each other.
    tx.execute_many(
        _DAYS,
        [
            (tx.namespace, *key, day, 0 if key[0] == "session" else shard, *_amounts(sums[key]))
            for key in sorted(sums)
        ],
    )


def _shard() -> int:
    """Drawn for each transaction: workers that drew the same would always meet."""
    return secrets.randbelow(_SHARDS)


def _keys(spend: Spend, use: Use) -> Sequence[tuple[str, str]]:
    return (
        ("all", ""),
        ("model", use.model),
        ("session", spend.session),
        ("tenant", spend.tenant),
    )


def _amounts(sums: Sums) -> tuple[int, ...]:
    return (
        sums.calls,
        sums.input_tokens,
        sums.output_tokens,
        sums.cached_tokens,
        sums.nanos,
        sums.unpriced,
    )


def forget_effects(tx: Transaction, effects: Iterable[Identity]) -> None:
    """
    Remove effects from the ledger; the sums stay.

    An effect that is known no more counts its stays from the beginning when it runs again, and they
    must not be taken for those that the ledger has.
    """
    tx.execute_many(
        _FORGET_EFFECT, [(tx.namespace, each.scope_id, each.replay_key) for each in effects]
    )


def forget_before(tx: Transaction, before_ms: int, month_day: int) -> bool:
    """
    Remove a part of what is older than a moment; ``True`` while there may be more.

    Args:
        tx: A short transaction of its own.
        before_ms: Unix milliseconds.
        month_day: The first day of the current month, which ceilings still need.
    """
    removed = tx.execute(_FORGET, (tx.namespace, tx.namespace, before_ms, _BATCH))
    tx.execute(_FORGET_DAYS, (tx.namespace, min(before_ms // _DAY_MS, month_day)))
    return len(removed) == _BATCH
