"""
A fleet around the journal's rules, simulated: no database, no clock, thousands of seeds.

What is real is every rule. Messages come late, twice and out of order; workers die at any step, or
sleep until their lease is long over and go on as if nothing had happened; the journal fails before
or after it has committed; the host is booted anew, and its wall clock jumps. Each body that runs
gives an outcome of its own, so that two of them can never pass for one.

``python -m tests.broker.store.journal.simulation --seeds 10000`` runs many and says how long
it took.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from effectmq.broker.store.database.port import LeaseTime
from effectmq.broker.store.journal import rules
from effectmq.broker.store.journal.handed_out.values import HandedOut, HandOut, Question, Settle
from effectmq.broker.store.journal.records import (
    FINISHED,
    HANDED_OUT,
    UNSUCCESSFUL,
    Abandon,
    Accepted,
    Begin,
    Busy,
    Cancel,
    Cancelled,
    Claim,
    Effect,
    Entry,
    Granted,
    Letter,
    Lost,
    Mismatch,
    OnUncertain,
    Operation,
    OperationAnswer,
    Record,
    Recorded,
    Release,
    Renew,
)
from effectmq.broker.store.journal.rules import Now
from effectmq.protocol.messages.request import Identity

__all__ = ["Fleet", "Violation", "run_seeds"]

LEASE_MS = 1_000
MAX_ATTEMPTS = 3
MAX_DEATHS = 3
#: Longer than a lease: whoever sleeps so long has lost it, if anybody else wanted it.
ZOMBIE_MS = 4 * LEASE_MS
HOUR_MS = 3_600_000
#: An effect that takes more steps than this never ends.
MAX_STEPS = 5_000

Decide = Callable[[Entry | None, Operation, Now], tuple[OperationAnswer, Entry | None]]


class Violation(AssertionError):
    """Something happened that must never happen."""


class JournalFailed(Exception):
    """Thrown into a worker whose journal did not answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One copy of an effect on its way to a worker."""

    effect: Effect
    attempt: int = 1
    parked_as: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A step: ask the journal."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: let time pass."""

    ms: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A step: a message for later, confirmed when the step is over."""

    message: Message
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Tell:
    """A step: what the caller hears."""

    identity: Identity
    what: str


@dataclass(frozen=True, slots=True)
class Body:
    """A step: a body begins, of that generation of its effect; or ends, with ``None``."""

    generation: int | None


Step = Ask | Wait | Publish | Tell | Body
Steps = Generator[Step, OperationAnswer | None, None]


@dataclass(slots=True)
class Story:
    """What really happened to one effect, noted beside the journal and not by its rules."""

    effect: Effect
    on_uncertain: OnUncertain
    #: Whether its body ends its worker, more often than not.
    kills: bool = False
    told: Counter[str] = field(default_factory=Counter[str])
    outcomes: set[str] = field(default_factory=set[str])
    letters: set[int] = field(default_factory=set[int])
    parked: dict[int, str] = field(default_factory=dict[int, str])
    replayed: set[int] = field(default_factory=set[int])
    fences: dict[str, int] = field(default_factory=dict[str, int])
    holder: str = ""
    held_until: tuple[str, int] = ("", 0)
    #: Bodies that began and whose end the journal does not know, by generation (parkings so far).
    open_bodies: dict[int, int] = field(default_factory=dict[int, int])
    generations: dict[int, int] = field(default_factory=dict[int, int])
    cancelled: bool = False
    bodies: int = 0
    #: Who was killed with a body running, by generation.
    killed: Counter[int] = field(default_factory=Counter[int])
    #: Whether the body of the holder has begun for all that the journal can know; and how many
    #: holders were lost in that state since the first claim or the last replay.
    begun: bool = False
    deaths: int = 0
    handed_out: int = 0
    answered: int = 0
    ran_out: int = 0


@dataclass(slots=True)
class Task:
    """One worker with one message, or a caller."""

    steps: Steps
    message: Message | None
    acks: bool = True
    alive: bool = True
    running: int | None = None


class Fleet:
    """
    The world of one seed.

    Args:
        seed: Of all luck.
        decide: The rules; broken ones must be caught.
    """

    def __init__(self, seed: int, decide: Decide = rules.decide) -> None:
        self.luck = random.Random(seed)
        self.decide = decide
        self.now_ms = HOUR_MS
        self.wall_ms = 0
        self.boot = 0
        self.booted_at_ms = 0
        self.entries: dict[Identity, Entry] = {}
        self.events: list[tuple[int, int, Task, OperationAnswer | Exception | None]] = []
        self.numbers = 0
        self.tasks: list[Task] = []
        self.pending: Counter[Identity] = Counter()
        self.faults_left = self.luck.choice([0, 3, 10, 25])
        self.stories: dict[Identity, Story] = {}
        for number in range(self.luck.randint(1, 3)):
            effect = Effect(Identity("s", str(number)), f"hash {number}")
            on_uncertain: OnUncertain = self.luck.choice(["retry", "park"])
            self.stories[effect.identity] = Story(effect, on_uncertain, self.luck.random() < 0.1)
            self.start(self.caller(effect), None)

    # Time and luck ---------------------------------------------------------------------------

    @property
    def now(self) -> Now:
        """The time of a transaction."""
        lease = LeaseTime(f"boot {self.boot}", self.now_ms - self.booted_at_ms)
        return Now(self.now_ms + self.wall_ms, lease)

    def bad_luck(self, rate: float = 0.12) -> bool:
        """Whether a fault happens here."""
        if not self.faults_left or self.luck.random() >= rate:
            return False
        self.faults_left -= 1
        return True

    def unique(self) -> str:
        """A token, or the outcome of one body."""
        self.numbers += 1
        return f"#{self.numbers}"

    # The scheduler ---------------------------------------------------------------------------

    def start(self, steps: Steps, message: Message | None, delay_ms: int = 0) -> None:
        """Begin a task, some time from now."""
        task = Task(steps, message)
        self.tasks.append(task)
        self.later(task, None, delay_ms)

    def later(self, task: Task, answer: OperationAnswer | Exception | None, delay_ms: int) -> None:
        """Go on with a task."""
        self.numbers += 1
        heapq.heappush(self.events, (self.now_ms + delay_ms, self.numbers, task, answer))

    def publish(self, message: Message, delay_ms: int) -> None:
        """A confirmed message: it is there until it is acknowledged."""
        self.pending[message.effect.identity] += 1
        self.start(self.worker(message), message, delay_ms + self.luck.randint(0, 60))

    def run(self) -> None:
        """Until nothing is on its way any more, and then look at what became of everything."""
        steps = 0
        while self.events:
            self.now_ms, _, task, answer = heapq.heappop(self.events)
            if task.alive:
                self.go_on(task, answer)
            steps += 1
            if steps > MAX_STEPS:
                raise Violation("an effect that never ends")
        for story in self.stories.values():
            self.check_end(story)

    def go_on(self, task: Task, answer: OperationAnswer | Exception | None) -> None:
        """One step of one task, with whatever may happen to it."""
        if task.message is not None:
            if self.bad_luck(0.05):
                self.die(task)
                return
            if self.bad_luck(0.04):
                self.lose_sight_of(task)
                self.later(task, answer, ZOMBIE_MS + self.luck.randint(0, ZOMBIE_MS))
                return
        if self.bad_luck(0.01):
            self.disturb_clocks()
            if not task.alive:
                return
        try:
            if isinstance(answer, Exception):
                step = task.steps.throw(answer)
            else:
                step = task.steps.send(answer)
        except StopIteration:
            self.acknowledge(task)
            return
        self.carry_out(task, step)

    def carry_out(self, task: Task, step: Step) -> None:
        delay_ms = self.luck.randint(0, 30)
        answer: OperationAnswer | Exception | None = None
        match step:
            case Ask(operation):
                answer = self.ask(operation)
            case Wait(ms):
                delay_ms += ms
            case Publish(message, wait_ms):
                self.publish(message, wait_ms)
                if self.bad_luck():
                    # Its confirm was lost, so it is published again.
                    self.publish(message, wait_ms)
            case Tell(identity, what):
                self.tell(identity, what)
            case Body(generation):
                task.running = generation
                if self.kills(task):
                    self.die(task)
                    return
        self.later(task, answer, delay_ms)

    def acknowledge(self, task: Task) -> None:
        """The message is done; unless the acknowledgement is lost, or comes from a lost line."""
        task.alive = False
        if task.message is None or not task.acks:
            return
        if self.bad_luck():
            self.give_again(task.message)
        else:
            self.pending[task.message.effect.identity] -= 1

    def die(self, task: Task) -> None:
        """A worker is killed between any two steps."""
        task.alive = False
        task.steps.close()
        if task.message is not None and task.running is not None:
            self.watch_death(self.stories[task.message.effect.identity], task.running)
        self.lose_sight_of(task)

    def kills(self, task: Task) -> bool:
        """Whether a body that begins now ends its worker."""
        if task.message is None or task.running is None:
            return False
        return self.stories[task.message.effect.identity].kills and self.luck.random() < 0.8

    def watch_death(self, story: Story, generation: int) -> None:
        """No effect takes more workers with it than it is allowed to."""
        story.killed[generation] += 1
        if story.killed[generation] > MAX_DEATHS:
            raise Violation("a killer that is never parked")

    def lose_sight_of(self, task: Task) -> None:
        """The broker gives the message to somebody else; the first one may still be at it."""
        if task.message is not None and task.acks:
            task.acks = False
            self.give_again(task.message)

    def give_again(self, message: Message) -> None:
        self.start(self.worker(message), message, self.luck.choice([0, 50, 2 * LEASE_MS]))

    def disturb_clocks(self) -> None:
        """The wall clock jumps; or a boot: all on the host die, and its time begins again."""
        if self.luck.random() < 0.5:
            self.wall_ms += self.luck.choice([-HOUR_MS, HOUR_MS])
            return
        self.boot += 1
        self.booted_at_ms = self.now_ms
        for task in [task for task in self.tasks if task.alive and task.message is not None]:
            self.die(task)

    # The journal -----------------------------------------------------------------------------

    def ask(self, operation: Operation) -> OperationAnswer | Exception:
        """One transaction; it may fail before its commit, or after."""
        if self.bad_luck(0.06):
            return JournalFailed()
        now = self.now
        entry = self.entries.get(operation.identity)
        answer, changed = self.decide(entry, operation, now)
        if changed is not None:
            self.entries[operation.identity] = changed
        self.watch(self.stories[operation.identity], operation, answer, entry, now)
        return JournalFailed() if self.bad_luck(0.06) else answer

    # One case for each answer.
    def watch(  # noqa: C901
        self,
        story: Story,
        operation: Operation,
        answer: OperationAnswer,
        entry: Entry | None,
        now: Now,
    ) -> None:
        """Compare an answer with what has really happened."""
        match operation, answer:
            case Claim(), Granted():
                self.watch_grant(story, operation, answer, entry, now)
            case Begin(), Accepted():
                story.begun = True
            case Settle(), Accepted():
                story.answered += entry is not None and entry.status == HANDED_OUT
                self.watch_outcome(story, operation.outcome_json)
            case _, Recorded(ran_out=True):
                story.ran_out += 1
                self.watch_outcome(story, answer.outcome_json)
            case ((Record() | Release() | Renew() | Abandon() | HandOut()), Accepted()):
                if not isinstance(operation, Renew):
                    story.begun = False
                if operation.fence != max(story.fences.values()):
                    raise Violation("who had lost the lease was heard")
                if isinstance(operation, Renew):
                    story.held_until = (now.lease.clock, now.lease.now_ms + operation.lease_ms)
                else:
                    story.holder = ""
                story.handed_out += isinstance(operation, HandOut)
                if isinstance(operation, Release | HandOut):
                    story.open_bodies[story.generations[operation.fence]] = 0
                if isinstance(operation, Record):
                    self.watch_record(story, operation, answer)
            case Cancel(), Cancelled():
                story.cancelled = True
                story.begun = False
                story.holder = ""
                if story.outcomes:
                    raise Violation("cancelled what had an outcome")
            case Claim(), HandedOut():
                if story.outcomes or story.cancelled:
                    raise Violation("finished, and yet to be answered")
            case _:
                pass

    def watch_grant(
        self, story: Story, asked: Claim, answer: Granted, entry: Entry | None, now: Now
    ) -> None:
        fence = answer.fence
        clock, until_ms = story.held_until
        held = story.holder not in ("", asked.token)
        if held and clock == now.lease.clock and now.lease.now_ms < until_ms:
            raise Violation("granted while somebody else had a live lease")
        if story.cancelled or story.outcomes:
            raise Violation("granted what was finished")
        known = story.fences.get(asked.token)
        if known is None and any(fence <= other for other in story.fences.values()):
            raise Violation("two grants with one fence")
        if known is not None and known != fence and story.holder == asked.token:
            raise Violation("one claim with two fences")
        if entry is not None and entry.status == "failed":
            if entry.parks not in story.replayed:
                raise Violation("replayed what nobody asked to replay")
            story.replayed.discard(entry.parks)
            story.deaths = 0
        if known != fence:
            story.deaths += story.begun
            story.begun = answer.begun
        if answer.deaths != story.deaths:
            raise Violation("a death too many, or too few")
        story.fences[asked.token] = fence
        story.generations[fence] = len(story.parked)
        story.holder = asked.token
        story.held_until = (now.lease.clock, now.lease.now_ms + asked.lease_ms)

    def watch_record(self, story: Story, said: Record, answer: Accepted) -> None:
        if said.park_reason:
            before = story.parked.setdefault(answer.parks, said.error_json)
            if before != said.error_json:
                raise Violation("one parking with two reasons")
            return
        self.watch_outcome(story, said.outcome_json)

    def watch_outcome(self, story: Story, outcome: str) -> None:
        if story.cancelled:
            raise Violation("an outcome of what was cancelled")
        story.outcomes.add(outcome)
        if len(story.outcomes) > 1:
            raise Violation("two outcomes were accepted")

    def tell(self, identity: Identity, what: str) -> None:
        """The caller hears an outcome, and everything that it hears of one kind is the same."""
        self.stories[identity].told[what] += 1
        told = self.stories[identity].told
        if len({each for each in told if each.startswith("outcome")}) > 1:
            raise Violation("two outcomes were told")
        kinds = {each.split()[0] for each in told}
        if {"outcome", "cancelled"} <= kinds:
            raise Violation("told that it was cancelled, and its outcome")

    def check_end(self, story: Story) -> None:
        """Everything has come to rest."""
        identity = story.effect.identity
        entry = self.entries.get(identity)
        if self.pending[identity]:
            raise Violation("a message that nobody works on")
        if entry is None or entry.status not in FINISHED:
            raise Violation(f"lost: {entry}")
        if entry.status == UNSUCCESSFUL and not story.ran_out:
            raise Violation("failed as one that nobody answered, and was never asked")
        if entry.park_reason and entry.parks not in story.letters:
            raise Violation("parked, and no dead letter of it")
        if set(story.parked) != set(range(1, entry.parks + 1)):
            raise Violation("parkings are not numbered")
        if not story.told:
            raise Violation("nobody heard of its end")
        answer, changed = self.decide(entry, Claim(story.effect, "w", "last", LEASE_MS), self.now)
        if not isinstance(answer, Recorded) or changed is not None:
            raise Violation("finished, and yet granted")

    # Callers and workers ---------------------------------------------------------------------

    def caller(self, effect: Effect) -> Steps:
        """Submits, perhaps more than once, perhaps cancels, perhaps with a changed envelope."""
        yield Publish(Message(effect))
        for _ in range(self.luck.randint(0, 2)):
            yield Wait(self.luck.randint(0, 3 * LEASE_MS))
            chance = self.luck.random()
            if chance < 0.4:
                yield Publish(Message(effect))
            elif chance < 0.6:
                answer = yield from self.asked(Cancel(effect, "cancelled by caller"))
                if isinstance(answer, Cancelled):
                    yield Tell(effect.identity, "cancelled")
            elif chance < 0.8 and effect.identity in self.entries:
                yield Publish(Message(replace(effect, hash="changed")))

    def asked(
        self, operation: Operation
    ) -> Generator[Step, OperationAnswer | None, OperationAnswer]:
        """Ask, and ask again for as long as the journal does not answer."""
        while True:
            try:
                answer = yield Ask(operation)
            except JournalFailed:
                yield Wait(self.luck.choice([10, 200, 2 * LEASE_MS]))
                continue
            assert answer is not None
            return answer

    def worker(self, message: Message) -> Steps:
        """What becomes of one delivery."""
        story = self.stories[message.effect.identity]
        while True:
            claim = Claim(
                message.effect,
                "w",
                self.unique(),
                LEASE_MS,
                attempt=message.attempt,
                on_uncertain=story.on_uncertain,
                parked_as=message.parked_as,
            )
            answer = yield from self.asked(claim)
            match answer:
                case Busy(wait_ms):
                    yield Wait(min(wait_ms, LEASE_MS // 4))
                case HandedOut(wait_ms):
                    yield Publish(message, min(wait_ms, LEASE_MS))
                    return
                case Mismatch():
                    return
                case Recorded():
                    yield from self.answer_from_record(message, answer)
                    return
                case Granted():
                    if (yield from self.attempt(message, story, answer)):
                        return
                case _:
                    raise Violation(f"no answer to a claim: {answer}")

    def answer_from_record(self, message: Message, found: Recorded) -> Steps:
        identity = message.effect.identity
        if found.park_reason:
            yield from self.bury(message, found.parks)
        if found.outcome_json:
            yield Tell(identity, f"outcome {found.outcome_json}")
        else:
            yield Tell(identity, found.status)

    # An attempt as it goes, from top to bottom.
    def attempt(  # noqa: C901
        self, message: Message, story: Story, held: Granted
    ) -> Generator[Step, OperationAnswer | None, bool]:
        """With a lease in hand; false when it was lost on the way."""
        if held.uncertain:
            return (yield from self.park(message, held, "uncertain"))
        if held.deaths >= MAX_DEATHS:
            return (yield from self.park(message, held, "crash_looping"))
        if held.due_in_ms:
            return (yield from self.let_go(message, held, held.attempt, held.due_in_ms))
        if not held.begun:
            # It may have to wait for its turn.
            yield Wait(self.luck.randint(0, LEASE_MS // 2))
            begin = Begin(message.effect.identity, held.fence)
            if isinstance((yield from self.asked(begin)), Lost):
                return False
        self.begin_body(story, held)
        yield Body(story.generations[held.fence])
        for _ in range(self.luck.randint(0, 3)):
            yield Wait(self.luck.randint(0, LEASE_MS // 2))
            renew = Renew(message.effect.identity, held.fence, LEASE_MS)
            if isinstance((yield from self.asked(renew)), Lost):
                return False
            if self.bad_luck(0.05):
                # It shuts down with the body half done.
                yield from self.asked(Abandon(message.effect.identity, held.fence))
                yield Publish(message)
                return True
        yield Body(None)
        if self.luck.random() < 0.2:
            return (yield from self.hand_out(message, held))
        if self.luck.random() < 0.6:
            return (yield from self.finish(message, held, self.unique()))
        if held.attempt >= MAX_ATTEMPTS:
            return (yield from self.park(message, held, "exhausted"))
        wait_ms = self.luck.choice([0, 100, 2 * LEASE_MS])
        return (yield from self.let_go(message, held, held.attempt + 1, wait_ms))

    def begin_body(self, story: Story, held: Granted) -> None:
        story.bodies += 1
        generation = story.generations[held.fence]
        if story.on_uncertain == "park" and story.open_bodies.get(generation):
            raise Violation("a body that must not run twice ran twice")
        story.open_bodies[generation] = 1

    def finish(
        self, message: Message, held: Granted, outcome: str
    ) -> Generator[Step, OperationAnswer | None, bool]:
        identity = message.effect.identity
        record = Record(identity, held.fence, held.attempt, outcome_json=outcome)
        if isinstance((yield from self.asked(record)), Lost):
            return False
        yield Tell(identity, f"outcome {outcome}")
        return True

    def hand_out(
        self, message: Message, held: Granted
    ) -> Generator[Step, OperationAnswer | None, bool]:
        """Somebody is asked, who may answer, twice and differently, or not at all."""
        identity, token = message.effect.identity, self.unique()
        deadline_ms = self.luck.choice([1, LEASE_MS, 6 * LEASE_MS])
        for _ in range(self.luck.randint(0, 2)):
            self.start(self.person(identity, token), None, self.luck.randint(0, 4 * LEASE_MS))
        failed = self.unique()
        said = HandOut(
            identity,
            held.fence,
            held.attempt,
            deadline_ms,
            failed,
            "failed",
            Question(token, "", "", ""),
        )
        if isinstance((yield from self.asked(said)), Lost):
            return False
        yield Publish(message, min(deadline_ms, LEASE_MS))
        return True

    def person(self, identity: Identity, token: str) -> Steps:
        """Answers, and the caller hears of it when it counts."""
        outcome = self.unique()
        answer = yield from self.asked(Settle(identity, token, outcome, ""))
        if isinstance(answer, Accepted):
            yield Tell(identity, f"outcome {outcome}")

    def let_go(
        self, message: Message, held: Granted, attempt: int, wait_ms: int
    ) -> Generator[Step, OperationAnswer | None, bool]:
        release = Release(message.effect.identity, held.fence, attempt, wait_ms)
        if isinstance((yield from self.asked(release)), Lost):
            return False
        yield Publish(replace(message, attempt=attempt), wait_ms)
        return True

    def park(
        self, message: Message, held: Granted, reason: str
    ) -> Generator[Step, OperationAnswer | None, bool]:
        identity = message.effect.identity
        record = Record(
            identity, held.fence, held.attempt, error_json=self.unique(), park_reason=reason
        )
        answer = yield from self.asked(record)
        if not isinstance(answer, Accepted):
            return False
        yield from self.bury(message, answer.parks)
        yield Tell(identity, "failed")
        return True

    def bury(self, message: Message, parks: int) -> Steps:
        """The dead letter goes out, and an operator may replay it; by accident twice."""
        story = self.stories[message.effect.identity]
        yield Wait(1)
        first = parks not in story.letters
        story.letters.add(parks)
        if first and parks < 3 and self.luck.random() < 0.5:
            story.replayed.add(parks)
            replay = Message(message.effect, parked_as=parks)
            yield Publish(replay, self.luck.randint(0, 3 * LEASE_MS))
            if self.luck.random() < 0.3:
                yield Publish(replay, self.luck.randint(0, 6 * LEASE_MS))
        yield from self.asked(Letter(message.effect.identity, parks))


def run_seeds(first: int, count: int, decide: Decide = rules.decide) -> Counter[str]:
    """
    Run many seeds.

    Returns:
        How often each thing happened.

    Raises:
        Violation: With the seed to run again.
    """
    seen: Counter[str] = Counter()
    for seed in range(first, first + count):
        fleet = Fleet(seed, decide)
        try:
            fleet.run()
        except Violation as problem:
            raise Violation(f"seed {seed}: {problem}") from problem
        for story in fleet.stories.values():
            seen[fleet.entries[story.effect.identity].status] += 1
            seen["effects"] += 1
            seen["bodies"] += story.bodies
            seen["parkings"] += len(story.parked)
            seen["handed out"] += story.handed_out
            seen["answered"] += story.answered
            seen["ran out"] += story.ran_out
            seen["deaths"] += story.killed.total()
            seen["at the limit"] += MAX_DEATHS in story.killed.values()
            seen["takeovers"] += sum(fence > 1 for fence in story.fences.values())
        seen["boots"] += fleet.boot
    return seen


def main() -> int:
    """Run as many as asked for; 1 when a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    started_s = time.process_time()
    try:
        seen = run_seeds(options.first, options.seeds)
    except Violation as problem:
        print(problem, file=sys.stderr)
        return 1
    took_s = time.process_time() - started_s
    print(f"{options.seeds} seeds in {took_s:.1f} s of processor time: {dict(seen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
