"""
The client's process, the same for both sides: ``python -m benchmarks.sides.client SPEC``.

It reads a request on each line of its standard input, does it, and answers with a line of JSON.
Each side has one of its own, so that neither loads, or collects the garbage of, what only the other
one needs.

=======  ==========================================================================================
turn     round trips: so many at a time, for so many seconds or each caller so many
hold     begin so many round trips, and answer at once
weigh    what the process holds, in bytes, by the system and by tracemalloc
finish   wait for those that were begun
fill     publish so many requests that nobody waits for
end      close
=======  ==========================================================================================
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from benchmarks.sides.known import SIDES
from benchmarks.sides.loops import run
from benchmarks.sides.machine import rss_bytes
from benchmarks.sides.sliding import THREADS, Blocking, sliding, summed_up
from benchmarks.sides.spec import Asking, Spec

__all__ = ["Driver", "opened"]


def opened(spec: Spec) -> Asking:
    """The client of a side, not yet entered."""
    if spec.traces:
        import_module("benchmarks.sides.traced")
    module, _, name = SIDES[spec.side].client.partition(":")
    client: Asking = getattr(import_module(module), name)(spec)
    return client


class Driver:
    """Does what it is asked for with the client of a side."""

    def __init__(self, client: Asking) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(THREADS)
        self._held: list[asyncio.Task[None]] = []

    async def do(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; its name is in ``do``, the rest are arguments."""
        arguments = dict(asked)
        method = getattr(self, arguments.pop("do"))
        found: dict[str, Any] = await method(**arguments)
        return found

    async def turn(self, in_flight: int, seconds: float, calls_each: int = 0) -> dict[str, Any]:
        """Round trips; with ``calls_each`` so many of each caller, whatever time they take."""
        if isinstance(self._client, Blocking):
            given = self._client, in_flight, seconds, self._pool
            return await asyncio.to_thread(sliding, *given)
        latencies: list[float] = []
        began = time.perf_counter()
        end = began + seconds

        async def caller() -> None:
            called = 0
            while called < calls_each or (not calls_each and time.perf_counter() < end):
                prepared = self._client.prepare()
                started = time.perf_counter()
                await self._client.call(prepared)
                latencies.append(time.perf_counter() - started)
                called += 1

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return summed_up(latencies, time.perf_counter() - began)

    async def hold(self, count: int, traced: bool) -> dict[str, Any]:
        """Begin round trips that nothing answers for now; says what was held before."""
        if traced:
            tracemalloc.start()
        before = await self.weigh()

        async def one() -> None:
            await self._client.call(self._client.prepare())

        self._held = [asyncio.create_task(one()) for _ in range(count)]
        return before

    async def weigh(self) -> dict[str, Any]:
        """What the process holds."""
        gc.collect()
        return {"rss": rss_bytes("self"), "traced": tracemalloc.get_traced_memory()[0]}

    async def finish(self) -> dict[str, Any]:
        """Wait for what is held."""
        held, self._held = self._held, []
        await asyncio.gather(*held)
        tracemalloc.stop()
        return {}

    async def fill(self, count: int) -> dict[str, Any]:
        """Publish requests that nobody waits for."""
        began = time.perf_counter()
        await self._client.fill(count)
        return {"per_second": count / (time.perf_counter() - began)}


async def _main(spec: Spec) -> None:
    async with opened(spec) as client:
        driver = Driver(client)
        print(json.dumps({"ready": True}), flush=True)
        # Between two turns only; during one, nobody reads.
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            if asked["do"] == "end":
                break
            print(json.dumps(await driver.do(asked)), flush=True)


if __name__ == "__main__":
    told = Spec.of(sys.argv[1])
    run(_main(told), uvloop=told.uvloop)
