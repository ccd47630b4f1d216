"""
How long to wait before trying again: pure arithmetic over tenacity's wait rules.

Two ladders, because two things go wrong. A broker that cannot be reached is asked less and less
often. A broker that can be reached and hangs up soon after (a poisonous message breaks the
connection each time, an operator closes all connections again and again) is worth coming back to
quickly, but not in a hot loop: a message that breaks twenty connections before its delivery limit
moves it out of the way should not stop a worker for minutes.
"""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_random_exponential

__all__ = ["Backoff", "ReconnectWaits"]

_FIRST_WAIT_S = 0.2
#: Longest wait after a loss, when connecting itself works.
_FLAPPING_MAX_S = 2.0
#: What lived this long was healthy; its loss starts again at the first wait.
_HEALTHY_AFTER_S = 30.0


class Backoff:
    """
    Full-jitter waiting times, from tenacity's wait rule used as a pure function.

    Anything between nothing and a bound that doubles, so that a thousand clients that lost their
    broker in the same moment do not come back in the same moment.

    Args:
        longest_s: Where the bound stops doubling, in seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._rule = wait_random_exponential(multiplier=_FIRST_WAIT_S, max=longest_s)
        self._state = RetryCallState(Retrying(), None, (), {})

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        wait = float(self._rule(self._state))
        self._state.attempt_number += 1
        return wait

    def reset(self) -> None:
        """Start again at the first wait."""
        self._state.attempt_number = 1


class ReconnectWaits:
    """
    Waiting times of something that connects, lives for a while, and is lost.

    Args:
        longest_s: The longest wait between two failed tries, in seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._failures = Backoff(longest_s)
        self._losses = Backoff(min(longest_s, _FLAPPING_MAX_S))

    def after_failure_s(self) -> float:
        """Seconds to wait after a try that failed."""
        return self._failures.next_s()

    def after_loss_s(self, lived_s: float) -> float:
        """Seconds to wait after the loss of what had been there for ``lived_s`` seconds."""
        self._failures.reset()
        if lived_s >= _HEALTHY_AFTER_S:
            self._losses.reset()
        return self._losses.next_s()
