"""A recorded effect, asked for again by a client that reaches the journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.rows.pairs import latency

__all__ = ["asked_again"]

_SIZES = (
    (1024, 1, "1 KiB"),
    (1024, 100, "1 KiB"),
    (64 * 1024, 1, "64 KiB"),
    (900_000, 1, "900 kB"),
)


def asked_again(bench: Bench) -> Iterator[Figure]:
    """Its median time over that of the round trip it saves, with the same SQLite journal."""
    for size, in_flight, words in _SIZES[:1] if bench.quick else _SIZES:
        common: dict[str, Any] = {
            "journal": bench.sqlite(),
            "body_bytes": size,
            "in_flight": in_flight,
            "prefetch": 100,
        }
        sides = {"again": bench.spec(side="recorded", **common), "fresh": bench.spec(**common)}
        yield latency(
            bench.compare(sides, seconds=bench.seconds / 2),
            "again",
            "fresh",
            row="recorded",
            what=f"a recorded effect of {words} asked for again, {in_flight} in flight, over the "
            "round trip it saves",
            spec=sides["again"],
            required="≤ 0.25",
            name=f"recorded: {size} bytes, {in_flight} in flight",
        )
