"""Lists of effects: ``map`` beside ``gather``, ``submit_many`` beside ``submit`` in a loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.rows.pairs import throughput
from benchmarks.sides.lists import LIST

__all__ = ["lists"]


def lists(bench: Bench) -> Iterator[Figure]:
    """One list at a time; a turn is as many lists as fit."""
    for ours, beside, what in (
        ("map", "gather", f"`client.map`, 100 in flight, over `gather` of all {LIST:,} effects"),
        ("submit_many", "submit", "`client.submit_many` over `submit` in a loop"),
    ):
        sides = {name: bench.spec(side=name, in_flight=1) for name in (ours, beside)}
        turns = bench.compare(sides)
        figure = throughput(
            turns, ours, beside, row="lists", what=f"1 KiB, {what}", spec=sides[ours]
        )
        # A round trip of these sides is a whole list.
        yield replace(figure, ours=_effects(figure.ours), beside=_effects(figure.beside))


def _effects(lists_per_second: float | None) -> float | None:
    return None if lists_per_second is None else round(lists_per_second * LIST, 1)
