"""Figures of two sides that took turns."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple, NotRequired, TypedDict, Unpack

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Turns, median, quartiles, ratio
from benchmarks.sides.processes import Turn
from benchmarks.sides.spec import Spec

__all__ = ["Told", "latency", "throughput"]


class Told(TypedDict):
    """What is said of a figure; without a name it has that of its row and of our side."""

    row: str
    what: str
    spec: Spec
    required: NotRequired[str]
    name: NotRequired[str]


class _Clock(NamedTuple):
    """Something that a turn says, its unit, and how many digits of it are told."""

    of: Callable[[Turn], float]
    per: str
    digits: int


_PER_SECOND = _Clock(attrgetter("per_second"), "a second", 1)
_P50 = _Clock(attrgetter("p50_ms"), "ms", 3)


def throughput(turns: Turns, ours: str, beside: str, **told: Unpack[Told]) -> Figure:
    """Round trips a second of one side over those of another."""
    return _compared(_PER_SECOND, turns, ours, beside, told)


def latency(turns: Turns, ours: str, beside: str, **told: Unpack[Told]) -> Figure:
    """The median time of a round trip of one side over that of another."""
    return _compared(_P50, turns, ours, beside, told)


def _compared(clock: _Clock, turns: Turns, ours: str, beside: str, told: Told) -> Figure:
    one, other = turns[ours], turns[beside]
    spec = told["spec"]
    return Figure(
        row=told["row"],
        name=told.get("name") or f"{told['row']}: {ours}",
        what=told["what"],
        value=ratio(one, other, clock.of),
        required=told.get("required", ""),
        ours=round(median(one, clock.of), clock.digits),
        beside=round(median(other, clock.of), clock.digits),
        per=clock.per,
        shape={"body_bytes": spec.body_bytes, "in_flight": spec.in_flight},
        more=_more(turns, ours, beside) | {"quartiles": quartiles(one, other, clock.of)},
    )


def _more(turns: Turns, *names: str) -> dict[str, object]:
    """Everything else that the clocks say, by side."""
    return {
        name: {
            "per_second": round(median(turns[name], lambda turn: turn.per_second), 1),
            "p50_ms": round(median(turns[name], lambda turn: turn.p50_ms), 3),
            "p99_ms": round(median(turns[name], lambda turn: turn.p99_ms), 3),
            "cpu_us": round(median(turns[name], lambda turn: turn.cpu_us), 1),
            "client_cpu_us": round(median(turns[name], lambda turn: turn.client_cpu_us), 1),
            "worker_cpu_us": round(median(turns[name], lambda turn: turn.worker_cpu_us), 1),
        }
        for name in names
    }
