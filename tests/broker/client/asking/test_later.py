"""When an effect may begin, as callers say it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from effectmq.broker.client.asking.later import check_in_time, no_sooner
from effectmq.protocol.errors import ConfigurationError


def test_a_moment_is_the_same_in_every_time_zone() -> None:
    moment = datetime(2100, 1, 1, 12, tzinfo=UTC)
    there = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert no_sooner(None, moment) == no_sooner(None, there) == 4_102_488_000_000


def test_a_delay_counts_from_now() -> None:
    before_ms = time.time_ns() // 1_000_000
    begins_ms = no_sooner(2.5, None)
    assert before_ms + 2_500 <= begins_ms <= time.time_ns() // 1_000_000 + 2_500


@pytest.mark.parametrize("not_before", [datetime.fromtimestamp(0, UTC), datetime.now(UTC)])
def test_what_is_past_is_at_once(not_before: datetime) -> None:
    assert no_sooner(None, not_before) == 0
    assert no_sooner(0, None) == no_sooner(None, None) == 0


@pytest.mark.parametrize(
    "delay_s",
    [
        *(-1, float("nan"), float("inf"), True, "5", 101 * 365 * 86_400),
        pytest.param(10**400, id="no float holds it"),
        pytest.param(10**5_000, id="no text holds it"),
    ],
)
def test_what_is_no_delay_is_refused(delay_s: object) -> None:
    with pytest.raises(ConfigurationError, match=r"delay_s is .*expected seconds from 0"):
        no_sooner(delay_s, None)


@pytest.mark.parametrize("not_before", [datetime(2100, 1, 1), "2100-01-01", 4e9])
def test_a_moment_without_a_time_zone_is_refused(not_before: object) -> None:
    with pytest.raises(ConfigurationError, match="expected a datetime with a time zone"):
        no_sooner(None, not_before)


def test_one_of_the_two_is_said() -> None:
    with pytest.raises(ConfigurationError, match="expected one of them"):
        no_sooner(1, datetime(2100, 1, 1, tzinfo=UTC))


def test_a_caller_who_would_wait_in_vain_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match="its caller waits for 30 s"):
        no_sooner(60, None, 30.0)
    assert no_sooner(60, None, 120.0) > 0


def test_a_deadline_that_comes_first_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"begin 1\.5 s after its deadline"):
        check_in_time(3_000, 1_500)
    check_in_time(3_000, 0)
    check_in_time(3_000, 3_001)
