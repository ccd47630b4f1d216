"""
The slots of one route, divided among the queues of its priorities while the worker runs.

A consumer's prefetch is all that it may hold, so nothing waits in a worker that another worker
could begin. That is why slots are moved between queues, and not deliveries held back.
"""

from __future__ import annotations

from effectmq.consumers.decisions.shares import (
    DEFAULT_SHARES,
    Appetite,
    Shares,
    Slots,
    granted,
    shared_out,
)
from effectmq.consumers.serving.taps import Tap
from effectmq.protocol.kinds import priority_in
from effectmq.protocol.messages.chosen.priority import NORMAL, Priority, checked_priority

__all__ = ["Divided"]


class Divided:
    """
    The queues of a route with priorities.

    Args:
        slots: Those of the route.
        shares: The stated share of each priority.
    """

    def __init__(self, slots: int, shares: Shares = DEFAULT_SHARES) -> None:
        self.slots = slots
        self._stated = shares
        self.taps: dict[Priority, Tap] = {}
        self._appetites: dict[Priority, Appetite] = {}

    def add(self, tap: Tap) -> None:
        """Take slots for one more queue; ``fill`` of the taps makes it count."""
        priority = checked_priority(priority_in(tap.key))
        self.taps[priority] = tap
        tap.peak = tap.held
        # Until it is known better, the others are what nobody has asked for yet.
        self._appetites[priority] = Appetite(self.slots if priority == NORMAL else 1)
        target = shared_out(self.slots, self._shares(), self._wanted())
        tap.slots = 1 if len(self.taps) > 1 else target[priority]
        self._grant(target)

    def look(self) -> bool:
        """Look at what was used since the last look; whether the slots are other ones now."""
        for priority, tap in self.taps.items():
            self._appetites[priority].look(tap.used(), tap.slots)
        return self._grant(shared_out(self.slots, self._shares(), self._wanted()))

    def _grant(self, target: Slots) -> bool:
        now: Slots = {priority: tap.slots for priority, tap in self.taps.items()}
        held: Slots = {priority: tap.held for priority, tap in self.taps.items()}
        for priority, slots in granted(self.slots, target, now, held).items():
            self.taps[priority].slots = slots
        return any(tap.slots != now[priority] for priority, tap in self.taps.items())

    def _shares(self) -> Shares:
        return {priority: self._stated[priority] for priority in self.taps}

    def _wanted(self) -> dict[Priority, int]:
        return {priority: one.wanted for priority, one in self._appetites.items()}
