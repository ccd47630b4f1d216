"""
How long to wait before another try: tenacity's wait rule, used as a pure function.

The wait is random between 0 and a bound that doubles, so that a thousand clients that lose their
broker at the same time do not come back at the same time.
"""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """
    The waits between the tries of one operation, with full jitter.

    Args:
        longest_s: The largest bound, in seconds.
        first_s: The bound of the first wait, in seconds.
    """

    def __init__(self, longest_s: float, *, first_s: float = 0.2) -> None:
        self._longest_s = longest_s
        self._first_s = first_s
        self._tries = 0

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        # Loaded when something has failed: mostly nothing has.
        from tenacity import RetryCallState, Retrying, wait_random_exponential

        self._tries += 1
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = self._tries
        return float(wait_random_exponential(multiplier=self._first_s, max=self._longest_s)(state))

    def reset(self) -> None:
        """Start again at the first wait."""
        self._tries = 0
