"""Moments and spans of time, as people read them."""

from __future__ import annotations

import pytest

from effectmq.cli.terminal.times import age, when

_NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("away_ms", "told"),
    [
        (-90_000, "(1m ago)"),
        (0, "(0s ago)"),
        (5_000, "(in 5s)"),
        (86_400_000, "(in 1d)"),
    ],
)
def test_a_moment_says_whether_it_was_or_will_be(away_ms: int, told: str) -> None:
    shown = when(_NOW_MS + away_ms, _NOW_MS)
    assert shown is not None
    assert shown.endswith(told)


def test_what_is_not_known_is_not_shown() -> None:
    assert when(0, _NOW_MS) is None
    assert age(0, _NOW_MS) == ""
