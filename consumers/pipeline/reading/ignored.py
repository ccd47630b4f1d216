"""
Members of a request that this version does not know: counted, and logged once.

A newer producer that sends no hash may rely on them, and here they are not part of the effect.
"""

from __future__ import annotations

import logging
from collections import Counter

from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable

__all__ = ["IgnoredMembers"]

logger = logging.getLogger("effectmq.worker")

#: How many paths are remembered: a stranger may send a new one with every message.
_MOST_PATHS = 100


class IgnoredMembers:
    """
    The unknown members in the requests of one route.

    Args:
        counters: The worker's.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._told: set[str] = set()

    def note(self, request: Request) -> None:
        """Count a request that has unknown members, and log those that were not logged before."""
        if not request.ignored:
            return
        self._counters["members_ignored"] += 1
        new = set(request.ignored.paths) - self._told
        if not new or len(self._told) >= _MOST_PATHS:
            return
        self._told |= new
        logger.warning(
            "effect %s has members that this version does not know, so they are not part of it: "
            "%s; the producer may be newer: upgrade this worker, or let the producer send the "
            "hash, so that such an effect is parked and not carried out without them",
            printable(request.effect_id, 200),
            request.ignored,
            extra={"action": "members_ignored", **log_names(request)},
        )
