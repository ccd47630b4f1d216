"""How long things take to start, and what an idle worker holds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.kept.results import Figure
from benchmarks.rows.bench import Bench
from benchmarks.sides.machine import environment, rss_bytes
from benchmarks.sides.processes import Worker, worker_command
from tests.brokers.sweep import sweep

__all__ = ["starts"]

_IDLE_S = 1.0
_FOUR = "import aio_pika, msgpack, pydantic, tenacity"
_OURS = "from effectmq import Client"


def starts(bench: Bench) -> Iterator[Figure]:
    """A worker, ``effectmq --help``, and the import of the client."""
    yield from _worker(bench)
    seconds = _turns(bench, _program)
    yield Figure(
        row="start",
        name="start: help",
        what="`effectmq --help`",
        value=round(statistics.median(seconds) * 1_000),
        unit="ms",
        required="≤ 150",
    )
    four, ours = list[float](), list[float]()
    for _ in range(bench.turns + 1):
        four.append(_seconds([sys.executable, "-c", _FOUR]))
        ours.append(_seconds([sys.executable, "-c", _OURS]))
    nothing = statistics.median(_turns(bench, lambda: _seconds([sys.executable, "-c", ""])))
    yield Figure(
        row="start",
        name="start: import",
        what=f"`{_OURS}` over importing its four packages, the interpreter's own start left out",
        value=round(
            statistics.median(
                (one - nothing) / (other - nothing)
                for one, other in zip(ours[1:], four[1:], strict=True)
            ),
            2,
        ),
        required="≤ 1.3",
        ours=round((statistics.median(ours[1:]) - nothing) * 1_000),
        beside=round((statistics.median(four[1:]) - nothing) * 1_000),
        per="ms",
    )


def _worker(bench: Bench) -> Iterator[Figure]:
    spec = bench.spec(journal=bench.sqlite(), prefetch=16)
    seconds, held = list[float](), list[int]()
    try:
        # The first one declares the queues and warms up.
        for number in range(bench.turns + 1):
            worker = Worker(worker_command(spec), "consumes")
            try:
                time.sleep(_IDLE_S)
                if number:
                    seconds.append(worker.start_s)
                    held.append(rss_bytes(worker.pid))
            finally:
                worker.close()
    finally:
        sweep(spec.broker, spec.namespace)
    yield Figure(
        row="start",
        name="start: worker",
        what="a worker from its start until it consumes, SQLite journal",
        value=round(statistics.median(seconds), 3),
        unit="s",
        required="≤ 0.8",
        more={"all": [round(each, 3) for each in seconds]},
    )
    yield Figure(
        row="start",
        name="start: memory",
        what="what an idle worker holds (RSS), without extras, SQLite journal",
        value=round(statistics.median(held) / 2**20, 1),
        unit="MB",
        required="≤ 45",
    )


def _program() -> float:
    return _seconds([str(Path(sys.executable).with_name("effectmq")), "--help"])


def _turns(bench: Bench, measure: Callable[[], float]) -> list[float]:
    """So many times, and once before for warming."""
    return [measure() for _ in range(bench.turns + 1)][1:]


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
    return time.perf_counter() - began
