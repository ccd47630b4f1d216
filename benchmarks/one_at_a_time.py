"""Two ways to do the same, one at a time and in turns, so that noise is noise for both."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

__all__ = ["Once", "Way", "added", "options", "places", "print_row"]

#: Does it once; the number is another one each time.
Once = Callable[[int], Awaitable[None]]
#: Sets up one of the two ways.
Way = Callable[[], AbstractAsyncContextManager[Once]]

_WARMING = 20


async def _latencies_ms(once: Once, count: int) -> list[float]:
    """How long each of so many takes, the first few left out."""
    taken: list[float] = []
    for number in range(count + _WARMING):
        started = time.perf_counter()
        await once(number)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken[_WARMING:]


async def added(
    direct: Way, ours: Way, count: int, turns: int, *, digits: int = 2
) -> dict[str, object]:
    """
    What effectmq adds to the direct way, the medians over the turns.

    Args:
        direct: The same without effectmq.
        ours: Through effectmq.
        count: How often in one turn.
        turns: How many turns each gets.
        digits: Of the direct way, which may take next to nothing.
    """
    medians: dict[str, list[float]] = {"direct": [], "effectmq": []}
    for _ in range(turns):
        for side, way in (("direct", direct), ("effectmq", ours)):
            async with way() as once:
                medians[side].append(statistics.median(await _latencies_ms(once, count)))
    plain, through = (statistics.median(medians[side]) for side in ("direct", "effectmq"))
    return {
        "direct_p50_ms": round(plain, digits),
        "effectmq_p50_ms": round(through, 2),
        "added_ms": round(through - plain, 2),
    }


def places(broker: str, without: str) -> Iterator[tuple[str, str]]:
    """Each broker, in memory and the one given, with and without a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for address in ("memory://", broker):
            for database in (without, f"sqlite:///{folder}/{secrets.token_hex(3)}.db"):
                yield address, database


def options(module: str, description: str | None, what: str, count: int) -> argparse.ArgumentParser:
    """The options of such a benchmark: ``--broker``, ``--turns``, and how many of what."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument(
        "--broker", default=os.environ.get("EFFECTMQ_BROKER", "amqp://guest:guest@127.0.0.1:5672/")
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(f"--{what}", type=int, default=count)
    return parser


def print_row(row: dict[str, object]) -> None:
    """As JSON, at once."""
    print(json.dumps(row), flush=True)
