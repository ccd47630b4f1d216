"""
Whether to try again, and when: values in, a value out.

Rules are tenacity's wait and stop rules, used as pure functions and never through its loop: a delay
queue does the waiting, not a worker.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tenacity import (
    RetryCallState,
    Retrying,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from effectmq.protocol.errors import RejectEffectError, RetryEffectError
from effectmq.protocol.wire.tool_definitions import (
    ToolRetryPolicy,
    ToolRetryPolicyIdempotent,
    ToolRetryPolicyNever,
)

__all__ = [
    "DEFAULT_RETRY",
    "IN_PLACE_LIMIT_MS",
    "LONGEST_WAIT_MS",
    "NO_RETRY",
    "RetryPolicy",
    "delay_level",
    "retry_wait_ms",
    "sleep_step",
    "tool_retry_wait_ms",
]

#: A wait up to this long is slept in place; a longer one is published to a delay level, where it
#: holds no worker and survives a crash.
IN_PLACE_LIMIT_MS = 1_000

#: Longer than any useful wait, and still below 64 bits when it is added to the time of day: the
#: wire allows sleeps of 2^64-1 ms, and handlers may ask for anything.
LONGEST_WAIT_MS = 2**60

_MAX_U64 = 2**64 - 1


def _default_stop() -> stop_base:
    return stop_after_attempt(5) | stop_after_delay(3_600)


def _default_wait() -> wait_base:
    return wait_random_exponential(multiplier=1, max=300)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How often and how long to try one effect.

    Attributes:
        stop: A tenacity stop rule over attempts and elapsed seconds since a worker first saw the
            effect. Default: 5 attempts or an hour.
        wait: A tenacity wait rule, in seconds. Default: exponential with full jitter, from 1 s,
            at most 5 min.
        never_on: Exceptions after which another attempt is useless.
    """

    stop: stop_base = field(default_factory=_default_stop)
    wait: wait_base = field(default_factory=_default_wait)
    never_on: tuple[type[BaseException], ...] = ()


#: For a handler without a policy.
DEFAULT_RETRY = RetryPolicy()
#: One attempt.
NO_RETRY = RetryPolicy(stop=stop_after_attempt(1))


def retry_wait_ms(
    policy: RetryPolicy, error: BaseException, *, attempt: int, elapsed_ms: int
) -> int | None:
    """
    How long to wait before the next attempt.

    Args:
        policy: The handler's policy.
        error: What the attempt raised.
        attempt: The number of the attempt, from 1.
        elapsed_ms: The time since a worker first saw the effect, in milliseconds.

    Returns:
        Milliseconds, or ``None`` to give up.
    """
    if isinstance(error, (RejectEffectError, *policy.never_on)):
        return None
    state = RetryCallState(Retrying(), None, (), {})
    # Some rules look at the error.
    state.set_exception((type(error), error, error.__traceback__))
    state.attempt_number = attempt
    state.start_time = 0.0
    state.outcome_timestamp = elapsed_ms / 1_000
    wait_s = float(policy.wait(state))
    if isinstance(error, RetryEffectError) and error.after_s is not None:
        wait_s = error.after_s
    wait_ms = _milliseconds(wait_s)
    state.upcoming_sleep = wait_ms / 1_000
    return None if policy.stop(state) else wait_ms


def _milliseconds(seconds: float) -> int:
    """Whole milliseconds from 0 on; 0 for what is not a number."""
    wait_ms = seconds * 1_000
    return round(min(wait_ms, LONGEST_WAIT_MS)) if wait_ms > 0 else 0


def tool_retry_wait_ms(
    policy: ToolRetryPolicy, *, attempt: int, after_ms: int | None, has_call_id: bool
) -> int | None:
    """
    The wait after a tool failure whose disposition is ``safe``, by the rule of the wire format.

    Args:
        policy: The tool's policy.
        attempt: The number of the attempt that failed, from 1.
        after_ms: The wait that the failure asked for, if any, in milliseconds.
        has_call_id: Whether the call carries an id; ``idempotent`` needs one.

    Returns:
        Milliseconds to wait, or ``None`` when the policy is spent.
    """
    if isinstance(policy, ToolRetryPolicyNever):
        return None
    if isinstance(policy, ToolRetryPolicyIdempotent) and not has_call_id:
        return None
    if attempt >= max(1, policy.max_attempts):
        return None
    # Saturating, as 64 bits would: the exponent comes from a header.
    doubled = min(policy.base_delay_ms * 2 ** min(attempt - 1, 64), _MAX_U64)
    wait_ms: int = doubled if after_ms is None else after_ms
    return min(wait_ms, policy.max_delay_ms) if policy.max_delay_ms else wait_ms


def delay_level(
    levels_ms: Sequence[int], wait_ms: int, *, jitter: random.Random, at_least: bool = False
) -> int:
    """
    The delay level for a retry.

    The wait is rounded up to a level. A wait between two levels takes one of them by chance, in
    proportion, so that effects that failed together do not all come back together.

    Args:
        levels_ms: The delay levels, ascending.
        wait_ms: The wait of the policy.
        jitter: The source of randomness.
        at_least: Whether the wait is a promise (``Retry-After``), so that the lower level is too
            short.
    """
    upper = next((level for level in levels_ms if level >= wait_ms), levels_ms[-1])
    index = levels_ms.index(upper)
    if at_least or index == 0 or wait_ms >= upper:
        return upper
    lower = levels_ms[index - 1]
    return upper if jitter.random() < (wait_ms - lower) / (upper - lower) else lower


def sleep_step(levels_ms: Sequence[int], remaining_ms: int) -> int | None:
    """
    The next hop of a sleep: the longest level that does not overshoot.

    Returns:
        A level, or ``None`` when the rest is short enough to be slept in place.
    """
    if remaining_ms <= max(IN_PLACE_LIMIT_MS, levels_ms[0] - 1):
        return None
    return max(level for level in levels_ms if level <= remaining_ms)
