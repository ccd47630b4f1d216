"""Traces, for a place that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from effectmq.broker.place import Place
from effectmq.protocol.urls import memory_name

if TYPE_CHECKING:
    from effectmq.broker.tracing import Tracing

__all__ = ["tracing_of"]


def tracing_of(place: Place) -> Tracing | None:
    """
    The library of traces that a place names; ``None`` when it names none.

    Raises:
        MissingExtraError: When it needs a package that is not installed.
    """
    if place.traces == "off":
        return None
    # Its import takes time, and most programs have no traces.
    from effectmq.monitoring.traces import Traces

    system = "memory" if memory_name(place.broker) is not None else "rabbitmq"
    return Traces(payloads=place.traces == "payloads", system=system)
