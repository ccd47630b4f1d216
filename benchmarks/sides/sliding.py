"""Many calls in flight from a few threads, for a client whose library blocks."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Protocol, runtime_checkable

__all__ = ["THREADS", "Blocking", "sliding", "summed_up"]


#: One thread would do little but wait where sending waits for a confirmation.
THREADS = 8


@runtime_checkable
class Blocking(Protocol):
    """A client that sends first and waits later, in any thread."""

    def send(self) -> Any:
        """Publish a request, and return what its answer is waited for with."""
        ...

    def wait(self, sent: Any, /) -> None:
        """Wait for the answer."""
        ...


def sliding(
    client: Blocking, in_flight: int, seconds: float, pool: ThreadPoolExecutor
) -> dict[str, Any]:
    """
    So many at a time, divided among threads: each waits for its oldest, then sends another one.

    Args:
        client: Sends and waits.
        in_flight: How many at a time.
        seconds: How long.
        pool: The threads, which a client may have connections of its own for.
    """
    threads = min(THREADS, in_flight)
    shares = [(in_flight + number) // threads for number in range(threads)]
    began = time.perf_counter()
    parts = [pool.submit(_slide, client, share, began + seconds) for share in shares]
    latencies = list(chain.from_iterable(part.result() for part in parts))
    return summed_up(latencies, time.perf_counter() - began)


def _slide(client: Blocking, in_flight: int, end: float) -> list[float]:
    latencies: list[float] = []
    waiting = deque[tuple[float, Any]]()
    while waiting or time.perf_counter() < end:
        while len(waiting) < in_flight and time.perf_counter() < end:
            waiting.append((time.perf_counter(), client.send()))
        if waiting:
            started, sent = waiting.popleft()
            client.wait(sent)
            latencies.append(time.perf_counter() - started)
    return latencies


def summed_up(latencies: list[float], elapsed_s: float) -> dict[str, Any]:
    """What one turn comes to."""
    ordered = sorted(latencies)
    return {
        "calls": len(ordered),
        "per_second": len(ordered) / elapsed_s,
        "p50_ms": ordered[len(ordered) // 2] * 1_000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1_000,
    }
