"""
``python -m benchmarks.debouncing``: what a debounce key costs an effect.

One worker and one client in this process, over ``memory://``, and a journal in an SQLite file. What
is measured is the CPU time of the process for each effect, because all of them wait. The sides take
short turns one after the other:

==================  ============================================================================
``at once``         effects without a delay: capability unused
``delayed``         each waits for a moment
``apart``           each waits for a moment, and has a debounce key of its own
``superseded``      all have one key, so that one of them runs
==================  ============================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from effectmq import Client, EffectSupersededError, ToolCall, Worker

_DELAY_S = 0.5
_SIDES = ("at once", "delayed", "apart", "superseded")


def _worker(name: str, folder: Path) -> Worker:
    worker = Worker(
        f"memory://{name.replace(' ', '-')}",
        journal=f"sqlite:///{folder}/{name.replace(' ', '-')}.db",
        log_every=0,
    )

    @worker.tool
    async def answer() -> int:
        return 1

    return worker


async def _turn(name: str, client: Client, numbers: itertools.count[int], effects: int) -> float:
    turn = client.turn("s", f"t-{next(numbers)}")
    envelopes = turn.tool_envelopes([ToolCall("answer", {}, f"c{nth}") for nth in range(effects)])
    began = time.process_time()
    handles = [
        await client.submit(
            envelope,
            delay_s=None if name == "at once" else _DELAY_S,
            debounce={"apart": f"k{nth}", "superseded": "k"}.get(name),
        )
        for nth, envelope in enumerate(envelopes)
    ]
    for handle in handles:
        with suppress(EffectSupersededError):
            await handle.outcome(60)
    return (time.process_time() - began) / effects * 1e6


async def _measure(turns: int, effects: int) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in _SIDES}
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        for turn in range(turns + 1):
            for name, each in took.items():
                worker = _worker(name, Path(folder))
                async with worker, Client(worker.broker) as client:
                    us = await _turn(name, client, numbers, effects)
                if turn:
                    each.append(us)
    return {name: statistics.median(each) for name, each in took.items()}


def main() -> None:
    """Measure, and print a line for each side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.debouncing", description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--effects", type=int, default=500, help="of each turn")
    arguments = parser.parse_args()
    found = asyncio.run(_measure(arguments.turns, arguments.effects))
    for name, us in found.items():
        print(f"{name:10} {us:8.0f} µs of CPU an effect   {us / found['at once']:.2f} times")


if __name__ == "__main__":
    main()
