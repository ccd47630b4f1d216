"""
Whose turn it is: the virtual time of shared routes.

Every effect that waits gets a number, and the smallest number starts next. A value of the share's
key (a tenant, a session) is given one number after the other, ``cost`` apart, beginning one step
after the route's virtual time, which is the number that started last. So one that has ten thousand
effects waiting has its numbers spread far ahead, and one that comes new is among the next; two that
always have effects waiting start in turn; and who did not wait for a while has saved nothing up.
Those that come new for ever move the time on as well, so that nobody is left behind by them. A
higher weight costs less, so its numbers lie closer together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from effectmq.broker.store.admission.declared.keys import Turn
from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import number

__all__ = ["Turns", "VirtualTime"]

_KEY = "namespace = ? AND route = ? AND who = ?"
_SELECT = f"SELECT virtual FROM effectmq_turns WHERE {_KEY}"
_SAVE = (
    "INSERT INTO effectmq_turns (namespace, route, who, virtual) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (namespace, route, who) DO UPDATE SET virtual = excluded.virtual"
)
#: Whose next number is not ahead of the route's time begins there, known or not.
_FORGET = (
    "DELETE FROM effectmq_turns WHERE namespace = ? AND route = ? AND virtual <= ? AND who <> ''"
)
#: So that a time never is below the numbers of effects that came before the route was shared.
_PER_MS = 1_000


@dataclass(slots=True)
class VirtualTime:
    """
    The virtual time of one route.

    Attributes:
        now: The largest number that has started.
        ends: For those that have waited: the number of their last effect.
    """

    now: int
    ends: dict[str, int] = field(default_factory=dict[str, int])

    def place(self, turn: Turn) -> int:
        """The number of one more effect that waits."""
        end = max(self.now, self.ends.get(turn.who, 0)) + turn.cost
        self.ends[turn.who] = end
        return end

    def started(self, place: int) -> None:
        """The effect with this number starts."""
        self.now = max(self.now, place)


class Turns:
    """
    The virtual times that one transaction needs; the gates of their lines are locked.

    Args:
        tx: The transaction.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._times: dict[str, VirtualTime] = {}
        self._found: dict[str, VirtualTime] = {}

    def place(self, route: str, turn: Turn) -> int:
        """The number of one more effect that waits on a route."""
        time = self._time(route)
        # Never empty: that is the route's own.
        turn = turn._replace(who=f"={turn.who}")
        if turn.who not in time.ends:
            time.ends[turn.who] = self._found[route].ends[turn.who] = self._read(route, turn.who)
        return time.place(turn)

    def started(self, route: str, place: int) -> None:
        """An effect of a route starts."""
        self._time(route).started(place)

    def _time(self, route: str) -> VirtualTime:
        time = self._times.get(route)
        if time is None:
            now = self._read(route, "")
            self._found[route] = VirtualTime(now)
            time = self._times[route] = VirtualTime(now or self._tx.now_ms() * _PER_MS)
        return time

    def _read(self, route: str, who: str) -> int:
        rows = self._tx.execute(_SELECT, (self._tx.namespace, route, who))
        return number(rows[0][0]) if rows else 0

    def save(self) -> None:
        """Write what has changed."""
        tx = self._tx
        for route, time in self._times.items():
            found = self._found[route]
            changed = {who: end for who, end in time.ends.items() if end != found.ends[who]}
            if time.now != found.now:
                changed[""] = time.now
            tx.execute_many(
                _SAVE, [(tx.namespace, route, who, end) for who, end in sorted(changed.items())]
            )
            if changed:
                tx.execute(_FORGET, (tx.namespace, route, time.now))
