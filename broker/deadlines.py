"""
Many deadlines, one timer.

Nearly every wait for the broker ends long before its deadline. A timer of the event loop for each
of them is made, sorted into a heap and cancelled for nothing; here a wait is an entry of a dict,
and one timer stands at the earliest deadline that was known when it was set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines(Generic[T]):
    """
    Deadlines of futures.

    Args:
        expire: Called with a future whose deadline has passed; the future may be done by then.
    """

    def __init__(self, expire: Callable[[asyncio.Future[T]], None]) -> None:
        self._expire = expire
        self._ends: dict[asyncio.Future[T], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[T], timeout_s: float) -> None:
        """Let a future expire in so many seconds, unless it is discarded before."""
        loop = future.get_loop()
        end = self._ends[future] = loop.time() + timeout_s
        if self._timer is not None:
            if self._timer.when() <= end:
                return
            self._timer.cancel()
        self._timer = loop.call_at(end, self._ring, loop)

    def discard(self, future: asyncio.Future[T]) -> None:
        """The wait is over."""
        self._ends.pop(future, None)

    def close(self) -> None:
        """Let nothing expire any more."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        # The timer that rang may be early by the resolution of the clock, as those of the loop are.
        now = max(loop.time(), self._timer.when() if self._timer is not None else 0.0)
        self._timer = None
        for future in [each for each, end in self._ends.items() if end <= now]:
            del self._ends[future]
            self._expire(future)
        if self._ends and self._timer is None:
            self._timer = loop.call_at(min(self._ends.values()), self._ring, loop)
