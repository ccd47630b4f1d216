"""
Ceilings: how much may be spent, and whether it has been.

A ceiling is for everything, for one tenant, session or model, or for each of them. One that names a
tenant counts instead of the one for each tenant. All that hold for an effect must have room. What
is spent is known when an effect is recorded, so calls that run at the same time may go over a
ceiling by what they spend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeVar

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import ColumnError, RowReader, number
from effectmq.broker.store.spend.records import (
    DIMENSIONS,
    PERIODS,
    Dimension,
    OnExceeded,
    Payer,
    Period,
    usd_text,
)
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import printable

__all__ = [
    "Ceiling",
    "Exceeded",
    "clear_ceiling",
    "exceeded",
    "first_day",
    "list_ceilings",
    "propose_ceiling",
    "set_ceiling",
]

N = TypeVar("N", Dimension, Period)

_DAY_MS = 86_400_000
_NONE = -1
_MOST_TEXT = 200

_COLUMNS = "dimension, each_name, name, period, nanos, tokens, on_exceeded, source, changed_ms"
_LIST = (
    f"SELECT {_COLUMNS} FROM effectmq_spend_ceilings WHERE namespace = ? "
    "ORDER BY dimension, each_name DESC, name, period"
)
_THAT_HOLD = (
    f"SELECT {_COLUMNS} FROM effectmq_spend_ceilings WHERE namespace = ? "
    "AND (each_name = 1 OR (dimension = 'all') OR (dimension = 'tenant' AND name = ?) "
    "OR (dimension = 'session' AND name = ?) OR (dimension = 'model' AND name = ?)) "
    "ORDER BY each_name, dimension, period"
)
_SET = (
    f"INSERT INTO effectmq_spend_ceilings (namespace, {_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (namespace, dimension, each_name, name, period) DO UPDATE SET "
    "nanos = excluded.nanos, tokens = excluded.tokens, on_exceeded = excluded.on_exceeded, "
    "source = excluded.source, changed_ms = excluded.changed_ms"
)
_PROPOSE = f"{_SET} WHERE effectmq_spend_ceilings.source = 'program'"
_CLEAR = (
    "DELETE FROM effectmq_spend_ceilings WHERE namespace = ? AND dimension = ? AND each_name = ? "
    "AND name = ? AND period = ? RETURNING period"
)
_SPENT = (
    "SELECT CAST(COALESCE(SUM(nanos), 0) AS BIGINT), "
    "CAST(COALESCE(SUM(input_tokens + output_tokens), 0) AS BIGINT) FROM effectmq_spend_sums "
    "WHERE namespace = ? AND dimension = ? AND name = ? AND day >= ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """
    How much may be spent.

    Attributes:
        by: ``tenant``, ``session``, ``model``, or ``all`` for everything.
        name: Which one; ``None`` for each of them, and for everything.
        per: The time after which it begins anew, in UTC: ``day``, ``month``, or ``ever``.
        nanos: The most money, in billionths of a US dollar; ``None`` for no such ceiling.
        tokens: The most tokens of requests and answers; ``None`` for no such ceiling.
        on_exceeded: ``refuse`` parks the effect with an error; ``wait`` keeps it until there is
            room.
        source: ``program`` when workers bring it along; what a person has set wins.
        changed_ms: When it was set, Unix milliseconds.
    """

    by: Dimension
    name: str | None = None
    per: Period = "month"
    nanos: int | None = None
    tokens: int | None = None
    on_exceeded: OnExceeded = "refuse"
    source: Literal["program", "person"] = "person"
    changed_ms: int = 0

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault:
            raise ConfigurationError(f"a ceiling on spend {fault}")

    @property
    def who(self) -> str:
        """For whom it holds, as a phrase."""
        if self.by == "all":
            return "everything"
        if self.name is None:
            return f"each {self.by}"
        return f"{self.by} {printable(self.name, _MOST_TEXT)!r}"

    @property
    def amount(self) -> str:
        """How much it allows, as a phrase."""
        amounts = [] if self.nanos is None else [usd_text(self.nanos)]
        amounts += [] if self.tokens is None else [f"{self.tokens} tokens"]
        return " and ".join(amounts)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """
    A ceiling without room.

    Attributes:
        ceiling: The ceiling.
        name: The tenant, session or model that has spent it.
        nanos: What was spent, in billionths of a US dollar.
        tokens: What was spent, in tokens.
    """

    ceiling: Ceiling
    name: str
    nanos: int
    tokens: int

    @property
    def sentence(self) -> str:
        """What was found, and what to do."""
        ceiling = self.ceiling
        who = "" if ceiling.by == "all" else f" of {ceiling.by} {printable(self.name, 200)!r}"
        per = "" if ceiling.per == "ever" else f" per {ceiling.per}"
        over_money = ceiling.nanos is not None and self.nanos >= ceiling.nanos
        spent = usd_text(self.nanos) if over_money else f"{self.tokens} tokens"
        return (
            f"the spend{who} is {spent} and its ceiling is {ceiling.amount}{per}; raise it with "
            "effectmq spend limit set"
        )


def _fault(ceiling: Ceiling) -> str:
    name = ceiling.name
    if ceiling.by not in DIMENSIONS:
        return f"has by={ceiling.by!r}; expected one of {', '.join(DIMENSIONS)}"
    if ceiling.per not in PERIODS:
        return f"has per={ceiling.per!r}; expected one of {', '.join(PERIODS)}"
    if ceiling.on_exceeded not in ("refuse", "wait"):
        return f"has on_exceeded={ceiling.on_exceeded!r}; expected 'refuse' or 'wait'"
    if ceiling.by == "all" and name is not None:
        return "for everything has a name; leave it out"
    if name is not None and (len(name.encode(errors="replace")) > 2_000 or not _is_kept(name)):
        return f"has a name that no journal keeps: {printable(repr(name), 60)}"
    if ceiling.nanos is None and ceiling.tokens is None:
        return "allows neither money nor tokens; give one of them"
    if not all(amount is None or 0 <= amount < 2**62 for amount in (ceiling.nanos, ceiling.tokens)):
        return "has an amount below 0, or one that is too large"
    return ""


def _is_kept(name: str) -> bool:
    return "\x00" not in name and not any("\ud800" <= each <= "\udfff" for each in name)


class _Row(NamedTuple):
    dimension: str
    each_name: int
    name: str
    period: str
    nanos: int
    tokens: int
    on_exceeded: str
    source: str
    changed_ms: int


_READER = RowReader(_Row)


def list_ceilings(tx: Transaction) -> list[Ceiling]:
    """All ceilings of the namespace."""
    return [_ceiling(row) for row in _READER.all(tx.execute(_LIST, (tx.namespace,)))]


def set_ceiling(tx: Transaction, ceiling: Ceiling) -> None:
    """Set a ceiling, or change it."""
    tx.execute(_SET, _values(tx, ceiling))


def propose_ceiling(tx: Transaction, ceiling: Ceiling) -> None:
    """Set the ceiling of a program, unless a person has set one in its place."""
    tx.execute(_PROPOSE, _values(tx, ceiling))


def clear_ceiling(tx: Transaction, by: Dimension, name: str | None, per: Period) -> bool:
    """Remove a ceiling; whether there was one."""
    return bool(tx.execute(_CLEAR, (tx.namespace, *_key(by, name), per)))


def exceeded(tx: Transaction, payer: Payer) -> tuple[bool, Exceeded | None]:
    """
    Whether there are ceilings that may hold for somebody, and the one that has no room for this.

    Of several, one that refuses comes first: waiting would not help.
    """
    rows = tx.execute(_THAT_HOLD, (tx.namespace, payer.tenant, payer.session, payer.model))
    found: list[Exceeded] = []
    for ceiling in _most_special([_ceiling(row) for row in _READER.all(rows)]):
        name = "" if ceiling.by == "all" else str(getattr(payer, ceiling.by))
        since = first_day(ceiling.per, tx.now_ms())
        [(nanos, tokens)] = tx.execute(_SPENT, (tx.namespace, ceiling.by, name, since))
        spent = Exceeded(ceiling, name, number(nanos), number(tokens))
        if _is_full(spent):
            found.append(spent)
    found.sort(key=lambda each: each.ceiling.on_exceeded != "refuse")
    if rows:
        return True, found[0] if found else None
    return bool(tx.execute(f"{_LIST} LIMIT 1", (tx.namespace,))), None


def first_day(per: Period, now_ms: int) -> int:
    """The first day of a period that has begun, in days since the Unix epoch."""
    if per == "ever":
        return 0
    day = now_ms // _DAY_MS
    return day if per == "day" else day - datetime.fromtimestamp(day * 86_400, UTC).day + 1


def _most_special(ceilings: Sequence[Ceiling]) -> list[Ceiling]:
    """Those that count: one with a name in place of the one for each."""
    chosen: dict[tuple[str, str], Ceiling] = {}
    for ceiling in ceilings:
        # Those with names come first.
        chosen.setdefault((ceiling.by, ceiling.per), ceiling)
    return list(chosen.values())


def _is_full(spent: Exceeded) -> bool:
    ceiling = spent.ceiling
    return (ceiling.nanos is not None and spent.nanos >= ceiling.nanos) or (
        ceiling.tokens is not None and spent.tokens >= ceiling.tokens
    )


def _key(by: Dimension, name: str | None) -> tuple[str, int, str]:
    return by, int(by != "all" and name is None), name or ""


def _values(tx: Transaction, ceiling: Ceiling) -> tuple[str | int, ...]:
    return (
        tx.namespace,
        *_key(ceiling.by, ceiling.name),
        ceiling.per,
        _NONE if ceiling.nanos is None else ceiling.nanos,
        _NONE if ceiling.tokens is None else ceiling.tokens,
        ceiling.on_exceeded,
        ceiling.source,
        tx.now_ms(),
    )


def _one_of(known: tuple[N, ...], found: str) -> N:
    for each in known:
        if each == found:
            return each
    raise ColumnError(f"a column of the database holds {printable(found, 60)!r}")


def _ceiling(row: _Row) -> Ceiling:
    return Ceiling(
        by=_one_of(DIMENSIONS, row.dimension),
        name=None if row.each_name or row.dimension == "all" else row.name,
        per=_one_of(PERIODS, row.period),
        nanos=None if row.nanos < 0 else row.nanos,
        tokens=None if row.tokens < 0 else row.tokens,
        on_exceeded="wait" if row.on_exceeded == "wait" else "refuse",
        source="program" if row.source == "program" else "person",
        changed_ms=row.changed_ms,
    )
