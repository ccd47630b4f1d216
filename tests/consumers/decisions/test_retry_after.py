"""How long a server asks to wait, in every form in which servers say it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from effectmq.consumers.decisions.retry_after import LONGEST_S, wait_asked_for

NOW_S = 1_800_000_000.0
SOON = datetime.fromtimestamp(NOW_S + 30, UTC)


def gone(text: str) -> dict[str, str]:
    """A header of Anthropic's, with nothing left of the limit."""
    return {
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": text,
    }


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "5"}, 5),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "34s"}, 34),
        ({"retry-after": "1h2m3.5s"}, 3_723.5),
        ({"retry-after": "500 ms"}, 0.5),
        ({"retry-after": "7 seconds"}, 7),
        ({"retry-after": "1 Hour 5 minutes"}, 3_900),
        ({"retry-after": ".5s"}, 0.5),
        ({"retry-after": '"7"'}, 7),
        # Sent twice, and joined by something on the way: the longer one is meant.
        ({"retry-after": "7, 9"}, 9),
        ({"retry-after": "1800000030000000"}, 30),
        ({"x-ms-retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": SOON.strftime("%a, %d %b %Y %H:%M:%S GMT")}, 30),
        ({"retry-after": SOON.strftime("%A, %d-%b-%y %H:%M:%S GMT")}, 30),
        ({"retry-after": SOON.strftime("%a %b %e %H:%M:%S %Y")}, 30),
        ({"retry-after": SOON.isoformat()}, 30),
        ({"retry-after": "2027-01-15T08:00:30Z"}, 30),
        ({"retry-after": "1800000030"}, 30),
        ({"retry-after": "1800000030000"}, 30),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "1700000000"}, 0),
        # No moment of 2001, but longer than anybody waits.
        ({"retry-after": "1000000000"}, LONGEST_S),
        ({"retry-after-ms": "1000000000000"}, LONGEST_S),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_S),
        ({"x-rate-limit-reset": "1m30s"}, 90),
        ({"x-ratelimit-reset-tokens": "6ms"}, 0.006),
        ({"retry-after": "99999999"}, LONGEST_S),
        ({"retry-after": "9" * 400}, LONGEST_S),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-reset": "1800000020"}, 20),
        ({"x-ratelimit-reset": "1800000020123"}, 20.123),
        ({"x-ratelimit-reset-after": "3.25"}, 3.25),
        ({"ratelimit-reset": "9"}, 9),
        ({"ratelimit": '"default";r=0;t=7'}, 7),
        ({"ratelimit": "limit=10, remaining=0, reset=8"}, 8),
        ({"anthropic-ratelimit-requests-reset": "2027-01-15T08:00:20Z"}, 20),
        (gone("2027-01-15T08:01:00Z") | {"anthropic-ratelimit-requests-reset": "1s"}, 60),
        # The limit that is used up counts, and without one the shortest.
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 1),
        # A server whose clock is an hour late is waited for by its own clock.
        (
            {
                "date": datetime.fromtimestamp(NOW_S - 3_600, UTC).strftime(
                    "%a, %d %b %Y %H:%M:%S GMT"
                ),
                "retry-after": datetime.fromtimestamp(NOW_S - 3_590, UTC).strftime(
                    "%a, %d %b %Y %H:%M:%S GMT"
                ),
            },
            10,
        ),
    ],
)
def test_every_usual_form_of_a_wait_is_read(headers: dict[str, str], expected: float) -> None:
    """The nearest to the standard first; capped; what is past is no wait at all."""
    assert wait_asked_for(headers, now_s=NOW_S) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-3",
        "-0.5",
        "nan",
        "inf",
        "1e3",
        "0x10",
        "--",
        "1h 2q",
        "\u0661",
        "5ms3",
        "1.2.3s",
        ",",
        ".",
    ],
)
def test_what_is_no_wait_says_nothing(text: str) -> None:
    """And the next place is looked at."""
    assert wait_asked_for({"retry-after": text}, now_s=NOW_S) is None
    also = {"retry-after": text, "x-ratelimit-reset": "4"}
    assert wait_asked_for(also, now_s=NOW_S) == 4
    assert wait_asked_for({"retry-after-ms": text, "retry-after": "2"}, now_s=NOW_S) == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34s"}]}}, 34),
        ([{"error": {"details": [{"retryDelay": "0.5s"}]}}], 0.5),
        ({"error": {"details": [{"retryDelay": {"seconds": 3, "nanos": 500_000_000}}]}}, 3.5),
        ({"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1800000040000"}}}}, 40),
        ({"error": {"metadata": {"headers": {"Retry-After": "12"}}}}, 12),
        ({"retry_after": 2.5}, 2.5),
        ({"error": {"retry_after_ms": 100}}, 0.1),
        ({"error": {"details": [{"retryDelay": "-5s"}]}}, None),
        ({"error": {"details": "soon"}}, None),
        ({"error": "slow down, try again in 20s"}, None),
        (None, None),
        ("text", None),
        ([[[[[[{"retry_after": 1}]]]]]], None),
    ],
)
def test_a_wait_may_stand_in_the_body(body: Any, expected: float | None) -> None:
    """Where providers put one; never guessed from a sentence."""
    found = wait_asked_for({}, body, now_s=NOW_S)
    assert found == (None if expected is None else pytest.approx(expected))


def test_limits_count_only_for_what_a_limit_refused() -> None:
    """Many servers tell with every answer when their limits are full again."""
    headers = {"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0"}
    assert wait_asked_for(headers, now_s=NOW_S, limited=False) is None
    assert wait_asked_for({**headers, "retry-after": "1"}, now_s=NOW_S, limited=False) == 1
