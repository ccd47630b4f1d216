"""What a transport counts, and whether it is connected, as readings of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading

__all__ = ["transport_readings"]


class _Connection(Protocol):
    """What is read of a transport."""

    @property
    def counters(self) -> Counter[str]:
        """Events by name."""
        ...

    @property
    def problem(self) -> str:
        """Why there is no connection at the moment; empty while there is one."""
        ...


def transport_readings(side: str, transport: _Connection | None) -> Iterator[Reading]:
    """
    What a connection counts, and whether it is there.

    Args:
        side: ``worker`` or ``client``.
        transport: ``None`` before the first connection and after the last one.
    """
    connected = transport is not None and not transport.problem
    yield Reading(catalog.CONNECTED, (side,), int(connected))
    if transport is None:
        return
    for event, count in sorted(transport.counters.items()):
        yield Reading(catalog.TRANSPORT_EVENTS, (side, event), count)
