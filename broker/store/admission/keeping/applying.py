"""
The transactions of admission: who starts, who waits, and who is next.

Rows are locked in one order: gates by name and value, then tickets, then permits.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from effectmq.broker.store.admission.deciding.turns import Turns
from effectmq.broker.store.admission.declared.keys import Line, is_of_spend, is_shared, shared_line
from effectmq.broker.store.admission.keeping import room
from effectmq.broker.store.admission.keeping.book import Book
from effectmq.broker.store.admission.keeping.room import Ticket
from effectmq.broker.store.admission.records import (
    Admitted,
    Answer,
    Ask,
    Claimed,
    End,
    Ended,
    NotAdmitted,
    Operation,
    Settle,
    Worker,
)
from effectmq.broker.store.database.port import Row, Transaction
from effectmq.broker.store.database.rows import text

__all__ = [
    "MOST_TAKEN",
    "apply",
    "due_lines",
    "is_due",
    "take",
]

#: So many lines are looked at in one transaction, so that others get their turn.
_MOST_LINES = 50
#: So many effects are taken in one transaction for each route.
MOST_TAKEN = 50
#: So many more of a shared route are looked at, so that those that a limit keeps use up no slot.
_MOST_KEPT = 50

_DUE = (
    "SELECT name, key_value FROM effectmq_gates AS g WHERE namespace = ? AND waits = 1 "
    "AND look_ms <= ? AND EXISTS (SELECT 1 FROM effectmq_room AS r "
    "WHERE r.namespace = g.namespace AND r.name = g.name AND r.key_value = g.key_value "
    "AND r.owner = '' AND r.route IN ({routes}) "
    f"AND {room.NOT_RUNNING}) ORDER BY look_ms LIMIT ?"
)
_ANY_FREE = (
    "SELECT 1 FROM effectmq_room WHERE namespace = ? AND name = ? AND key_value = ? "
    "AND owner = '' LIMIT 1"
)
_TICKETS = "SELECT room_id FROM effectmq_room WHERE namespace = ? AND effect = ? AND owner = ''"


def apply(tx: Transaction, worker: Worker, operations: Sequence[Operation]) -> list[Answer]:
    """Carry out operations in one transaction; returns an answer for each."""
    lines = [line for one in operations if not isinstance(one, Settle) for line in one.lines]
    book = Book(tx, lines, worker.owner, worker.lease_ms)
    turns = Turns(tx)
    answers: list[Answer] = []
    for operation in operations:
        match operation:
            case Ask():
                answers.append(_asked(tx, book, turns, operation))
            case End(effect, token, its_lines, verdict):
                answers.append(book.end(effect, token, its_lines, verdict))
            case Settle(room_id, token):
                room.drop(tx, room_id, token)
                answers.append(Ended())
    book.save()
    turns.save()
    return answers


def _asked(tx: Transaction, book: Book, turns: Turns, ask: Ask) -> Admitted | NotAdmitted:
    blocking = shared_line(ask.route) if ask.full else _first_line(tx, book, ask)
    if blocking is None:
        book.admit(ask.effect, ask.token, ask.lines, ask.route)
        return Admitted()
    if not ask.may_enter and not room.has(tx, ask.room_id):
        return NotAdmitted(blocking, full=True)
    # What is held is acknowledged to the broker next, so from here on it must not be lost.
    tx.durably()
    if ask.turn is None:
        place = room.end_of(tx, blocking, ask.route)
    else:
        place = turns.place(ask.route, ask.turn)
    room.enter(tx, ask, blocking, place)
    gate = book.gate(blocking)
    if not ask.look_ms:
        gate.look_ms = book.opens_ms(blocking)
    elif not gate.waits or gate.look_ms <= book.now.now_ms:
        gate.look_ms = book.now.now_ms + ask.look_ms
    gate.waits = True
    return NotAdmitted(blocking)


def _first_line(tx: Transaction, book: Book, ask: Ask) -> Line | None:
    """The line in which an effect has to wait; ``None`` when it may start."""
    book.forget(ask.effect)
    return ask.lines[0] if ask.look_ms else _first_shut(tx, book, ask)


def _first_shut(tx: Transaction, book: Book, ask: Ask) -> Line | None:
    return next((line for line in ask.lines if not _may_pass(tx, book, line, ask.route)), None)


def _may_pass(tx: Transaction, book: Book, line: Line, route: str) -> bool:
    """Whether it is open, nobody of the route came earlier, and it is the turn of the route."""
    if not book.is_open(line):
        return False
    gate = book.gate(line)
    if gate.waits and not tx.execute(_ANY_FREE, (tx.namespace, *line)):
        gate.waits = False
    if not gate.waits:
        return True
    routes = room.routes_of(tx, line)
    return route not in routes and book.is_turn(line, route, routes)


# Taking out of the room -----------------------------------------------------------------------


def due_lines(tx: Transaction, routes: Sequence[str]) -> list[Line]:
    """The lines in which somebody waits on these routes, and of which it is worth to look."""
    now = tx.lease_time()
    marks = ", ".join("?" * len(routes))
    rows = tx.execute(
        _DUE.format(routes=marks),
        (tx.namespace, now.now_ms, *routes, now.clock, now.now_ms, _MOST_LINES),
    )
    return [_line(row) for row in rows]


def is_due(tx: Transaction, routes: Sequence[str], full: Sequence[str] = ()) -> bool:
    """Whether ``take`` may find something for these routes, of which ``full`` have no slot."""
    every = [*routes, *full]
    if routes and due_lines(tx, routes):
        return True
    return bool(every) and bool(room.only_to_answer(tx, every, 1))


def take(
    tx: Transaction, worker: Worker, free: dict[str, int], cancelled: Sequence[str] = ()
) -> list[Claimed]:
    """
    Take out of the room what may start now, and what only has to be answered.

    Args:
        tx: The transaction.
        worker: Who takes.
        free: For each route of the worker how many slots are free.
        cancelled: Effects that only have to be answered, because they were cancelled or have ended.
    """
    if not free:
        return []
    lines = due_lines(tx, list(free))
    slots = {route: min(count, MOST_TAKEN) for route, count in free.items()}
    tickets = {line: room.free_tickets(tx, line, _looked_at(line, slots)) for line in lines}
    needed = {line for found in tickets.values() for ticket in found for line in ticket.lines}
    book = Book(tx, needed | set(lines), worker.owner, worker.lease_ms)
    turns = Turns(tx)
    taken = _answered(tx, book, worker, list(free), cancelled)
    for line in sorted(lines):
        taken += _taken(tx, book, turns, worker, line, tickets[line], slots)
    book.save()
    turns.save()
    return taken


def _looked_at(line: Line, slots: dict[str, int]) -> dict[str, int]:
    """How many tickets of a line to look at."""
    if is_of_spend(line):
        # Those that wait for money may all come back.
        return {route: min(count, 1) for route, count in slots.items()}
    if is_shared(line):
        # A limit may keep those whose turn it is.
        return {route: count + _MOST_KEPT if count else 0 for route, count in slots.items()}
    return slots


def _answered(
    tx: Transaction, book: Book, worker: Worker, routes: list[str], cancelled: Sequence[str]
) -> list[Claimed]:
    ids = room.only_to_answer(tx, routes, MOST_TAKEN)
    for effect in cancelled:
        ids += [text(row[0]) for row in tx.execute(_TICKETS, (tx.namespace, effect))]
    found: list[Claimed] = []
    for room_id in sorted(set(ids)):
        ticket = room.lock(tx, room_id)
        if ticket is not None and ticket.route in routes:
            claimed = room.claim(tx, ticket, worker.owner, book.now, worker.lease_ms, _token())
            found.append(replace(claimed, lines=(), in_turn=False))
    return found


def _taken(
    tx: Transaction,
    book: Book,
    turns: Turns,
    worker: Worker,
    line: Line,
    tickets: list[Ticket],
    slots: dict[str, int],
) -> list[Claimed]:
    """Take from one line, in order, until it is shut or the slots are used up."""
    taken: list[Claimed] = []
    gate = book.gate(line)
    routes = list(slots)
    others = room.routes_of(tx, line) - slots.keys() if tickets else set[str]()
    for one in tickets:
        if not book.is_open(line):
            gate.look_ms = book.opens_ms(line)
            return taken
        if slots[one.route] <= 0 or book.started(one.effect):
            continue
        ticket = room.lock_idle(tx, one.room_id)
        if ticket is None or ticket.line != line or not all(map(book.has, ticket.lines)):
            # Somebody has taken it, or it came back with other lines, since it was read.
            continue
        if not book.is_turn(line, ticket.route, others):
            continue
        blocking = _blocking(tx, book, ticket, routes)
        if blocking is not None:
            room.move(tx, ticket, blocking)
            there = book.gate(blocking)
            there.waits, there.look_ms = True, book.opens_ms(blocking)
            continue
        token = _token()
        book.admit(ticket.effect, token, ticket.lines, ticket.route)
        if shared_line(ticket.route) in ticket.lines:
            turns.started(ticket.route, ticket.number)
        slots[one.route] -= 1
        taken.append(room.claim(tx, ticket, worker.owner, book.now, worker.lease_ms, token))
    gate.waits = bool(tx.execute(_ANY_FREE, (tx.namespace, *line)))
    gate.look_ms = book.opens_ms(line)
    return taken


def _blocking(tx: Transaction, book: Book, ticket: Ticket, routes: list[str]) -> Line | None:
    """Another line of an effect that is shut, or in which it is somebody else's turn."""
    for line in ticket.lines:
        if line == ticket.line or is_shared(line):
            # There it only has to be its turn, and here it is.
            continue
        if not book.is_open(line):
            return line
        if book.gate(line).waits:
            first = room.first_number(tx, line, routes)
            if first is not None and first < ticket.number:
                return line
            others = room.routes_of(tx, line).difference(routes)
            if not book.is_turn(line, ticket.route, others):
                return line
    return None


def _line(row: Row) -> Line:
    return Line(text(row[0]), text(row[1]))


def _token() -> str:
    return secrets.token_hex(8)
