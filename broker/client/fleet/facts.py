"""
Workers as JSON data, for scripts and for the HTTP API; the keys are stable.

What workers send is written in ``protocol.messages.fleet.reports``: that is the wire, and changes
for other reasons than what scripts are told.
"""

from __future__ import annotations

from typing import Any

from effectmq.broker.client.fleet.answers import WorkerSeen
from effectmq.protocol.messages.fleet.reports import RouteReport

__all__ = ["worker_facts"]


def worker_facts(seen: WorkerSeen) -> dict[str, Any]:
    """One worker, as it was seen last."""
    report = seen.report
    return {
        "name": report.name,
        "host": report.host,
        "pid": report.pid,
        "app_version": report.app_version,
        "worker_version": report.worker_version,
        "version": report.version,
        "state": report.state,
        "detail": report.detail,
        "answered": seen.answered,
        "started_ms": report.started_ms,
        "seen_ms": seen.seen_ms,
        "loop_lag_s": report.loop_lag_s,
        "in_flight": report.in_flight,
        "slots": report.slots,
        "routes": [_route_facts(route) for route in report.routes],
    }


def _route_facts(route: RouteReport) -> dict[str, Any]:
    return {
        "route": route.route,
        "slots": route.slots,
        "in_flight": route.in_flight,
        "consuming": route.consuming,
        "paused": None if route.paused is None else route.paused.tree,
        "taken": route.taken,
    }
