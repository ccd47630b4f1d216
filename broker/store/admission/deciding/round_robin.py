"""
Routes that share a line take turns: pure decisions.

A worker takes effects of its own routes. Under a limit that is always used up, the workers of one
route would take whatever becomes free, and those of another would come too late every time. So what
becomes free is offered to the route that has started least recently, for a moment in which its
workers look. One that does not take it (its workers are busy, or there are none) keeps the others
for no longer, and is asked again now and then.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

__all__ = ["AGAIN_MS", "PATIENCE_MS", "Offer", "may_start", "started"]

#: How long what is free is kept for a route; its workers look more than twice in that time.
PATIENCE_MS = 1_000
#: After which time a route that did not take it is asked again.
AGAIN_MS = 30_000
#: So many routes are remembered.
_MOST = 50


class Offer(NamedTuple):
    """
    A route of a line.

    Attributes:
        route: The route.
        since_ms: Since when what is free is offered to it, by the clock of leases; 0 for never.
    """

    route: str
    since_ms: int = 0


def may_start(offers: list[Offer], route: str, others: Collection[str], now_ms: int) -> bool:
    """
    Whether an effect of a route may start where one more may.

    Args:
        offers: The routes that started while others waited, least recently first; an offer is noted
            in it.
        route: The route.
        others: The routes of other workers that have effects waiting in the line.
        now_ms: The clock of leases.
    """
    known = [offer.route for offer in offers]
    mine = known.index(route) if route in known else -1
    for other in sorted(others):
        place = known.index(other) if other in known else -1
        if other == route or place > mine or (place == mine == -1):
            continue
        since_ms = offers[place].since_ms if place >= 0 else 0
        if not since_ms:
            _note(offers, place, Offer(other, now_ms))
            return False
        if (now_ms - since_ms) % AGAIN_MS < PATIENCE_MS:
            return False
    return True


def _note(offers: list[Offer], place: int, offer: Offer) -> None:
    if place >= 0:
        offers[place] = offer
    else:
        offers.insert(0, offer)


def started(offers: list[Offer], route: str) -> None:
    """An effect of a route starts while others wait."""
    offers[:] = [offer for offer in offers if offer.route != route][1 - _MOST :]
    offers.append(Offer(route))
