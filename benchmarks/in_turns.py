"""Sides that live in this one process, and take many short turns."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Calling", "Maker", "Turn", "compare", "one_turn"]

BODY = b"x" * 1024


class Calling(Protocol):
    """A side: prepares something, then calls with it."""

    def prepare(self, body: bytes) -> Any: ...

    async def call(self, prepared: Any, /) -> None: ...


#: Makes a side of an address, a namespace and the number in flight.
Maker = Callable[[str, str, int], AbstractAsyncContextManager[Calling]]


@dataclass(frozen=True)
class Turn:
    """What one side did in one turn; the CPU time is that of this process."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


async def one_turn(side: Calling, in_flight: int, calls_each: int) -> Turn:
    """So many calls of each of so many callers."""
    latencies: list[float] = []

    async def caller() -> None:
        for _ in range(calls_each):
            request = side.prepare(BODY)
            started = time.perf_counter()
            await side.call(request)
            latencies.append(time.perf_counter() - started)

    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    ordered = sorted(latencies)
    return Turn(
        len(ordered) / elapsed,
        ordered[len(ordered) // 2] * 1_000,
        ordered[int(len(ordered) * 0.99)] * 1_000,
        cpu / len(ordered) * 1_000_000,
    )


async def compare(
    url: str, makers: Mapping[str, Maker], in_flight: int, total: int, turns: int
) -> dict[str, Turn]:
    """Medians over the turns; all sides stay open, and the first turn of each is for warming."""
    done: dict[str, list[Turn]] = {name: [] for name in makers}
    namespace = f"bench-{secrets.token_hex(3)}"
    async with AsyncExitStack() as stack:
        sides = {
            name: await stack.enter_async_context(maker(url, f"{namespace}-{number}", in_flight))
            for number, (name, maker) in enumerate(makers.items())
        }
        for number in range(turns + 1):
            for name, side in sides.items():
                turn = await one_turn(side, in_flight, max(1, total // in_flight // turns))
                if number:
                    done[name].append(turn)
    return {
        name: Turn(
            statistics.median(turn.per_second for turn in runs),
            statistics.median(turn.p50_ms for turn in runs),
            statistics.median(turn.p99_ms for turn in runs),
            statistics.median(turn.cpu_us for turn in runs),
        )
        for name, runs in done.items()
    }
