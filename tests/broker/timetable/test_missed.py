"""What becomes of times at which nobody looked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.broker.timetable.missed import (
    GRACE_MS,
    MISSED_POLICIES,
    MOST_AT_ONCE,
    Firing,
    MissedPolicy,
    firing_at,
)
from effectmq.broker.timetable.timing import Cron, Every, Timing, times_after

HOUR = 3_600_000
#: 2026-11-30T00:00Z
DAY = 1_796_083_200_000 - 1_796_083_200_000 % (24 * HOUR)
HOURLY: list[Timing] = [Every(HOUR), Cron("0 * * * *")]


@pytest.mark.parametrize("timing", HOURLY, ids=str)
@pytest.mark.parametrize(
    ("policy", "hours", "missed"),
    [("skip", [], 4), ("one", [3], 3), ("all", [0, 1, 2, 3], 0)],
)
def test_after_hours_away(
    timing: Timing, policy: MissedPolicy, hours: list[int], missed: int
) -> None:
    """Nobody looked from 00:00 to 03:30."""
    found = firing_at(timing, policy, next_ms=DAY, now_ms=DAY + 3 * HOUR + HOUR // 2)
    assert found == Firing(tuple(DAY + n * HOUR for n in hours), missed, DAY + 4 * HOUR)


@pytest.mark.parametrize("timing", HOURLY, ids=str)
@pytest.mark.parametrize("policy", MISSED_POLICIES)
def test_what_is_a_little_late_is_not_missed(timing: Timing, policy: MissedPolicy) -> None:
    found = firing_at(timing, policy, next_ms=DAY, now_ms=DAY + GRACE_MS)
    assert found == Firing((DAY,), 0, DAY + HOUR)


@pytest.mark.parametrize("policy", MISSED_POLICIES)
def test_nothing_is_due_before_the_time(policy: MissedPolicy) -> None:
    assert firing_at(Every(HOUR), policy, next_ms=DAY, now_ms=DAY - 1) is None


def test_a_later_time_that_is_due_stands_for_those_that_were_missed() -> None:
    """``one`` carries out one of them, not two."""
    found = firing_at(Every(HOUR), "one", next_ms=DAY, now_ms=DAY + 2 * HOUR + 5)
    assert found == Firing((DAY + 2 * HOUR,), 2, DAY + 3 * HOUR)


@pytest.mark.parametrize("timing", [Every(60_000), Cron("* * * * *")], ids=str)
@pytest.mark.parametrize("policy", MISSED_POLICIES)
def test_years_of_absence_are_bounded(timing: Timing, policy: MissedPolicy) -> None:
    """The last ones count."""
    now_ms = DAY + 3 * 365 * 24 * HOUR + 30_000
    found = firing_at(timing, policy, next_ms=DAY, now_ms=now_ms)
    assert found is not None
    assert len(found.times_ms) <= MOST_AT_ONCE
    assert found.times_ms[-1] == now_ms - 30_000
    assert found.next_ms == now_ms + 30_000
    assert found.missed >= 1_000


@given(
    timing=st.one_of(
        st.integers(1_000, 10 * HOUR).map(Every),
        st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 * * MON"]).map(
            lambda expression: Cron(expression, "Europe/Berlin")
        ),
    ),
    policy=st.sampled_from(MISSED_POLICIES),
    looks=st.lists(st.integers(1, 20 * HOUR), min_size=1, max_size=8),
)
def test_whenever_somebody_looks_each_time_is_carried_out_or_given_up_once(
    timing: Timing, policy: MissedPolicy, looks: list[int]
) -> None:
    """Times ascend over all looks, each is one of the schedule's, and none is forgotten."""
    next_ms = next(times_after(timing, DAY))
    now_ms, done, given_up = DAY, list[int](), 0
    for wait_ms in looks:
        now_ms += wait_ms
        found = firing_at(timing, policy, next_ms=next_ms, now_ms=now_ms)
        if found is None:
            continue
        done += found.times_ms
        given_up += found.missed
        next_ms = found.next_ms
        assert next_ms > now_ms
    assert done == sorted(set(done))
    every: list[int] = []
    for time_ms in times_after(timing, DAY):
        if time_ms >= next_ms or len(every) > 1_500:
            break
        every.append(time_ms)
    if len(every) <= 1_500:
        assert set(done) <= set(every)
        assert len(done) + given_up == len(every)
