"""
Looks at the queues of a namespace, with what its workers report and with the management API.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from effectmq.broker.client.fleet.answers import Roster
from effectmq.broker.client.fleet.fleet import ANSWER_S, Fleet
from effectmq.broker.inventory import Role, all_routes, apart, inventory
from effectmq.broker.queues.management import Managed, Management, ManagementError
from effectmq.broker.queues.rates import Rates, Sample, rates_between, sample_of
from effectmq.broker.queues.reports import QueueReport, QueuesSeen, Source
from effectmq.broker.transports.port import Transport
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.fleet.reports import RouteReport, WorkerReport
from effectmq.protocol.topology import EVERY_ROUTE, Names, TopologySettings

__all__ = ["QueueLooks"]

#: Rates over less than this say little; over more they are of long ago; in seconds.
_LEAST_S = 0.5
_MOST_S = 120.0
#: How long it is believed that a route without workers is not paused, in seconds.
_UNMARKED_S = 10.0


class QueueLooks:
    """
    Looks at the queues of a namespace. It keeps the look before, for rates; use one for long.

    Args:
        transport: An open one.
        settings: The namespace and its delay levels.
        fleet: Asks the workers, open; ``None`` when no worker ever was here.
        management: The management API; ``None`` for none.
    """

    def __init__(
        self,
        transport: Transport,
        settings: TopologySettings,
        fleet: Fleet | None,
        management: Management | None = None,
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._names = Names(settings.namespace)
        self._fleet = fleet
        self._management = management
        self._before: Sample | None = None
        self._rates: dict[str, Rates] = {}
        self._rated_s = 0.0
        self._unmarked: dict[str, float] = {}

    async def look(self, routes: Iterable[str] = (), *, timeout_s: float = ANSWER_S) -> QueuesSeen:
        """
        Look at every queue that exists.

        Args:
            routes: Lanes to look for beside the kinds and the lanes of workers; the management API
                knows all.
            timeout_s: How long workers may take to answer, in seconds.

        Raises:
            BrokerError: When the broker cannot be used.
        """
        (managed, problem), roster = await asyncio.gather(
            self._ask_management(), self._ask_workers(timeout_s)
        )
        answered = [one.report for one in roster.workers if one.answered]
        prefix = f"{self._names.work_exchange}."
        wanted = dict.fromkeys(all_routes(routes))
        wanted |= dict.fromkeys(route.route for one in answered for route in one.routes)
        wanted |= dict.fromkeys(
            name.removeprefix(prefix) for name in managed or () if name.startswith(prefix)
        )
        known = [route for route in wanted if kind_of(route) in EFFECT_KINDS]
        if managed is None:
            served = {route.route for one in answered for route in one.routes}
            found = await self._counted(known, served)
        else:
            found = self._managed(managed, known)
        self._rate(found, answered)
        source: Source = "workers" if managed is None else "management"
        paused = await self._paused(found, answered)
        return QueuesSeen(
            source,
            tuple(
                self._report(row, by_workers=managed is None, workers=answered, paused=paused)
                for row in found
            ),
            roster.workers,
            roster.silent,
            problem,
            self._rated_s if managed is None else 0.0,
        )

    async def _ask_management(self) -> tuple[dict[str, Managed] | None, str]:
        if self._management is None:
            return None, ""
        try:
            return await self._management.queues(self._settings.namespace), ""
        except ManagementError as problem:
            return None, str(problem)

    async def _ask_workers(self, timeout_s: float) -> Roster:
        if self._fleet is None:
            return Roster((), 0, {})
        return await self._fleet.workers(timeout_s=timeout_s)

    async def _counted(self, routes: list[str], served: set[str]) -> list[QueueReport]:
        """Who takes from a route tells of its priorities; of others they are looked for."""
        seen = await inventory(self._transport, self._settings, routes)
        alone = [
            one.route
            for one in seen
            if one.role == "work" and one.stats is not None and one.route not in served
        ]
        others = [route for route in apart(alone) if route not in routes] if alone else []
        if others:
            more = await inventory(self._transport, self._settings, others)
            seen += [one for one in more if one.role == "work"]
            seen.sort(key=lambda one: one.role != "work")
        return [
            QueueReport(
                queue=one.queue,
                role=one.role,
                route=one.route,
                ready=one.stats.ready,
                consumers=one.stats.consumers,
            )
            for one in seen
            if one.stats is not None
        ]

    def _managed(self, managed: Mapping[str, Managed], routes: list[str]) -> list[QueueReport]:
        names = self._names
        wanted: list[tuple[str, Role, str]] = [
            *((names.work_queue(route), "work", route) for route in routes),
            *((names.delay(ms), "delay", str(ms)) for ms in self._settings.delay_levels_ms),
            (names.limbo, "limbo", ""),
            (names.dead, "dead", ""),
        ]
        return [
            QueueReport(
                queue=queue,
                role=role,
                route=route,
                ready=managed[queue].ready,
                in_flight=managed[queue].in_flight,
                consumers=managed[queue].consumers,
                in_per_s=managed[queue].in_per_s,
                out_per_s=managed[queue].out_per_s,
            )
            for queue, role, route in wanted
            if queue in managed
        ]

    def _rate(self, found: list[QueueReport], workers: list[WorkerReport]) -> None:
        ready = {row.route: row.ready for row in found if row.role == "work"}
        now = sample_of(time.monotonic(), time.time_ns() // 1_000_000, ready, workers)
        before = self._before
        if before is None or now.at_s - before.at_s > _MOST_S:
            self._before, self._rates, self._rated_s = now, {}, 0.0
        elif now.at_s - before.at_s >= _LEAST_S:
            self._rates = rates_between(before, now)
            self._before, self._rated_s = now, now.at_s - before.at_s

    async def _paused(
        self, found: list[QueueReport], workers: list[WorkerReport]
    ) -> dict[str, Pause]:
        """By route; a route that no worker has is looked up on the broker, now and then."""
        paused = {
            route.route: route.paused
            for worker in workers
            for route in worker.routes
            if route.paused is not None and route.paused.everywhere
        }
        served = {route.route for worker in workers for route in worker.routes}
        now_s = time.monotonic()
        unserved = [
            row.route
            for row in found
            if row.role == "work"
            and row.route not in served
            and now_s - self._unmarked.get(row.route, -_UNMARKED_S) >= _UNMARKED_S
        ]
        if not unserved or self._fleet is None:
            return paused
        marks = await self._fleet.paused(unserved)
        for route in unserved:
            pause = marks.get(route) or marks.get(EVERY_ROUTE)
            if pause is not None:
                paused[route] = pause
                self._unmarked.pop(route, None)
            else:
                self._unmarked[route] = now_s
        return paused

    def _report(
        self,
        row: QueueReport,
        *,
        by_workers: bool,
        workers: list[WorkerReport],
        paused: Mapping[str, Pause],
    ) -> QueueReport:
        if row.role != "work":
            return row
        routes = [one for worker in workers for one in worker.routes if one.route == row.route]
        rates = self._rates.get(row.route)
        in_flight, in_per_s, out_per_s = row.in_flight, row.in_per_s, row.out_per_s
        if by_workers:
            in_flight = sum(route.in_flight for route in routes)
            in_per_s = None if rates is None else rates.in_per_s
            out_per_s = None if rates is None else rates.out_per_s
        last = max(routes, key=lambda route: route.published_ms, default=None)
        oldest_s, waited_s = _ages(last, row.ready)
        return QueueReport(
            queue=row.queue,
            role=row.role,
            route=row.route,
            ready=row.ready,
            in_flight=in_flight,
            consumers=row.consumers,
            in_per_s=in_per_s,
            out_per_s=out_per_s,
            oldest_at_most_s=oldest_s,
            waited_s=waited_s,
            paused=paused.get(row.route),
        )


def _ages(last: RouteReport | None, ready: int) -> tuple[float | None, float | None]:
    """The most that the oldest waiting message can be old, and how long the last taken waited."""
    if last is None or not last.published_ms:
        return None, None
    waited_s = max(0.0, (last.taken_ms - last.published_ms) / 1_000)
    if not ready:
        return None, waited_s
    return max(0.0, time.time() - last.published_ms / 1_000), waited_s
