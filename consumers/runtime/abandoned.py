"""Abandoned handlers, which still run: how many there are, and when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["Abandoned"]


class Abandoned:
    """
    Counts the bodies of one worker that ran over their time and could not be stopped.

    Args:
        limit: The number at which the worker is stuck.
        counters: ``abandoned`` counts all of them, ``abandoned_ended`` those that ended after all.
        on_stuck: Called each time the limit is reached.

    Attributes:
        now: How many there are.
    """

    def __init__(self, limit: int, counters: Counter[str], on_stuck: Callable[[], None]) -> None:
        self.now = 0
        self._limit = limit
        self._counters = counters
        self._on_stuck = on_stuck

    def add(self) -> None:
        """One more cannot be stopped."""
        self.now += 1
        self._counters["abandoned"] += 1
        if self.now >= self._limit:
            self._on_stuck()

    def remove(self) -> None:
        """One has ended late."""
        self.now -= 1
        self._counters["abandoned_ended"] += 1
