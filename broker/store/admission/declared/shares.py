"""
A share as a program sets it: what the effects of a route are told apart by, and their weights.

Pure values; ``turns`` decides with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from effectmq.broker.store.admission.declared.keys import TURN_COST, Turn, shared_value
from effectmq.broker.store.admission.declared.limits import check_key, check_route, covers
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import kind_of
from effectmq.protocol.numbers import check_number
from effectmq.protocol.text import printable

__all__ = ["Share", "share_of"]

_LEAST_WEIGHT = 0.001
_MOST_WEIGHT = 1_000


@dataclass(frozen=True, slots=True)
class Share:
    """
    Fairness on one route.

    Attributes:
        route: The kind it holds for, with all its lanes; ``kind.lane`` for one of them; ``*`` for
            every kind. Each queue is shared for itself.
        key: What effects are told apart by: ``tenant`` (the session where an effect has none),
            ``session``, or another key of limits.
        weights: The weights of single values; 1 for all others.

    Raises:
        ConfigurationError: When it cannot hold.
    """

    route: str
    key: str = "tenant"
    weights: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        check_route(self.route, "a share")
        if not self.key:
            raise ConfigurationError(
                "a share needs a key: what effects are told apart by, such as tenant or session"
            )
        check_key(self.key, "a share")
        for who, weight in self.weights.items():
            said = f"the weight of {printable(who, 60)!r}"
            check_number(said, weight, whole=False)
            if not _LEAST_WEIGHT <= weight <= _MOST_WEIGHT:
                raise ConfigurationError(
                    f"{said} is {weight}; expected a number from {_LEAST_WEIGHT} to "
                    f"{_MOST_WEIGHT}; others have 1"
                )

    def turn(self, tenant: str, tree: object) -> Turn:
        """
        Whose turn an effect takes, and what it costs.

        Args:
            tenant: For whom it is done; empty when nobody said.
            tree: The envelope.
        """
        who = shared_value(self.key, tenant, tree)
        weight = self.weights.get(who, 1)
        return Turn(who, max(1, round(TURN_COST / weight)))


def share_of(shares: Iterable[Share], route: str) -> Share | None:
    """The share that holds for a route: of several the narrowest; ``None`` for none."""
    # A sleep runs nowhere, so there is nothing to share.
    found = (
        [] if kind_of(route) == "sleep" else [each for each in shares if covers(each.route, route)]
    )
    return max(found, key=lambda share: len(share.route), default=None)
