"""When schedules fire: cron expressions in time zones, over both changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.broker.timetable.timing import Cron, Every, Timing, times_after
from effectmq.protocol.errors import ConfigurationError

BERLIN = "Europe/Berlin"


def ms(moment: str, zone: str = "UTC") -> int:
    """Unix milliseconds of an ISO time in a zone."""
    when = datetime.fromisoformat(moment)
    return round((when if when.tzinfo else when.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1_000)


def shown(timing: Timing, after: str, count: int) -> list[str]:
    """The next times after a moment, in UTC."""
    times = islice(times_after(timing, ms(after)), count)
    return [f"{datetime.fromtimestamp(one / 1_000, UTC):%m-%d %H:%M}" for one in times]


@pytest.mark.parametrize(
    ("expression", "after", "fires"),
    [
        # Clocks go forward on 2026-03-29 at 02:00 to 03:00, which is 01:00 UTC.
        ("30 1 * * *", "2026-03-28T00:00", ["03-28 00:30", "03-29 00:30", "03-29 23:30"]),
        ("30 2 * * *", "2026-03-28T00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("0 3 * * *", "2026-03-28T00:00", ["03-28 02:00", "03-29 01:00", "03-30 01:00"]),
        ("0,30 2 * * *", "2026-03-28T12:00", ["03-29 01:00", "03-30 00:00", "03-30 00:30"]),
        ("*/30 2 * * *", "2026-03-28T12:00", ["03-30 00:00", "03-30 00:30", "03-31 00:00"]),
        ("0 * * * *", "2026-03-29T00:00", ["03-29 01:00", "03-29 02:00", "03-29 03:00"]),
        # Clocks go back on 2026-10-25 at 03:00 to 02:00, which is 01:00 UTC.
        ("30 2 * * *", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30", "10-27 01:30"]),
        ("0 3 * * *", "2026-10-24T12:00", ["10-25 02:00", "10-26 02:00", "10-27 02:00"]),
        ("30 * * * *", "2026-10-25T00:00", ["10-25 00:30", "10-25 01:30", "10-25 02:30"]),
        ("*/20 2 * * *", "2026-10-25T00:30", ["10-25 00:40", "10-25 01:00", "10-25 01:20"]),
        # In the second of the two equal hours, the first is over.
        ("30 2 * * *", "2026-10-25T01:10", ["10-26 01:30", "10-27 01:30", "10-28 01:30"]),
    ],
)
def test_a_day_on_which_the_clocks_change(expression: str, after: str, fires: list[str]) -> None:
    """In Berlin. A fixed time fires once that day, an interval at each real hour or minute."""
    assert shown(Cron(expression, BERLIN), after, 3) == fires


def test_a_time_zone_counts_and_utc_is_the_default() -> None:
    assert shown(Cron("0 9 * * MON-FRI"), "2026-11-27T10:00", 2) == ["11-30 09:00", "12-01 09:00"]
    tokyo = Cron("0 9 * * *", "Asia/Tokyo")
    assert shown(tokyo, "2026-11-27T10:00", 2) == ["11-28 00:00", "11-29 00:00"]
    half = Cron("0 9 * * *", "Asia/Kolkata")
    assert shown(half, "2026-11-27T10:00", 1) == ["11-28 03:30"]


def test_the_last_day_of_a_month_and_a_leap_day() -> None:
    assert shown(Cron("0 0 L * *"), "2026-02-01T00:00", 2) == ["02-28 00:00", "03-31 00:00"]
    assert shown(Cron("0 0 29 2 *"), "2026-03-01T00:00", 1) == ["02-29 00:00"]


def test_an_interval_has_the_same_times_on_every_host() -> None:
    """Whenever it was made, and across a change of clocks."""
    assert shown(Every(6 * 3_600_000), "2026-03-28T23:11", 3) == [
        "03-29 00:00",
        "03-29 06:00",
        "03-29 12:00",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "0 * * * * *",
        "60 * * * *",
        "* * * * 9",
        "@daily",
        "0 0 30 2 *",
        "x " * 5,
        "*/0 * * * *",
        "1," * 200 + " * * * *",
        "0 0 31 4 *",
        "9" * 150 + " * * * *",
    ],
)
def test_what_is_no_expression_or_never_fires_is_refused(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="cron expression"):
        Cron(expression)


@pytest.mark.parametrize("zone", ["Berlin", "", "../../etc/passwd", "a" * 1_000, "\0"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="time zone"):
        Cron("0 0 * * *", zone)


@pytest.mark.parametrize("every_ms", [0, -1, 999, 367 * 86_400_000])
def test_what_is_no_interval_is_refused(every_ms: int) -> None:
    with pytest.raises(ConfigurationError, match="interval"):
        Every(every_ms)


EXPRESSIONS = st.sampled_from(
    ["30 2 * * *", "0,30 1-3 * * *", "*/7 * * * *", "0 */5 * * *", "15 2 * * SUN", "0 0 1 * *"]
)
ZONES = st.sampled_from(
    [BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
)
MOMENTS = st.integers(ms("2026-01-01T00:00") // 1_000, ms("2027-01-01T00:00") // 1_000)


@given(EXPRESSIONS, ZONES, MOMENTS, st.integers(0, 999))
def test_the_times_after_a_time_are_the_rest_of_those_before(
    expression: str, zone: str, after_s: int, more_ms: int
) -> None:
    """Whoever goes on from a time sees the same times as who began earlier; all ascend."""
    cron = Cron(expression, zone)
    times = list(islice(times_after(cron, after_s * 1_000 + more_ms), 6))
    assert times == sorted(set(times))
    assert times[0] > after_s * 1_000 + more_ms
    for place, time_ms in enumerate(times[:-1]):
        assert next(times_after(cron, time_ms)) == times[place + 1]
