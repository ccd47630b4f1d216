"""What people are told of limits: how many run, how many wait, and what is shut."""

from __future__ import annotations

from dataclasses import dataclass, field

from effectmq.broker.store.admission.declared.keys import Line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.declared.rules import set_limits
from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import number, text

__all__ = ["LimitState", "LineState", "RouteState", "limit_states", "route_states", "shut_lines"]

#: So many lines of a limit are told, the longest first.
_MOST_LINES = 20

_RUNNING = (
    "SELECT name, key_value, count(*) FROM effectmq_permits WHERE namespace = ? "
    "AND clock = ? AND expires_ms > ? GROUP BY name, key_value"
)
_WAITING = (
    "SELECT name, key_value, count(*), min(since_ms) FROM effectmq_room "
    "WHERE namespace = ? AND owner = '' GROUP BY name, key_value"
)
_SHUT = (
    "SELECT name, key_value, blocked_until_ms, failures FROM effectmq_gates WHERE namespace = ? "
    "AND clock = ? AND half_open = 1"
)
_ROUTES = (
    "SELECT route, count(*), min(since_ms) FROM effectmq_room "
    "WHERE namespace = ? AND owner = '' GROUP BY route ORDER BY route"
)


@dataclass(slots=True)
class LineState:
    """
    One value of a limit's key.

    Attributes:
        value: The value; empty for a limit of a whole route.
        running: How many run.
        waiting: How many wait.
        oldest_ms: Since when the first of them waits, Unix milliseconds; 0 for none.
        shut: Whether nothing starts, or one alone asks, because of a wait or of failures.
        opens_in_ms: How long nothing starts.
        failures: Failures one after the other.
    """

    value: str
    running: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    shut: bool = False
    opens_in_ms: int = 0
    failures: int = 0


@dataclass(slots=True)
class LimitState:
    """
    A limit and what becomes of it.

    Attributes:
        limit: The limit.
        set_by: Who set it.
        set_ms: When, Unix milliseconds.
        running: How many run, over all values.
        waiting: How many wait.
        oldest_ms: Since when the first of them waits, Unix milliseconds; 0 for none.
        shut: How many values are shut.
        lines: Its values in use, those with the most waiting effects first; at most 20.
    """

    limit: Limit
    set_by: str
    set_ms: int
    running: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    shut: int = 0
    lines: list[LineState] = field(default_factory=list[LineState])


@dataclass(frozen=True, slots=True)
class RouteState:
    """
    The effects of a route that wait for admission.

    Attributes:
        route: The route.
        waiting: How many.
        oldest_ms: Since when the first of them waits, Unix milliseconds.
    """

    route: str
    waiting: int
    oldest_ms: int


def limit_states(tx: Transaction) -> list[LimitState]:
    """Every limit, by name, with what waits for it and runs under it."""
    found = {one.limit.name: LimitState(*one) for one in set_limits(tx)}
    by_limit: dict[str, list[LineState]] = {}
    for line, state in _lines(tx).items():
        by_limit.setdefault(line.name, []).append(state)
    for name, whole in found.items():
        lines = by_limit.get(name, [])
        whole.running = sum(one.running for one in lines)
        whole.waiting = sum(one.waiting for one in lines)
        whole.oldest_ms = min((one.oldest_ms for one in lines if one.oldest_ms), default=0)
        whole.shut = sum(one.shut for one in lines)
        lines.sort(key=lambda one: (-one.waiting, -one.running, one.value))
        whole.lines = lines[:_MOST_LINES]
    return list(found.values())


def _lines(tx: Transaction) -> dict[Line, LineState]:
    now = tx.lease_time()
    lines: dict[Line, LineState] = {}

    def line(name: object, value: object) -> LineState:
        key = Line(str(name), str(value))
        return lines.setdefault(key, LineState(key.value))

    for name, value, count in tx.execute(_RUNNING, (tx.namespace, now.clock, now.now_ms)):
        line(name, value).running = number(count)
    for name, value, count, since_ms in tx.execute(_WAITING, (tx.namespace,)):
        state = line(name, value)
        state.waiting, state.oldest_ms = number(count), number(since_ms)
    for name, value, until_ms, failures in tx.execute(_SHUT, (tx.namespace, now.clock)):
        state = line(name, value)
        state.shut = True
        state.opens_in_ms = max(0, number(until_ms) - now.now_ms)
        state.failures = number(failures)
    return lines


def route_states(tx: Transaction) -> list[RouteState]:
    """How many effects of each route wait for admission."""
    rows = tx.execute(_ROUTES, (tx.namespace,))
    return [RouteState(text(row[0]), number(row[1]), number(row[2])) for row in rows]


def shut_lines(tx: Transaction) -> dict[str, int]:
    """For each limit, how many values of its key are shut."""
    now = tx.lease_time()
    found: dict[str, int] = {}
    for row in tx.execute(_SHUT, (tx.namespace, now.clock)):
        found[text(row[0])] = found.get(text(row[0]), 0) + 1
    return found
