"""
How the slots of a route are shared out among its priorities.

Each priority that has a queue keeps one slot, so that what arrives there begins at once. While more
waits in a queue, its priority gets its stated share of the slots, whatever waits in the others;
what one does not use is lent, to the highest first. Nothing is taken from what runs: a share grows
as the others give back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from effectmq.protocol.messages.chosen.priority import PRIORITIES, Priority

__all__ = ["DEFAULT_SHARES", "Appetite", "Shares", "Slots", "granted", "guaranteed", "shared_out"]

#: For so many looks in a row most of its slots are not used, before a priority gives some back.
_CALM_LOOKS = 4
_CALM_PART = 4

#: Slots, or shares of them, by priority; those that have no queue are missing.
Shares = Mapping[Priority, float]
Slots = dict[Priority, int]

DEFAULT_SHARES: Shares = {"high": 0.6, "normal": 0.3, "low": 0.1}


def guaranteed(slots: int, shares: Shares) -> Slots:
    """
    The slots that no other priority can keep from one that has enough to do.

    Args:
        slots: Those of the route, 1 or more.
        shares: The stated share of each priority that has a queue, above 0; of their sum.

    Returns:
        At least one each, so they are more than there are only where there are fewer slots than
        priorities; otherwise all of them, by largest remainder.
    """
    order = _order(shares)
    over = max(0, slots - len(order))
    total = sum(shares.values())
    exact = {each: over * shares[each] / total for each in order}
    found: Slots = {each: 1 + int(exact[each]) for each in order}
    left = over - sum(int(part) for part in exact.values())
    by_remainder = sorted(order, key=lambda each: int(exact[each]) - exact[each])
    for each in by_remainder[:left]:
        found[each] += 1
    return found


def shared_out(slots: int, shares: Shares, wanted: Mapping[Priority, int]) -> Slots:
    """
    How many slots each priority shall have.

    Args:
        slots: Those of the route, 1 or more.
        shares: The stated share of each priority that has a queue.
        wanted: How many each could use; what is missing wants one.

    Returns:
        Each has one at least, and its guaranteed slots if it wants them. What is left goes to those
        that want more, the highest first, and then to where it is there without being asked for.
    """
    mine = guaranteed(slots, shares)
    order = _order(shares)
    found: Slots = {each: max(1, min(mine[each], wanted.get(each, 1))) for each in order}
    left = max(0, slots - sum(found.values()))
    for each in order:
        more = min(left, max(0, wanted.get(each, 1) - found[each]))
        found[each] += more
        left -= more
    # Most effects have the normal priority, so what nobody wants waits for them.
    found["normal" if "normal" in found else order[0]] += left
    return found


def granted(slots: int, target: Slots, now: Slots, held: Mapping[Priority, int]) -> Slots:
    """
    How many slots each priority may have at this moment, on the way to the target.

    Args:
        slots: Those of the route.
        target: From ``shared_out``.
        now: What each has.
        held: How many effects of each are carried out, which may be more than it has now.

    Returns:
        Who gives back does so at once, and who gets more waits until that is free. So no more are
        carried out together than there are slots, but for the one slot that each keeps.
    """
    found: Slots = {each: max(1, min(now.get(each, 1), target[each])) for each in target}
    occupied = {each: max(found[each], held.get(each, 0)) for each in found}
    free = max(0, slots - sum(occupied.values()))
    for each in _order(target):
        found[each] = max(found[each], min(target[each], occupied[each] + free))
        free -= max(0, found[each] - occupied[each])
    return found


@dataclass(slots=True)
class Appetite:
    """
    How many slots one priority could use, out of how many it has used.

    Attributes:
        wanted: The number.
    """

    wanted: int = 1
    _calm: int = 0
    _peak: int = 0

    def look(self, used: int, slots: int) -> int:
        """
        Look at what was used since the last look.

        Args:
            used: The most slots that were used at once.
            slots: How many it has.

        Returns:
            What is wanted now: twice as many when all were used, and less only when most were not
            for some looks. So one effect now and then does not send slots to and fro.
        """
        if used >= slots:
            self.wanted = 2 * slots
            self._rest()
            return self.wanted
        self._peak = max(self._peak, used)
        self._calm = self._calm + 1 if used * _CALM_PART <= slots else 0
        if self._calm >= _CALM_LOOKS:
            self.wanted = max(1, 2 * self._peak)
            self._rest()
        elif not self._calm:
            self._peak = 0
        return self.wanted

    def _rest(self) -> None:
        self._calm = self._peak = 0


def _order(found: Mapping[Priority, object]) -> list[Priority]:
    """The priorities that are there, the highest first."""
    return [each for each in PRIORITIES if each in found]
