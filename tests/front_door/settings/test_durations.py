"""One way to type a span of time, wherever one is typed."""

from __future__ import annotations

import pytest

from effectmq.settings.durations import has_unit, read_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("250ms", 0.25),
        ("1h30m", 5_400),
        ("1h 30m", 5_400),
        (" 5 m ", 300),
        ("90d", 7_776_000),
        ("2w", 1_209_600),
        ("0.5h", 1_800),
        ("45", 45),
        ("1.5", 1.5),
        ("0", 0),
        ("36500d", 36_500 * 86_400),
    ],
)
def test_it_is_so_many_seconds(text: str, seconds: float) -> None:
    """Units can be joined, and a number without one means seconds."""
    assert read_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "h", "-1h", "1h30", "soon", "1y", "1e3", "٣s", "²", "1..5s", "36600d", "9" * 400, "nan"],
    ids=lambda text: text[:8],
)
def test_everything_else_is_none(text: str) -> None:
    """Also what is longer than a century."""
    assert read_duration(text) is None


def test_a_number_alone_is_no_span_with_units() -> None:
    """Where a year could be meant as well, a unit is asked for."""
    assert has_unit("5m")
    assert not has_unit("2026")
