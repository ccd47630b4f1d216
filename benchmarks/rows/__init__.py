"""
What is measured. A *row* is a group of figures that are measured together, by a function of one
module here; ``ROWS`` has them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from benchmarks.kept.results import Figure
from benchmarks.rows import (
    costs,
    depth,
    large,
    lists,
    many,
    recorded,
    small,
    starting,
    sweeps,
    workers,
)
from benchmarks.rows.bench import Bench

__all__ = ["ROWS", "Row"]

#: Measures a group of figures.
Row = Callable[[Bench], Iterator[Figure]]

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "1k": small.parallel,
        "one": small.one_at_a_time,
        "10k": many.ten_thousand,
        "64k": large.contexts,
        "1m": large.megabytes,
        "lists": lists.lists,
        "workers": workers.two_over_one,
        "costs": costs.used_over_unused,
        "depth": depth.shallow_and_deep,
        "recorded": recorded.asked_again,
        "start": starting.starts,
        "by-size": sweeps.by_size,
        "by-in-flight": sweeps.by_in_flight,
    }
)
