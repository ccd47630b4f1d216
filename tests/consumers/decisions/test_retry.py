"""Whether to try again, and when."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import (
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    wait_exception,
    wait_fixed,
    wait_none,
)

from effectmq.consumers.decisions.retry import (
    DEFAULT_RETRY,
    IN_PLACE_LIMIT_MS,
    NO_RETRY,
    RetryPolicy,
    delay_level,
    policy_of_tool,
    retry_wait_ms,
    sleep_step,
    tool_retry_wait_ms,
)
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, RejectEffectError, RetryEffectError
from effectmq.protocol.wire.tool_definitions import (
    ToolRetryPolicyIdempotent,
    ToolRetryPolicyNever,
    ToolRetryPolicySafe,
)

LEVELS = (1_000, 2_000, 5_000, 15_000)
BOOM = ValueError("boom")


def policy(**rules: object) -> RetryPolicy:
    """Three attempts, two seconds apart, unless said otherwise."""
    return RetryPolicy(**{"stop": stop_after_attempt(3), "wait": wait_fixed(2), **rules})  # type: ignore[arg-type]


# The worker's own policy -----------------------------------------------------------------------


def test_the_default_gives_up_after_five_attempts_or_an_hour() -> None:
    """Budgets by attempts and by elapsed time."""
    assert retry_wait_ms(DEFAULT_RETRY, BOOM, attempt=4, elapsed_ms=0) is not None
    assert retry_wait_ms(DEFAULT_RETRY, BOOM, attempt=5, elapsed_ms=0) is None
    assert retry_wait_ms(DEFAULT_RETRY, BOOM, attempt=1, elapsed_ms=3_599_999) is not None
    assert retry_wait_ms(DEFAULT_RETRY, BOOM, attempt=1, elapsed_ms=3_600_000) is None


def test_the_default_wait_grows_with_full_jitter_up_to_five_minutes() -> None:
    """Effects that failed together must not come back together."""
    waits = [
        retry_wait_ms(RetryPolicy(stop=stop_never), BOOM, attempt=n, elapsed_ms=0)
        for n in [1] * 200 + [40] * 200
    ]
    assert all(wait is not None and 0 <= wait <= 1_000 for wait in waits[:200])
    assert all(wait is not None and 0 <= wait <= 300_000 for wait in waits[200:])
    assert len(set(waits[200:])) > 100


def test_numbers_say_the_same_as_rules() -> None:
    """Attempts, the time of all of them, and the bounds of the waits."""
    numbers = RetryPolicy(max_attempts=2, base_delay_s=4, max_delay_s=6, give_up_after_s=None)
    first = [retry_wait_ms(numbers, BOOM, attempt=1, elapsed_ms=10**9) for _ in range(200)]
    assert all(wait is not None and 0 <= wait <= 4_000 for wait in first)
    assert retry_wait_ms(numbers, BOOM, attempt=2, elapsed_ms=0) is None
    many = RetryPolicy(max_attempts=99, base_delay_s=4, max_delay_s=6, give_up_after_s=60)
    later = [retry_wait_ms(many, BOOM, attempt=30, elapsed_ms=0) for _ in range(200)]
    assert 4_000 < max(wait or 0 for wait in later) <= 6_000
    assert retry_wait_ms(many, BOOM, attempt=1, elapsed_ms=60_000) is None
    unbound = replace(many, max_delay_s=0)
    assert (
        max(retry_wait_ms(unbound, BOOM, attempt=9, elapsed_ms=0) or 0 for _ in range(99)) > 6_000
    )


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"max_attempts": 0}, "max_attempts is 0; expected 1 or more"),
        ({"max_attempts": 2**32}, "max_attempts is 4294967296; expected 1 or more"),
        ({"base_delay_s": -1}, "base_delay_s is -1; expected seconds, 0 or more"),
        ({"max_delay_s": math.nan}, "max_delay_s is nan"),
        ({"give_up_after_s": math.inf}, "give_up_after_s is inf"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(numbers: Any, sentence: str) -> None:
    """When the policy is made, not when something fails."""
    with pytest.raises(ConfigurationError, match=sentence):
        RetryPolicy(**numbers)


def test_no_retry_is_one_attempt() -> None:
    """The value for handlers that must not run twice."""
    assert retry_wait_ms(NO_RETRY, BOOM, attempt=1, elapsed_ms=0) is None


def test_what_the_handler_rejects_is_never_tried_again() -> None:
    """Nor what the policy says cannot be mended."""
    never = policy(never_on=(KeyError,))
    assert retry_wait_ms(policy(), RejectEffectError("c", "m"), attempt=1, elapsed_ms=0) is None
    assert retry_wait_ms(never, KeyError("k"), attempt=1, elapsed_ms=0) is None
    assert retry_wait_ms(never, BOOM, attempt=1, elapsed_ms=0) == 2_000


def test_what_the_handler_asks_for_beats_the_policys_wait() -> None:
    """``Retry-After`` is honoured, within the budget of attempts."""
    after = RetryEffectError("busy", after_s=7.5)
    assert retry_wait_ms(policy(), after, attempt=1, elapsed_ms=0) == 7_500
    assert retry_wait_ms(policy(), after, attempt=3, elapsed_ms=0) is None
    unsaid = RetryEffectError("busy")
    assert retry_wait_ms(policy(), unsaid, attempt=1, elapsed_ms=0) == 2_000


@pytest.mark.parametrize("after_s", [-1.0, -math.inf, math.nan])
def test_a_wait_that_is_no_time_is_no_wait(after_s: float) -> None:
    """A handler's arithmetic may go wrong; its effect must not be lost over it."""
    after = RetryEffectError("busy", after_s=after_s)
    assert retry_wait_ms(policy(), after, attempt=1, elapsed_ms=0) == 0


@pytest.mark.parametrize("after_s", [math.inf, 1e300])
def test_a_wait_without_end_is_bounded(after_s: float) -> None:
    """It must fit into a header of 64 bits, added to the time of day."""
    wait = retry_wait_ms(
        policy(), RetryEffectError("busy", after_s=after_s), attempt=1, elapsed_ms=0
    )
    assert wait is not None
    assert 10**12 < wait < 2**62


def test_a_rule_that_gives_a_negative_wait_means_at_once() -> None:
    """Waits are never negative."""
    assert retry_wait_ms(policy(wait=wait_fixed(-5)), BOOM, attempt=1, elapsed_ms=0) == 0


def test_stop_rules_see_elapsed_time_and_the_coming_wait() -> None:
    """The whole of tenacity's vocabulary works, as values."""
    by_time = policy(stop=stop_after_delay(10))
    assert retry_wait_ms(by_time, BOOM, attempt=99, elapsed_ms=9_999) == 2_000
    assert retry_wait_ms(by_time, BOOM, attempt=1, elapsed_ms=10_000) is None
    in_time = policy(stop=stop_before_delay(10))
    assert retry_wait_ms(in_time, BOOM, attempt=1, elapsed_ms=7_000) == 2_000
    assert retry_wait_ms(in_time, BOOM, attempt=1, elapsed_ms=8_500) is None
    either = policy(stop=stop_after_attempt(2) | stop_after_delay(10))
    assert retry_wait_ms(either, BOOM, attempt=2, elapsed_ms=0) is None


def test_wait_rules_see_the_exception() -> None:
    """A wait may depend on what went wrong."""
    by_error = policy(wait=wait_exception(lambda error: 3 if isinstance(error, ValueError) else 9))
    assert retry_wait_ms(by_error, BOOM, attempt=1, elapsed_ms=0) == 3_000
    assert retry_wait_ms(by_error, KeyError(), attempt=1, elapsed_ms=0) == 9_000


# The wire format's policy for tools ------------------------------------------------------------


SAFE = ToolRetryPolicySafe(max_attempts=4, base_delay_ms=100, max_delay_ms=300)


def tool_wait(
    attempt: int = 1, *, policy: object = SAFE, after_ms: int | None = None
) -> int | None:
    """For a call with an id."""
    return tool_retry_wait_ms(policy, attempt=attempt, after_ms=after_ms, has_call_id=True)  # type: ignore[arg-type]


def test_a_tool_waits_base_times_two_to_the_i_capped() -> None:
    """Retry i counts from 0; the cap holds for both kinds of delay."""
    assert [tool_wait(n) for n in (1, 2, 3, 4)] == [100, 200, 300, None]
    assert tool_wait(after_ms=70) == 70
    assert tool_wait(after_ms=0) == 0
    assert tool_wait(after_ms=9_000) == 300


def test_a_cap_of_zero_is_no_cap() -> None:
    """As the contract says."""
    uncapped = ToolRetryPolicySafe(max_attempts=40, base_delay_ms=100, max_delay_ms=0)
    assert tool_wait(5, policy=uncapped) == 1_600
    assert tool_wait(policy=uncapped, after_ms=9_000) == 9_000


def test_doubling_saturates() -> None:
    """The largest policy of the wire neither overflows nor takes memory for its power of two."""
    largest = ToolRetryPolicySafe(max_attempts=2**32 - 1, base_delay_ms=2**64 - 1, max_delay_ms=0)
    assert tool_wait(2**32 - 2, policy=largest) == 2**64 - 1
    none = ToolRetryPolicySafe(max_attempts=2**32 - 1, base_delay_ms=0, max_delay_ms=0)
    assert tool_wait(2**32 - 2, policy=none) == 0


@pytest.mark.parametrize("attempts", [0, 1])
def test_a_tool_runs_at_least_once(attempts: int) -> None:
    """``max(1, max_attempts)``."""
    once = ToolRetryPolicySafe(max_attempts=attempts, base_delay_ms=0, max_delay_ms=0)
    assert tool_wait(1, policy=once) is None


def test_idempotent_needs_a_call_id_and_never_is_never() -> None:
    """Without an id the tool cannot recognise the second call."""
    idempotent = ToolRetryPolicyIdempotent(max_attempts=3, base_delay_ms=5, max_delay_ms=0)
    assert tool_wait(policy=idempotent) == 5
    assert tool_retry_wait_ms(idempotent, attempt=1, after_ms=None, has_call_id=False) is None
    assert tool_retry_wait_ms(SAFE, attempt=1, after_ms=None, has_call_id=False) == 100
    assert tool_wait(policy=ToolRetryPolicyNever()) is None


# Delay levels ------------------------------------------------------------------------------------


def test_a_wait_is_rounded_up_and_jitter_picks_between_neighbours() -> None:
    """Never below the lower one; the longest level is the most there is."""
    jitter = random.Random(1)
    drawn = {delay_level(LEVELS, 3_000, jitter=jitter) for _ in range(200)}
    assert drawn == {2_000, 5_000}
    assert {delay_level(LEVELS, 2_000, jitter=jitter) for _ in range(50)} == {2_000}
    assert {delay_level(LEVELS, 1, jitter=jitter) for _ in range(50)} == {1_000}
    assert {delay_level(LEVELS, 10**9, jitter=jitter) for _ in range(50)} == {15_000}


def test_a_promised_wait_is_never_shortened() -> None:
    """``Retry-After`` says when it makes sense again."""
    jitter = random.Random(1)
    drawn = {delay_level(LEVELS, 2_001, jitter=jitter, at_least=True) for _ in range(100)}
    assert drawn == {5_000}


@given(st.integers(0, 10**7), st.integers(0, 2**32))
def test_a_level_is_one_of_the_levels_and_near_the_wait(wait_ms: int, seed: int) -> None:
    """For any wait: the next level above it, or the one below that."""
    chosen = delay_level(LEVELS, wait_ms, jitter=random.Random(seed))
    upper = min((level for level in LEVELS if level >= wait_ms), default=LEVELS[-1])
    assert chosen in LEVELS
    assert chosen <= upper
    assert all(level <= chosen for level in LEVELS if level < upper)


@given(st.integers(1, 10**8))
def test_the_hops_of_a_sleep_add_up_and_never_overshoot(remaining_ms: int) -> None:
    """Hop by hop the rest shrinks, down to what is slept in place."""
    hops = 0
    while (level := sleep_step(LEVELS, remaining_ms)) is not None:
        assert level <= remaining_ms
        remaining_ms -= level
        hops += 1
    assert 0 <= remaining_ms <= IN_PLACE_LIMIT_MS
    assert hops <= 10**8 // LEVELS[-1] + len(LEVELS) * 3


def test_a_rest_shorter_than_the_shortest_level_is_slept_in_place() -> None:
    """No level fits it without overshooting."""
    assert sleep_step((60_000,), 59_999) is None
    assert sleep_step((60_000,), 60_000) == 60_000
    assert sleep_step((50, 100), 1_000) is None
    assert sleep_step((50, 100), 1_001) == 100


def test_wait_none_is_at_once() -> None:
    """The policy for tests and for whoever is in a hurry."""
    assert retry_wait_ms(policy(wait=wait_none()), BOOM, attempt=1, elapsed_ms=0) == 0


# The policy of a tool, on the wire --------------------------------------------------------------


def test_a_tool_has_the_same_policy() -> None:
    """Turned into what the wire tells of the tool."""
    assert policy_of_tool("a tool", None) == ToolRetryPolicyNever()
    assert policy_of_tool("a tool", NO_RETRY) == ToolRetryPolicyNever()
    told = policy_of_tool("a tool", RetryPolicy())
    assert told == ToolRetryPolicySafe(max_attempts=5, base_delay_ms=1_000, max_delay_ms=300_000)
    numbers = RetryPolicy(max_attempts=3, base_delay_s=0.25, max_delay_s=0, only_with_call_id=True)
    assert policy_of_tool("a tool", numbers) == ToolRetryPolicyIdempotent(
        max_attempts=3, base_delay_ms=250, max_delay_ms=0
    )


@pytest.mark.parametrize(
    ("unspoken", "named"),
    [
        ({"stop": stop_never}, "stop"),
        ({"wait": wait_none()}, "wait"),
        ({"never_on": (ValueError,)}, "never_on"),
        ({"give_up_after_s": 5}, "give_up_after_s"),
        ({"stop": stop_never, "wait": wait_none()}, "stop and wait"),
    ],
)
def test_what_the_wire_has_no_word_for_is_refused(unspoken: Any, named: str) -> None:
    """Rather than left out in silence."""
    with pytest.raises(ConfigurationError, match=rf"the retry of tool 'x' has {named}, which"):
        policy_of_tool("tool 'x'", RetryPolicy(**unspoken))


def test_the_policy_of_the_wire_still_works_and_is_told() -> None:
    """With what to write instead, and at the line of the program."""
    app = EffectWorker()
    with pytest.warns(DeprecationWarning, match="write RetryPolicy") as told:

        @app.tool(retry=SAFE)
        def add(a: int) -> int:
            return a

    assert told[0].filename == __file__
    assert app.tools["add"].retry_policy == SAFE


@pytest.mark.parametrize("policy", [3, "safe", stop_never])
def test_what_is_no_policy_is_refused_where_it_is_given(policy: Any) -> None:
    """By a tool, by the tools of a server, and by a handler."""
    app = EffectWorker()
    with pytest.raises(ConfigurationError, match=r"the retry of a tool is .*a RetryPolicy"):
        app.tool(retry=policy)
    with pytest.raises(ConfigurationError, match="the retry of an MCP server is"):
        app.mcp("http://127.0.0.1:1/mcp", retry=policy)
    with pytest.raises(ConfigurationError, match="the retry of the handler of llm_call is"):
        app.handler("llm_call", retry=policy)(lambda command: command)
