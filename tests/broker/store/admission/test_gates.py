"""When one more effect of a line may start."""

from __future__ import annotations

import pytest

from effectmq.broker.store.admission.gates import (
    PROBE_MS,
    Gate,
    Start,
    Verdict,
    ended,
    opens_ms,
    packed,
    start,
    unpacked,
)
from effectmq.broker.store.admission.limits import Limit

_NOW = 1_000_000


def test_as_many_run_as_may() -> None:
    """The next one is looked for when the first lease runs out, or one ends."""
    limit, gate = Limit.of("*", concurrency=2), Gate()
    for _ in range(2):
        assert opens_ms(limit, gate, _NOW) == _NOW
        start(limit, gate, _NOW)
    gate.held_until_ms = _NOW + 500
    assert opens_ms(limit, gate, _NOW) == _NOW + 500
    gate.held -= 1
    assert opens_ms(limit, gate, _NOW) == _NOW


def test_any_period_has_as_many_starts_as_may() -> None:
    """It slides: the oldest start makes room when it is a whole period ago, and not before."""
    limit, gate = Limit.of("*", rate="2/s"), Gate()
    start(limit, gate, _NOW)
    start(limit, gate, _NOW + 400)
    assert opens_ms(limit, gate, _NOW + 500) == _NOW + 1_000
    assert opens_ms(limit, gate, _NOW + 999) == _NOW + 1_000
    start(limit, gate, _NOW + 1_000)
    assert opens_ms(limit, gate, _NOW + 1_000) == _NOW + 1_400
    assert gate.starts == [Start(_NOW + 400, 1), Start(_NOW + 1_000, 1)]


def test_many_starts_share_a_moment_and_none_counts_too_short() -> None:
    """What is remembered is bounded."""
    limit, gate = Limit.of("*", rate="100000/h"), Gate()
    for nth in range(5_000):
        start(limit, gate, _NOW + nth * 7)
    assert len(gate.starts) < 20
    assert sum(one.number for one in gate.starts) == 5_000
    assert gate.starts[0].at_ms >= _NOW


def test_a_rate_that_was_lowered_counts_what_started_before() -> None:
    """Until so many of the starts are a period ago that one fewer than may is left."""
    gate = Gate()
    for nth in range(5):
        start(Limit.of("*", rate="10/s"), gate, _NOW + nth)
    assert opens_ms(Limit.of("*", rate="2/s"), gate, _NOW + 10) == _NOW + 1_003


def test_one_that_was_told_to_wait_makes_all_of_the_key_wait() -> None:
    """Then one alone asks; when it succeeds, all others may."""
    limit, gate = Limit.of("*", key="model", concurrency=9), Gate(held=3)
    assert ended(limit, gate, Verdict("failed", 5_000), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW + 5_000
    # One that had started before does not end the wait.
    assert not ended(limit, gate, Verdict("ok"), _NOW + 1)
    later = _NOW + 5_000
    gate.held = 0
    assert opens_ms(limit, gate, later) == later
    start(limit, gate, later)
    gate.held_until_ms = later + 900
    assert opens_ms(limit, gate, later) == later + 900
    assert ended(limit, gate, Verdict("ok"), later + 10)
    assert opens_ms(limit, gate, later + 10) == later + 10


def test_the_one_that_asks_alone_may_be_told_to_wait_again() -> None:
    """The longest wait counts."""
    limit, gate = Limit.of("*", key="model"), Gate()
    ended(limit, gate, Verdict("failed", 1_000), _NOW)
    ended(limit, gate, Verdict("failed", 200), _NOW)
    start(limit, gate, _NOW + 1_000)
    ended(limit, gate, Verdict("failed", 3_000), _NOW + 1_100)
    gate.held = 0
    assert opens_ms(limit, gate, _NOW + 1_100) == _NOW + 4_100


def test_one_that_asks_alone_and_is_gone_keeps_nobody() -> None:
    """Its permit has run out, or it takes too long."""
    limit, gate = Limit.of("*", key="model"), Gate()
    ended(limit, gate, Verdict("failed", 10), _NOW)
    start(limit, gate, _NOW + 10)
    gate.held_until_ms = _NOW + 10 * PROBE_MS
    assert opens_ms(limit, gate, _NOW + 11) == _NOW + 10 + PROBE_MS
    gate.held = 0
    assert opens_ms(limit, gate, _NOW + 11) == _NOW + 11


def test_a_wait_says_nothing_about_other_keys_than_what_answers() -> None:
    """A session does not wait because a model is busy."""
    limit, gate = Limit.of("*", key="session", concurrency=1), Gate()
    assert not ended(limit, gate, Verdict("failed", 5_000), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW


def test_failures_one_after_the_other_shut_it() -> None:
    """One that asks alone and fails shuts it again; a success counts from the beginning."""
    limit = Limit.of("*", key="tool", breaker=3, cooldown_s=2)
    gate = Gate()
    for verdict in ("failed", "failed", "ok", "failed", "neutral", "failed"):
        ended(limit, gate, Verdict(verdict), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW
    ended(limit, gate, Verdict("failed"), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW + 2_000
    start(limit, gate, _NOW + 2_000)
    ended(limit, gate, Verdict("failed"), _NOW + 2_100)
    assert opens_ms(limit, gate, _NOW + 2_100) == _NOW + 4_100
    start(limit, gate, _NOW + 4_100)
    ended(limit, gate, Verdict("ok"), _NOW + 4_200)
    gate.held = 0
    assert (gate.failures, opens_ms(limit, gate, _NOW + 4_200)) == (0, _NOW + 4_200)


def test_without_a_breaker_failures_shut_nothing() -> None:
    """However many."""
    limit, gate = Limit.of("*", key="tool", concurrency=1), Gate()
    assert not any(ended(limit, gate, Verdict("failed"), _NOW) for _ in range(50))


def test_starts_are_read_back_as_they_were_written() -> None:
    """Also those that share a moment."""
    starts = [Start(5, 1), Start(9, 12)]
    assert packed(starts) == "5 9x12"
    assert unpacked(packed(starts)) == starts
    assert unpacked("") == []
    with pytest.raises(ValueError, match="invalid literal"):
        unpacked("5 nine")


def test_a_wait_without_end_shuts_it_for_a_month() -> None:
    """What asks for more may do so again then."""
    limit, gate = Limit.of("*", key="tool", concurrency=1), Gate()
    ended(limit, gate, Verdict("failed", 2**60), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW + 31 * 86_400_000
