"""
Rates of queues, out of two looks.

What workers took is what they count, and what came in is what they took and what waits more than
before: messages neither appear nor vanish in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from effectmq.protocol.messages.fleet.reports import WorkerReport

__all__ = ["Rates", "Sample", "rates_between", "sample_of"]

_Taker = tuple[str, str, int]


class Sample(NamedTuple):
    """
    One look.

    Attributes:
        at_s: When, by a clock that does not jump, in seconds.
        at_ms: When; milliseconds since the Unix epoch.
        ready: Messages that waited, by route.
        taken: Messages that each worker has taken since it began, by route.
    """

    at_s: float
    at_ms: int
    ready: Mapping[str, int]
    taken: Mapping[str, Mapping[_Taker, tuple[int, int]]]


class Rates(NamedTuple):
    """
    Of one queue, messages a second.

    Attributes:
        in_per_s: That came in.
        out_per_s: That workers took.
    """

    in_per_s: float
    out_per_s: float


def sample_of(
    at_s: float, at_ms: int, ready: Mapping[str, int], workers: Iterable[WorkerReport]
) -> Sample:
    """
    A sample out of what waits and what workers report.

    Args:
        at_s: When, by a clock that does not jump, in seconds.
        at_ms: When; milliseconds since the Unix epoch.
        ready: Messages that wait, by route.
        workers: Those that answered.
    """
    taken: dict[str, dict[_Taker, tuple[int, int]]] = {}
    for worker in workers:
        for route in worker.routes:
            taker = (worker.name, worker.host, worker.pid)
            taken.setdefault(route.route, {})[taker] = (route.taken, worker.started_ms)
    return Sample(at_s, at_ms, ready, taken)


def rates_between(before: Sample, now: Sample) -> dict[str, Rates]:
    """The rates of the routes that are in both samples."""
    passed_s = now.at_s - before.at_s
    if passed_s <= 0:
        return {}
    return {
        route: _rates(before, now, route, passed_s) for route in now.ready if route in before.ready
    }


def _rates(before: Sample, now: Sample, route: str, passed_s: float) -> Rates:
    earlier = before.taken.get(route, {})
    taken = 0
    for taker, (count, started_ms) in now.taken.get(route, {}).items():
        if taker in earlier:
            # Started again under the same name and process id it counts from 0.
            taken += max(0, count - earlier[taker][0])
        elif started_ms >= before.at_ms:
            taken += count
    more = now.ready[route] - before.ready[route]
    return Rates(max(0.0, (taken + more) / passed_s), taken / passed_s)
