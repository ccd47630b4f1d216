"""
A whole fleet, simulated around the pure decisions: no clock, no sockets, thousands of runs.

The broker here delays, loses acknowledgements, hands out twice, duplicates, and moves to limbo what
came back too often; workers die between any two steps. What is real is every decision.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace

import pytest
from tenacity import stop_after_attempt, wait_fixed, wait_random_exponential
from tenacity.wait import wait_base

from effectmq.consumers.decisions.delivery import (
    Awake,
    Delay,
    Park,
    Pause,
    Run,
    after_crash,
    after_error,
    expired,
    on_arrival,
    retry_in,
)
from effectmq.consumers.decisions.retry import IN_PLACE_LIMIT_MS, RetryPolicy, tool_retry_wait_ms
from effectmq.protocol.errors import RejectEffectError, RetryEffectError
from effectmq.protocol.identity import invocations
from effectmq.protocol.messages.request import Request, read_request
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandSleep,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import RuntimeEffectKind
from effectmq.protocol.wire.tool_definitions import ToolRetryPolicySafe

LEVELS = (1_000, 2_000, 5_000, 60_000)
START = 1_700_000_000_000
DELIVERY_LIMIT = 3
MAX_CRASHES = 2
#: Fewer than it takes to reach limbo often enough to be parked: those faults are innocent.
FAULTS = DELIVERY_LIMIT * MAX_CRASHES
SEEDS = 12_000


def sealed(kind: RuntimeEffectKind, command: RuntimeEffectCommand) -> Request:
    """An effect; sealing is the slow part, so each is sealed once."""
    invocation = invocations.turn_effect(
        kind, "1", session_id="s", turn_id="t", turn_index=0, protocol_iteration=0
    )
    return Request.seal(RuntimeEffectEnvelope(invocation=invocation, command=command))


CODE = sealed("exec_code", RuntimeEffectCommandExecCode(code="1"))
SLEEPS = {
    duration: sealed("sleep", RuntimeEffectCommandSleep(duration_ms=duration))
    for duration in (0, 400, 1_001, 7_300, 200_000)
}
WAITS: list[wait_base] = [
    wait_fixed(0),
    wait_fixed(0.7),
    wait_fixed(3.3),
    wait_fixed(90),
    wait_random_exponential(multiplier=1, max=300),
]
RESULTS = ("ok", "raise", "raise", "busy", "reject", "again")


@dataclass
class Effect:
    """One effect, what its attempts will give, and what became of it."""

    request: Request
    policy: RetryPolicy
    max_attempts: int
    results: list[str]
    poison: bool
    duration_ms: int | None
    ends: list[tuple[str, int]] = field(default_factory=list)

    def result(self, attempt: int) -> str:
        """What an attempt gives; the same whenever and wherever it is made."""
        return self.results[min(attempt, len(self.results)) - 1]

    def expected(self) -> str:
        """How it must end, when time plays no part."""
        if self.duration_ms is not None:
            return "answered"
        if self.poison:
            return "crash_looping"
        for attempt in range(1, self.max_attempts + 1):
            result = self.result(attempt)
            if result == "ok":
                return "answered"
            if result == "reject":
                return "rejected"
        # A tool whose tries are spent has an outcome all the same.
        return "answered" if self.result(self.max_attempts) == "again" else "exhausted"


@dataclass(order=True)
class Copy:
    """One message on its way."""

    ready_ms: int
    number: int
    effect: Effect = field(compare=False)
    request: Request = field(compare=False)
    returns: int = field(compare=False, default=0)


class WorkerDied(Exception):
    """A worker was killed while it held a message."""


class Fleet:
    """A broker, workers, and the bad luck of one seed."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)
        self.fault_rate = self.luck.choice([0.0, 0.0, 0.1, 0.4])
        self.faults_left = FAULTS if self.fault_rate else 0
        self.queue: list[Copy] = []
        self.published = 0
        self.effects = [self.new_effect() for _ in range(self.luck.randint(1, 3))]
        for effect in self.effects:
            self.publish(effect, effect.request, START)

    @property
    def faultless(self) -> bool:
        """Whether this seed is without bad luck."""
        return not self.fault_rate

    def new_effect(self) -> Effect:
        luck = self.luck
        attempts = luck.randint(1, 5)
        policy = RetryPolicy(stop=stop_after_attempt(attempts), wait=luck.choice(WAITS))
        results = [luck.choice(RESULTS) for _ in range(luck.randint(1, 6))]
        duration = luck.choice([None, None, None, *SLEEPS])
        request = CODE if duration is None else SLEEPS[duration]
        deadline = luck.choice([0, 0, START + luck.randint(0, 300_000)])
        poison = duration is None and luck.random() < 0.1
        sent = replace(request, deadline_ms=deadline)
        return Effect(sent, policy, attempts, results, poison, duration)

    def publish(self, effect: Effect, request: Request, ready_ms: int, returns: int = 0) -> None:
        self.published += 1
        assert self.published < 2_000, "an effect that never ends"
        heapq.heappush(self.queue, Copy(ready_ms, self.published, effect, request, returns))
        if self.bad_luck():
            self.publish(effect, request, ready_ms, returns)

    def bad_luck(self) -> bool:
        if not self.faults_left or self.luck.random() >= self.fault_rate:
            return False
        self.faults_left -= 1
        return True

    def may_die(self) -> None:
        if self.bad_luck():
            raise WorkerDied

    def run(self) -> None:
        """Until nothing is on its way any more."""
        while self.queue:
            copy = heapq.heappop(self.queue)
            try:
                self.handle(copy)
            except WorkerDied:
                self.come_back(copy)

    def come_back(self, copy: Copy) -> None:
        """The broker gives it out again, or up."""
        later = copy.ready_ms + self.luck.randint(0, 50)
        if copy.returns < DELIVERY_LIMIT:
            self.publish(copy.effect, copy.request, later, copy.returns + 1)
            return
        action = after_crash(copy.request, max_crashes=MAX_CRASHES, levels_ms=LEVELS)
        if isinstance(action, Park):
            copy.effect.ends.append((action.reason, later))
        else:
            assert action.level_ms in LEVELS
            moved = copy.request.changed(action.headers)
            self.publish(copy.effect, moved, later + action.level_ms)

    def handle(self, copy: Copy) -> None:
        """What ``Job`` does with a delivery, without the I/O."""
        effect, request, now = copy.effect, copy.request, copy.ready_ms
        while True:
            self.may_die()
            action = on_arrival(request, now_ms=now, levels_ms=LEVELS, max_deaths=3)
            if isinstance(action, Run):
                action, now = self.attempt(effect, request, now)
            match action:
                case Pause():
                    assert 0 <= action.wait_ms <= IN_PLACE_LIMIT_MS
                    now += action.wait_ms
                    request = request.changed(action.headers)
                case Delay():
                    assert action.level_ms in LEVELS
                    self.publish(effect, request.changed(action.headers), now + action.level_ms)
                    self.may_die()
                    return
                case Awake():
                    effect.ends.append(("answered", now))
                    self.may_die()
                    return
                case Park():
                    effect.ends.append((action.reason, now))
                    self.may_die()
                    return

    def attempt(
        self, effect: Effect, request: Request, now: int
    ) -> tuple[Awake | Pause | Delay | Park, int]:
        assert request.attempt <= effect.max_attempts
        assert not request.deadline_ms or now < request.deadline_ms
        if effect.poison:
            raise WorkerDied
        if not request.first_seen_ms:
            request = replace(request, first_seen_ms=now)
        now += self.luck.choice([0, 30, 2_000])
        self.may_die()
        result = effect.result(request.attempt)
        if result == "ok":
            return Awake(), now
        if request.deadline_ms and now >= request.deadline_ms:
            return expired(request, now), now
        if result == "again":
            return self.tool_again(effect, request, now), now
        error: Exception = ValueError("no")
        if result == "busy":
            error = RetryEffectError("busy", after_s=self.luck.choice([0, 0.5, 1.5, 100, 500]))
        elif result == "reject":
            error = RejectEffectError("c", "m")
        action = after_error(
            request, effect.policy, error, now_ms=now, levels_ms=LEVELS, jitter=self.luck
        )
        return action, now

    def tool_again(self, effect: Effect, request: Request, now: int) -> Awake | Pause | Delay:
        policy = ToolRetryPolicySafe(
            max_attempts=effect.max_attempts, base_delay_ms=900, max_delay_ms=0
        )
        wait_ms = tool_retry_wait_ms(
            policy, attempt=request.attempt, after_ms=None, has_call_id=True
        )
        if wait_ms is None:
            return Awake()
        return retry_in(request, wait_ms, now_ms=now, levels_ms=LEVELS, jitter=self.luck)


def check(fleet: Fleet, effect: Effect) -> None:
    """Everything that must hold, however it went."""
    kinds = {kind for kind, _ in effect.ends}
    assert kinds, "an effect was lost"
    allowed = {effect.expected()}
    deadline = effect.request.deadline_ms
    if deadline:
        # Time decides which of the two; each copy has exactly one of them.
        allowed.add("expired")
    else:
        assert len(kinds) == 1, "copies of one effect ended differently"
    assert kinds <= allowed
    if fleet.faultless:
        assert len(effect.ends) == 1, "without duplicates and crashes there is one end"
    for kind, at_ms in effect.ends:
        if kind == "expired":
            assert at_ms >= deadline
            # Nobody waits longer than for the body that runs, but for the broker's own detours.
            assert at_ms <= deadline + 2_000 or not fleet.faultless
        if effect.duration_ms is not None and kind == "answered":
            assert at_ms >= START + effect.duration_ms
            assert at_ms == START + effect.duration_ms or not fleet.faultless


@pytest.mark.parametrize("block", range(4))
def test_every_effect_ends_answered_or_parked_whatever_happens(block: int) -> None:
    """
    Nothing lost, no attempt beyond the policy, no negative wait, no end but the expected one.
    """
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        fleet = Fleet(seed)
        fleet.run()
        for effect in fleet.effects:
            try:
                check(fleet, effect)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}\n{effect}") from error


def test_the_simulation_reaches_every_end() -> None:
    """A simulation in which something never happens proves nothing about it."""
    seen: set[str] = set()
    for seed in range(400):
        fleet = Fleet(seed)
        fleet.run()
        seen |= {kind for effect in fleet.effects for kind, _ in effect.ends}
    assert seen == {"answered", "exhausted", "rejected", "expired", "crash_looping"}


def test_what_the_simulation_changes_is_what_travels() -> None:
    """The counters that it moves on are read back from the message by the next worker."""
    moved = CODE.changed({"attempt": 3, "first_seen": 5, "due": 7, "crashes": 1})
    found = read_request(moved.message)
    assert (found.attempt, found.first_seen_ms, found.due_ms, found.crashes) == (3, 5, 7, 1)
