"""When one more effect of a line may start."""

from __future__ import annotations

import pytest

from effectmq.broker.store.admission.deciding.gates import (
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
from effectmq.broker.store.admission.declared.limits import Limit

_NOW = 1_000_000


def test_as_many_run_as_may() -> None:
    """The next one is looked for when the first lease runs out, or one ends."""
    limit, gate = Limit.of("*", concurrency=2), Gate()
    for _ in range(2):
        assert opens_ms(limit, gate, _NOW) == _NOW
        start(limit, gate, "t", _NOW)
    gate.held_until_ms = _NOW + 500
    assert opens_ms(limit, gate, _NOW) == _NOW + 500
    gate.held -= 1
    assert opens_ms(limit, gate, _NOW) == _NOW


def test_any_period_has_as_many_starts_as_may() -> None:
    """It slides: the oldest start makes room when it is a whole period ago, and not before."""
    limit, gate = Limit.of("*", rate="2/s"), Gate()
    start(limit, gate, "t", _NOW)
    start(limit, gate, "t", _NOW + 400)
    assert opens_ms(limit, gate, _NOW + 500) == _NOW + 1_000
    assert opens_ms(limit, gate, _NOW + 999) == _NOW + 1_000
    start(limit, gate, "t", _NOW + 1_000)
    assert opens_ms(limit, gate, _NOW + 1_000) == _NOW + 1_400
    assert gate.starts == [Start(_NOW + 400, 1), Start(_NOW + 1_000, 1)]


def test_many_starts_share_a_moment_and_none_counts_too_short() -> None:
    """What is remembered is bounded."""
    limit, gate = Limit.of("*", rate="100000/h"), Gate()
    for nth in range(5_000):
        start(limit, gate, "t", _NOW + nth * 7)
    assert len(gate.starts) < 20
    assert sum(one.number for one in gate.starts) == 5_000
    assert gate.starts[0].at_ms >= _NOW


def test_a_rate_that_was_lowered_counts_what_started_before() -> None:
    """Until so many of the starts are a period ago that one fewer than may is left."""
    gate = Gate()
    for nth in range(5):
        start(Limit.of("*", rate="10/s"), gate, "t", _NOW + nth)
    assert opens_ms(Limit.of("*", rate="2/s"), gate, _NOW + 10) == _NOW + 1_003


def shut(limit: Limit, wait_ms: int = 1_000) -> Gate:
    """A gate that an attempt ``old`` has shut, while others of its time still run."""
    gate = Gate()
    for token in ("old", "older", "oldest"):
        start(limit, gate, token, _NOW)
    ended(limit, gate, "old", Verdict("failed", wait_ms), _NOW)
    gate.held -= 1
    return gate


def test_one_that_was_told_to_wait_makes_all_of_the_key_wait() -> None:
    """Then one alone asks; when it succeeds, all others may."""
    limit = Limit.of("*", key="model", concurrency=9)
    gate = shut(limit, 5_000)
    assert opens_ms(limit, gate, _NOW) == _NOW + 5_000
    # One that had started before does not end the wait.
    ended(limit, gate, "older", Verdict("ok"), _NOW + 1)
    later = _NOW + 5_000
    assert opens_ms(limit, gate, later) == later
    start(limit, gate, "probe", later)
    assert opens_ms(limit, gate, later) == later + PROBE_MS
    ended(limit, gate, "probe", Verdict("ok"), later + 10)
    assert opens_ms(limit, gate, later + 10) == later + 10


@pytest.mark.parametrize("verdict", [Verdict("ok"), Verdict("failed"), Verdict()])
def test_only_the_one_that_asks_alone_says_whether_others_may(verdict: Verdict) -> None:
    """An older one that ends meanwhile neither opens the gate nor counts as its failure."""
    limit = Limit.of("*", key="model", breaker=5, cooldown_s=9)
    gate = shut(limit)
    now_ms = _NOW + 1_000
    start(limit, gate, "probe", now_ms)
    ended(limit, gate, "older", verdict, now_ms + 1)
    gate.held -= 1
    assert opens_ms(limit, gate, now_ms + 1) == now_ms + PROBE_MS
    ended(limit, gate, "probe", Verdict("ok"), now_ms + 2)
    assert opens_ms(limit, gate, now_ms + 2) == now_ms + 2
    assert gate.failures == 0


def test_a_wait_that_an_older_one_is_told_meanwhile_is_heeded_by_all() -> None:
    """It is as new as any; the one that asks is still the only one."""
    limit = Limit.of("*", key="model")
    gate = shut(limit)
    now_ms = _NOW + 1_000
    start(limit, gate, "probe", now_ms)
    ended(limit, gate, "older", Verdict("failed", 300), now_ms + 1)
    assert opens_ms(limit, gate, now_ms + 400) == now_ms + PROBE_MS
    # What it says was true before the wait.
    ended(limit, gate, "probe", Verdict("ok"), now_ms + 100)
    assert opens_ms(limit, gate, now_ms + 100) == now_ms + 301
    start(limit, gate, "next", now_ms + 301)
    assert gate.probe == "next"


def test_the_one_that_asks_alone_may_be_told_to_wait_again() -> None:
    """The longest wait counts."""
    limit = Limit.of("*", key="model")
    gate = shut(limit)
    ended(limit, gate, "older", Verdict("failed", 200), _NOW)
    start(limit, gate, "probe", _NOW + 1_000)
    ended(limit, gate, "probe", Verdict("failed", 3_000), _NOW + 1_100)
    assert opens_ms(limit, gate, _NOW + 1_100) == _NOW + 4_100


def test_one_that_asks_alone_and_is_gone_keeps_nobody() -> None:
    """Its permit has run out, or it takes too long, or it says nothing; others still run."""
    limit = Limit.of("*", key="model")
    gate = shut(limit)
    now_ms = _NOW + 1_000
    start(limit, gate, "probe", now_ms)
    gate.held_until_ms = now_ms + 10 * PROBE_MS
    assert opens_ms(limit, gate, now_ms + 1) == now_ms + PROBE_MS
    gate.probe_held_until_ms = now_ms + 500
    assert opens_ms(limit, gate, now_ms + 1) == now_ms + 500
    start(limit, gate, "second", now_ms + 500)
    assert opens_ms(limit, gate, now_ms + 501) == now_ms + 500 + PROBE_MS
    ended(limit, gate, "second", Verdict(), now_ms + 501)
    assert opens_ms(limit, gate, now_ms + 501) == now_ms + 501


def test_a_wait_says_nothing_about_other_keys_than_what_answers() -> None:
    """A session does not wait because a model is busy."""
    limit, gate = Limit.of("*", key="session", concurrency=1), Gate()
    ended(limit, gate, "t", Verdict("failed", 5_000), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW


def test_failures_one_after_the_other_shut_it() -> None:
    """One that asks alone and fails shuts it again; a success counts from the beginning."""
    limit = Limit.of("*", key="tool", breaker=3, cooldown_s=2)
    gate = Gate()
    for verdict in ("failed", "failed", "ok", "failed", "neutral", "failed"):
        ended(limit, gate, "t", Verdict(verdict), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW
    ended(limit, gate, "t", Verdict("failed"), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW + 2_000
    start(limit, gate, "t", _NOW + 2_000)
    ended(limit, gate, "t", Verdict("failed"), _NOW + 2_100)
    assert opens_ms(limit, gate, _NOW + 2_100) == _NOW + 4_100
    start(limit, gate, "t", _NOW + 4_100)
    ended(limit, gate, "t", Verdict("ok"), _NOW + 4_200)
    gate.held = 0
    assert (gate.failures, opens_ms(limit, gate, _NOW + 4_200)) == (0, _NOW + 4_200)


def test_without_a_breaker_failures_shut_nothing() -> None:
    """However many."""
    limit, gate = Limit.of("*", key="tool", concurrency=1), Gate()
    for _ in range(50):
        ended(limit, gate, "t", Verdict("failed"), _NOW)
    assert gate == Gate()


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
    ended(limit, gate, "t", Verdict("failed", 2**60), _NOW)
    assert opens_ms(limit, gate, _NOW) == _NOW + 31 * 86_400_000
