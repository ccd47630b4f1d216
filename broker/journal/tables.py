"""
The journal's table, and how operations change it.

Each operation is one row read, one rule applied, one row written. The two that every effect needs,
its first claim and the record of its outcome, take one statement each; they fall back to the rules
when the row is not as it usually is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any, cast

from effectmq.broker.database import Row, Transaction
from effectmq.broker.journal import rules
from effectmq.broker.journal.records import (
    Abandon,
    Accepted,
    Answer,
    Cancel,
    Claim,
    Effect,
    Entry,
    Granted,
    Letter,
    Mismatch,
    Operation,
    Record,
    Release,
    Renew,
    Status,
)
from effectmq.broker.journal.rules import Now
from effectmq.broker.schema import Schema
from effectmq.protocol.request import Identity

__all__ = ["JOURNAL_SCHEMA", "apply", "envelope_json_of", "load"]

JOURNAL_SCHEMA = Schema(
    "journal",
    [
        [
            """CREATE TABLE effectmq_effects (
                scope_id TEXT NOT NULL,
                replay_key TEXT NOT NULL,
                envelope_hash TEXT NOT NULL,
                status TEXT NOT NULL,
                attempts BIGINT NOT NULL,
                fence BIGINT NOT NULL,
                lease_owner_id TEXT NOT NULL,
                lease_token TEXT NOT NULL,
                lease_clock TEXT NOT NULL,
                lease_expires_at_ms BIGINT NOT NULL,
                due_at_ms BIGINT NOT NULL,
                outcome_json TEXT NOT NULL,
                error_json TEXT NOT NULL,
                park_reason TEXT NOT NULL,
                parks BIGINT NOT NULL,
                letter_sent BIGINT NOT NULL,
                kind TEXT NOT NULL,
                effect_id TEXT NOT NULL,
                session_id TEXT NOT NULL,
                turn_id TEXT NOT NULL,
                caused_by TEXT NOT NULL,
                envelope_json TEXT NOT NULL,
                created_at_ms BIGINT NOT NULL,
                updated_at_ms BIGINT NOT NULL,
                PRIMARY KEY (scope_id, replay_key)
            )""",
            "CREATE INDEX effectmq_effects_updated ON effectmq_effects (updated_at_ms)",
            "CREATE INDEX effectmq_effects_caused ON effectmq_effects (caused_by) "
            "WHERE caused_by <> ''",
        ]
    ],
)

_ENTRY = (
    "envelope_hash, status, attempts, fence, lease_token, lease_clock, lease_expires_at_ms, "
    "due_at_ms, outcome_json, error_json, park_reason, parks, letter_sent"
)
_KEY = "scope_id = ? AND replay_key = ?"

_SELECT = f"SELECT {_ENTRY} FROM effectmq_effects WHERE {_KEY}"
_INSERT = (
    f"INSERT INTO effectmq_effects ({_ENTRY}, lease_owner_id, scope_id, replay_key, kind, "
    "effect_id, session_id, turn_id, caused_by, envelope_json, created_at_ms, updated_at_ms) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (scope_id, replay_key) DO NOTHING RETURNING fence"
)
_UPDATE = (
    "UPDATE effectmq_effects SET "
    + ", ".join(f"{name} = ?" for name in _ENTRY.split(", "))
    + f", updated_at_ms = ? WHERE {_KEY}"
)
_DESCRIBE = (
    "UPDATE effectmq_effects SET lease_owner_id = ?, kind = ?, effect_id = ?, session_id = ?, "
    f"turn_id = ?, caused_by = ?, envelope_json = ? WHERE {_KEY}"
)
_OWN = f"UPDATE effectmq_effects SET lease_owner_id = ? WHERE {_KEY}"
_FINISH = (
    "UPDATE effectmq_effects SET status = ?, attempts = ?, lease_token = '', "
    "lease_expires_at_ms = 0, outcome_json = ?, error_json = ?, updated_at_ms = ? "
    f"WHERE {_KEY} AND fence = ? AND status = 'in_progress' RETURNING parks"
)


def apply(tx: Transaction, operations: list[Operation]) -> list[Answer]:
    """Carry out operations in one transaction, in order; an answer for each."""
    now = Now(tx.now_ms(), tx.lease_time())
    return [_apply(operation, tx, now) for operation in operations]


def load(tx: Transaction, identity: Identity, *, for_update: str = "") -> Entry | None:
    """The entry of an effect, if there is one."""
    rows = tx.execute(_SELECT + for_update, _key(identity))
    return _entry(rows[0]) if rows else None


def envelope_json_of(tx: Transaction, identity: Identity) -> str:
    """The stored envelope; empty when it is not kept."""
    rows = tx.execute(f"SELECT envelope_json FROM effectmq_effects WHERE {_KEY}", _key(identity))
    return cast("str", rows[0][0]) if rows else ""


# Operations ---------------------------------------------------------------------------------------


@singledispatch
def _apply(operation: object, tx: Transaction, now: Now) -> Answer:
    raise TypeError(f"no journal operation: {type(operation).__name__}")


@_apply.register
def _claim(asked: Claim, tx: Transaction, now: Now) -> Answer:
    if not asked.strict:
        made = rules.first_entry(asked, now)
        if _insert(tx, asked.effect, made, asked.worker, now):
            return Granted(made.fence, made.attempts, asked.due_in_ms)
    entry = load(tx, asked.identity, for_update=tx.for_update)
    answer, changed = rules.claim(entry, asked, now)
    if isinstance(answer, Mismatch):
        return Mismatch(answer.hash, envelope_json_of(tx, asked.identity))
    if changed is not None and entry is not None:
        _save(tx, asked.identity, changed, now)
        if changed.hash != entry.hash:
            _describe(tx, asked)
        else:
            tx.execute(_OWN, (asked.worker, *_key(asked.identity)))
    return answer


@_apply.register
def _record(said: Record, tx: Transaction, now: Now) -> Answer:
    if not said.park_reason:
        status: Status = "failed" if said.error_json else "completed"
        written = (status, said.attempts, said.outcome_json, said.error_json, now.wall_ms)
        rows = tx.execute(_FINISH, (*written, *_key(said.identity), said.fence))
        if rows:
            return Accepted(cast("int", rows[0][0]))
    return _ruled(tx, said.identity, now, lambda entry: rules.record(entry, said))


@_apply.register
def _hand_back(said: Release | Abandon | Renew | Letter, tx: Transaction, now: Now) -> Answer:
    return _ruled(tx, said.identity, now, lambda entry: rules.hand_back(entry, said, now))


@_apply.register
def _cancel(asked: Cancel, tx: Transaction, now: Now) -> Answer:
    entry = load(tx, asked.identity, for_update=tx.for_update)
    answer, changed = rules.cancel(entry, asked)
    if changed is None:
        return answer
    if entry is not None:
        _save(tx, asked.identity, changed, now)
    elif not _insert(tx, asked.effect, changed, "", now):
        # Claimed in this very moment by a transaction that began beside ours.
        return _cancel(asked, tx, now)
    return answer


def _ruled(
    tx: Transaction,
    identity: Identity,
    now: Now,
    rule: Callable[[Entry | None], tuple[Answer, Entry | None]],
) -> Answer:
    answer, changed = rule(load(tx, identity, for_update=tx.for_update))
    if changed is not None:
        _save(tx, identity, changed, now)
    return answer


# Rows ---------------------------------------------------------------------------------------------


def _key(identity: Identity) -> tuple[str, str]:
    return identity.scope_id, identity.replay_key


def _values(entry: Entry) -> tuple[str | int, ...]:
    return (
        entry.hash,
        entry.status,
        entry.attempts,
        entry.fence,
        entry.lease_token,
        entry.lease_clock,
        entry.lease_expires_ms,
        entry.due_at_ms,
        entry.outcome_json,
        entry.error_json,
        entry.park_reason,
        entry.parks,
        int(entry.letter_sent),
    )


def _entry(row: Row) -> Entry:
    return Entry(*cast("Any", (*row[:-1], bool(row[-1]))))


def _insert(tx: Transaction, effect: Effect, entry: Entry, worker: str, now: Now) -> bool:
    """Write a new row; false when there is one already."""
    rows = tx.execute(
        _INSERT,
        (
            *_values(entry),
            worker,
            *_key(effect.identity),
            effect.kind,
            effect.effect_id,
            effect.session_id,
            effect.turn_id,
            effect.caused_by,
            effect.envelope_json,
            now.wall_ms,
            now.wall_ms,
        ),
    )
    return bool(rows)


def _save(tx: Transaction, identity: Identity, entry: Entry, now: Now) -> None:
    tx.execute(_UPDATE, (*_values(entry), now.wall_ms, *_key(identity)))


def _describe(tx: Transaction, asked: Claim) -> None:
    """Another envelope has the key now: one that an operator edited, or the first one seen."""
    effect = asked.effect
    tx.execute(
        _DESCRIBE,
        (
            asked.worker,
            effect.kind,
            effect.effect_id,
            effect.session_id,
            effect.turn_id,
            effect.caused_by,
            effect.envelope_json,
            *_key(effect.identity),
        ),
    )
