"""
The numbers of a worker as readings of metrics.

Each counter of a route either has a metric of its own or is an event, so none is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Metric, Reading
from effectmq.consumers.decisions.delivery import PARK_REASONS
from effectmq.consumers.metrics.numbers import RouteNumbers, WorkerNumbers

__all__ = ["ELSEWHERE", "handler_readings", "number_readings"]

#: Counters of a route that are a metric of their own.
_BY_ROUTE: Mapping[str, Metric] = {
    "delivered": catalog.DELIVERIES,
    "started": catalog.ATTEMPTS,
    "retried": catalog.RETRIES,
    "replayed": catalog.REPLAYS,
    "conflicts": catalog.CONFLICTS,
    "results_discarded": catalog.RESULTS_DISCARDED,
    "admitted": catalog.ADMITTED,
    "not_admitted": catalog.NOT_ADMITTED,
    "room_full": catalog.ADMISSION_FULL,
    "handed_out": catalog.HANDED_OUT,
    "unanswered": catalog.UNANSWERED,
}
_PARKED = "parked_"
#: Counters that are told in another way.
ELSEWHERE = frozenset(
    (*_BY_ROUTE, "completed", "leases_lost", "schedules_fired", "schedules_given_up")
)


class _Numbers(Protocol):
    """What somebody has counted."""

    def readings(self) -> Iterable[Reading]:
        """Its numbers as they are now."""
        ...


def handler_readings(handlers: Iterable[object]) -> Iterator[Reading]:
    """What handlers count themselves, as their ``numbers``; several may share theirs."""
    found: dict[_Numbers, None] = {}
    for handler in handlers:
        numbers: _Numbers | None = getattr(handler, "numbers", None)
        if numbers is not None:
            found[numbers] = None
    for numbers in found:
        yield from numbers.readings()


def number_readings(numbers: WorkerNumbers) -> Iterator[Reading]:
    """Everything that a worker has counted and measured."""
    for route in numbers.routes.values():
        yield from _of_route(route)
    for operation, took in numbers.journal._asdict().items():
        yield Reading(catalog.JOURNAL_TIMES, (operation,), took)
    yield Reading(catalog.REPLY_TIMES, (), numbers.replies)
    yield Reading(catalog.SCHEDULE_TIMES, ("fired",), numbers.shared["schedules_fired"])
    yield Reading(catalog.SCHEDULE_TIMES, ("given_up",), numbers.shared["schedules_given_up"])
    yield Reading(catalog.SCHEDULES_LATE, (), numbers.schedules_late)
    yield Reading(catalog.LEASES_LOST, (), numbers.shared["leases_lost"])
    for event, count in sorted(numbers.total().items()):
        if event not in ELSEWHERE and not event.startswith(_PARKED):
            yield Reading(catalog.WORKER_EVENTS, (event,), count)


def _of_route(route: RouteNumbers) -> Iterator[Reading]:
    key, counters = route.key, route.counters
    for name, metric in _BY_ROUTE.items():
        yield Reading(metric, (key,), counters[name])
    yield Reading(
        catalog.OUTCOMES, (key, "success"), max(0, counters["completed"] - route.failures)
    )
    yield Reading(catalog.OUTCOMES, (key, "failure"), route.failures)
    # Also those that did not happen yet: a first one is only seen to come after a zero.
    for reason in PARK_REASONS:
        yield Reading(catalog.PARKED, (key, reason), counters[_PARKED + reason])
    yield Reading(catalog.QUEUE_WAITS, (key,), route.waits)
    yield Reading(catalog.RUN_TIMES, (key,), route.runs)
