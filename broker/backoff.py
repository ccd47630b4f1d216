"""
How long to wait before trying again: tenacity's wait rule used as the pure function that it is.

Anything between nothing and a bound that doubles, so that a thousand clients that lost their
broker in the same moment do not come back in the same moment.
"""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_random_exponential

__all__ = ["Backoff"]


class Backoff:
    """
    The waiting times of one thing that is tried until it works, with full jitter.

    Args:
        longest_s: Where the bound stops doubling, in seconds.
        first_s: The bound of the first wait, in seconds.
    """

    def __init__(self, longest_s: float, *, first_s: float = 0.2) -> None:
        self._rule = wait_random_exponential(multiplier=first_s, max=longest_s)
        self._state = RetryCallState(Retrying(), None, (), {})

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        wait = float(self._rule(self._state))
        self._state.attempt_number += 1
        return wait

    def reset(self) -> None:
        """Start again at the first wait."""
        self._state.attempt_number = 1
