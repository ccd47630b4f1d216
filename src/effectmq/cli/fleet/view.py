"""Workers, and what they did, as tables."""

from __future__ import annotations

import time
from collections.abc import Sequence

from effectmq.broker.client.fleet.answers import WorkerSeen
from effectmq.cli.terminal.colours import Colour
from effectmq.cli.terminal.tables import Column, Room, table
from effectmq.cli.terminal.times import age
from effectmq.protocol.kinds import version_in
from effectmq.protocol.messages.fleet.reports import RouteReport, WorkerReply
from effectmq.protocol.text import printable

__all__ = ["heard_table", "pause_lines", "roster_table"]

_STATES = {
    "ready": Colour.GREEN,
    "waiting": Colour.YELLOW,
    "paused": Colour.YELLOW,
    "draining": Colour.YELLOW,
    "silent": Colour.RED,
}
_ROSTER = (
    Column("worker", least=12, priority=9, most=60),
    Column("state", priority=8, colours=_STATES),
    Column("held", priority=7),
    Column("routes", least=12, priority=6),
    Column("version", priority=5),
    Column("lag", priority=5),
    Column("since", priority=4),
    Column("seen", priority=3),
    Column("app", priority=2),
    Column("effectmq", priority=1),
    Column("host", priority=0, most=60),
)
_HEARD = (
    Column("worker", least=12, priority=2, most=60),
    Column("did", priority=3),
    Column("held", priority=0),
    Column("detail", least=16, priority=1, most=1_000),
)


def roster_table(workers: Sequence[WorkerSeen], room: Room) -> str:
    """The workers, one a line."""
    return table(_ROSTER, [_row(one) for one in workers], room)


def _row(one: WorkerSeen) -> tuple[object, ...]:
    report = one.report
    now_ms = time.time_ns() // 1_000_000
    return (
        report.name,
        report.state if one.answered else "silent",
        f"{report.in_flight}/{report.slots}",
        " ".join(sorted(map(_route, filter(_is_listed, report.routes)))),
        report.worker_version,
        f"{report.loop_lag_s:.2f}s",
        age(report.started_ms, now_ms),
        age(one.seen_ms, now_ms),
        report.app_version,
        report.version,
        f"{report.host}:{report.pid}",
    )


def _is_listed(route: RouteReport) -> bool:
    # The version has a column of its own.
    return route.paused is not None or not version_in(route.route)


def _route(route: RouteReport) -> str:
    # "!" sorts before any letter: what is paused is not cut off at the end.
    return f"{'!' if route.paused is not None else ''}{route.route}"


def pause_lines(workers: Sequence[WorkerSeen]) -> list[str]:
    """A sentence for each route that is paused, and for each worker that is paused itself."""
    found: dict[str, None] = {}
    for one in workers:
        for route in one.report.routes:
            if route.paused is not None:
                where = "" if route.paused.everywhere else f" of {one.report.name}"
                found[printable(f"{route.route}{where} is {route.paused}", 400)] = None
    return list(found)


def heard_table(replies: Sequence[WorkerReply], room: Room) -> str:
    """What each worker did."""
    rows = [
        (
            reply.worker.name,
            reply.did.replace("_", " "),
            f"{reply.worker.in_flight}/{reply.worker.slots}",
            reply.detail,
        )
        for reply in replies
    ]
    return table(_HEARD, rows, room)
