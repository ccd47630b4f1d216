"""How often the latest of many values is told; decided without a clock."""

from __future__ import annotations

import random
from itertools import pairwise

from effectmq.consumers.decisions.pace import Pace, step_s

STEP_S = 0.2


def told_at(moments: list[float], step: float = STEP_S) -> list[float]:
    """When something is told, if a value comes at each of these moments and the last one waits."""
    pace, told, planned = Pace(), list[float](), None
    for now in moments:
        if planned is not None and planned <= now:
            pace.told(planned)
            told.append(planned)
            planned = None
        if planned is None:
            planned = now + pace.wait_s(now, step)
    if planned is not None:
        told.append(planned)
    return told


def test_the_first_is_told_at_once() -> None:
    """And so is one after a silence."""
    pace = Pace()
    assert pace.wait_s(5.0, STEP_S) == 0
    pace.told(5.0)
    assert pace.wait_s(100.0, STEP_S) == 0


def test_what_comes_too_early_waits_for_the_rest_of_the_step() -> None:
    """However often it comes."""
    pace = Pace()
    pace.told(1.0)
    assert pace.wait_s(1.05, 0.2) == 1.0 + 0.2 - 1.05


def test_a_hundred_thousand_values_are_told_in_even_steps() -> None:
    """In ten seconds at most 51 of them, and the last is among them."""
    moments = [10 * number / 100_000 for number in range(100_001)]
    told = told_at(moments)
    assert len(told) <= 52
    assert told[0] == 0
    assert told[-1] >= moments[-1]


def test_two_are_never_told_within_one_step() -> None:
    """Whenever they come, and however long the silences are."""
    chance = random.Random(4)
    for _ in range(200):
        moments, now = list[float](), 0.0
        for _ in range(50):
            now += chance.choice([0.0, 0.001, 0.05, 0.3, 4.0])
            moments.append(now)
        told = told_at(moments)
        assert all(later - earlier >= STEP_S - 1e-9 for earlier, later in pairwise(told))


def test_many_effects_share_what_a_worker_may_tell() -> None:
    """One tells it 5 times a second; a thousand together 200 times."""
    assert step_s(1) == step_s(40) == 0.2
    assert 1_000 / step_s(1_000) == 200
