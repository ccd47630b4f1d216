"""
The places for publishes that the broker has not answered yet.

First come, first served. Whoever waits is an entry of one queue and of one set of deadlines, so a
turn costs the same however many wait, and whoever stops waiting leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from effectmq.broker.deadlines import Deadlines

__all__ = ["Entrant", "Window"]


class Entrant(Protocol):
    """Somebody who waits for a place."""

    def enter(self) -> bool:
        """Take the place that is free now; returns whether it was taken."""
        ...


class _Caller:
    """A coroutine that waits for a place."""

    __slots__ = ("has_place",)

    def __init__(self) -> None:
        #: The result is whether there is a place: not when the time was over.
        self.has_place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def enter(self) -> bool:
        if self.has_place.done():
            return False
        self.has_place.set_result(True)
        return True


class Window:
    """
    So many places, and a queue for them.

    Args:
        size: The number of places.

    Attributes:
        free: The places that are free; who takes one without a wait takes it off here.
    """

    def __init__(self, size: int) -> None:
        self.free = size
        #: Empty while there is a free place.
        self._waiting: OrderedDict[Entrant, None] = OrderedDict()
        self._deadlines: Deadlines[asyncio.Future[bool]] = Deadlines(_over)

    def release(self) -> None:
        """Give a place back: to the first that waits and still wants it."""
        while self._waiting:
            first, _ = self._waiting.popitem(last=False)
            if first.enter():
                return
        self.free += 1

    def line_up(self, entrant: Entrant) -> None:
        """Wait for a place at the end of the queue."""
        self._waiting[entrant] = None

    def withdraw(self, entrant: Entrant) -> None:
        """Stop waiting."""
        self._waiting.pop(entrant, None)

    async def wait(self, timeout_s: float) -> None:
        """
        Wait for a place, and take it.

        Raises:
            TimeoutError: When there was none within so many seconds.
        """
        if self.free:
            self.free -= 1
            return
        caller = _Caller()
        self._waiting[caller] = None
        self._deadlines.add(caller.has_place, timeout_s)
        try:
            if not await caller.has_place:
                raise TimeoutError
        except asyncio.CancelledError:
            # The place may have been given in the same turn of the loop.
            given = caller.has_place
            if given.done() and not given.cancelled() and given.result():
                self.release()
            raise
        finally:
            self._deadlines.discard(caller.has_place)
            self._waiting.pop(caller, None)

    def close(self) -> None:
        """Stop the clock; those who wait are told by whoever ends."""
        self._deadlines.close()


def _over(has_place: asyncio.Future[bool]) -> None:
    if not has_place.done():
        has_place.set_result(False)
