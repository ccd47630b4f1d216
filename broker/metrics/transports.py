"""The counters of a transport as readings of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading

__all__ = ["transport_readings"]


def transport_readings(side: str, counters: Counter[str]) -> Iterator[Reading]:
    """
    What a connection counts.

    Args:
        side: ``worker`` or ``client``.
        counters: Of the transport.
    """
    for event, count in sorted(counters.items()):
        yield Reading(catalog.TRANSPORT_EVENTS, (side, event), count)
