"""
Whether to try again, and when: values in, a value out.

Rules are tenacity's wait and stop rules, used as pure functions and never through its loop: a delay
queue does the waiting, not a worker.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from effectmq.protocol.errors import ConfigurationError, RejectEffectError, RetryEffectError
from effectmq.protocol.text import printable
from effectmq.protocol.wire.tool_retry import (
    ToolRetryPolicy,
    ToolRetryPolicyIdempotent,
    ToolRetryPolicyNever,
    ToolRetryPolicySafe,
)

if TYPE_CHECKING:
    from tenacity.stop import stop_base
    from tenacity.wait import wait_base

__all__ = [
    "DEFAULT_RETRY",
    "IN_PLACE_LIMIT_MS",
    "LONGEST_WAIT_MS",
    "NO_RETRY",
    "RetryPolicy",
    "check_retry",
    "delay_level",
    "milliseconds",
    "policy_of_tool",
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
_LONGEST_S = LONGEST_WAIT_MS / 1_000


_MAX_U32 = 2**32 - 1
_GIVE_UP_AFTER_S = 3_600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    How often to try an effect, and how long to wait in between; for tools and for handlers.

    A tool's policy is part of what the wire tells of the tool, so the rules of tenacity,
    ``never_on`` and ``give_up_after_s`` are for handlers only.

    Attributes:
        stop: A stop rule of tenacity, over attempts and elapsed seconds, instead of
            ``max_attempts`` and ``give_up_after_s``.
        wait: A wait rule of tenacity, in seconds, instead of the two delays.
        never_on: Exceptions after which another attempt is useless.
        max_attempts: The first one included.
        base_delay_s: The wait before the second attempt, doubled each time; a handler waits a
            random part of it.
        max_delay_s: The longest of these waits; 0 for no bound.
        give_up_after_s: No attempt begins later than this after a worker first saw the effect;
            ``None`` for no bound.
        only_with_call_id: Of a tool: calls without an id run once, since the tool knows by the id
            what it has done already.

    Raises:
        ConfigurationError: When a number cannot be used.
    """

    stop: stop_base | None = None
    wait: wait_base | None = None
    never_on: tuple[type[BaseException], ...] = ()
    max_attempts: int = field(default=5, kw_only=True)
    base_delay_s: float = field(default=1.0, kw_only=True)
    max_delay_s: float = field(default=300.0, kw_only=True)
    give_up_after_s: float | None = field(default=_GIVE_UP_AFTER_S, kw_only=True)
    only_with_call_id: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= _MAX_U32:
            raise ConfigurationError(
                f"max_attempts is {self.max_attempts}; expected 1 or more, the first included"
            )
        for name in ("base_delay_s", "max_delay_s", "give_up_after_s"):
            value: float | None = getattr(self, name)
            if value is not None and not 0 <= value <= _LONGEST_S:
                raise ConfigurationError(f"{name} is {value}; expected seconds, 0 or more")


#: For a handler without a policy.
DEFAULT_RETRY = RetryPolicy()
#: One attempt.
NO_RETRY = RetryPolicy(max_attempts=1)


def policy_of_tool(
    what: str, retry: RetryPolicy | ToolRetryPolicy | None, *, stacklevel: int = 2
) -> ToolRetryPolicy:
    """
    The policy of a tool, as the wire has it.

    Args:
        what: Whose it is, for the sentence.
        retry: As a program has it; ``None`` for one attempt. That of the wire is deprecated.
        stacklevel: Of the caller whom the warning is for.

    Raises:
        ConfigurationError: When the wire has no word for something that it says, or it is none.
    """
    if retry is None:
        return ToolRetryPolicyNever()
    if isinstance(retry, ToolRetryPolicyNever | ToolRetryPolicySafe | ToolRetryPolicyIdempotent):
        warnings.warn(
            f"{type(retry).__name__} as the retry of {what} is deprecated; write RetryPolicy("
            "max_attempts=…, base_delay_s=…, max_delay_s=…), with only_with_call_id=True for an "
            "idempotent tool",
            DeprecationWarning,
            stacklevel=stacklevel + 1,
        )
        return retry
    check_retry(what, retry)
    _refuse_unspoken(what, retry)
    if retry.max_attempts == 1:
        return ToolRetryPolicyNever()
    kind = ToolRetryPolicyIdempotent if retry.only_with_call_id else ToolRetryPolicySafe
    return kind(
        max_attempts=retry.max_attempts,
        base_delay_ms=milliseconds(retry.base_delay_s),
        max_delay_ms=milliseconds(retry.max_delay_s),
    )


def check_retry(what: str, retry: object) -> None:
    """
    Refuse what is no retry policy, also where no type checker was asked.

    Raises:
        ConfigurationError: With what was expected.
    """
    if not isinstance(retry, RetryPolicy):
        raise ConfigurationError(
            f"the retry of {what} is {printable(repr(retry), 100)}; expected a RetryPolicy, for "
            "instance RetryPolicy(max_attempts=3, base_delay_s=0.5)"
        )


def _refuse_unspoken(what: str, retry: RetryPolicy) -> None:
    said = {
        "stop": retry.stop is not None,
        "wait": retry.wait is not None,
        "never_on": retry.never_on != (),
        "give_up_after_s": retry.give_up_after_s not in (None, _GIVE_UP_AFTER_S),
    }
    unspoken = [name for name, is_said in said.items() if is_said]
    if unspoken:
        raise ConfigurationError(
            f"the retry of {what} has {' and '.join(unspoken)}, which the wire has no word for; "
            "expected max_attempts, base_delay_s, max_delay_s or only_with_call_id. A tool raises "
            "ToolCallError to say of one failure whether it may be tried again"
        )


def _stop_of(policy: RetryPolicy) -> stop_base:
    if policy.stop is not None:
        return policy.stop
    from tenacity import stop_after_attempt, stop_after_delay

    stop: stop_base = stop_after_attempt(policy.max_attempts)
    return (
        stop if policy.give_up_after_s is None else stop | stop_after_delay(policy.give_up_after_s)
    )


def _wait_of(policy: RetryPolicy) -> wait_base:
    if policy.wait is not None:
        return policy.wait
    from tenacity import wait_random_exponential

    longest_s = policy.max_delay_s or _LONGEST_S
    return wait_random_exponential(multiplier=policy.base_delay_s, max=longest_s)


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
    # Loaded when a handler has failed: most never do.
    from tenacity import RetryCallState, Retrying

    state = RetryCallState(Retrying(), None, (), {})
    # Some rules look at the error.
    state.set_exception((type(error), error, error.__traceback__))
    state.attempt_number = attempt
    state.start_time = 0.0
    state.outcome_timestamp = elapsed_ms / 1_000
    wait_s = float(_wait_of(policy)(state))
    if isinstance(error, RetryEffectError) and error.after_s is not None:
        wait_s = error.after_s
    wait_ms = milliseconds(wait_s)
    state.upcoming_sleep = wait_ms / 1_000
    return None if _stop_of(policy)(state) else wait_ms


def milliseconds(seconds: float) -> int:
    """A wait in whole milliseconds, from 0 to the longest; 0 for what is not a number."""
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
