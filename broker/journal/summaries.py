"""
What is shown of an effect, and how the effects to show are chosen.

A summary leaves the payloads where they are, so that a list of a thousand effects costs little; a
detail has everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from effectmq.broker.database import Row, Transaction, Value
from effectmq.broker.journal.records import Status
from effectmq.protocol.errors import EffectmqError, MalformedError
from effectmq.protocol.jsontext import parse_json
from effectmq.protocol.request import Identity
from effectmq.protocol.text import printable

__all__ = [
    "EffectDetail",
    "EffectFilter",
    "EffectIdError",
    "EffectSummary",
    "Place",
    "conditions",
    "find",
    "find_named",
    "load_detail",
]

_SUMMARY = (
    "scope_id, replay_key, envelope_hash, status, attempts, fence, kind, effect_id, session_id, "
    "turn_id, caused_by, lease_owner_id, park_reason, parks, due_at_ms, created_at_ms, "
    "updated_at_ms, error_json, deaths, former_deaths, dead_workers"
)
_DETAIL = f"{_SUMMARY}, letter_sent, lease_clock, lease_expires_at_ms, envelope_json, outcome_json"
_NEWEST_FIRST = "ORDER BY updated_at_ms DESC, scope_id DESC, replay_key DESC LIMIT ?"
_OLDEST_FIRST = "ORDER BY updated_at_ms, scope_id, replay_key LIMIT ?"

#: So much of a hash names an effect; less would be an accident.
_SHORTEST_HASH = 4
_MOST_CANDIDATES = 5


class EffectIdError(EffectmqError):
    """What was given as the name of an effect names none, or more than one."""


class Place(NamedTuple):
    """Where in the order of changes an effect stands; the next page begins behind it."""

    updated_ms: int
    scope_id: str
    replay_key: str


@dataclass(frozen=True, slots=True)
class EffectFilter:
    """
    Which effects are meant. What is empty or ``None`` does not matter; the rest must all be met.

    Attributes:
        kinds: One of these kinds.
        statuses: One of these statuses.
        scope_id: The scope.
        session_id: The session that asked.
        turn_id: The turn.
        effect_id: The whole effect id.
        effect_id_end: How the effect id ends.
        caused_by: Canonical JSON of the cause.
        key_prefix: How the replay key begins.
        park_reasons: Parked for one of these reasons.
        worker: The worker that claimed it last.
        since_ms: Changed at this moment or later, Unix milliseconds.
        until_ms: Changed before this moment.
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


@dataclass(frozen=True, slots=True)
class EffectSummary:
    """
    One effect without its payloads.

    Attributes:
        identity: Scope id and replay key.
        hash: Of the canonical envelope; empty when it was cancelled unseen.
        status: See ``records.STATUSES``.
        attempts: Attempts begun.
        fence: Counts the claims.
        kind: The effect kind; empty when it was cancelled unseen.
        effect_id: Its id inside its scope.
        session_id: The session that asked for it.
        turn_id: The turn, or empty.
        caused_by: Canonical JSON of its cause, or empty.
        worker: Who claimed it last.
        park_reason: Why it was given up on, or empty.
        parks: How often it was parked.
        due_at_ms: Not to be run before, Unix milliseconds; 0 for at once.
        created_ms: When it was claimed first, Unix milliseconds.
        updated_ms: When it changed last.
        error_json: The controller error, or empty.
        deaths: Workers that died while its body ran, since it was first seen or last replayed.
        former_deaths: Deaths before it was replayed.
        dead_workers: The names of those that died last, one on a line.
    """

    identity: Identity
    hash: str
    status: Status
    attempts: int
    fence: int
    kind: str
    effect_id: str
    session_id: str
    turn_id: str
    caused_by: str
    worker: str
    park_reason: str
    parks: int
    due_at_ms: int
    created_ms: int
    updated_ms: int
    error_json: str
    deaths: int
    former_deaths: int
    dead_workers: str

    @property
    def place(self) -> Place:
        """Where it stands in the order of changes."""
        return Place(self.updated_ms, *_key(self.identity))

    @property
    def error(self) -> tuple[str, str]:
        """Code and message of the controller error; empty texts without one."""
        if not self.error_json:
            return "", ""
        try:
            tree = parse_json(self.error_json)
        except MalformedError:
            return "", self.error_json
        found: dict[str, Any] = tree if isinstance(tree, dict) else {}
        return str(found.get("code", "")), str(found.get("message", ""))


@dataclass(frozen=True, slots=True)
class EffectDetail(EffectSummary):
    """
    One effect with everything that is kept of it.

    Attributes:
        letter_sent: Whether the dead letter of its last parking is known to be out.
        lease_left_ms: How long somebody holds it still; 0 when nobody does.
        envelope_json: The canonical envelope; empty when it is not kept.
        outcome_json: The outcome as it was recorded; empty without one.
    """

    letter_sent: bool
    lease_left_ms: int
    envelope_json: str
    outcome_json: str


def find(
    tx: Transaction,
    chosen: EffectFilter,
    *,
    limit: int,
    after: Place | None = None,
    oldest_first: bool = False,
) -> list[EffectSummary]:
    """
    The effects that are meant, in the order of their last change.

    Args:
        tx: The transaction.
        chosen: Which.
        limit: At most so many.
        after: The place of the last one of the page before.
        oldest_first: Instead of the newest.
    """
    where, parameters = conditions(chosen)
    if after is not None:
        sign = ">" if oldest_first else "<"
        # The first condition follows from the second, and is the one that an index is good for.
        where.append(f"updated_at_ms {sign}= ?")
        where.append(f"(updated_at_ms, scope_id, replay_key) {sign} (?, ?, ?)")
        parameters += [after.updated_ms, *after]
    order = _OLDEST_FIRST if oldest_first else _NEWEST_FIRST
    rows = tx.execute(
        f"SELECT {_SUMMARY} FROM effectmq_effects {_where(where)} {order}", (*parameters, limit)
    )
    return [_summary(row) for row in rows]


def find_named(tx: Transaction, name: str, scope_id: str = "") -> EffectSummary:
    """
    The one effect that goes by a name: its replay key, its effect id, or a part of its hash.

    Args:
        tx: The transaction.
        name: The whole replay key, the whole effect id, or how the hash begins.
        scope_id: Only in this scope; empty for any.

    Raises:
        EffectIdError: When there is none, or more than one; lists them.
    """
    for condition, parameters in _meanings(name):
        where = [condition, "scope_id = ?"] if scope_id else [condition]
        rows = tx.execute(
            f"SELECT {_SUMMARY} FROM effectmq_effects {_where(where)} {_NEWEST_FIRST}",
            (*parameters, *([scope_id] if scope_id else []), _MOST_CANDIDATES + 1),
        )
        if len(rows) == 1:
            return _summary(rows[0])
        if rows:
            raise EffectIdError(_ambiguous(name, [_summary(row) for row in rows]))
    raise EffectIdError(
        f"no effect has the replay key, the effect id or the hash {printable(name, 200)!r}"
        f"{f' in scope {printable(scope_id, 200)!r}' if scope_id else ''}; see what there is with: "
        "effectmq effects list"
    )


def load_detail(tx: Transaction, identity: Identity) -> EffectDetail | None:
    """Everything about one effect; ``None`` when there is no such one."""
    rows = tx.execute(
        f"SELECT {_DETAIL} FROM effectmq_effects WHERE scope_id = ? AND replay_key = ?",
        _key(identity),
    )
    if not rows:
        return None
    common = _values(rows[0])
    letter_sent, clock, expires_ms, envelope_json, outcome_json = cast("Any", rows[0][_WIDTH:])
    now = tx.lease_time()
    left_ms = max(0, expires_ms - now.now_ms) if clock == now.clock else 0
    return EffectDetail(
        *cast("Any", (*common, bool(letter_sent), left_ms, envelope_json, outcome_json))
    )


def conditions(chosen: EffectFilter) -> tuple[list[str], list[Value]]:
    """What a filter means in SQL: conditions that must all hold, and their parameters."""
    where: list[str] = []
    parameters: list[Value] = []

    def add(condition: str, *values: Value) -> None:
        where.append(condition)
        parameters.extend(values)

    for column, wanted in (
        ("kind", chosen.kinds),
        ("status", chosen.statuses),
        ("park_reason", chosen.park_reasons),
    ):
        if wanted:
            add(f"{column} IN ({', '.join('?' * len(wanted))})", *wanted)
    for column, value in (
        ("scope_id", chosen.scope_id),
        ("session_id", chosen.session_id),
        ("turn_id", chosen.turn_id),
        ("effect_id", chosen.effect_id),
        ("lease_owner_id", chosen.worker),
    ):
        if value:
            add(f"{column} = ?", value)
    if chosen.key_prefix:
        # Not LIKE: SQLite's takes upper and lower case for the same.
        add("substr(replay_key, 1, ?) = ?", len(chosen.key_prefix), chosen.key_prefix)
    if chosen.effect_id_end:
        end = chosen.effect_id_end
        add("substr(effect_id, length(effect_id) - ? + 1) = ?", len(end), end)
    if chosen.caused_by:
        # Its index holds the rows with a cause only, and must see that nothing else is asked for.
        add("caused_by = ? AND caused_by <> ''", chosen.caused_by)
    if chosen.since_ms is not None:
        add("updated_at_ms >= ?", chosen.since_ms)
    if chosen.until_ms is not None:
        add("updated_at_ms < ?", chosen.until_ms)
    return where, parameters


def _meanings(name: str) -> list[tuple[str, list[Value]]]:
    """What a name may be, the most exact first."""
    meanings: list[tuple[str, list[Value]]] = [
        ("replay_key = ?", [name]),
        ("effect_id = ?", [name]),
    ]
    prefix = name.lower()
    if len(prefix) >= _SHORTEST_HASH and not prefix.strip("0123456789abcdef"):
        meanings.append(("substr(envelope_hash, 1, ?) = ?", [len(prefix), prefix]))
    return meanings


def _ambiguous(name: str, found: list[EffectSummary]) -> str:
    shown = "; ".join(
        f"key {printable(one.identity.replay_key, 100)!r} in scope "
        f"{printable(one.identity.scope_id, 100)!r} (hash {one.hash[:12]})"
        for one in found[:_MOST_CANDIDATES]
    )
    more = " and more" if len(found) > _MOST_CANDIDATES else ""
    return (
        f"{printable(name, 200)!r} names more than one effect: {shown}{more}. Give --scope and "
        "--key, or more of the hash"
    )


def _where(where: list[str]) -> str:
    return f"WHERE {' AND '.join(where)}" if where else ""


_WIDTH = len(_SUMMARY.split(", "))


def _summary(row: Row) -> EffectSummary:
    return EffectSummary(*_values(row))


def _values(row: Row) -> Any:
    scope_id, replay_key, *rest = cast("Any", row[:_WIDTH])
    return (Identity(scope_id, replay_key), *rest)


def _key(identity: Identity) -> tuple[str, str]:
    return identity.scope_id, identity.replay_key
