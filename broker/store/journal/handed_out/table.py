"""
The table of questions: what is asked of whoever answers a handed-out effect.

Whether an effect is still to be answered is said by its own row; a question stays after that, so
that a token says what became of its effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from effectmq.broker.store.database.port import Row, Transaction, Value
from effectmq.broker.store.database.rows import RowReader, number
from effectmq.broker.store.journal.handed_out.values import HandOut, Question
from effectmq.protocol.messages.request import Identity

__all__ = ["Asked", "Waiting", "asked_by_token", "asked_of", "forget", "keep", "waiting"]

_KEEP = """
    INSERT INTO effectmq_handed_out (namespace, scope_id, replay_key, token_hash, asked_at_ms,
        deadline_ms, note, schema_json, asker_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (namespace, scope_id, replay_key) DO UPDATE SET
        token_hash = excluded.token_hash, asked_at_ms = excluded.asked_at_ms,
        deadline_ms = excluded.deadline_ms, note = excluded.note,
        schema_json = excluded.schema_json, asker_json = excluded.asker_json"""
_FROM = (
    "FROM effectmq_effects AS e JOIN effectmq_handed_out AS q ON q.namespace = e.namespace "
    "AND q.scope_id = e.scope_id AND q.replay_key = e.replay_key WHERE e.namespace = ?"
)
_WAITING = (
    "q.scope_id, q.replay_key, e.kind, e.effect_id, e.session_id, e.turn_id, e.envelope_hash, "
    "e.lease_owner_id, q.asked_at_ms, q.deadline_ms, q.note, q.schema_json"
)
_ASKED = f"{_WAITING}, e.status, e.envelope_json, q.token_hash, q.asker_json"
#: The index of settled effects by their status needs its own condition.
_OPEN = "e.status = 'handed_out' AND e.status <> 'in_progress'"


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    A handed-out effect that nobody has answered yet.

    Attributes:
        identity: Scope id and replay key.
        kind: The effect kind.
        effect_id: Its id inside its scope.
        session_id: The session that asked for it.
        turn_id: The turn, or empty.
        hash: The hash of its envelope.
        worker: The worker that handed it out.
        asked_ms: When it was handed out, Unix milliseconds.
        deadline_ms: Until when it can be answered, Unix milliseconds.
        note: What is asked, for people.
        schema_json: The JSON Schema of the value; empty when every value fits.
    """

    identity: Identity
    kind: str
    effect_id: str
    session_id: str
    turn_id: str
    hash: str
    worker: str
    asked_ms: int
    deadline_ms: int
    note: str
    schema_json: str


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A question, and what has become of its effect.

    Attributes:
        waiting: What is asked.
        status: The status of the effect as the database has it.
        envelope_json: The envelope, canonical; empty when it was pruned.
        question: What was kept with it.
    """

    waiting: Waiting
    status: str
    envelope_json: str
    question: Question


class _WaitingRow(NamedTuple):
    scope_id: str
    replay_key: str
    kind: str
    effect_id: str
    session_id: str
    turn_id: str
    hash: str
    worker: str
    asked_ms: int
    deadline_ms: int
    note: str
    schema_json: str


class _Rest(NamedTuple):
    status: str
    envelope_json: str
    token_hash: str
    asker_json: str


_ROWS = RowReader(_WaitingRow)
_RESTS = RowReader(_Rest)
_WIDTH = len(_WaitingRow._fields)


def keep(tx: Transaction, said: HandOut, now_ms: int, deadline_ms: int) -> None:
    """Keep the question of an effect that is handed out; a former one is replaced."""
    identity, question = said.identity, said.question
    tx.execute(
        _KEEP,
        (
            tx.namespace,
            identity.scope_id,
            identity.replay_key,
            question.token_hash,
            now_ms,
            deadline_ms,
            question.note,
            question.schema_json,
            question.asker_json,
        ),
    )


def waiting(
    tx: Transaction, *, session_id: str = "", kinds: Sequence[str] = (), limit: int
) -> tuple[list[Waiting], int]:
    """
    The effects that wait for an answer, the nearest deadline first.

    Args:
        tx: A transaction.
        session_id: Only of this session; empty for all.
        kinds: Only of these kinds; empty for all.
        limit: The most effects.

    Returns:
        The first of them, and how many there are.
    """
    where, values = f"{_FROM} AND {_OPEN}", [tx.namespace]
    if session_id:
        where, values = f"{where} AND e.session_id = ?", [*values, session_id]
    if kinds:
        where = f"{where} AND e.kind IN ({', '.join('?' * len(kinds))})"
        values += kinds
    order = "ORDER BY q.deadline_ms, q.scope_id, q.replay_key LIMIT ?"
    found = tx.execute(f"SELECT {_WAITING} {where} {order}", (*values, limit))
    counted = tx.execute(f"SELECT count(*) {where}", tuple(values))
    return [_waiting(row) for row in found], number(counted[0][0])


def asked_by_token(tx: Transaction, token_hash: str) -> Asked | None:
    """The question of a token; ``None`` when there is none."""
    return _asked(tx, "q.token_hash = ?", token_hash)


def asked_of(tx: Transaction, identity: Identity) -> Asked | None:
    """The last question of an effect; ``None`` when it was never handed out."""
    return _asked(tx, "q.scope_id = ? AND q.replay_key = ?", identity.scope_id, identity.replay_key)


def forget(tx: Transaction, keys: Sequence[tuple[str, str]]) -> None:
    """Remove the questions of effects that were pruned."""
    if keys:
        values: list[Value] = [tx.namespace, *(part for key in keys for part in key)]
        rows = ", ".join(["(?, ?)"] * len(keys))
        tx.execute(
            "DELETE FROM effectmq_handed_out WHERE namespace = ? "
            f"AND (scope_id, replay_key) IN (VALUES {rows})",
            tuple(values),
        )


def _asked(tx: Transaction, condition: str, *values: str) -> Asked | None:
    rows = tx.execute(f"SELECT {_ASKED} {_FROM} AND {condition}", (tx.namespace, *values))
    if not rows:
        return None
    rest = _RESTS.one(rows[0][_WIDTH:])
    shown = _waiting(rows[0])
    question = Question(rest.token_hash, shown.note, shown.schema_json, rest.asker_json)
    return Asked(shown, rest.status, rest.envelope_json, question)


def _waiting(row: Row) -> Waiting:
    found: Any = _ROWS.one(row[:_WIDTH])
    return Waiting(Identity(found.scope_id, found.replay_key), *found[2:])
