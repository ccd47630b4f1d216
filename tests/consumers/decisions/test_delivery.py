"""What to do with an effect: the table of ``delivery``, row by row."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, get_args

import pytest
from tenacity import stop_after_attempt, stop_never, wait_fixed

from effectmq.consumers.decisions.delivery import (
    PARK_REASONS,
    Awake,
    Delay,
    Park,
    ParkReason,
    Pause,
    Run,
    after_crash,
    after_error,
    busy,
    expired,
    misrouted,
    on_arrival,
    park_unreadable,
    retry_in,
)
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.protocol.errors import (
    HashMismatchError,
    InvalidEnvelopeError,
    MalformedError,
    RejectEffectError,
    RetryEffectError,
    UnsupportedVersionError,
)
from effectmq.protocol.identity import invocations
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandSleep,
    RuntimeEffectEnvelope,
)

LEVELS = (1_000, 2_000, 5_000, 60_000)
NOW = 1_700_000_000_000
TURN: dict[str, Any] = {
    "session_id": "s1",
    "turn_id": "t1",
    "turn_index": 0,
    "protocol_iteration": 0,
}


def code(**facts: int) -> Request:
    """An effect that runs something."""
    envelope = RuntimeEffectEnvelope(
        invocation=invocations.turn_effect("exec_code", "1", **TURN),
        command=RuntimeEffectCommandExecCode(code="1"),
    )
    return replace(Request.seal(envelope), **facts)


def sleep(duration_ms: int, **facts: int) -> Request:
    """A sleep."""
    envelope = RuntimeEffectEnvelope(
        invocation=invocations.turn_effect("sleep", "1", **TURN),
        command=RuntimeEffectCommandSleep(duration_ms=duration_ms),
    )
    return replace(Request.seal(envelope), **facts)


def arrive(request: Request, *, now_ms: int = NOW) -> Run | Awake | Pause | Delay | Park:
    """On its own queue."""
    return on_arrival(request, now_ms=now_ms, levels_ms=LEVELS, max_deaths=3)


def again(request: Request, wait_ms: int, **how: bool) -> Pause | Delay:
    """The next attempt after a wait."""
    return retry_in(request, wait_ms, now_ms=NOW, levels_ms=LEVELS, jitter=random.Random(1), **how)


def failed(request: Request, error: BaseException, **rules: Any) -> Pause | Delay | Park:
    """After an attempt that raised, with three attempts two seconds apart by default."""
    policy = RetryPolicy(**{"stop": stop_after_attempt(3), "wait": wait_fixed(2), **rules})
    return after_error(
        request, policy, error, now_ms=NOW, levels_ms=LEVELS, jitter=random.Random(1)
    )


# Arrival -----------------------------------------------------------------------------------------


def test_an_effect_without_conditions_runs() -> None:
    """The last row but for its ends."""
    assert arrive(code()) == Run()
    assert arrive(code(attempt=3, due_ms=NOW, deadline_ms=NOW + 1)) == Run()


def test_an_effect_on_the_queue_of_another_kind_is_tampered_with() -> None:
    """The envelope says what it is; the routing key must agree."""
    assert misrouted(code(), "exec_code") is None
    park = misrouted(code(), "sleep")
    assert isinstance(park, Park)
    assert (park.reason, park.code) == ("tampered", "effectmq_tampered")
    assert "exec_code" in park.message
    assert "sleep" in park.message


@pytest.mark.parametrize("late_ms", [0, 1, 10**9])
def test_an_effect_whose_deadline_has_passed_is_expired(late_ms: int) -> None:
    """At the deadline already, and for a sleep as well."""
    for request in (code(deadline_ms=NOW - late_ms), sleep(5, deadline_ms=NOW - late_ms)):
        park = arrive(request)
        assert isinstance(park, Park)
        assert (park.reason, park.code) == ("expired", "effectmq_expired")
        assert f"{late_ms} ms ago" in park.message


@pytest.mark.parametrize(
    ("remaining_ms", "action"),
    [
        (1, Pause(1, {"due": NOW + 1})),
        (1_000, Pause(1_000, {"due": NOW + 1_000})),
        (1_001, Delay(1_000, {"due": NOW + 1_001})),
        (4_999, Delay(2_000, {"due": NOW + 4_999})),
        (5_000, Delay(5_000, {"due": NOW + 5_000})),
        (10**9, Delay(60_000, {"due": NOW + 10**9})),
    ],
)
def test_an_effect_that_is_not_due_waits_without_overshooting(
    remaining_ms: int, action: Pause | Delay
) -> None:
    """A second or less in place, more on the longest level that fits; the due time goes along."""
    assert arrive(sleep(remaining_ms)) == action
    assert arrive(sleep(7, due_ms=NOW + remaining_ms)) == action
    assert arrive(code(due_ms=NOW + remaining_ms)) == action


def test_the_due_time_of_a_sleep_is_fixed_once() -> None:
    """Seen again later, it still ends when it was first said to."""
    first = arrive(sleep(10_000))
    assert isinstance(first, Delay)
    later = sleep(10_000, due_ms=first.headers["due"])
    assert arrive(later, now_ms=NOW + 9_500) == Pause(500, {"due": NOW + 10_000})
    assert arrive(later, now_ms=NOW + 10_000) == Awake()
    assert arrive(later, now_ms=NOW + 99_999) == Awake()


def test_a_sleep_of_nothing_is_over_at_once() -> None:
    """It holds nothing, not even a turn of a queue."""
    assert arrive(sleep(0)) == Awake()


def test_a_sleep_longer_than_time_itself_still_fits_a_header() -> None:
    """The wire allows 2^64-1 ms; AMQP carries 63 bits."""
    action = arrive(sleep(2**64 - 1))
    assert isinstance(action, Delay)
    assert action.level_ms == LEVELS[-1]
    assert NOW < action.headers["due"] < 2**63


def test_whoever_has_a_deadline_is_answered_at_it() -> None:
    """Not when a long level happens to end, nor when the sleep would have."""
    assert arrive(sleep(10**9, deadline_ms=NOW + 400)) == Pause(400, {"due": NOW + 10**9})
    assert arrive(sleep(10**9, deadline_ms=NOW + 4_000)) == Delay(2_000, {"due": NOW + 10**9})
    assert arrive(code(due_ms=NOW + 10**9, deadline_ms=NOW + 300)) == Pause(
        300, {"due": NOW + 10**9}
    )


# What cannot be read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason", "park_code"),
    [
        (MalformedError("a.b", "found null"), "malformed", "effectmq_malformed"),
        (HashMismatchError("aa", "bb"), "tampered", "effectmq_tampered"),
        (
            UnsupportedVersionError("effect.envelope.v2", "effect.envelope.v1"),
            "unsupported",
            "effectmq_unsupported",
        ),
        (
            InvalidEnvelopeError("runtime_effect_replay_required", "needs it"),
            "rejected",
            "runtime_effect_replay_required",
        ),
    ],
)
def test_each_way_of_being_unreadable_has_its_reason(
    error: Any, reason: str, park_code: str
) -> None:
    """And a message that says what was found."""
    park = park_unreadable(error)
    assert (park.reason, park.code) == (reason, park_code)
    assert park.message
    assert str(error).endswith(park.message)


def test_every_reason_that_can_be_given_is_explained() -> None:
    """The words of the design, each with what it means."""
    assert set(PARK_REASONS) == set(get_args(ParkReason))


# Trying again ------------------------------------------------------------------------------------


def test_a_short_wait_is_slept_in_place_and_a_longer_one_delayed() -> None:
    """A second is the border; the attempt moves on, and what it waited for is forgotten."""
    headers = {"attempt": 2, "first_seen": NOW, "due": 0}
    assert again(code(), 0) == Pause(0, headers)
    assert again(code(), 1_000) == Pause(1_000, headers)
    assert again(code(), 2_000) == Delay(2_000, headers)
    assert again(code(attempt=4, first_seen_ms=5), 5_000) == Delay(
        5_000, {"attempt": 5, "first_seen": 5, "due": 0}
    )


def test_a_wait_beyond_the_longest_level_goes_in_hops() -> None:
    """The due time remembers the rest."""
    assert again(code(), 600_000) == Delay(
        60_000, {"attempt": 2, "first_seen": NOW, "due": NOW + 600_000}
    )


def test_a_wait_without_end_still_fits_a_header() -> None:
    """What a tool asks for may be 2^64-1 ms."""
    action = again(code(), 2**64 - 1)
    assert isinstance(action, Delay)
    assert action.headers["due"] < 2**63


def test_a_promised_wait_is_not_shortened() -> None:
    """The level above, never the one below."""
    action = again(code(), 2_001, at_least=True)
    assert isinstance(action, Delay)
    assert action.level_ms == 5_000


def test_a_retry_does_not_sleep_past_the_deadline() -> None:
    """Its caller is told at the deadline, not when the delay level happens to end."""
    headers = {"attempt": 2, "first_seen": NOW}
    late = code(deadline_ms=NOW + 2_500)
    assert again(late, 50_000) == Delay(2_000, {**headers, "due": NOW + 50_000})
    assert again(code(deadline_ms=NOW + 300), 900) == Pause(300, {**headers, "due": 0})
    assert again(code(deadline_ms=NOW + 300), 50_000) == Pause(
        300, {**headers, "due": NOW + 50_000}
    )


def test_a_retry_that_fits_before_the_deadline_is_made_before_it() -> None:
    """Rounding up to a level must not throw the attempt away."""
    action = again(code(deadline_ms=NOW + 4_900), 4_000, at_least=True)
    assert action == Delay(2_000, {"attempt": 2, "first_seen": NOW, "due": NOW + 4_000})
    assert again(code(deadline_ms=NOW + 5_100), 4_000, at_least=True) == Delay(
        5_000, {"attempt": 2, "first_seen": NOW, "due": 0}
    )


def test_an_attempt_that_raised_is_tried_again_while_there_is_budget() -> None:
    """Attempts 1 and 2 of 3 go on, the third parks."""
    assert failed(code(), ValueError("no")) == Delay(
        2_000, {"attempt": 2, "first_seen": NOW, "due": 0}
    )
    assert isinstance(failed(code(attempt=2), ValueError("no")), Delay)
    park = failed(code(attempt=3), ValueError("no\n"))
    assert park == Park(
        "exhausted", "effectmq_exhausted", "gave up after 3 attempts: ValueError: no\\n"
    )


def test_looking_again_at_what_goes_on_elsewhere_is_no_attempt() -> None:
    """What fails later has all its attempts then, and the time counts from the first look."""
    waiting = retry_in(
        code(attempt=2, first_seen_ms=NOW - 5_000),
        2_000,
        now_ms=NOW,
        levels_ms=LEVELS,
        jitter=random.Random(1),
        counts=False,
    )
    assert isinstance(waiting, Delay)
    assert waiting.headers == {"attempt": 2, "first_seen": NOW - 5_000, "due": 0}


def test_one_attempt_is_not_called_attempts() -> None:
    """A sentence for people."""
    park = failed(code(), KeyError("k"), stop=stop_after_attempt(1))
    assert isinstance(park, Park)
    assert park.message == "gave up after 1 attempt: KeyError: 'k'"


def test_elapsed_time_counts_from_when_a_worker_first_saw_it() -> None:
    """Delays included, across workers."""
    slow = code(first_seen_ms=NOW - 3_600_000)
    assert isinstance(
        after_error(
            slow, RetryPolicy(), ValueError(), now_ms=NOW, levels_ms=LEVELS, jitter=random.Random()
        ),
        Park,
    )


def test_a_handler_that_rejects_its_effect_is_obeyed() -> None:
    """With its own code and message."""
    park = failed(code(), RejectEffectError("no_such_file", "there is no file x"))
    assert park == Park("rejected", "no_such_file", "there is no file x")


def test_a_handler_that_asks_for_time_gets_at_least_that() -> None:
    """Exactly in place, and rounded up on a level."""
    assert failed(code(), RetryEffectError("busy", after_s=0.25)) == Pause(
        250, {"attempt": 2, "first_seen": NOW, "due": 0}
    )
    action = failed(code(), RetryEffectError("busy", after_s=2.001), stop=stop_never)
    assert isinstance(action, Delay)
    assert action.level_ms == 5_000


# Limbo -------------------------------------------------------------------------------------------


def test_what_the_broker_gave_up_on_goes_home_a_limited_number_of_times() -> None:
    """Counted each time, over the shortest delay; past the limit it is crash-looping."""
    assert after_crash(code(), max_crashes=3, levels_ms=LEVELS) == Delay(1_000, {"crashes": 1})
    assert after_crash(code(crashes=2), max_crashes=3, levels_ms=LEVELS) == Delay(
        1_000, {"crashes": 3}
    )
    park = after_crash(code(crashes=3), max_crashes=3, levels_ms=LEVELS)
    assert isinstance(park, Park)
    assert (park.reason, park.code) == ("crash_looping", "effectmq_crash_looping")
    assert "4 times" in park.message


def test_the_message_of_an_expired_effect_says_by_how_much() -> None:
    """So that a person can tell a tight deadline from a long queue."""
    assert "1500 ms ago" in expired(code(deadline_ms=NOW - 1_500), NOW).message


def test_a_retry_rule_that_raises_parks_and_says_so() -> None:
    """Rules may be written by users; the effect must not hang over one."""

    def broken(_: object) -> float:
        raise ZeroDivisionError("my rule")

    park = failed(code(), ValueError("no"), wait=broken)
    assert isinstance(park, Park)
    assert park.reason == "exhausted"
    assert "ZeroDivisionError: my rule" in park.message
    assert "ValueError: no" in park.message


@pytest.mark.parametrize("wait_ms", [61_000, 3_600_000])
def test_who_waits_for_another_worker_looks_again_within_a_minute(wait_ms: int) -> None:
    """A lease of an hour is that of a clock which was set back; its holder may be done soon."""
    assert busy(wait_ms, 9, (*LEVELS, 3_600_000)) == Delay(60_000, {})
    assert busy(3_000, 9, LEVELS) == Delay(2_000, {})
