"""A shallow queue and a deep one: what it costs a worker and the broker to take one effect out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.rows.queues import waiting
from benchmarks.sides.machine import cpu_s
from benchmarks.sides.marks import EVERY, Mark, read_marks
from benchmarks.sides.processes import Side, Worker

__all__ = ["shallow_and_deep"]

_SHALLOW = 1_000
#: Effects that are taken in one turn, and those before them that warm up.
_TAKEN, _WARMING = 1_500, 300
_QUICK_TAKEN = 400
_WAIT_S = 120.0
_POLL_S = 0.01


@dataclass(frozen=True)
class _Cost:
    """What one effect took, in microseconds."""

    wall_us: float
    worker_us: float
    broker_us: float

    @property
    def cpu_us(self) -> float:
        return self.worker_us + self.broker_us


def shallow_and_deep(bench: Bench) -> Iterator[Figure]:
    """The same worker on both queues in turns; a new process for each turn."""
    depths = {"shallow": _SHALLOW, "deep": bench.deep}
    costs: dict[str, list[_Cost]] = {name: [] for name in depths}
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Side(bench.spec(workers=0))) for name in depths}
        for name, side in sides.items():
            # Its queues are declared by a worker.
            side.start_worker().close()
            bench.say(f"  {depths[name]:,} messages go into the queue that is {name}")
            side.ask("fill", count=depths[name])
        for _ in range(bench.turns):
            for name, side in sides.items():
                costs[name].append(_taken(bench, side, depths[name]))
    yield _figure(bench, depths, costs)


def _figure(bench: Bench, depths: dict[str, int], costs: dict[str, list[_Cost]]) -> Figure:
    cpu = {name: statistics.median(each.cpu_us for each in found) for name, found in costs.items()}
    pairs = zip(costs["deep"], costs["shallow"], strict=True)
    return Figure(
        row="depth",
        name="depth: deep over shallow",
        what=f"queue depth {depths['shallow']:,} → {depths['deep']:,}: CPU of worker and broker to "
        "take one effect out"
        if bench.broker_pid
        else f"queue depth {depths['shallow']:,} → {depths['deep']:,}: CPU of the worker to take "
        "one effect out",
        value=round(statistics.median(one.cpu_us / other.cpu_us for one, other in pairs), 3),
        required="≤ 1.2",
        ours=round(cpu["deep"]),
        beside=round(cpu["shallow"]),
        per="µs",
        more={
            name: {
                "depth": depths[name],
                "wall_us": round(statistics.median(each.wall_us for each in found), 1),
                "worker_us": round(statistics.median(each.worker_us for each in found), 1),
                "broker_us": round(statistics.median(each.broker_us for each in found), 1),
            }
            for name, found in costs.items()
        },
    )


def _taken(bench: Bench, side: Side, depth: int) -> _Cost:
    """Fill up, let a worker take some, and see what it used."""
    taken = _QUICK_TAKEN if bench.quick else _TAKEN
    here = waiting(side.spec, lambda ready: True)
    side.ask("fill", count=max(0, depth + taken + _WARMING - here))
    marks = bench.folder / f"{side.spec.namespace}.marks"
    marks.unlink(missing_ok=True)
    worker = side.start_worker(BENCHMARK_MARKS=str(marks))
    try:
        began, broker_began = _mark(marks, _WARMING, worker), _broker_s(bench)
        ended, broker_ended = _mark(marks, _WARMING + taken, worker), _broker_s(bench)
    finally:
        worker.close()
    count = ended.done - began.done
    return _Cost(
        (ended.at_s - began.at_s) / count * 1e6,
        (ended.cpu_s - began.cpu_s) / count * 1e6,
        (broker_ended - broker_began) / count * 1e6,
    )


def _broker_s(bench: Bench) -> float:
    return cpu_s(bench.broker_pid) if bench.broker_pid else 0.0


def _mark(file: Path, least: int, worker: Worker) -> Mark:
    """The first mark after so many effects; the worker makes one every so often."""
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        for mark in read_marks(file):
            if mark.done >= least:
                return mark
        time.sleep(_POLL_S)
    raise TimeoutError(
        f"worker {worker.pid} has not done {least} effects within {_WAIT_S:.0f} s; it makes a mark "
        f"every {EVERY}"
    )
