"""What limits, ceilings, schedules and delays cost an effect: used, over not used."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench, Turns, median, ratio
from benchmarks.sides.processes import Turn
from benchmarks.sides.spec import Uses

__all__ = ["used_over_unused"]

_TOOL, _MODEL = "nothing, a tool", "nothing, a model"
#: Each with what it is compared with.
_USED: tuple[tuple[Uses, str, str], ...] = (
    ("limit", _TOOL, "a limit of concurrency for each tool, which never binds"),
    ("ceiling", _MODEL, "a ceiling on tokens for each session, which never binds"),
    ("schedule", _TOOL, "a schedule that does not fire"),
    ("later", _TOOL, "effects that begin 0.2 s later"),
)


def used_over_unused(bench: Bench) -> Iterator[Figure]:
    """CPU of client and worker for one effect, 1 KiB, 100 in flight, SQLite journal."""
    sides = {
        _TOOL: bench.spec(journal=bench.sqlite()),
        _MODEL: bench.spec(journal=bench.sqlite(), kind="model"),
    }
    for uses, unused, _ in _USED:
        sides[uses] = sides[unused].but(
            namespace=bench.spec().namespace, journal=bench.sqlite(), uses=uses
        )
    turns = bench.compare(sides)
    for uses, unused, what in _USED:
        yield _figure(turns, uses, unused, what)


def _figure(turns: Turns, uses: Uses, unused: str, what: str) -> Figure:
    return Figure(
        row="costs",
        name=f"costs: {uses}",
        what=f"{what}, over none: CPU an effect, 1 KiB, 100 in flight, SQLite journal",
        value=ratio(turns[uses], turns[unused], _cpu_us),
        ours=round(median(turns[uses], _cpu_us)),
        beside=round(median(turns[unused], _cpu_us)),
        per="µs",
        more={
            name: {
                "per_second": round(median(turns[side], lambda turn: turn.per_second), 1),
                "client_cpu_us": round(median(turns[side], lambda turn: turn.client_cpu_us), 1),
                "worker_cpu_us": round(median(turns[side], lambda turn: turn.worker_cpu_us), 1),
            }
            for name, side in (("used", uses), ("unused", unused))
        },
    )


def _cpu_us(turn: Turn) -> float:
    return turn.cpu_us
