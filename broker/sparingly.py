"""
When to repeat an action that may not help: at once the first time, then less and less often.
"""

from __future__ import annotations

__all__ = ["Sparingly"]

_FIRST_S = 1.0
_LONGEST_S = 30.0
#: After this time without the action, it counts as successful and begins anew, in seconds.
_FORGOTTEN_S = 60.0


class Sparingly:
    """Decides when to repeat an action; has no clock of its own."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._wait_s = 0.0

    def due(self, now: float) -> bool:
        """
        Whether to do it now; if so, it counts as done.

        Args:
            now: Seconds of a clock that is never set back.
        """
        if self._last is None or now - self._last >= _FORGOTTEN_S:
            self._wait_s = _FIRST_S
        elif now - self._last < self._wait_s:
            return False
        else:
            self._wait_s = min(2 * self._wait_s, _LONGEST_S)
        self._last = now
        return True
