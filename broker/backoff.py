"""
How long to wait before another try: tenacity's wait rule, used as a pure function.

The wait is random between 0 and a bound that doubles, so that a thousand clients that lose their
broker at the same time do not come back at the same time.
"""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_random_exponential

__all__ = ["Backoff"]


class Backoff:
    """
    The waits between the tries of one operation, with full jitter.

    Args:
        longest_s: The largest bound, in seconds.
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
