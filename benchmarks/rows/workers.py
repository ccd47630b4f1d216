"""Two workers over one: what an effect costs when they share a queue."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench, median, ratio

__all__ = ["two_over_one"]


def two_over_one(bench: Bench) -> Iterator[Figure]:
    """CPU of client and workers for one effect, 1 KiB, 100 in flight."""
    turns = bench.compare({"one": bench.spec(), "two": bench.spec(workers=2, prefetch=50)})
    yield Figure(
        row="workers",
        name="workers: two over one",
        what="two workers over one: CPU an effect, 1 KiB, 100 in flight",
        value=ratio(turns["two"], turns["one"], lambda turn: turn.cpu_us),
        required="≤ 1.1",
        ours=round(median(turns["two"], lambda turn: turn.cpu_us)),
        beside=round(median(turns["one"], lambda turn: turn.cpu_us)),
        per="µs",
        more={
            name: {
                "per_second": round(median(runs, lambda turn: turn.per_second), 1),
                "client_cpu_us": round(median(runs, lambda turn: turn.client_cpu_us), 1),
                "worker_cpu_us": round(median(runs, lambda turn: turn.worker_cpu_us), 1),
            }
            for name, runs in turns.items()
        },
    )
