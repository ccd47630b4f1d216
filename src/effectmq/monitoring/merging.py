"""
The readings of several workers and clients of one process, as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from effectmq.broker.metrics.instruments import Histogram, Metric, Reading, Value

__all__ = ["Source", "collected"]

#: Of one label. What is alike so far is counted together.
_MOST_CHARACTERS = 200


class Source(Protocol):
    """What has metrics: a worker or a client."""

    def readings(self) -> Iterable[Reading]:
        """Its metrics as they are now."""
        ...


def collected(sources: Iterable[Source]) -> dict[Metric, dict[tuple[str, ...], Value]]:
    """
    The metrics of all sources; what two of them have under the same labels is added.

    Returns:
        By metric, in the order in which they came first, and then by the values of its labels.
    """
    found: dict[Metric, dict[tuple[str, ...], Value]] = {}
    for source in sources:
        for metric, labels, value in source.readings():
            values = found.setdefault(metric, {})
            labels = tuple([_sayable(label) for label in labels])
            values[labels] = _added(values[labels], value) if labels in values else value
    return found


def _sayable(label: str) -> str:
    """
    A label that every exporter can write.

    Names of models, and of tools of MCP servers, come from strangers: half a surrogate pair in one
    of them, which UTF-8 does not have, must not take all metrics away.
    """
    return label[:_MOST_CHARACTERS].encode(errors="backslashreplace").decode()


def _added(one: Value, other: Value) -> Value:
    if isinstance(one, Histogram) and isinstance(other, Histogram):
        both = Histogram(one.bounds)
        both.counts = [sum(pair) for pair in zip(one.counts, other.counts, strict=True)]
        both.sum = one.sum + other.sum
        return both
    if isinstance(one, Histogram) or isinstance(other, Histogram):
        raise TypeError("a histogram and a number under one name; expected two of a kind")
    return one + other
