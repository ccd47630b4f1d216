"""
How often the latest of many values is told: the first at once, then in even steps.

What comes too early waits, and only the last of it is told. Pure: time is an argument.
"""

from __future__ import annotations

__all__ = ["Pace", "step_s"]

#: The shortest step of one effect, in seconds.
_SHORTEST_S = 0.2
#: How often all effects of a worker together tell how far they are, in one second.
_MOST_PER_S = 200


def step_s(telling: int) -> float:
    """
    The step of each effect, in seconds, while so many of one worker tell how far they are.

    One tells it 5 times in a second. From 40 on they share the 200 times of a worker.
    """
    return max(_SHORTEST_S, telling / _MOST_PER_S)


class Pace:
    """When the next value may be told; has no clock of its own."""

    __slots__ = ("_last_s",)

    def __init__(self) -> None:
        self._last_s: float | None = None

    def wait_s(self, now_s: float, step_s: float) -> float:
        """
        How long to wait, in seconds; 0 to tell it now.

        Args:
            now_s: Seconds of a clock that is never set back.
            step_s: The shortest time between two, in seconds.
        """
        return 0.0 if self._last_s is None else max(0.0, self._last_s + step_s - now_s)

    def told(self, now_s: float) -> None:
        """One was told at this moment."""
        self._last_s = now_s
