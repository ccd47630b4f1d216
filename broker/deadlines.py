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

T = TypeVar("T")

#: A look at all deadlines takes about a tenth of this for each of them, in seconds. So the next
#: look comes so much later, and many that expire one after the other do not take all the time.
_PAUSE_S = 1e-6


class Deadlines(Generic[T]):
    """
    The deadlines of many futures, with one timer.

    Args:
        expire: Called with a future whose deadline has passed; the future may be done already.
    """

    def __init__(self, expire: Callable[[asyncio.Future[T]], None]) -> None:
        self._expire = expire
        self._ends: dict[asyncio.Future[T], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[T], timeout_s: float) -> None:
        """Expire a future after so many seconds, unless it is discarded before."""
        loop = future.get_loop()
        end = self._ends[future] = loop.time() + timeout_s
        if self._timer is not None:
            if self._timer.when() <= end:
                return
            self._timer.cancel()
        self._timer = loop.call_at(end, self._ring, loop)

    def discard(self, future: asyncio.Future[T]) -> None:
        """Remove a future, because its wait is over."""
        self._ends.pop(future, None)

    def close(self) -> None:
        """Remove all futures; none expires after this."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        # The timer may fire early, by the resolution of the clock, like those of the loop.
        now = max(loop.time(), self._timer.when() if self._timer is not None else 0.0)
        self._timer = None
        for future in [each for each, end in self._ends.items() if end <= now]:
            del self._ends[future]
            self._expire(future)
        if self._ends and self._timer is None:
            end = max(min(self._ends.values()), loop.time() + len(self._ends) * _PAUSE_S)
            self._timer = loop.call_at(end, self._ring, loop)
