"""Messages of 1 KiB: many at a time, and one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench, ratio
from benchmarks.rows.pairs import latency, throughput
from benchmarks.sides.spec import Spec

__all__ = ["one_at_a_time", "parallel"]

PLAIN, OURS, SQLITE, POSTGRES, TRACES = "plain", "none", "sqlite", "postgres", "traces"


def _sides(bench: Bench, in_flight: int) -> dict[str, Spec]:
    """Plain, and ours with each journal."""

    def spec(**changes: object) -> Spec:
        return bench.spec(in_flight=in_flight, prefetch=in_flight, **changes)

    sides = {
        PLAIN: spec(side="plain"),
        OURS: spec(),
        SQLITE: spec(journal=bench.sqlite()),
    }
    try:
        sides[POSTGRES] = spec(journal=bench.postgres())
    except LookupError as problem:
        bench.notes.append(f"nothing of PostgreSQL: {problem}")
    if bench.traces:
        sides[TRACES] = spec(traces=True)
    return sides


def parallel(bench: Bench) -> Iterator[Figure]:
    """100 in flight: throughput."""
    sides = _sides(bench, 100)
    turns = bench.compare(sides)
    for name, what, required in (
        (OURS, "1 KiB, 100 in flight, no journal", "≥ 2.3"),
        (SQLITE, "1 KiB, 100 in flight, SQLite journal, `synchronous=FULL`", "≥ 1.7"),
        (POSTGRES, "1 KiB, 100 in flight, PostgreSQL journal", ""),
    ):
        if name in turns:
            yield throughput(
                turns, name, PLAIN, row="1k", what=what, spec=sides[name], required=required
            )
    if bench.traces:
        figure = throughput(
            turns, TRACES, OURS, row="1k", what="with traces, over without", spec=sides[TRACES]
        )
        cpu = ratio(turns[TRACES], turns[OURS], lambda turn: turn.cpu_us)
        yield replace(figure, more=figure.more | {"cpu_ratio": cpu})


def one_at_a_time(bench: Bench) -> Iterator[Figure]:
    """1 in flight: the median time of a round trip."""
    sides = _sides(bench, 1)
    turns = bench.compare(sides)
    for name, what, required in (
        (OURS, "1 KiB, 1 in flight, no journal", "≤ 1.0"),
        (SQLITE, "1 KiB, 1 in flight, SQLite journal, `synchronous=FULL`", "≤ 1.6"),
        (POSTGRES, "1 KiB, 1 in flight, PostgreSQL journal", ""),
    ):
        if name in turns:
            yield latency(
                turns, name, PLAIN, row="one", what=what, spec=sides[name], required=required
            )
