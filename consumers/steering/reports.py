"""How a worker is, as it tells whoever asks."""

from __future__ import annotations

import os
import socket
import time
from typing import NamedTuple

from effectmq.broker.version import version
from effectmq.consumers.fleet.pauses import Pauses
from effectmq.consumers.runtime.health import Health
from effectmq.consumers.serving.taps import Tap
from effectmq.protocol.messages.fleet.reports import RouteReport, WorkerReport

__all__ = ["About", "report_of"]


class About(NamedTuple):
    """
    What does not change while a worker runs.

    Attributes:
        name: The worker's name.
        app_version: The version of the application; may be empty.
        started_ms: When it was started; milliseconds since the Unix epoch.
    """

    name: str
    app_version: str
    started_ms: int


def report_of(
    about: About, health: Health, lag_s: float, taps: list[Tap], pauses: Pauses
) -> WorkerReport:
    """The report of a worker now."""
    return WorkerReport(
        name=about.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        app_version=about.app_version,
        version=version(),
        state=health.state,
        detail=health.detail,
        started_ms=about.started_ms,
        reported_ms=time.time_ns() // 1_000_000,
        loop_lag_s=round(lag_s, 3),
        routes=tuple(_route_report(tap, pauses) for tap in taps if not tap.source.limbo),
    )


def _route_report(tap: Tap, pauses: Pauses) -> RouteReport:
    numbers = tap.source.route.numbers
    return RouteReport(
        route=tap.key,
        slots=tap.slots,
        in_flight=len(tap.source.route.jobs),
        consuming=bool(tap.consumers) and tap.consuming,
        paused=pauses.of(tap.key),
        consumers=tap.consumers,
        taken=numbers.counters["delivered"],
        published_ms=numbers.newest_ms,
        taken_ms=numbers.newest_taken_ms,
    )
