"""
``python -m benchmarks.progress``: what progress costs a call of a tool, and each call of progress.

One worker and one client in this process, over ``memory://``, and a journal in an SQLite file. The
sides take short turns one after the other:

==================  ============================================================================
``silent``          the tool says nothing: capability unused
``once``            it says once how far it is, and somebody waits for that
``often``           it says it a thousand times
==================  ============================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from effectmq import Client, Progress, ToolContext, Worker

_IN_FLIGHT = 50
_SAID = {"silent": 0, "once": 1, "often": 1_000}


def _worker(name: str, folder: Path) -> Worker:
    worker = Worker(f"memory://{name}", journal=f"sqlite:///{folder}/{name}.db", log_every=0)

    @worker.tool
    async def work(times: int, context: ToolContext) -> int:
        for done in range(times):
            context.progress(done, times, "at work")
        return times

    return worker


def _ignore(progress: Progress) -> None:
    """Take it, as a caller does that shows it."""


async def _turn(client: Client, numbers: itertools.count[int], calls: int, times: int) -> float:
    async def caller() -> None:
        for _ in range(calls // _IN_FLIGHT):
            turn = client.turn("s", f"t-{next(numbers)}")
            await turn.tool_call("work", {"times": times}, call_id="c", on_progress=_ignore)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(_IN_FLIGHT)))
    return (time.perf_counter() - began) / calls * 1e6


async def _measure(turns: int, calls: int) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in _SAID}
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        for turn in range(turns + 1):
            for name, times in _SAID.items():
                worker = _worker(name, Path(folder))
                async with worker, Client(worker.broker) as client:
                    await _turn(client, numbers, _IN_FLIGHT, times)
                    us = await _turn(client, numbers, calls, times)
                if turn:
                    took[name].append(us)
    return {name: statistics.median(each) for name, each in took.items()}


def main() -> None:
    """Measure, and print a line for each side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.progress", description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--calls", type=int, default=1_000, help="of each turn")
    arguments = parser.parse_args()
    found = asyncio.run(_measure(arguments.turns, arguments.calls))
    for name, us in found.items():
        print(f"{name:10} {us:8.0f} µs a call   {us - found['silent']:+.0f} µs")
    each = (found["often"] - found["once"]) / (_SAID["often"] - 1)
    print(f"one more call of context.progress: {each:.2f} µs")


if __name__ == "__main__":
    main()
