"""
The data of an effect for people, and how effects are looked up.

A summary does not read the payloads, so that a list of a thousand effects costs little; a detail
has everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from effectmq.broker.store.database.port import Row, Transaction
from effectmq.broker.store.database.rows import Columns, RowReader, text
from effectmq.broker.store.journal.archive.near import near_names
from effectmq.broker.store.journal.archive.selecting import (
    Branch,
    EffectFilter,
    Place,
    everywhere,
    hash_begins,
    page,
    statement,
)
from effectmq.broker.store.journal.attempt_times import AttemptTime, read_attempt_times
from effectmq.broker.store.journal.records import HANDED_OUT, Status, public_status
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.errors import EffectmqError, MalformedError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import printable

__all__ = [
    "EffectDetail",
    "EffectFilter",
    "EffectIdError",
    "EffectSummary",
    "Place",
    "find",
    "find_named",
    "load_detail",
]

_SUMMARY = (
    "scope_id, replay_key, envelope_hash, status, attempts, fence, kind, effect_id, session_id, "
    "turn_id, caused_by, lease_owner_id, park_reason, parks, due_at_ms, created_at_ms, "
    "updated_at_ms, error_json, deaths, former_deaths, dead_workers"
)
_DETAIL = (
    f"{_SUMMARY}, letter_sent, lease_clock, lease_expires_at_ms, envelope_json, outcome_json, "
    "attempt_times"
)

#: The shortest part of a hash that names an effect; a shorter one could fit by chance.
_SHORTEST_HASH = 4
_MOST_CANDIDATES = 5


class EffectIdError(EffectmqError):
    """A name of an effect that fits none, or more than one."""


@dataclass(frozen=True, slots=True)
class EffectSummary:
    """
    One effect without its payloads.

    Attributes:
        identity: Scope id and replay key.
        hash: The hash of the canonical envelope; empty when it was cancelled before its first
            claim.
        status: See ``records.STATUSES``.
        attempts: Attempts begun.
        fence: The number of claims.
        kind: The effect kind; empty when it was cancelled before its first claim.
        effect_id: Its id inside its scope.
        session_id: The session that asked for it.
        turn_id: The turn, or empty.
        caused_by: Canonical JSON of its cause, or empty.
        worker: The worker that claimed it last.
        park_reason: Why it was given up, or empty.
        parks: How often it was parked.
        due_at_ms: The earliest time of its next run, Unix milliseconds; 0 for at once.
        created_ms: The time of its first claim, Unix milliseconds.
        updated_ms: The time of its last change, Unix milliseconds.
        error_json: The controller error, or code and message of an outcome that is a failure; else
            empty.
        deaths: Workers that died while its body ran, since it was first seen or last replayed.
        former_deaths: Deaths before it was replayed.
        dead_workers: The names of the workers that died last, one on a line.
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
        """Its place in the order of changes."""
        return Place(self.updated_ms, *_key(self.identity))

    @property
    def error(self) -> tuple[str, str]:
        """Code and message of what failed; empty texts for nothing."""
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
        lease_left_ms: How long its lease still lasts; 0 without one.
        envelope_json: The canonical envelope; empty when it is not kept.
        outcome_json: The recorded outcome; empty without one.
        attempt_times: Its attempts in their order, as far as their times were kept.
    """

    letter_sent: bool
    lease_left_ms: int
    envelope_json: str
    outcome_json: str
    attempt_times: list[AttemptTime]


def find(
    tx: Transaction,
    chosen: EffectFilter,
    *,
    limit: int,
    after: Place | None = None,
    oldest_first: bool = False,
) -> list[EffectSummary]:
    """
    The selected effects, in the order of their last change.

    Args:
        tx: The transaction.
        chosen: Which effects.
        limit: The most effects.
        after: The place of the last effect of the previous page.
        oldest_first: Whether to begin with the oldest.
    """
    rows = page(tx, _SUMMARY, chosen, limit=limit, after=after, oldest_first=oldest_first)
    return [_summary(row) for row in rows]


def find_named(tx: Transaction, name: str, scope_id: str = "") -> EffectSummary:
    """
    The one effect with a name: its replay key, its effect id, or a part of its hash.

    Args:
        tx: The transaction.
        name: The whole replay key, the whole effect id, or the beginning of the hash.
        scope_id: The scope to search; empty for any.

    Raises:
        EffectIdError: When no effect fits, or more than one; lists them.
    """
    for meaning in _meanings(tx, name, scope_id):
        rows = tx.execute(*statement(tx, _SUMMARY, meaning, limit=_MOST_CANDIDATES + 1))
        if len(rows) == 1:
            return _summary(rows[0])
        if rows:
            raise EffectIdError(_ambiguous(name, [_summary(row) for row in rows]))
    where = f" in scope {printable(scope_id, 200)!r}" if scope_id else ""
    near = near_names(tx, name, scope_id)
    raise EffectIdError(
        f"no effect has the replay key, the effect id or the hash {printable(name, 200)!r}{where}"
        f"{f'{near} List' if near else '; list'} the effects with: effectmq effects list"
    )


def load_detail(tx: Transaction, identity: Identity) -> EffectDetail | None:
    """Everything about one effect; ``None`` when it does not exist."""
    rows = tx.execute(
        f"SELECT {_DETAIL} FROM effectmq_effects "
        "WHERE namespace = ? AND scope_id = ? AND replay_key = ?",
        (tx.namespace, *_key(identity)),
    )
    if not rows:
        return None
    kept = _KEPT.one(rows[0][_WIDTH:])
    now = tx.lease_time()
    left_ms = max(0, kept.lease_expires_ms - now.now_ms) if kept.lease_clock == now.clock else 0
    summary = _values(rows[0])
    times = _attempt_times(kept.attempt_times, EffectSummary(*summary))
    outcome = "" if rows[0][_STATUS + 2] == HANDED_OUT else kept.outcome_json
    own = (bool(kept.letter_sent), left_ms, kept.envelope_json, outcome, times)
    values: tuple[Any, ...] = (*summary, *own)
    return EffectDetail(*values)


def _attempt_times(words: str, effect: EffectSummary) -> list[AttemptTime]:
    return read_attempt_times(
        words,
        status=effect.status,
        attempts=effect.attempts,
        fence=effect.fence,
        created_ms=effect.created_ms,
        updated_ms=effect.updated_ms,
    )


def _meanings(tx: Transaction, name: str, scope_id: str) -> list[list[Branch]]:
    """The possible meanings of a name, the most exact first."""
    all_ = Branch(("namespace = ?",), (tx.namespace,))
    if scope_id:
        all_ = all_.also("scope_id = ?", scope_id)
    meanings = [
        everywhere(replace(all_, index="key").also("replay_key = ?", name)),
        everywhere(replace(all_, index="effect").also("effect_id = ?", name)),
    ]
    prefix = name.lower()
    if len(prefix) >= _SHORTEST_HASH and not prefix.strip("0123456789abcdef"):
        meanings.append([hash_begins(all_, prefix)])
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


class _Kept(NamedTuple):
    """The columns of a detail that a summary does not have."""

    letter_sent: int
    lease_clock: str
    lease_expires_ms: int
    envelope_json: str
    outcome_json: str
    attempt_times: str


_WIDTH = len(_SUMMARY.split(", "))
#: The columns after the two of the identity.
_REST = Columns.of(EffectSummary, without=1)
_STATUS, _ERROR = (_SUMMARY.split(", ").index(name) - 2 for name in ("status", "error_json"))
_KEPT = RowReader(_Kept)


def _summary(row: Row) -> EffectSummary:
    return EffectSummary(*_values(row))


def _values(row: Row) -> tuple[Any, ...]:
    """The values of a summary."""
    rest = [*_REST.checked(row[2:_WIDTH])]
    if rest[_STATUS] == HANDED_OUT:
        # What is there counts at its deadline, and not before.
        rest[_ERROR] = ""
    rest[_STATUS] = public_status(rest[_STATUS])
    return (Identity(text(row[0]), text(row[1])), *rest)


def _key(identity: Identity) -> tuple[str, str]:
    return identity.scope_id, identity.replay_key
