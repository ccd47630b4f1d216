"""
Admission with workers that die, clocks that are moved on and answers that are lost, from a seed.

What the store decides is real, on a database in memory whose clock is the simulation's. The model
beside it counts what runs; a worker that died runs nothing, and its share comes back after a lease.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field, replace

from effectmq.broker.store.admission import deciding
from effectmq.broker.store.admission.deciding import Worker
from effectmq.broker.store.admission.gates import SAYS_NOTHING, Verdict
from effectmq.broker.store.admission.keys import Line
from effectmq.broker.store.admission.limits import Limit
from effectmq.broker.store.admission.records import Admitted, Ask, Claimed, End, Settle
from effectmq.broker.store.admission.rules import set_limit
from effectmq.broker.store.admission.steps import ADMISSION_SCHEMA
from effectmq.broker.store.database.port import LeaseTime
from effectmq.broker.store.database.sqlite.adapter import SqliteTransaction
from effectmq.protocol.messages.message import Message

__all__ = ["Simulation"]

_LEASE_MS = 1_000
_ROUTES = ("tool_call", "llm_call")
_LIMITS = (
    Limit.of("*", key="session", concurrency=3, name="session"),
    Limit.of("tool_call", key="tool", concurrency=2, rate="6/s", name="tool"),
)


class _Transaction(SqliteTransaction):
    """One whose clock is the simulation's."""

    moment_ms = 0

    def now_ms(self) -> int:
        return self.moment_ms

    def lease_time(self) -> LeaseTime:
        return LeaseTime("boot", self.moment_ms)


@dataclass
class _Running:
    """An attempt of a worker that lives."""

    effect: str
    token: str
    lines: tuple[Line, ...]
    room_id: str = ""


@dataclass
class _Alive:
    """A worker: what it runs, and when it renewed last."""

    worker: Worker
    renewed_ms: int
    running: dict[str, _Running] = field(default_factory=dict[str, "_Running"])


class Simulation:
    """
    One run.

    Args:
        seed: Decides everything.
        effects: How many there are.
    """

    def __init__(self, seed: int, effects: int = 40) -> None:
        self.random = random.Random(seed)
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.tx = _Transaction(connection)
        self.tx.moment_ms = 1_000_000
        ADMISSION_SCHEMA.make(self.tx)
        for limit in _LIMITS:
            set_limit(self.tx, limit, "simulation")
        self.names = 0
        self.workers = [self._new_worker() for _ in range(3)]
        self.unsent = {f"e{nth}": self._lines(nth) for nth in range(effects)}
        self.done: set[str] = set()
        self.starts: list[tuple[int, str, Line]] = []
        self.order: dict[tuple[Line, str], list[str]] = {}

    def _new_worker(self) -> _Alive:
        self.names += 1
        return _Alive(Worker(f"w{self.names}", _LEASE_MS), self.tx.moment_ms)

    def _lines(self, nth: int) -> tuple[Line, ...]:
        session = Line("session", f"s{nth % 2}")
        return (session, Line("tool", f"t{nth % 3}")) if nth % 4 else (session,)

    # Steps -------------------------------------------------------------------------------------

    def run(self, steps: int = 400) -> None:
        """Do anything, many times; then let everything end."""
        for _ in range(steps):
            twice = (self._ask, self._end, self._take, self._pass_time)
            self.random.choice([*twice, *twice, self._die])()
            self.check()
        for _ in range(4_000):
            if not self.unsent and not self._left():
                break
            for step in (self._ask, self._take, self._end, self._end, self._pass_time):
                step()
                self.check()
        self.finish()

    def _left(self) -> int:
        rows = self.tx.execute("SELECT count(*) FROM effectmq_room")
        return int(rows[0][0] or 0) + sum(len(one.running) for one in self.workers)

    def _someone(self) -> _Alive:
        return self.random.choice(self.workers)

    def _ask(self) -> None:
        if not self.unsent:
            return
        effect = self.random.choice(sorted(self.unsent))
        lines, one = self.unsent[effect], self._someone()
        if any(effect in other.running for other in self.workers):
            return
        route = _ROUTES[len(lines) == 1]
        asked = Ask(effect, self._token(), lines, route, Message(body=effect.encode()), route)
        answers = deciding.apply(self.tx, one.worker, [asked])
        if self.random.random() < 0.1:
            # The answer was lost, and it is asked again.
            answers = deciding.apply(self.tx, one.worker, [asked])
        del self.unsent[effect]
        if isinstance(answers[0], Admitted):
            self._start(one, _Running(effect, asked.token, lines))

    def _take(self) -> None:
        one = self._someone()
        free = {route: self.random.randint(0, 3) for route in _ROUTES}
        for taken in deciding.take(self.tx, one.worker, free):
            self._taken(one, taken)

    def _taken(self, one: _Alive, taken: Claimed) -> None:
        self._start(one, _Running(taken.effect, taken.token, taken.lines, taken.room_id))

    def _start(self, one: _Alive, running: _Running) -> None:
        assert running.effect not in self.done
        one.running[running.effect] = running
        for line in running.lines:
            self.starts.append((self.tx.moment_ms, running.effect, line))

    def _end(self) -> None:
        one = self._someone()
        if not one.running:
            return
        effect = self.random.choice(sorted(one.running))
        running = one.running.pop(effect)
        verdict = self.random.choice([SAYS_NOTHING, Verdict("ok"), Verdict("failed")])
        ended = End(effect, running.token, running.lines, verdict)
        settled = [Settle(running.room_id, running.token)] if running.room_id else []
        deciding.apply(self.tx, one.worker, [ended, *settled])
        self.done.add(effect)

    def _pass_time(self) -> None:
        self.tx.moment_ms += self.random.randint(1, _LEASE_MS // 3)
        for one in self.workers:
            if self.tx.moment_ms - one.renewed_ms > _LEASE_MS // 3:
                deciding.renew(self.tx, one.worker)
                one.renewed_ms = self.tx.moment_ms
        if deciding.left_over(self.tx):
            deciding.recover(self.tx)

    def _die(self) -> None:
        one = self._someone()
        self.workers.remove(one)
        for running in one.running.values():
            if not running.room_id:
                # The broker delivers it again. What came out of the room is still there.
                self.unsent[running.effect] = running.lines
        self.workers.append(self._new_worker())

    def _token(self) -> str:
        return f"{self.random.getrandbits(64):x}"

    # What must hold ------------------------------------------------------------------------------

    def check(self) -> None:
        """No more run than may, and no more have started in a period."""
        running = Counter(
            line for one in self.workers for each in one.running.values() for line in each.lines
        )
        for limit in _LIMITS:
            most = max((n for line, n in running.items() if line.name == limit.name), default=0)
            assert most <= limit.concurrency, (limit.name, running)
        since_ms = self.tx.moment_ms - 1_000
        recent = Counter(line for at_ms, _, line in self.starts if at_ms > since_ms)
        assert all(n <= 6 for line, n in recent.items() if line.name == "tool"), recent

    def finish(self) -> None:
        """Everything is done, and nobody has a share that could be missing."""
        assert not self.unsent
        assert not self._left()
        self.tx.moment_ms += 2 * _LEASE_MS
        assert self.tx.execute("SELECT count(*) FROM effectmq_permits") == [(0,)]
        one = replace(self._someone())
        most = [
            Ask(f"x{n}", f"x{n}", (Line("session", "s0"),), "llm_call", Message(body=b""), "")
            for n in range(4)
        ]
        answers = deciding.apply(self.tx, one.worker, most)
        assert [isinstance(answer, Admitted) for answer in answers] == [True, True, True, False]
