"""
Many deadlines, one timer.

Nearly every wait for the broker ends long before its deadline. A timer of the event loop for each
would be made, sorted into a heap and cancelled for nothing. Here a wait is an entry of a dict, and
one timer is set for the earliest deadline that was known at that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

K = TypeVar("K")

#: A look at all deadlines takes about a tenth of this for each of them, in seconds. So the next
#: look comes so much later, and many that expire one after the other do not take all the time.
_PAUSE_S = 1e-6


class Deadlines(Generic[K]):
    """
    The deadlines of many waits on one event loop, with one timer.

    Args:
        expire: Called with a wait whose deadline has passed; it may be over already.
    """

    def __init__(self, expire: Callable[[K], None]) -> None:
        self._expire = expire
        self._ends: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, wait: K, timeout_s: float) -> None:
        """Let a wait expire after so many seconds, unless it is discarded before."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        end = self._ends[wait] = loop.time() + timeout_s
        if self._timer is not None:
            if self._timer.when() <= end:
                return
            self._timer.cancel()
        self._timer = loop.call_at(end, self._ring, loop)

    def discard(self, wait: K) -> None:
        """Remove a wait, because it is over."""
        self._ends.pop(wait, None)

    def close(self) -> None:
        """Remove all waits; none expires after this."""
        self._ends.clear()
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        # The timer may fire early, by the resolution of the clock, like those of the loop.
        now = max(loop.time(), self._timer.when() if self._timer is not None else 0.0)
        self._timer = None
        for wait in [each for each, end in self._ends.items() if end <= now]:
            del self._ends[wait]
            self._expire(wait)
        if self._ends and self._timer is None:
            end = max(min(self._ends.values()), loop.time() + len(self._ends) * _PAUSE_S)
            self._timer = loop.call_at(end, self._ring, loop)
