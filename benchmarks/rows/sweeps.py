"""The two series that are drawn: by payload size, and by how many are in flight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.rows.pairs import throughput

__all__ = ["by_in_flight", "by_size"]

_KIB = 1024
_SIZES = (_KIB, 4 * _KIB, 16 * _KIB, 64 * _KIB, 256 * _KIB, 1_000_000)
_IN_FLIGHT = (1, 3, 10, 30, 100, 300, 1_000, 3_000)
#: A point of a line needs less than a figure of the table.
_TURNS = 3


def by_size(bench: Bench) -> Iterator[Figure]:
    """Model calls with a context of each size and a small answer, 20 in flight, no journal."""
    for size in _SIZES[:: len(_SIZES) - 1] if bench.quick else _SIZES:
        common: dict[str, Any] = {"body_bytes": size, "in_flight": 20, "prefetch": 20}
        yield _point(bench, "by-size", f"{size} bytes", common | {"kind": "model"}, common)


def by_in_flight(bench: Bench) -> Iterator[Figure]:
    """Tool calls of 1 KiB, no journal."""
    for in_flight in _IN_FLIGHT[::4] if bench.quick else _IN_FLIGHT:
        common: dict[str, Any] = {"in_flight": in_flight, "prefetch": min(in_flight, 1_000)}
        yield _point(bench, "by-in-flight", f"{in_flight} in flight", common, common)


def _point(
    bench: Bench, row: str, name: str, ours: dict[str, Any], plain: dict[str, Any]
) -> Figure:
    answer = "small" if row == "by-size" else "same"
    sides = {
        "none": bench.spec(**ours),
        "plain": bench.spec(side="plain", answer=answer, **plain),
    }
    turns = bench.compare(sides, turns=min(_TURNS, bench.turns), seconds=bench.seconds * 0.75)
    return throughput(
        turns, "none", "plain", row=row, what=name, spec=sides["none"], name=f"{row}: {name}"
    )
