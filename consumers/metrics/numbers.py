"""
The numbers of a worker, which its routes and outboxes add to.

They belong to the worker and not to its connection: a worker that is started again goes on counting
where it stopped.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from effectmq.broker.metrics.instruments import SLOW_S, Histogram

__all__ = ["JournalTimes", "RouteNumbers", "WorkerNumbers"]


class JournalTimes(NamedTuple):
    """
    How long the journal took to answer, by what it was asked, in seconds.

    Attributes:
        claim: Whether an effect may run.
        record: To record an end; a commit.
        change: To renew, hand back or mark something of an effect.
        look: What is known of an effect.
    """

    claim: Histogram
    record: Histogram
    change: Histogram
    look: Histogram

    @classmethod
    def new(cls) -> JournalTimes:
        """All empty."""
        return cls(Histogram(), Histogram(), Histogram(), Histogram())


class RouteNumbers:
    """
    The numbers of one route.

    Args:
        key: The route: a kind, or ``kind.lane``.

    Attributes:
        key: The same.
        counters: Events by name.
        failures: Outcomes that are failures of their own, as a tool that raised.
        newest_ms: When the message was published that came last, of those that were new;
            milliseconds since the Unix epoch, 0 for none.
        newest_taken_ms: When that message came.
        waits: From publishing to the first delivery, in seconds; a message says when it was
            published in whole seconds.
        runs: How long attempts ran, in seconds.
    """

    __slots__ = ("counters", "failures", "key", "newest_ms", "newest_taken_ms", "runs", "waits")

    def __init__(self, key: str) -> None:
        self.key = key
        self.counters: Counter[str] = Counter()
        self.failures = 0
        self.newest_ms = self.newest_taken_ms = 0
        self.waits = Histogram(SLOW_S)
        self.runs = Histogram(SLOW_S)


class WorkerNumbers:
    """
    All numbers of one worker.

    Attributes:
        shared: Events that belong to no route, by name.
        routes: The numbers of each route.
        journal: How long the journal took to answer.
        replies: How long the broker took to confirm a message of outcomes, in seconds.
        schedules_late: How late the times of schedules were carried out, in seconds.
    """

    __slots__ = ("journal", "replies", "routes", "schedules_late", "shared")

    def __init__(self) -> None:
        self.shared: Counter[str] = Counter()
        self.routes: dict[str, RouteNumbers] = {}
        self.journal = JournalTimes.new()
        self.replies = Histogram()
        self.schedules_late = Histogram(SLOW_S)

    def route(self, key: str) -> RouteNumbers:
        """The numbers of a route, new ones when it has none yet."""
        return self.routes.setdefault(key, RouteNumbers(key))

    def total(self) -> Counter[str]:
        """Every event by name, over all routes."""
        found = Counter(self.shared)
        for route in self.routes.values():
            found.update(route.counters)
        return found
