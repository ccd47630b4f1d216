"""The pauses that a worker knows of: of routes for all workers, and its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from effectmq.protocol.kinds import unprioritized
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.topology import EVERY_ROUTE

__all__ = ["Pauses"]


@dataclass(slots=True)
class Pauses:
    """
    Why routes are not consumed.

    Attributes:
        everywhere: By route, or ``EVERY_ROUTE``, the pauses for all workers.
        here: The same for this worker only; they end with its process.
    """

    everywhere: dict[str, Pause] = field(default_factory=dict[str, Pause])
    here: dict[str, Pause] = field(default_factory=dict[str, Pause])

    def of(self, route: str) -> Pause | None:
        """Why a route is not consumed, or all of its priorities; ``None`` when it may be."""
        for pauses in (self.everywhere, self.here):
            for key in (route, unprioritized(route), EVERY_ROUTE):
                if key in pauses:
                    return pauses[key]
        return None

    def resume_here(self, routes: Iterable[str]) -> None:
        """End the worker's own pause of these routes; of all of them when there are none."""
        wanted = set(routes)
        self.here = {route: one for route, one in self.here.items() if wanted - {route} == wanted}
        if not wanted:
            self.here = {}
