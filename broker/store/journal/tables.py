"""
The journal's table, and how operations change it.

For each effect one row is read, the rules are applied, and one row is written. Each step is done
for all effects of a transaction at once, which is one round trip to a distant database. The two
operations of every effect, its first claim and the record of its outcome, take one statement each;
they fall back to the rules when the row is not as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from effectmq.broker.store.database.port import Row, Transaction, Value
from effectmq.broker.store.database.rows import number, text
from effectmq.broker.store.journal import progress, rules
from effectmq.broker.store.journal.handed_out import table as handed_out
from effectmq.broker.store.journal.handed_out.values import HandOut
from effectmq.broker.store.journal.records import (
    FINISHED,
    Accepted,
    Cancel,
    Claim,
    Effect,
    Entry,
    Mismatch,
    Operation,
    OperationAnswer,
    Record,
    Release,
    Renew,
)
from effectmq.broker.store.journal.rules import Now
from effectmq.broker.store.journal.steps import JOURNAL_SCHEMA
from effectmq.broker.store.spend import writing as spend
from effectmq.protocol.messages.request import Identity

__all__ = ["JOURNAL_SCHEMA", "apply", "envelope_json_of", "load"]

_ENTRY = (
    "envelope_hash, status, attempts, fence, lease_token, lease_clock, lease_expires_at_ms, "
    "due_at_ms, outcome_json, error_json, park_reason, parks, letter_sent, "
    "uncertain, lease_owner_id, deaths, begun, former_deaths, dead_workers, "
    "due_clock, due_clock_ms, trace, attempt_times"
)
_KEY = "namespace = ? AND scope_id = ? AND replay_key = ?"

_SELECT = f"SELECT {_ENTRY} FROM effectmq_effects WHERE {_KEY}"
_NEW_ROW = f"({', '.join('?' * (len(_ENTRY.split(', ')) + 11))})"
_INSERT_ROWS = (
    f"INSERT INTO effectmq_effects ({_ENTRY}, namespace, scope_id, replay_key, kind, "
    "effect_id, session_id, turn_id, caused_by, envelope_json, created_at_ms, updated_at_ms) "
    "VALUES {rows} ON CONFLICT (namespace, scope_id, replay_key) DO NOTHING"
)
_INSERT = f"{_INSERT_ROWS.format(rows=_NEW_ROW)} RETURNING fence"
_UPDATE = (
    "UPDATE effectmq_effects SET "
    + ", ".join(f"{name} = ?" for name in _ENTRY.split(", "))
    + f", updated_at_ms = ? WHERE {_KEY}"
)
_DESCRIBE = (
    "UPDATE effectmq_effects SET kind = ?, effect_id = ?, session_id = ?, turn_id = ?, "
    f"caused_by = ?, envelope_json = ? WHERE {_KEY}"
)
_FINISH = (
    "UPDATE effectmq_effects SET status = ?, attempts = ?, lease_token = '', "
    "lease_expires_at_ms = 0, outcome_json = ?, error_json = ?, trace = ?, "
    f"updated_at_ms = ? WHERE {_KEY} AND fence = ? AND status = 'in_progress' RETURNING parks"
)
#: The same for many rows; those that were never parked, so that the answer need not be read. The
#: plus keeps the condition out of the choice of an index: each row is looked up by its key.
_FINISH_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FINISH_ROWS = (
    "UPDATE effectmq_effects SET status = v.column1, attempts = v.column2, lease_token = '', "
    "lease_expires_at_ms = 0, outcome_json = v.column3, error_json = v.column4, trace = v.column5, "
    "updated_at_ms = v.column6 FROM (VALUES {rows}) AS v "
    "WHERE namespace = v.column7 AND scope_id = v.column8 AND replay_key = v.column9 "
    "AND fence = v.column10 AND +effectmq_effects.status = 'in_progress' AND parks = 0"
)


def apply(tx: Transaction, operations: Sequence[Operation]) -> list[OperationAnswer]:
    """
    Carry out operations in one transaction; returns an answer for each.

    Those of one effect are carried out in order. Effects are independent of each other and are
    taken in the order of their keys, so that two transactions never deadlock.
    """
    now = Now(tx.now_ms(), tx.lease_time())
    answers: dict[int, OperationAnswer] = {}
    rest = _first_claims(tx, _cases(operations), now, answers)
    if rest and all(case.is_plain_record for case in rest):
        rest = _plain_records(tx, rest, now, answers)
    while rest:
        rest = _ruled(tx, rest, now, answers)
    if any([isinstance(each, Record | Release | HandOut) and each.spend for each in operations]):  # noqa: C419  A generator takes twice as long.
        _note_spend(tx, operations, now, answers)
    return [answers[place] for place in range(len(operations))]


def load(tx: Transaction, identity: Identity, *, for_update: str = "") -> Entry | None:
    """The entry of an effect; ``None`` without one."""
    rows = tx.execute(_SELECT + for_update, _key(tx, identity))
    return _entry(rows[0]) if rows else None


def envelope_json_of(tx: Transaction, identity: Identity) -> str:
    """The stored envelope; empty when it is not kept."""
    rows = tx.execute(
        f"SELECT envelope_json FROM effectmq_effects WHERE {_KEY}", _key(tx, identity)
    )
    return text(rows[0][0]) if rows else ""


# Operations ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Case:
    """
    One effect in one transaction.

    Attributes:
        identity: The effect.
        asked: Its operations, with the positions of their answers.
        entry: Its present entry.
        effect: The effect to write, when that changes.
        handed: How it was handed out, when it was.
        renewed: The last renewal that says how far it is, when one does.
    """

    identity: Identity
    asked: list[tuple[int, Operation]]
    entry: Entry | None = None
    effect: Effect | None = None
    handed: HandOut | None = None
    renewed: Renew | None = None

    @property
    def is_first_claim(self) -> bool:
        """Whether one claim is the only operation, so that there may be no row yet."""
        operation = self.asked[0][1]
        return len(self.asked) == 1 and isinstance(operation, Claim) and not operation.strict

    @property
    def is_plain_record(self) -> bool:
        """Whether one record is the only operation, and not a parking."""
        operation = self.asked[0][1]
        return len(self.asked) == 1 and isinstance(operation, Record) and not operation.park_reason


def _cases(operations: Sequence[Operation]) -> list[_Case]:
    cases: dict[Identity, _Case] = {}
    for place, operation in enumerate(operations):
        case = cases.setdefault(operation.identity, _Case(operation.identity, []))
        case.asked.append((place, operation))
    return sorted(
        cases.values(), key=lambda case: (case.identity.scope_id, case.identity.replay_key)
    )


def _first_claims(
    tx: Transaction, cases: list[_Case], now: Now, answers: dict[int, OperationAnswer]
) -> list[_Case]:
    """Insert effects that are claimed for the first time; returns the other cases."""
    claims = [
        (case, place, operation)
        for case in cases
        if case.is_first_claim
        for place, operation in case.asked
        if isinstance(operation, Claim)
    ]
    rows: list[tuple[Value, ...]] = []
    for _, place, asked in claims:
        answer, made = rules.claim(None, asked, now)
        assert made is not None
        answers[place] = answer
        rows.append(_new_row(tx, asked.effect, made, now))
    changed = tx.execute_together(_INSERT_ROWS, _NEW_ROW, rows)
    if changed is not None:
        # Where one was known, the rules answer all: the same claim again is granted again.
        done = {id(case) for case, _, _ in claims} if changed == len(rows) else set[int]()
        return [case for case in cases if id(case) not in done]
    inserted = tx.execute_each(_INSERT, rows)
    done = {id(case) for (case, _, _), found in zip(claims, inserted, strict=True) if found}
    return [case for case in cases if id(case) not in done]


def _plain_records(
    tx: Transaction, cases: list[_Case], now: Now, answers: dict[int, OperationAnswer]
) -> list[_Case]:
    """Record what lease holders say; returns the cases whose lease is not as expected."""
    rows: list[tuple[Value, ...]] = []
    for case in cases:
        said = case.asked[0][1]
        assert isinstance(said, Record)
        attempts = min(said.attempts, rules.LARGEST)
        written = (said.status, attempts, said.outcome_json, said.error_json)
        rows.append((*written, said.trace, now.wall_ms, *_key(tx, said.identity), said.fence))
    changed = tx.execute_together(_FINISH_ROWS, _FINISH_ROW, rows)
    if changed is not None:
        if changed != len(rows):
            # Where one is not as expected, the rules answer all: the same record is accepted again.
            return cases
        for case in cases:
            answers[case.asked[0][0]] = Accepted()
        return []
    rest: list[_Case] = []
    for case, found in zip(cases, tx.execute_each(_FINISH, rows), strict=True):
        if found:
            answers[case.asked[0][0]] = Accepted(number(found[0][0]))
        else:
            rest.append(case)
    return rest


def _ruled(
    tx: Transaction, cases: list[_Case], now: Now, answers: dict[int, OperationAnswer]
) -> list[_Case]:
    """Read, apply the rules, and write; returns the cases that another transaction just made."""
    found = tx.execute_each(_SELECT + tx.for_update, [_key(tx, case.identity) for case in cases])
    new: list[_Case] = []
    changed: list[_Case] = []
    for case, rows in zip(cases, found, strict=True):
        stored = case.entry = _entry(rows[0]) if rows else None
        case.effect = None
        for place, operation in case.asked:
            answers[place] = _decided(tx, case, operation, now)
        if case.entry != stored:
            (new if stored is None else changed).append(case)
    if changed:
        # Deaths, attempts and due times are counted on; only a first claim may be lost.
        tx.durably()
    inserted = tx.execute_each(
        _INSERT,
        [
            _new_row(tx, case.effect, case.entry, now)
            for case in new
            if case.effect is not None and case.entry is not None
        ],
    )
    _save(tx, changed, now)
    for case in changed:
        if case.handed is not None and case.entry is not None:
            handed_out.keep(tx, case.handed, now.wall_ms, case.entry.due_at_ms)
    renewed = [case.renewed for case in cases if case.renewed is not None]
    if renewed:
        progress.keep(tx, renewed, now.wall_ms)
    return [case for case, rows in zip(new, inserted, strict=True) if not rows]


def _note_spend(
    tx: Transaction,
    operations: Sequence[Operation],
    now: Now,
    answers: dict[int, OperationAnswer],
) -> None:
    """Note what was spent in the stays whose end is recorded."""
    spend.add(
        tx,
        [
            (said.identity, said.fence, said.spend)
            for place, said in enumerate(operations)
            if isinstance(said, Record | Release | HandOut)
            and said.spend is not None
            and isinstance(answers[place], Accepted)
        ],
        now.wall_ms,
    )


def _decided(tx: Transaction, case: _Case, operation: Operation, now: Now) -> OperationAnswer:
    answer, made = rules.decide(case.entry, operation, now)
    if isinstance(answer, Mismatch):
        known = case.effect
        if known is not None and known.hash == answer.hash:
            return Mismatch(answer.hash, known.envelope_json)
        return Mismatch(answer.hash, envelope_json_of(tx, case.identity))
    if made is not None:
        if isinstance(operation, Claim | Cancel) and _is_anew(case.entry, operation):
            # A new effect, or one that an operator replays and may have edited.
            case.effect = operation.effect
        elif isinstance(operation, HandOut):
            case.handed = operation
        elif isinstance(operation, Renew) and operation.progress is not None:
            case.renewed = operation
        case.entry = made
    return answer


def _is_anew(entry: Entry | None, operation: Claim | Cancel) -> bool:
    return entry is None or (isinstance(operation, Claim) and entry.status in FINISHED)


# Rows ---------------------------------------------------------------------------------------------


def _key(tx: Transaction, identity: Identity) -> tuple[str, str, str]:
    return tx.namespace, identity.scope_id, identity.replay_key


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
        int(entry.uncertain),
        entry.worker,
        entry.deaths,
        int(entry.begun),
        entry.former_deaths,
        entry.dead_workers,
        entry.due_clock,
        entry.due_clock_ms,
        entry.trace,
        entry.attempt_times,
    )


def _entry(row: Row) -> Entry:
    # Unchecked, because it runs for every known effect; ``sound`` checks the status.
    entry = Entry(*cast("Any", row))
    # The two databases do not return truth values in the same form.
    return rules.sound(
        replace(
            entry,
            letter_sent=bool(entry.letter_sent),
            uncertain=bool(entry.uncertain),
            begun=bool(entry.begun),
        )
    )


def _new_row(tx: Transaction, effect: Effect, entry: Entry, now: Now) -> tuple[Value, ...]:
    return (
        *_values(entry),
        *_key(tx, effect.identity),
        *_description(effect),
        now.wall_ms,
        now.wall_ms,
    )


def _description(effect: Effect) -> tuple[str, ...]:
    return (
        effect.kind,
        effect.effect_id,
        effect.session_id,
        effect.turn_id,
        effect.caused_by,
        effect.envelope_json,
    )


def _save(tx: Transaction, cases: list[_Case], now: Now) -> None:
    tx.execute_many(
        _UPDATE,
        [
            (*_values(case.entry), now.wall_ms, *_key(tx, case.identity))
            for case in cases
            if case.entry is not None
        ],
    )
    tx.execute_many(
        _DESCRIBE,
        [
            (*_description(case.effect), *_key(tx, case.identity))
            for case in cases
            if case.effect is not None
        ],
    )
