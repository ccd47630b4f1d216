"""
The SQL that selects effects, so that no selection reads more rows than it returns.

A filter becomes one or more *branches*, each of which is one range of an index in the order of
changes; the page is the newest of all of them. Several values of a column are several branches. So
is a status with any kind, because the index has the kind before the time. Effects in progress are
in a separate index, and so in a separate branch. See ``steps`` for the indexes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from effectmq.broker.store.database.port import Row, Transaction, Value
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.journal.records import HANDED_OUT, STATUSES, UNSUCCESSFUL
from effectmq.broker.store.journal.steps import HASH_DIGITS, OPEN, SETTLED
from effectmq.protocol.kinds import EFFECT_KINDS

__all__ = [
    "Branch",
    "EffectFilter",
    "Place",
    "branches",
    "everywhere",
    "hash_begins",
    "page",
    "statement",
]

_NEWEST_FIRST = "ORDER BY updated_at_ms DESC, scope_id DESC, replay_key DESC LIMIT ?"
_OLDEST_FIRST = "ORDER BY updated_at_ms, scope_id, replay_key LIMIT ?"

#: Up to so many effects whose keys begin alike are looked up by the key, whatever else is chosen.
_FEW = 10_000
_COUNT_KEYS = (
    "SELECT count(*) FROM (SELECT 1 FROM effectmq_effects "
    f"WHERE namespace = ? AND {SETTLED} AND {{}} LIMIT ?) AS t"
)
#: So many effects are read in the order of changes, to see whether that fills a page; first a few,
#: which is enough in common cases.
_TRIED = (1_000, 20_000)
_TRY = (
    "SELECT count(*), count(CASE WHEN {keys} THEN 1 END) FROM (SELECT replay_key FROM "
    "effectmq_effects{by} WHERE {where} {order}) AS t"
)
#: SQLite does not know how common a value is: it would take the index in the order of time, which
#: saves sorting, and read everything. So the index is named. PostgreSQL has statistics.
_BY = {"sqlite": " INDEXED BY {}", "postgres": ""}
_PRIMARY = "sqlite_autoindex_effectmq_effects_1"
#: Indexes with every effect; the others have settled effects only.
_WHOLE = ("scope", "turn", "parked", "hash")
#: The page is chosen in the index and only then read: it may be one of very many.
_BY_KEY = (
    "SELECT {columns} FROM effectmq_effects{primary} WHERE (namespace, scope_id, replay_key) IN "
    "(SELECT namespace, scope_id, replay_key FROM effectmq_effects{by} WHERE {where} {order})"
)

#: An effect that was cancelled before its first claim has no kind.
_KINDS = ("", *EFFECT_KINDS)


class Place(NamedTuple):
    """The place of an effect in the order of changes; the next page begins after it."""

    updated_ms: int
    scope_id: str
    replay_key: str


@dataclass(frozen=True, slots=True)
class EffectFilter:
    """
    Which effects to select. Empty fields and ``None`` do not matter; all others must match.

    Attributes:
        kinds: One of these kinds.
        statuses: One of these statuses.
        scope_id: The scope.
        session_id: The session that asked.
        turn_id: The turn.
        effect_id: The whole effect id.
        effect_id_end: The end of the effect id; needs a scope or a session.
        caused_by: Canonical JSON of the cause.
        key_prefix: The beginning of the replay key.
        park_reasons: Parked for one of these reasons.
        worker: The worker that claimed it last.
        since_ms: Changed at this time or later, Unix milliseconds.
        until_ms: Changed before this time, Unix milliseconds.
    """

    kinds: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    scope_id: str = ""
    session_id: str = ""
    turn_id: str = ""
    effect_id: str = ""
    effect_id_end: str = ""
    caused_by: str = ""
    key_prefix: str = ""
    park_reasons: tuple[str, ...] = ()
    worker: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def index(self) -> str:
        """The index to use: that of the chosen column that usually has the fewest effects."""
        for index, named in (
            ("scope", self.scope_id or self.turn_id),
            ("caused", self.caused_by),
            ("session", self.session_id),
            ("effect", self.effect_id),
            ("parked", self.park_reasons),
            ("worker", self.worker),
        ):
            if named:
                return index
        return ""


@dataclass(frozen=True, slots=True)
class Branch:
    """
    Conditions that must all hold, and the values of their parameters.

    Attributes:
        where: The conditions.
        parameters: Their values, in order.
        index: The index of which it is a range: the name after ``effectmq_effects_``, or ``scope``
            for the primary key.
    """

    where: tuple[str, ...]
    parameters: tuple[Value, ...]
    index: str = "time"

    def also(self, condition: str, *values: Value) -> Branch:
        """The branch with one more condition."""
        return Branch((*self.where, condition), (*self.parameters, *values), self.index)


def page(
    tx: Transaction,
    columns: str,
    chosen: EffectFilter,
    *,
    limit: int,
    after: Place | None = None,
    oldest_first: bool = False,
) -> list[Row]:
    """
    Some columns of the selected effects, in the order of their last change.

    Args:
        tx: The transaction.
        columns: The columns; must include ``updated_at_ms``, ``scope_id`` and ``replay_key``.
        chosen: Which effects.
        limit: The most effects.
        after: The place of the last effect of the previous page.
        oldest_first: Whether to begin with the oldest.
    """
    found = branches(tx, chosen, limit=limit, after=after, oldest_first=oldest_first)
    sql, parameters = statement(tx, columns, found, limit=limit, oldest_first=oldest_first)
    return tx.execute(sql, parameters)


def statement(
    tx: Transaction,
    columns: str,
    found: list[Branch],
    *,
    limit: int,
    oldest_first: bool = False,
) -> tuple[str, list[Value]]:
    """The statement that reads the first rows of several branches, and its parameters."""
    order = _OLDEST_FIRST if oldest_first else _NEWEST_FIRST
    parameters: list[Value] = []
    selects: list[str] = []
    for branch in found:
        index = _PRIMARY if branch.index == "scope" else f"effectmq_effects_{branch.index}"
        by = _BY[tx.dialect].format(index)
        where = " AND ".join(branch.where)
        if branch.index == "key":
            primary = _BY[tx.dialect].format(_PRIMARY)
            chosen = _BY_KEY.format(
                columns=columns, primary=primary, by=by, where=where, order=order
            )
            selects.append(chosen)
        else:
            selects.append(f"SELECT {columns} FROM effectmq_effects{by} WHERE {where} {order}")
        parameters += [*branch.parameters, limit]
    if len(selects) == 1 and found[0].index != "key":
        return selects[0], parameters
    together = " UNION ALL ".join(f"SELECT * FROM ({select}) AS b" for select in selects)
    return f"SELECT {columns} FROM ({together}) AS u {order}", [*parameters, limit]


def branches(
    tx: Transaction,
    chosen: EffectFilter,
    *,
    limit: int = 100,
    after: Place | None = None,
    oldest_first: bool = False,
) -> list[Branch]:
    """The branches of a filter after a place; each selected effect is in exactly one branch."""
    common = _common(tx, chosen)
    if after is not None:
        common = _behind(common, after, ">" if oldest_first else "<")
    if chosen.key_prefix:
        if not chosen.index:
            by = _by_key_or_time(tx, common, chosen, limit, oldest_first)
            common = replace(common, index=by)
        common = _begins(common, "replay_key", chosen.key_prefix)
    if common.index in _WHOLE:
        return list(_expanded(common, chosen))
    settled, open_ = everywhere(common)
    found: list[Branch] = []
    if chosen.statuses != ("in_progress",):
        found += _expanded(settled, chosen)
    if not chosen.statuses or "in_progress" in chosen.statuses:
        found += _expanded(open_, chosen)
    return found


def everywhere(branch: Branch) -> list[Branch]:
    """The same branch for settled effects, and for effects in progress."""
    return [branch.also(SETTLED), replace(branch.also(OPEN), index="open")]


def _common(tx: Transaction, chosen: EffectFilter) -> Branch:
    """The conditions that all branches share."""
    common = Branch(("namespace = ?",), (tx.namespace,), chosen.index or "time")
    for column, value in (
        ("scope_id", chosen.scope_id),
        ("session_id", chosen.session_id),
        ("effect_id", chosen.effect_id),
        ("lease_owner_id", chosen.worker),
    ):
        if value:
            common = common.also(f"{column} = ?", value)
    if chosen.effect_id_end:
        end = chosen.effect_id_end
        common = common.also("substr(effect_id, length(effect_id) - ? + 1) = ?", len(end), end)
    if chosen.caused_by:
        # Its index has only rows with a cause, and the condition must say so.
        common = common.also("caused_by = ? AND caused_by <> ''", chosen.caused_by)
    if chosen.since_ms is not None:
        common = common.also("updated_at_ms >= ?", chosen.since_ms)
    if chosen.until_ms is not None:
        common = common.also("updated_at_ms < ?", chosen.until_ms)
    return common


def hash_begins(branch: Branch, prefix: str) -> Branch:
    """The branch with the condition that the hash begins so."""
    branch = replace(branch, index="hash")
    digits = f"substr(envelope_hash, 1, {HASH_DIGITS})"
    if len(prefix) < HASH_DIGITS:
        return _begins(branch, digits, prefix)
    branch = branch.also(f"{digits} = ?", prefix[:HASH_DIGITS])
    return branch.also("substr(envelope_hash, 1, ?) = ?", len(prefix), prefix)


def _expanded(common: Branch, chosen: EffectFilter) -> Iterator[Branch]:
    for branch in _turns(common, chosen.turn_id):
        for reason in chosen.park_reasons or ("",):
            one = branch.also("park_reason = ? AND park_reason <> ''", reason) if reason else branch
            yield from _kinds(one, chosen)


def _turns(branch: Branch, turn_id: str) -> Iterator[Branch]:
    if not turn_id:
        yield branch
        return
    # A turn is the scope of its effects, with few exceptions, which have their own index.
    yield branch.also("scope_id = ? AND turn_id = ?", turn_id, turn_id)
    apart = branch.also("turn_id = ? AND turn_id <> scope_id AND turn_id <> ''", turn_id)
    yield replace(apart, index="turn")


def _kinds(branch: Branch, chosen: EffectFilter) -> Iterator[Branch]:
    kinds, statuses = chosen.kinds, chosen.statuses
    if "failed" in statuses:
        statuses = (*statuses, UNSUCCESSFUL)
    if "waiting" in statuses:
        statuses = (*statuses, HANDED_OUT)
    if not kinds and not statuses:
        yield branch
    elif chosen.index or branch.index in ("key", "open"):
        # Few enough to check each.
        for column, wanted in (("kind", kinds), ("status", statuses)):
            if wanted:
                branch = branch.also(f"{column} IN ({', '.join('?' * len(wanted))})", *wanted)
        yield branch
    else:
        settled = [status for status in statuses or _STATUSES if status != "in_progress"]
        for status, kind in product(settled, kinds or _KINDS):
            both = branch.also("status = ? AND kind = ?", status, kind)
            yield replace(both, index="status")


def _behind(branch: Branch, after: Place, sign: str) -> Branch:
    # The first condition follows from the second; the index can use the first.
    branch = branch.also(f"updated_at_ms {sign}= ?", after.updated_ms)
    return branch.also(f"(updated_at_ms, scope_id, replay_key) {sign} (?, ?, ?)", *after)


def _by_key_or_time(
    tx: Transaction, common: Branch, chosen: EffectFilter, limit: int, oldest_first: bool
) -> str:
    """The index that finds the first page of a beginning of keys sooner."""
    keys = _begins(Branch((), ()), "replay_key", chosen.key_prefix)
    begins = " AND ".join(keys.where)
    counted = tx.execute(_COUNT_KEYS.format(begins), (tx.namespace, *keys.parameters, _FEW + 1))
    if number(counted[0][0]) <= _FEW:
        return "key"
    if chosen.kinds or chosen.statuses:
        # Neither is in the index of keys: each effect would have to be read.
        return "time"
    sql = _TRY.format(
        keys=begins,
        by=_BY[tx.dialect].format("effectmq_effects_time"),
        where=" AND ".join((*common.where, SETTLED)),
        order=_OLDEST_FIRST if oldest_first else _NEWEST_FIRST,
    )
    for most in _TRIED:
        tried = tx.execute(sql, (*keys.parameters, *common.parameters, most))
        looked_at, found = tried[0]
        if number(found) >= limit or number(looked_at) < most:
            return "time"
    return "key"


def _begins(branch: Branch, column: str, prefix: str) -> Branch:
    """A range of an index; SQLite's LIKE also ignores case."""
    branch = branch.also(f"{column} >= ?", prefix)
    end = _successor(prefix)
    return branch.also(f"{column} < ?", end) if end else branch


def _successor(prefix: str) -> str:
    """The first text after all that begin so, by code point; empty when there is none."""
    for length in range(len(prefix), 0, -1):
        last = ord(prefix[length - 1])
        if last < 0x10FFFF:
            # Halves of surrogate pairs are not text.
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[: length - 1] + chr(following)
    return ""


#: As the database has them.
_STATUSES = (*STATUSES, UNSUCCESSFUL, HANDED_OUT)
