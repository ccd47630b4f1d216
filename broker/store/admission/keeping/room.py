"""
The room: effects that wait, in the order in which they came.

Each has a ticket, which is *free* until a worker takes the effect, and torn up when that is
settled. A worker that dies gives its tickets back when its lease runs out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from effectmq.broker.store.admission.declared.keys import Line, is_of_spend, is_shared
from effectmq.broker.store.admission.records import Ask, Claimed
from effectmq.broker.store.database.port import LeaseTime, Row, Transaction
from effectmq.broker.store.database.rows import data, number, text
from effectmq.protocol.messages.message import Message

__all__ = [
    "NOT_RUNNING",
    "Ticket",
    "claim",
    "drop",
    "end_of",
    "enter",
    "first_number",
    "free_tickets",
    "has",
    "lock",
    "lock_idle",
    "move",
    "only_to_answer",
    "routes_of",
    "unlocked",
]

_KEY = "namespace = ? AND room_id = ?"
_COLUMNS = (
    "room_id, effect, route, name, key_value, number, since_ms, deadline_ms, owner, clock, "
    "expires_ms, token, lines_json, properties_json, body"
)
#: How long an effect whose deadline is over rests when a worker has sent it back, in milliseconds:
#: the clock of that worker is behind, and it would send it back at once.
_REST_MS = 1_000
#: Who comes back keeps the number; what is known of the effect is what came last.
_ENTER = (
    f"INSERT INTO effectmq_room (namespace, {_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0, '', ?, ?, ?) "
    "ON CONFLICT (namespace, room_id) DO UPDATE SET route = excluded.route, name = excluded.name, "
    "key_value = excluded.key_value, deadline_ms = CASE WHEN excluded.deadline_ms > 0 "
    f"AND excluded.deadline_ms <= excluded.since_ms THEN excluded.since_ms + {_REST_MS} "
    "ELSE excluded.deadline_ms END, owner = '', clock = '', "
    "expires_ms = 0, token = '', lines_json = excluded.lines_json, "
    "properties_json = excluded.properties_json, body = excluded.body"
)
_TICKET = "room_id, effect, route, name, key_value, number, lines_json, since_ms"
#: Of a ticket ``r``: nobody runs its effect now, whose other ticket would have come out before. It
#: stays here until that has ended, so that one effect never has two permits.
NOT_RUNNING = (
    "NOT EXISTS (SELECT 1 FROM effectmq_permits AS p WHERE p.namespace = r.namespace "
    "AND p.effect = r.effect AND p.clock = ? AND p.expires_ms > ?)"
)
_OF_ROUTE = "r.namespace = ? AND r.name = ? AND r.key_value = ? AND r.route = ? AND r.owner = ''"
_FREE = (
    f"SELECT {_TICKET} FROM effectmq_room AS r WHERE {_OF_ROUTE} AND {NOT_RUNNING} "
    "ORDER BY number LIMIT ?"
)
_FIRST = (
    f"SELECT number FROM effectmq_room AS r WHERE {_OF_ROUTE} AND {NOT_RUNNING} "
    "ORDER BY number LIMIT 1"
)
_FIRST_OF = (
    "SELECT min(t.route) FROM effectmq_room AS t "
    "WHERE t.namespace = ? AND t.name = ? AND t.key_value = ? AND t.owner = ''"
)
#: One after the other, by the index: a line may have very many tickets of few routes.
_ROUTES = (
    f"WITH RECURSIVE found(route) AS ({_FIRST_OF} UNION ALL "
    f"SELECT ({_FIRST_OF} AND t.route > found.route) FROM found WHERE found.route IS NOT NULL) "
    "SELECT found.route FROM found WHERE found.route IS NOT NULL AND EXISTS (SELECT 1 "
    "FROM effectmq_room AS r WHERE r.namespace = ? AND r.name = ? AND r.key_value = ? "
    f"AND r.route = found.route AND r.owner = '' AND {NOT_RUNNING})"
)
_LAST = f"SELECT number FROM effectmq_room AS r WHERE {_OF_ROUTE} ORDER BY number DESC LIMIT 1"
_LOCK = f"SELECT {_TICKET} FROM effectmq_room AS r WHERE {_KEY} AND owner = ''"
_CLAIM = (
    "UPDATE effectmq_room SET owner = ?, clock = ?, expires_ms = ?, token = ? "
    f"WHERE {_KEY} RETURNING properties_json, body"
)
_MOVE = f"UPDATE effectmq_room SET name = ?, key_value = ? WHERE {_KEY}"
_DROP = f"DELETE FROM effectmq_room WHERE {_KEY} AND token = ?"
#: As for the index of dead letters: ASCII, so that what a stranger sent comes back as it was.
_PROPERTIES = (
    "content_type",
    "type",
    "correlation_id",
    "reply_to",
    "timestamp",
    "headers",
)
#: Numbers are times, so that those of several lines can be compared; so many fit in one.
_PER_MS = 1_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    A free ticket of the room.

    Attributes:
        room_id: Names it.
        effect: The effect.
        route: Its route.
        line: The line that it waits in.
        number: Its place in the order.
        lines: All lines of the effect.
        since_ms: Since when it waits, Unix milliseconds.
    """

    room_id: str
    effect: str
    route: str
    line: Line
    number: int
    lines: tuple[Line, ...]
    since_ms: int


def end_of(tx: Transaction, line: Line, route: str) -> int:
    """The number behind all others of a line and route."""
    last = tx.execute(_LAST, (tx.namespace, *line, route))
    # Also within one millisecond, and when the clock was set back.
    following = number(last[0][0]) + 1 if last else 0
    return max(tx.now_ms() * _PER_MS, following)


def enter(tx: Transaction, ask: Ask, line: Line, place: int) -> None:
    """Let an effect wait in a line, in the order of numbers; durable with the transaction."""
    now_ms = tx.now_ms()
    tx.execute(
        _ENTER,
        (
            tx.namespace,
            ask.room_id,
            ask.effect,
            ask.route,
            *line,
            place,
            now_ms,
            ask.deadline_ms,
            json.dumps(ask.lines),
            json.dumps(
                {
                    "routing_key": ask.home,
                    **{name: getattr(ask.message, name) for name in _PROPERTIES},
                }
            ),
            ask.message.body,
        ),
    )


def has(tx: Transaction, room_id: str) -> bool:
    """Whether there is such a ticket, free or taken."""
    return bool(tx.execute(f"SELECT 1 FROM effectmq_room WHERE {_KEY}", (tx.namespace, room_id)))


def free_tickets(tx: Transaction, line: Line, free: dict[str, int]) -> list[Ticket]:
    """
    The first free tickets of a line, for the routes that have slots: each in order, in turn.

    Those of an effect that runs are left out. The numbers of one route say nothing about another:
    those of a shared route are no times.
    """
    clock, now_ms = _now(tx)
    found = [
        (nth, _ticket(row))
        for route, slots in free.items()
        if slots > 0
        for nth, row in enumerate(
            tx.execute(_FREE, (tx.namespace, *line, route, clock, now_ms, slots))
        )
    ]
    found.sort(key=lambda each: (each[0], each[1].number))
    return [ticket for _, ticket in found]


def first_number(tx: Transaction, line: Line, routes: Sequence[str]) -> int | None:
    """
    The number of the first ticket of a line, on some routes; ``None`` when nobody waits.

    Those of an effect that runs are left out.
    """
    clock, now_ms = _now(tx)
    found = [
        number(row[0])
        for route in routes
        for row in tx.execute(_FIRST, (tx.namespace, *line, route, clock, now_ms))
    ]
    return min(found, default=None)


def routes_of(tx: Transaction, line: Line) -> set[str]:
    """The routes of which effects wait in a line; those of an effect that runs are left out."""
    key = (tx.namespace, *line)
    return {text(row[0]) for row in tx.execute(_ROUTES, (*key, *key, *key, *_now(tx)))}


def lock(tx: Transaction, room_id: str) -> Ticket | None:
    """Lock a ticket that is still free, and that nobody else has locked."""
    rows = tx.execute(_LOCK + unlocked(tx), (tx.namespace, room_id))
    return _ticket(rows[0]) if rows else None


def lock_idle(tx: Transaction, room_id: str) -> Ticket | None:
    """Lock a ticket as ``lock`` does, if its effect does not run."""
    sql = f"{_LOCK} AND {NOT_RUNNING}{unlocked(tx)}"
    rows = tx.execute(sql, (tx.namespace, room_id, *_now(tx)))
    return _ticket(rows[0]) if rows else None


def claim(
    tx: Transaction, ticket: Ticket, owner: str, now: LeaseTime, lease_ms: int, token: str
) -> Claimed:
    """Take an effect out of the room, for a worker and a time."""
    written = (owner, now.clock, now.now_ms + lease_ms, token)
    row = tx.execute(_CLAIM, (*written, tx.namespace, ticket.room_id))[0]
    properties = json.loads(text(row[0]))
    home = properties.pop("routing_key")
    return Claimed(
        ticket.room_id,
        token,
        ticket.effect,
        tuple(line for line in ticket.lines if not (is_of_spend(line) or is_shared(line))),
        ticket.route,
        home,
        Message(body=data(row[1]), **properties),
        max(0, tx.now_ms() - ticket.since_ms),
        in_turn=any(map(is_shared, ticket.lines)),
    )


def move(tx: Transaction, ticket: Ticket, line: Line) -> None:
    """Let it wait in another of its lines, with the number that it has."""
    tx.execute(_MOVE, (*line, tx.namespace, ticket.room_id))


def drop(tx: Transaction, room_id: str, token: str) -> None:
    """Forget an effect that is settled."""
    tx.execute(_DROP, (tx.namespace, room_id, token))


def only_to_answer(tx: Transaction, routes: Sequence[str], most: int) -> list[str]:
    """Free tickets of some routes whose deadline is over."""
    marks = ", ".join("?" * len(routes))
    rows = tx.execute(
        "SELECT room_id FROM effectmq_room WHERE namespace = ? AND owner = '' "
        f"AND deadline_ms > 0 AND deadline_ms <= ? AND route IN ({marks}) LIMIT ?",
        (tx.namespace, tx.now_ms(), *routes, most),
    )
    return [text(row[0]) for row in rows]


def unlocked(tx: Transaction) -> str:
    """The end of a query of rows to change that leaves out those that somebody has locked."""
    return f"{tx.for_update} SKIP LOCKED" if tx.for_update else ""


def _now(tx: Transaction) -> tuple[str, int]:
    now = tx.lease_time()
    return now.clock, now.now_ms


def _ticket(row: Row) -> Ticket:
    lines = tuple(Line(*pair) for pair in json.loads(text(row[6])))
    return Ticket(
        text(row[0]),
        text(row[1]),
        text(row[2]),
        Line(text(row[3]), text(row[4])),
        number(row[5]),
        lines,
        number(row[7]),
    )
