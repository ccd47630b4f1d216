"""The numbers of a client as readings of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from effectmq.broker.client.replies.book import ReplyBook
from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading

__all__ = ["OWN", "client_readings"]

#: Counters that are a metric of their own.
OWN = {"submitted": catalog.SUBMITTED, "answered": catalog.CLIENT_OUTCOMES}


def client_readings(counters: Counter[str], book: ReplyBook) -> Iterator[Reading]:
    """Everything that a client has counted and measured, and how many effects it waits for."""
    for name, metric in OWN.items():
        yield Reading(metric, (), counters[name])
    yield Reading(catalog.CLIENT_WAITING, (), book.waiting)
    yield Reading(catalog.CLIENT_WAITS, (), book.waits)
    for event, count in sorted(counters.items()):
        if event not in OWN:
            yield Reading(catalog.CLIENT_EVENTS, (event,), count)
