"""10,000 in flight: throughput, and what a client holds for each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.rows.pairs import throughput
from benchmarks.rows.queues import waiting
from benchmarks.sides.processes import Side

__all__ = ["ten_thousand"]

_IN_FLIGHT = 10_000
_QUICK = 500
#: What a worker takes at a time, on both sides.
_PREFETCH = 1_000
_QUICK_PREFETCH = 50
#: Looks at the memory until it does not go down any more.
_LOOKS, _LOOK_S, _STEADY = 20, 0.2, 0.99


def ten_thousand(bench: Bench) -> Iterator[Figure]:
    """All at once; then the same again with workers that stand still, to weigh the client."""
    count = _QUICK if bench.quick else _IN_FLIGHT
    common = {"in_flight": count, "prefetch": _QUICK_PREFETCH if bench.quick else _PREFETCH}
    sides = {"none": bench.spec(**common), "plain": bench.spec(side="plain", **common)}
    held: dict[str, dict[str, float]] = {}

    def weigh(opened: Mapping[str, Side]) -> None:
        for name, side in opened.items():
            held[name] = {
                "rss": _kib_each(side, count, "rss"),
                "traced": _kib_each(side, count, "traced"),
            }

    turns = bench.compare(sides, calls_each=1, after=weigh)
    yield throughput(
        turns,
        "none",
        "plain",
        row="10k",
        what=f"1 KiB, {count:,} in flight, no journal",
        spec=sides["none"],
        required="≥ 2.0",
    )
    yield Figure(
        row="10k",
        name="10k: memory",
        what=f"memory of the client for each of {count:,} in flight, with envelope, task and body",
        value=held["none"]["traced"],
        unit="KiB",
        required="≤ 6",
        beside=held["plain"]["traced"],
        ours=held["none"]["traced"],
        per="KiB",
        shape={"body_bytes": sides["none"].body_bytes, "in_flight": count},
        more=dict(held),
    )


def _kib_each(side: Side, count: int, what: str) -> float:
    """What the client's process grows by for each of so many that nothing answers for now."""
    (worker,) = side.workers
    worker.freeze()
    try:
        before = side.ask("hold", count=count, traced=what == "traced")
        # The worker has taken some of them off the queue, and looks at none.
        waiting(side.spec, lambda ready: ready >= count - side.spec.prefetch)
        after = _settled(side, what)
    finally:
        worker.thaw()
    side.ask("finish")
    return round((after[what] - before[what]) / count / 1024, 2)


def _settled(side: Side, what: str) -> dict[str, int]:
    """What the client holds when the last confirmations have been read, too."""
    found: dict[str, int] = side.ask("weigh")
    for _ in range(_LOOKS):
        time.sleep(_LOOK_S)
        before, found = found, side.ask("weigh")
        if found[what] > before[what] * _STEADY:
            break
    return found
