"""An effect that may not begin yet: where it waits, and that it begins neither early nor late."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.consumers.decisions.early import Early, early
from tests.consumers.decisions.test_delivery import LEVELS, NOW, code


@pytest.mark.parametrize(
    ("left_ms", "level_ms"),
    [
        (1, 1_000),
        (1_000, 1_000),
        (1_001, 2_000),
        (2_001, 2_000),
        (3_999, 2_000),
        (4_000, 5_000),
        (59_990, 60_000),
        (30_000, 5_000),
        (10**12, 60_000),
    ],
)
def test_it_waits_on_one_level_that_fits_or_on_the_longest_that_is_not_too_long(
    left_ms: int, level_ms: int
) -> None:
    request = code(not_before_ms=NOW + left_ms)
    assert early(request, now_ms=NOW, levels_ms=LEVELS) == Early(level_ms)


def test_what_may_begin_begins() -> None:
    """At its very moment, and when nothing was said."""
    assert early(code(not_before_ms=NOW), now_ms=NOW, levels_ms=LEVELS) is None
    assert early(code(), now_ms=NOW, levels_ms=LEVELS) is None


def test_a_deadline_that_comes_first_ends_the_wait() -> None:
    """A worker parks it then."""
    request = code(not_before_ms=NOW + 50_000, deadline_ms=NOW + 1_500)
    assert early(request, now_ms=NOW, levels_ms=LEVELS) == Early(2_000)
    assert early(request, now_ms=NOW + 2_000, levels_ms=LEVELS) is None


@given(
    left_ms=st.integers(1, 10 * LEVELS[-1]),
    levels=st.sets(st.integers(1, 100_000), min_size=1, max_size=6),
)
def test_it_is_never_early_and_at_most_the_shortest_level_late(
    left_ms: int, levels: set[int]
) -> None:
    """Whatever levels an installation has; every step brings it nearer."""
    levels_ms = sorted(levels)
    request = code(not_before_ms=NOW + left_ms)
    now_ms = NOW if left_ms < 1_000 * levels_ms[-1] else NOW + left_ms - 1_000 * levels_ms[-1]
    while (step := early(request, now_ms=now_ms, levels_ms=levels_ms)) is not None:
        assert now_ms < request.not_before_ms
        now_ms += step.level_ms
    assert 0 <= now_ms - request.not_before_ms <= levels_ms[0]


def test_every_copy_of_an_effect_keeps_the_moment() -> None:
    """A retry, a delay and a handover publish a copy."""
    request = replace(code(), not_before_ms=NOW).changed({"attempt": 2})
    assert request.message.headers["effect-not-before"] == NOW
