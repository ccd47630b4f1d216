"""The versions of each route: who there is, what waits for them, and what they take."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from effectmq.broker.client.fleet.answers import Roster
from effectmq.broker.client.fleet.ramps import ramp_of
from effectmq.broker.transports.port import Transport
from effectmq.protocol.kinds import unversioned, versioned
from effectmq.protocol.messages.fleet.ramps import Ramp
from effectmq.protocol.messages.fleet.reports import WorkerReport
from effectmq.protocol.topology import Names

__all__ = ["VersionRow", "version_rows"]


@dataclass(slots=True)
class VersionRow:
    """
    One version of a route.

    Attributes:
        route: The route, without a version.
        version: The version; empty for workers without one.
        ramp: How what is bound to none is shared out; ``None`` when it is not.
        workers: How many workers take it.
        held: Effects of the route that they have at hand, bound or not.
        slots: Effects of it that they may run at a time.
        waiting: Messages that wait in its queue: for this version alone, or for any.
    """

    route: str
    version: str
    ramp: Ramp | None = None
    workers: int = 0
    held: int = 0
    slots: int = 0
    waiting: int = 0

    @property
    def takes(self) -> str:
        """What it takes of what is bound to no version: ``any``, a share, ``rest`` or ``none``."""
        if self.ramp is None:
            return "any"
        if 0 < self.ramp.share < 1:
            return f"{self.ramp.share:g}" if self.version == self.ramp.version else "rest"
        return "any" if self.ramp.takes_unbound(self.version) else "none"

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON data, for scripts; the keys are stable."""
        ramp = self.ramp
        return {
            "route": self.route,
            "version": self.version,
            "workers": self.workers,
            "held": self.held,
            "slots": self.slots,
            "waiting": self.waiting,
            "takes": self.takes,
            "share": None if ramp is None else ramp.share,
            "by": "" if ramp is None else ramp.by,
            "why": "" if ramp is None else ramp.why,
        }

    def add(self, report: WorkerReport) -> None:
        """Count a worker, with all that it has of the route."""
        self.workers += 1
        for each in report.routes:
            if unversioned(each.route) == self.route:
                self.held += each.in_flight
                self.slots += each.slots


async def version_rows(roster: Roster, transport: Transport, names: Names) -> list[VersionRow]:
    """
    The versions of each route that has one, ordered by route and version.

    Args:
        roster: The workers.
        transport: An open one.
        names: The namespace.

    Raises:
        BrokerError: When the broker cannot be used.
    """
    reports = [one.report for one in roster.workers if one.answered]
    routes = sorted({unversioned(route.route) for report in reports for route in report.routes})
    ramps = dict(
        zip(
            routes,
            await asyncio.gather(*(ramp_of(transport, names, route) for route in routes)),
            strict=True,
        )
    )
    rows = _rows(reports, ramps)
    found = await asyncio.gather(
        *(transport.stats(names.work_queue(versioned(row.route, row.version))) for row in rows)
    )
    for row, stats in zip(rows, found, strict=True):
        row.waiting = 0 if stats is None else stats.ready
    return rows


def _rows(reports: Iterable[WorkerReport], ramps: dict[str, Ramp | None]) -> list[VersionRow]:
    made: dict[tuple[str, str], VersionRow] = {}
    versions = defaultdict[str, set[str]](set)

    def row(route: str, version: str) -> VersionRow:
        versions[route].add(version)
        return made.setdefault((route, version), VersionRow(route, version, ramps.get(route)))

    for report in reports:
        for route in {unversioned(each.route) for each in report.routes}:
            row(route, report.worker_version).add(report)
    for route, ramp in ramps.items():
        if ramp is not None:
            row(route, ramp.version)
    with_versions = {route for route, found in versions.items() if found != {""}}
    for route in with_versions:
        row(route, "")
    return [made[key] for key in sorted(made) if key[0] in with_versions]
