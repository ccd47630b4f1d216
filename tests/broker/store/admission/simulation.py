"""
Admission with workers that die, clocks that are moved on and answers that are lost, from a seed.

What the store decides is real, on a database in memory whose clock is the simulation's. The model
beside it counts what runs; a worker that died runs nothing, and its share comes back after a lease.

Some effects are asked for twice, by callers with different reply queues. As under a journal, one
worker at a time runs an effect; another that gets it meanwhile sends it back to the broker.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from effectmq.broker.store.admission.deciding.gates import SAYS_NOTHING, Verdict
from effectmq.broker.store.admission.declared.keys import Line, Turn, shared_line
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.declared.rules import set_limit
from effectmq.broker.store.admission.keeping import applying, upkeep
from effectmq.broker.store.admission.records import (
    Admitted,
    Ask,
    Claimed,
    End,
    Operation,
    Settle,
    Worker,
)
from effectmq.broker.store.admission.steps import ADMISSION_SCHEMA, SHARES_SCHEMA
from effectmq.broker.store.database.port import LeaseTime
from effectmq.broker.store.database.sqlite.adapter import SqliteTransaction
from effectmq.protocol.messages.message import Message

__all__ = ["Simulation"]

_LEASE_MS = 1_000
_OK = Verdict("ok")
_ROUTES = ("tool_call", "llm_call")
_SHARED = "llm_call"
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


class _Copy(NamedTuple):
    """An effect, as one caller asked for it."""

    effect: str
    reply_to: str = "r"


@dataclass
class _Running:
    """An attempt of a worker that lives."""

    copy: _Copy
    token: str
    lines: tuple[Line, ...]
    room_id: str = ""
    claim: str = ""


@dataclass
class _Shut:
    """A line in which one was told to wait: until when, and who asks alone then."""

    until_ms: int
    probe: str = ""


@dataclass
class _Alive:
    """A worker: what it takes and runs, and when it renewed last."""

    worker: Worker
    routes: tuple[str, ...]
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
        SHARES_SCHEMA.make(self.tx)
        for limit in _LIMITS:
            set_limit(self.tx, limit, "simulation")
        self.names = 0
        self.workers = [
            self._new_worker(routes) for routes in (_ROUTES, _ROUTES[:1], _ROUTES[1:], _ROUTES)
        ]
        self.lines = {f"e{nth}": self._lines(nth) for nth in range(effects)}
        self.unsent = {_Copy(effect) for effect in self.lines}
        self.unsent |= {_Copy(f"e{nth}", "again") for nth in range(0, effects, 3)}
        self.done: set[str] = set()
        self.shut: dict[Line, _Shut] = {}
        self.starts: list[tuple[int, str, Line]] = []

    def _new_worker(self, routes: tuple[str, ...]) -> _Alive:
        self.names += 1
        return _Alive(Worker(f"w{self.names}", _LEASE_MS), routes, self.tx.moment_ms)

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
        copy = self.random.choice(sorted(self.unsent))
        if self._is_running(copy.effect):
            return
        self.unsent.remove(copy)
        if copy.effect not in self.done:
            self._ask_for(self._someone(), copy)

    def _ask_for(self, one: _Alive, copy: _Copy, room_id: str = "", claim: str = "") -> None:
        lines = self.lines[copy.effect]
        message = Message(body=copy.effect.encode(), reply_to=copy.reply_to)
        route = _ROUTES[len(lines) == 1]
        asked = Ask(copy.effect, self._token(), lines, route, message, route)
        if route == _SHARED:
            # Now and then the worker has no slot for it.
            asked = replace(
                asked,
                lines=(*lines, shared_line(route)),
                turn=Turn(f"t{len(copy.effect)}{copy.effect[-1]}"),
                full=not room_id and self.random.random() < 0.5,
            )
        answers = applying.apply(self.tx, one.worker, [asked])
        if self.random.random() < 0.1:
            # The answer was lost, and it is asked again.
            answers = applying.apply(self.tx, one.worker, [asked])
        if isinstance(answers[0], Admitted):
            self._start(one, _Running(copy, asked.token, lines, room_id), claim)
        elif room_id:
            applying.apply(self.tx, one.worker, [Settle(room_id, claim)])

    def _is_running(self, effect: str) -> bool:
        return any(effect in one.running for one in self.workers)

    def _take(self) -> None:
        one = self._someone()
        free = {route: self.random.randint(0, 3) for route in one.routes}
        ended = self.random.sample(sorted(self.done), min(len(self.done), 2))
        for taken in applying.take(self.tx, one.worker, free, ended):
            self._taken(one, taken)

    def _taken(self, one: _Alive, taken: Claimed) -> None:
        copy = _Copy(taken.effect, taken.message.reply_to)
        if taken.effect not in self.done and not self._is_running(taken.effect):
            if taken.lines:
                running = _Running(copy, taken.token, taken.lines, taken.room_id)
                self._start(one, running, taken.token)
            else:
                self._ask_for(one, copy, taken.room_id, taken.token)
            return
        if taken.effect not in self.done:
            self.unsent.add(copy)
        settled: list[Operation] = [Settle(taken.room_id, taken.token)]
        if taken.lines:
            settled.insert(0, End(taken.effect, taken.token, taken.lines))
        applying.apply(self.tx, one.worker, settled)

    def _start(self, one: _Alive, running: _Running, claim: str) -> None:
        one.running[running.copy.effect] = running
        running.claim = claim
        for line in running.lines:
            self.starts.append((self.tx.moment_ms, running.copy.effect, line))
            shut = self.shut.get(line)
            if shut is not None:
                assert self.tx.moment_ms >= shut.until_ms, line
                tokens = {each.token for w in self.workers for each in w.running.values()}
                assert shut.probe not in tokens, (line, "two ask at a time")
                shut.probe = running.token

    def _end(self) -> None:
        one = self._someone()
        if not one.running:
            return
        effect = self.random.choice(sorted(one.running))
        running = one.running.pop(effect)
        wait_ms = self.random.randint(1, 900)
        verdict = self.random.choice(
            [SAYS_NOTHING, _OK, _OK, _OK, Verdict("failed"), Verdict("failed", wait_ms)]
        )
        ended = End(effect, running.token, running.lines, verdict)
        settled = [Settle(running.room_id, running.claim)] if running.room_id else []
        applying.apply(self.tx, one.worker, [ended, *settled])
        self.done.add(effect)
        for line in running.lines:
            if line.name == "tool":
                self._note_end(line, running.token, verdict)

    def _note_end(self, line: Line, token: str, verdict: Verdict) -> None:
        shut, now_ms = self.shut.get(line), self.tx.moment_ms
        if shut is not None and shut.probe == token:
            shut.probe = ""
            if verdict.result == "ok" and now_ms >= shut.until_ms:
                del self.shut[line]
        if verdict.wait_ms:
            shut = self.shut.setdefault(line, _Shut(0))
            shut.until_ms = max(shut.until_ms, now_ms + verdict.wait_ms)

    def _pass_time(self) -> None:
        self.tx.moment_ms += self.random.randint(1, _LEASE_MS // 3)
        for one in self.workers:
            if self.tx.moment_ms - one.renewed_ms > _LEASE_MS // 3:
                upkeep.renew(self.tx, one.worker)
                one.renewed_ms = self.tx.moment_ms
        if upkeep.left_over(self.tx):
            upkeep.recover(self.tx)

    def _die(self) -> None:
        one = self._someone()
        self.workers.remove(one)
        for running in one.running.values():
            if not running.room_id:
                # The broker delivers it again. What came out of the room is still there.
                self.unsent.add(running.copy)
        self.workers.append(self._new_worker(one.routes))

    def _token(self) -> str:
        return f"{self.random.getrandbits(64):x}"

    # What must hold ------------------------------------------------------------------------------

    def check(self) -> None:
        """
        No more run than may, each under permits of its own, and no more have started in a period.
        """
        running = Counter(
            line for one in self.workers for each in one.running.values() for line in each.lines
        )
        for limit in _LIMITS:
            most = max((n for line, n in running.items() if line.name == limit.name), default=0)
            assert most <= limit.concurrency, (limit.name, running)
        held = set(self.tx.execute("SELECT effect, token, name, key_value FROM effectmq_permits"))
        for one in self.workers:
            for effect, each in one.running.items():
                assert held >= {(effect, each.token, *line) for line in each.lines}, effect
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
        answers = applying.apply(self.tx, one.worker, most)
        assert [isinstance(answer, Admitted) for answer in answers] == [True, True, True, False]
