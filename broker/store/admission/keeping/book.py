"""
The gates of one transaction: locked, read, decided upon in memory, and written once.

Gates are locked in the order of their lines, so that two transactions never deadlock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from effectmq.broker.store.admission.deciding.gates import (
    Gate,
    Verdict,
    clocked,
    ended,
    gone,
    opens_ms,
    packed,
    start,
    unpacked,
)
from effectmq.broker.store.admission.deciding.round_robin import Offer, may_start, started
from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.declared.rules import load_limits
from effectmq.broker.store.admission.records import Ended
from effectmq.broker.store.database.port import LeaseTime, Row, Transaction
from effectmq.broker.store.database.rows import ColumnError, number, text

__all__ = ["LOOK_MS", "Book"]

#: A line in which somebody waits is looked at after so long in any case. So one that says later was
#: written before the clock was set back.
LOOK_MS = 60_000
_STEP_MS = 10_000

_KEY = "namespace = ? AND name = ? AND key_value = ?"
_MAKE = (
    "INSERT INTO effectmq_gates (namespace, name, key_value, clock, starts, blocked_until_ms, "
    "half_open, probe, probe_until_ms, failures, waits, look_ms, used_ms) "
    "VALUES (?, ?, ?, ?, '', 0, 0, '', 0, 0, 0, 0, ?) "
    "ON CONFLICT (namespace, name, key_value) DO NOTHING"
)
_SELECT = (
    "SELECT clock, starts, blocked_until_ms, half_open, probe, probe_until_ms, failures, waits, "
    f"look_ms, offers FROM effectmq_gates WHERE {_KEY}"
)
_HELD = (
    "SELECT count(*), coalesce(min(expires_ms), 0), "
    "coalesce(max(CASE WHEN token = ? THEN expires_ms END), 0) FROM effectmq_permits "
    f"WHERE {_KEY} AND clock = ? AND expires_ms > ?"
)
_SAVE = (
    "UPDATE effectmq_gates SET clock = ?, starts = ?, blocked_until_ms = ?, half_open = ?, "
    "probe = ?, probe_until_ms = ?, failures = ?, waits = ?, look_ms = ?, "
    f"offers = ?, used_ms = ? WHERE {_KEY}"
)
_GRANT = (
    "INSERT INTO effectmq_permits "
    "(namespace, name, key_value, effect, token, owner, clock, expires_ms) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (namespace, effect, name, key_value) DO UPDATE SET token = excluded.token, "
    "owner = excluded.owner, clock = excluded.clock, expires_ms = excluded.expires_ms"
)
_DROP = "DELETE FROM effectmq_permits WHERE namespace = ? AND effect = ?"
_DROPPED = "name, key_value, clock, expires_ms, token"
_COPIES = "SELECT 1 FROM effectmq_room WHERE namespace = ? AND effect = ? AND owner = '' LIMIT 1"


class Book:
    """
    The gates of some lines, locked until the transaction ends.

    Args:
        tx: The transaction.
        lines: The lines that may change.
        owner: The worker that asks.
        lease_ms: How long its permits last without being renewed.
    """

    def __init__(self, tx: Transaction, lines: Iterable[Line], owner: str, lease_ms: int) -> None:
        self.now = tx.lease_time()
        self._tx = tx
        self._owner = owner
        self._lease_ms = lease_ms
        self._limits = load_limits(tx)
        self._gates: dict[Line, Gate] = {}
        self._before: dict[Line, tuple[object, ...]] = {}
        self._permits: list[tuple[str, str, Line]] = []
        self._started: set[str] = set()
        ordered = sorted(set(lines))
        while ordered:
            ordered = self._lock(ordered)

    def _lock(self, lines: list[Line]) -> list[Line]:
        """Lock and read gates, new ones as well; returns those that somebody has just removed."""
        tx, wall_ms = self._tx, self._tx.now_ms()
        # All of them before the first is locked: what is made here is locked by that.
        tx.execute_many(_MAKE, [(*self._key(line), self.now.clock, wall_ms) for line in lines])
        found = tx.execute_each(_SELECT + tx.for_update, [self._key(line) for line in lines])
        for line, rows in zip(lines, found, strict=True):
            if rows:
                self._keep(line, rows[0])
        return [line for line, rows in zip(lines, found, strict=True) if not rows]

    def _keep(self, line: Line, row: Row) -> None:
        gate = self._gates[line] = _gate(row, self.now)
        self._before[line] = _columns(gate, self.now.now_ms)
        now = self.now
        held = self._tx.execute(_HELD, (gate.probe, *self._key(line), now.clock, now.now_ms))[0]
        gate.held, gate.held_until_ms = number(held[0]), number(held[1])
        gate.probe_held_until_ms = number(held[2])

    def _key(self, line: Line) -> tuple[str, str, str]:
        return self._tx.namespace, line.name, line.value

    def gate(self, line: Line) -> Gate:
        """The state of a line."""
        return self._gates[line]

    def opens_ms(self, line: Line) -> int:
        """When one more of a line may start, as far as is known; see ``gates.opens_ms``."""
        limit = self._limits.get(line.name)
        now_ms = self.now.now_ms
        return now_ms if limit is None else opens_ms(limit, self._gates[line], now_ms)

    def is_open(self, line: Line) -> bool:
        """Whether one more may start; a limit that was cleared keeps nobody."""
        return self.opens_ms(line) <= self.now.now_ms

    def is_turn(self, line: Line, route: str, others: Collection[str]) -> bool:
        """Whether what is free in a line is for a route, while routes of other workers wait."""
        if not others or line.name not in self._limits:
            return True
        return may_start(self._gates[line].offers, route, others, self.now.now_ms)

    def admit(self, effect: str, token: str, lines: Iterable[Line], route: str) -> None:
        """An effect of a route starts."""
        for line in lines:
            limit, gate = self._limits.get(line.name), self._gates[line]
            if limit is None:
                continue
            if gate.waits:
                started(gate.offers, route)
            start(limit, gate, token, self.now.now_ms)
            expires_ms = self.now.now_ms + self._lease_ms
            gate.held_until_ms = min(gate.held_until_ms or expires_ms, expires_ms)
            if gate.probe == token:
                gate.probe_held_until_ms = expires_ms
            self._started.add(effect)
            self._permits.append((effect, token, line))

    def end(self, effect: str, token: str, lines: Iterable[Line], verdict: Verdict) -> Ended:
        """
        An effect has ended.

        What is said again, because the answer was lost, has no permit any more and counts once.
        """
        waited_for = False
        dropped = self._drop(f"{_DROP} AND token = ? RETURNING {_DROPPED}", effect, token)
        held = [id(gate) for gate, _ in dropped]
        for line in lines:
            limit, gate = self._limits.get(line.name), self._gates[line]
            if limit is not None and (id(gate) in held or verdict.wait_ms):
                ended(limit, gate, token, verdict, self.now.now_ms)
            if gate.waits:
                gate.look_ms = 0
                waited_for = True
        copies = waited_for and bool(self._tx.execute(_COPIES, (self._tx.namespace, effect)))
        return Ended(waited_for, copies)

    def forget(self, effect: str) -> None:
        """
        Take back what an effect had: who asks for it now holds its lease, so no other runs it.
        """
        for gate, token in self._drop(f"{_DROP} RETURNING {_DROPPED}", effect):
            if gate.probe == token:
                gone(gate)

    def has(self, line: Line) -> bool:
        """Whether the gate of a line is locked."""
        return line in self._gates

    def started(self, effect: str) -> bool:
        """Whether an effect was admitted in this transaction."""
        return effect in self._started

    def _drop(self, sql: str, effect: str, *more: str) -> list[tuple[Gate, str]]:
        """Remove permits; returns their gates, as far as these are locked, with their tokens."""
        self._write_permits()
        dropped: list[tuple[Gate, str]] = []
        for name, value, clock, expires_ms, token in self._tx.execute(
            sql, (self._tx.namespace, effect, *more)
        ):
            gate = self._gates.get(Line(text(name), text(value)))
            if gate is None:
                continue
            dropped.append((gate, text(token)))
            if self.is_alive(text(clock), number(expires_ms)):
                gate.held = max(0, gate.held - 1)
        return dropped

    def is_alive(self, clock: str, expires_ms: int) -> bool:
        """Whether a lease has not run out."""
        return clock == self.now.clock and expires_ms > self.now.now_ms

    def _write_permits(self) -> None:
        permits, self._permits = self._permits, []
        expires_ms = self.now.now_ms + self._lease_ms
        self._tx.execute_many(
            _GRANT,
            [
                (*self._key(line), effect, token, self._owner, self.now.clock, expires_ms)
                for effect, token, line in permits
            ],
        )

    def save(self) -> None:
        """Write what has changed."""
        tx = self._tx
        self._write_permits()
        wall_ms = tx.now_ms()
        tx.execute_many(
            _SAVE,
            [
                (self.now.clock, *columns, wall_ms, *self._key(line))
                for line, gate in sorted(self._gates.items())
                if (columns := _columns(gate, self.now.now_ms)) != self._before[line]
            ],
        )


def _gate(row: Row, now: LeaseTime) -> Gate:
    try:
        starts = unpacked(text(row[1]))
    except ValueError:
        raise ColumnError("a gate has starts that cannot be read") from None
    gate = Gate(
        starts,
        blocked_until_ms=number(row[2]),
        half_open=bool(number(row[3])),
        probe=text(row[4]),
        probe_until_ms=number(row[5]),
        failures=number(row[6]),
        waits=bool(number(row[7])),
        look_ms=number(row[8]),
        offers=[Offer(*one) for one in json.loads(text(row[9]) or "[]")],
    )
    gate.starts = clocked(gate.starts, now.now_ms)
    if text(row[0]) != now.clock:
        # The host was rebooted, which took longer than most periods; moments mean nothing now.
        gate.starts = []
        gate.blocked_until_ms = gate.look_ms = 0
        gate.offers = []
        gone(gate)
    return gate


def _columns(gate: Gate, now_ms: int) -> tuple[str | int, ...]:
    return (
        packed(gate.starts),
        gate.blocked_until_ms,
        int(gate.half_open),
        gate.probe,
        gate.probe_until_ms,
        gate.failures,
        int(gate.waits),
        # In steps, so that a gate that stays shut is not written for each that comes to it.
        min(gate.look_ms, (now_ms // _STEP_MS + 1) * _STEP_MS + LOOK_MS),
        json.dumps(gate.offers) if gate.offers else "",
    )
