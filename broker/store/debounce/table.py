"""
The windows of debounce keys, in the journal's database.

A window and the end of an effect that loses its place are written in one transaction, so that no
crash leaves both effects, or none. Only effects that a worker has received take a place: what a
producer that died never published cannot keep others out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.broker.store.database.port import Row, Transaction
from effectmq.broker.store.database.rows import number, text
from effectmq.broker.store.debounce.rules import (
    Arrival,
    Debounced,
    Step,
    Window,
    decide,
    superseded_json,
)
from effectmq.broker.store.debounce.steps import DEBOUNCE_SCHEMA
from effectmq.broker.store.journal.journal import Journal, check_keepable
from effectmq.broker.store.journal.records import Cancel, Cancelled, Effect
from effectmq.broker.store.journal.tables import apply, load
from effectmq.protocol.messages.request import Identity

__all__ = ["KEPT_MS", "MOST_FORGOTTEN", "DebounceTable"]

#: How long a window is kept after its end, in milliseconds: for so long an older effect that was
#: late, because its worker died, is known to be older.
KEPT_MS = 3_600_000
#: So many windows are forgotten in one transaction.
MOST_FORGOTTEN = 500

_KEY = "namespace = ? AND route = ? AND tenant = ? AND debounce_key = ?"
_HOLDER = "scope_id, replay_key, envelope_hash, kind, effect_id, session_id, turn_id, caused_by"
_COLUMNS = f"{_HOLDER}, asked_ms, first_ms, due_ms, ended"
#: Two transactions that find no row would both make one; so one is made first, and then locked.
_MAKE = (
    f"INSERT INTO effectmq_debounces (namespace, route, tenant, debounce_key, {_COLUMNS}) "
    "VALUES (?, ?, ?, ?, '', '', '', '', '', '', '', '', 0, 0, 0, 0) "
    "ON CONFLICT (namespace, route, tenant, debounce_key) DO NOTHING"
)
_SELECT = f"SELECT {_COLUMNS} FROM effectmq_debounces WHERE {_KEY}"
_SAVE = (
    "UPDATE effectmq_debounces SET "
    + ", ".join(f"{name} = ?" for name in _COLUMNS.split(", "))
    + f" WHERE {_KEY}"
)
_OLD = (
    "SELECT route, tenant, debounce_key FROM effectmq_debounces "
    "WHERE namespace = ? AND due_ms < ? ORDER BY route, tenant, debounce_key LIMIT ?"
)
_FORGET = f"DELETE FROM effectmq_debounces WHERE {_KEY} AND due_ms < ?"

#: Route, tenant and key.
_Place = tuple[str, str, str]


class DebounceTable:
    """
    The windows of one namespace, for a worker; its questions share transactions.

    Args:
        journal: An open one.
    """

    def __init__(self, journal: Journal) -> None:
        self._database = journal.database
        self._arrivals: GroupCommit[Arrival, Debounced] = GroupCommit(self._commit)

    async def ensure(self) -> None:
        """
        Make the table if there is none.

        Raises:
            SchemaVersionError: When it is of another version.
            DatabaseUnavailableError: When the database cannot be used.
        """
        await DEBOUNCE_SCHEMA.ensure(self._database)

    def ask(self, arrival: Arrival) -> asyncio.Future[Debounced]:
        """
        What becomes of an effect: durable when it is answered.

        Raises:
            DatabaseUnavailableError: From the future; asking the same again does no harm.
            InvalidEnvelopeError: When the journal cannot keep its names.
        """
        check_keepable(arrival.effect)
        return self._arrivals.ask(arrival)

    def forget(self) -> asyncio.Future[int]:
        """Forget some of the windows that ended long ago; returns how many they were."""
        return self._database.write(_forget, durable=False)

    def _commit(self, arrivals: list[Arrival]) -> asyncio.Future[list[Debounced]]:
        return self._database.write(lambda tx: carried_out(tx, arrivals))


def carried_out(tx: Transaction, arrivals: Sequence[Arrival]) -> list[Debounced]:
    """Decide for each, in order; windows are locked before effects, both in order of their keys."""
    now_ms = tx.now_ms()
    windows = _locked(tx, sorted({_place(each) for each in arrivals}))
    answers: list[Debounced] = []
    ends: list[tuple[int, Cancel]] = []
    changed: dict[_Place, Window] = {}
    for nth, arrival in enumerate(arrivals):
        place = _place(arrival)
        step = _step(tx, windows[place], arrival, now_ms)
        if step.window is not None:
            windows[place] = changed[place] = step.window
        if step.loser is not None and step.winner is not None:
            error_json = superseded_json(arrival.key, step.winner)
            ends.append((nth, Cancel(step.loser, error_json, unclaimed=True)))
        answers.append(Debounced(step.left_ms))
    if ends:
        ended = apply(tx, [cancel for _, cancel in ends])
        for (nth, _), answer in zip(ends, ended, strict=True):
            answers[nth] = replace(answers[nth], superseded=isinstance(answer, Cancelled))
    tx.execute_many(
        _SAVE, [(*_values(window), tx.namespace, *place) for place, window in changed.items()]
    )
    return answers


def _step(tx: Transaction, window: Window | None, arrival: Arrival, now_ms: int) -> Step:
    if load(tx, arrival.effect.identity) is not None:
        # It has begun, or ended: from here on the journal decides.
        return Step()
    return decide(window, arrival, now_ms)


def _locked(tx: Transaction, places: Sequence[_Place]) -> dict[_Place, Window | None]:
    windows: dict[_Place, Window | None] = {}
    missing = list(places)
    while missing:
        keys = [(tx.namespace, *place) for place in missing]
        tx.execute_many(_MAKE, keys)
        found = dict(zip(missing, tx.execute_each(_SELECT + tx.for_update, keys), strict=True))
        windows.update({place: _window(rows[0]) for place, rows in found.items() if rows})
        # Forgotten by somebody in between: what is made anew is locked by that.
        missing = [place for place, rows in found.items() if not rows]
    return windows


def _forget(tx: Transaction) -> int:
    before_ms = tx.now_ms() - KEPT_MS
    old = tx.execute(_OLD, (tx.namespace, before_ms, MOST_FORGOTTEN))
    tx.execute_many(_FORGET, [(tx.namespace, *place, before_ms) for place in old])
    return len(old)


def _place(arrival: Arrival) -> _Place:
    return arrival.route, arrival.tenant, arrival.key


def _window(row: Row) -> Window | None:
    scope_id, replay_key, hash_, kind, effect_id, session_id, turn_id, caused_by = map(
        text, row[:8]
    )
    if not replay_key:
        return None
    holder = Effect(
        Identity(scope_id, replay_key), hash_, kind, effect_id, session_id, turn_id, caused_by
    )
    asked_ms, first_ms, due_ms, ended = map(number, row[8:])
    return Window(holder, asked_ms, first_ms, due_ms, bool(ended))


def _values(window: Window) -> tuple[str | int, ...]:
    holder = window.holder
    return (
        holder.identity.scope_id,
        holder.identity.replay_key,
        holder.hash,
        holder.kind,
        holder.effect_id,
        holder.session_id,
        holder.turn_id,
        holder.caused_by,
        window.asked_ms,
        window.first_ms,
        window.due_ms,
        int(window.over),
    )
