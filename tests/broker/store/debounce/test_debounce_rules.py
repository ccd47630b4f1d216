"""Of several effects with one key only the last runs: the rules alone, and a simulation of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from effectmq.broker.store.debounce.rules import Arrival, Step, Window, decide, superseded_json
from effectmq.broker.store.journal.records import Effect
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.messages.request import Identity

NOW = 1_000_000_000


def arrival(name: str = "a", asked_ms: int = NOW, wait_ms: int = 5_000, max_ms: int = 0) -> Arrival:
    """An effect of a name."""
    return Arrival(Effect(Identity("s", name)), "tool_call", "", "k", asked_ms, wait_ms, max_ms)


def window_of(step: Step) -> Window:
    """The window that a step leaves."""
    assert step.window is not None
    return step.window


def test_the_first_opens_a_window_and_waits() -> None:
    step = decide(None, arrival(), NOW)
    assert step.window == Window(arrival().effect, NOW, NOW, NOW + 5_000)
    assert (step.left_ms, step.loser) == (5_000, None)


def test_its_holder_waits_until_the_end_and_then_goes_on_for_good() -> None:
    window = window_of(decide(None, arrival(), NOW))
    assert decide(window, arrival(), NOW + 2_000) == Step(left_ms=3_000)
    over = decide(window, arrival(), NOW + 5_000)
    assert over == Step(replace(window, over=True))
    assert decide(window_of(over), arrival(), NOW + 9_000) == Step()


def test_a_later_one_takes_the_place_and_moves_the_end() -> None:
    window = window_of(decide(None, arrival(), NOW))
    step = decide(window, arrival("b", NOW + 3_000), NOW + 3_000)
    assert window_of(step) == Window(arrival("b").effect, NOW + 3_000, NOW, NOW + 8_000)
    assert (step.left_ms, step.loser, step.winner) == (
        5_000,
        arrival().effect,
        Identity("s", "b"),
    )


@pytest.mark.parametrize("over", [False, True])
def test_an_older_one_that_comes_late_does_not_run(over: bool) -> None:
    """Its worker died before anybody looked at it."""
    window = replace(window_of(decide(None, arrival("b", NOW), NOW)), over=over)
    step = decide(window, arrival("a", NOW - 1), NOW + 1_000)
    assert step == Step(loser=arrival("a").effect, winner=Identity("s", "b"))


def test_after_the_end_a_later_one_opens_another_window() -> None:
    """Whoever held the last one may run already, so it keeps its place."""
    window = replace(window_of(decide(None, arrival(), NOW)), over=True)
    step = decide(window, arrival("b", NOW + 6_000), NOW + 6_000)
    assert window_of(step).first_ms == NOW + 6_000
    assert step.loser is None


def test_a_steady_stream_does_not_put_off_for_ever() -> None:
    window, now_ms = None, NOW
    for nth in range(12):
        now_ms = NOW + nth * 1_000
        step = decide(window, arrival(f"{nth:02}", now_ms, 5_000, 10_000), now_ms)
        window = window_of(step)
    # The one that came at the limit runs at once; what comes after it waits for another window.
    assert window == Window(arrival("11").effect, now_ms, NOW + 11_000, NOW + 16_000)


def test_what_was_asked_for_at_once_is_told_apart_by_its_name() -> None:
    """In whatever order it arrives, so that both sides agree after a crash."""
    first = decide(decide(None, arrival("a"), NOW).window, arrival("b"), NOW)
    second = decide(decide(None, arrival("b"), NOW).window, arrival("a"), NOW)
    assert first.winner == second.winner == Identity("s", "b")


def test_a_clock_that_is_far_ahead_is_corrected() -> None:
    """Otherwise one producer would keep all others out for as long."""
    window = window_of(decide(None, arrival("a", NOW + 86_400_000), NOW))
    step = decide(window, arrival("b", NOW + 61_000), NOW + 61_000)
    assert step.winner == Identity("s", "b")


def test_a_delay_counts_from_the_first_look() -> None:
    """Effects that waited together, because no worker was there, are debounced all the same."""
    late_ms = NOW + 3_600_000
    step = decide(None, arrival(), late_ms)
    assert step.left_ms == 5_000


def test_the_error_names_the_winner() -> None:
    error = parse_json(superseded_json("k", Identity("turn:s1", "s1:t1:call")))
    assert isinstance(error, dict)
    assert error["code"] == "effectmq_superseded"
    assert "'s1:t1:call' in scope 'turn:s1'" in str(error["message"])


# Simulation --------------------------------------------------------------------------------------


@dataclass
class _World:
    """Effects of one key on their way, a window, and what has become of each."""

    random: random.Random
    now_ms: int = NOW
    window: Window | None = None
    due: dict[str, int] = field(default_factory=dict)
    asked: dict[str, Arrival] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)

    def ask(self, name: str) -> None:
        """A producer publishes one; it may take long until a worker sees it."""
        self.asked[name] = arrival(name, self.now_ms, 5_000, 20_000)
        late_ms = self.random.choice([0, 1, 1, 1, 8_000])
        self.due[name] = self.now_ms + late_ms

    def look(self) -> None:
        """A worker sees the next; it may die before what it decided is known to anybody else."""
        name = min(self.due, key=lambda each: (self.due[each], each))
        self.now_ms = max(self.now_ms, self.due[name])
        if name in self.lost or name in self.ran:
            del self.due[name]
            return
        step = decide(self.window, self.asked[name], self.now_ms)
        self.window = step.window or self.window
        if step.loser is not None and step.loser.identity.replay_key not in self.ran:
            self.lost.add(step.loser.identity.replay_key)
        if self.random.random() < 0.3:
            # It died, and the broker delivers the same message again.
            return
        if step.left_ms:
            self.due[name] = self.now_ms + self.random.choice([1_000, step.left_ms])
        else:
            if name not in self.lost:
                self.ran.append(name)
            del self.due[name]


@pytest.mark.parametrize("seed", range(200))
def test_each_ends_and_the_last_runs_whatever_dies(seed: int) -> None:
    world = _World(random.Random(seed))
    names = [f"{nth:02}" for nth in range(world.random.randint(1, 12))]
    for name in names:
        world.ask(name)
        world.now_ms += world.random.choice([1, 1, 200, 6_000])
        while world.due and world.random.random() < 0.5:
            world.look()
    while world.due:
        world.look()
    assert world.lost.isdisjoint(world.ran)
    assert sorted([*world.lost, *world.ran]) == names
    # The last one runs, and nothing older runs after it.
    assert world.ran[-1] == names[-1]
    assert world.ran == sorted(world.ran)
