"""
What is counted and measured, as plain numbers.

Adding to one costs an addition. Nothing is exported here; an exporter reads the numbers when
somebody asks for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["FAST_S", "SLOW_S", "Histogram", "Metric", "Reading", "Tally", "Value", "grouped"]

#: Upper bounds for what usually takes milliseconds, in seconds.
FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Upper bounds for what may take minutes, in seconds.
SLOW_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0)


class Histogram:
    """
    How often a value lay below each of some bounds.

    Args:
        bounds: Upper bounds, ascending; what is larger counts in a last bucket without a bound.

    Attributes:
        bounds: The same.
        counts: How many values each bucket has, not cumulated; one more than there are bounds.
        sum: Of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = FAST_S) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def cumulated(self) -> list[tuple[float, int]]:
        """Each bound with how many values are not above it; the last bound is infinite."""
        total, found = 0, list[tuple[float, int]]()
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


@dataclass(frozen=True, slots=True)
class Metric:
    """
    The definition of one metric.

    Attributes:
        name: Without the ``_total`` that some exporters add to counters.
        type: A counter only grows while its process lives; a gauge is what is true now.
        help: One sentence: what is counted or measured.
        labels: What it is told apart by.
        unit: ``seconds``, ``bytes`` or ``ratio``; empty for plain counts.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""


Value = float | Histogram


class Reading(NamedTuple):
    """
    One number of a metric, as it is now.

    Attributes:
        metric: Its definition.
        labels: The values of the metric's labels, in their order.
        value: A number, or the histogram itself.
    """

    metric: Metric
    labels: tuple[str, ...]
    value: Value


class Tally:
    """
    A counter with labels.

    Args:
        metric: What is counted.
    """

    __slots__ = ("_counts", "_metric")

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, *labels: str, by: int = 1) -> None:
        """Count more of one combination of labels; less than nothing is not counted."""
        # A number may come from somebody else, and a counter never goes down.
        self._counts[labels] += max(0, by)

    def readings(self) -> Iterator[Reading]:
        """One reading for each combination that was counted."""
        for labels, value in list(self._counts.items()):
            yield Reading(self._metric, labels, value)


def grouped(found: Iterable[Reading]) -> dict[Metric, list[Reading]]:
    """Readings by their metric, in the order in which the metrics came first."""
    by_metric: dict[Metric, list[Reading]] = {}
    for reading in found:
        by_metric.setdefault(reading.metric, []).append(reading)
    return by_metric
