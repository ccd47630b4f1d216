"""Queues, topology, and everything at one look."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from effectmq.api.context import Asking, Context, Here
from effectmq.api.models.fleet import ApplyAsked, Overview, QueueList, TopologyReport
from effectmq.api.problems import ProblemError
from effectmq.api.views.fleet import queue_view
from effectmq.broker.inventory import Row, existing, full_topology, rows_of
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.text import printable
from effectmq.protocol.topology import Topology

__all__ = ["checked_routes", "router"]

logger = logging.getLogger("effectmq.api")

router = APIRouter(tags=["fleet"])

Routes = Annotated[
    list[str], Query(max_length=100, description="Also these lanes, which AMQP cannot list.")
]


def checked_routes(routes: list[str]) -> list[str]:
    """
    Kinds, or ``kind.lane``.

    Raises:
        ProblemError: When one is none.
    """
    for route in routes:
        if kind_of(route) not in EFFECT_KINDS or len(route.encode()) > 200:
            raise ProblemError(
                422,
                "no_such_route",
                f"found the route {printable(route, 100)!r}, expected one of "
                f"{', '.join(EFFECT_KINDS)}, or kind.lane",
            )
    return routes


@router.get("/overview")
async def overview(here: Here) -> Overview:
    """
    A row for each route, dead letters, and what needs a person.

    What is away is in ``away``, and what is not known for it is null; the rest is shown.
    """
    return Overview.model_validate(await here.overviews.overview())


@router.get("/queues")
async def queues(here: Here, route: Routes = []) -> QueueList:  # noqa: B006
    """
    The queues that exist: what waits in them, how fast it comes and goes, and who consumes them.

    Numbers come from RabbitMQ's management API where its address is known, else from what workers
    report; ``source`` says which.
    """
    seen = await here.fleet.seen(checked_routes(route))
    return QueueList.model_validate(
        {
            "queues": [queue_view(each) for each in seen.queues],
            "source": seen.source,
            "silent": seen.silent,
            "problem": seen.problem or None,
        }
    )


@router.get("/topology")
async def topology(here: Here, route: Routes = []) -> TopologyReport:  # noqa: B006
    """
    The plan against what is there. AMQP does not show bindings, so their state is unknown.
    """
    transport = await here.connections.transport()
    plan = _plan(here, route)
    found, exchanges = await existing(transport, plan)
    return _topology(list(rows_of(plan, found | exchanges)))


@router.post("/topology/apply")
async def apply(here: Here, who: Asking, asked: ApplyAsked) -> TopologyReport:
    """
    Declare what is missing, as ``effectmq topology apply`` does; what is there stays as it is.
    """
    transport = await here.connections.transport()
    plan = _plan(here, asked.routes)
    found, exchanges = await existing(transport, plan)
    await transport.declare(plan)
    logger.info(
        "%s has declared %d queue(s) that were missing",
        who.name,
        len(plan.queues) - len(found),
        extra={"action": "topology_applied", "who": who.name},
    )
    return _topology(list(rows_of(plan, found | exchanges, applying=True)))


def _plan(here: Context, routes: list[str]) -> Topology:
    try:
        return full_topology(
            here.connections.place.topology, checked_routes(routes) or EFFECT_KINDS
        )
    except ConfigurationError as problem:
        raise ProblemError(422, "no_such_route", str(problem)) from None


def _topology(rows: list[Row]) -> TopologyReport:
    return TopologyReport.model_validate(
        {
            "rows": [
                {
                    "object": row.object,
                    "name": row.name,
                    "state": row.state,
                    "arguments": dict(row.arguments),
                }
                for row in rows
            ],
            "missing": sum(row.state == "missing" for row in rows),
        }
    )


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(here: Here) -> StreamingResponse:
    """
    Server-sent events that say which views have changed: ``event: changed`` with
    ``{"views": ["overview", …]}``. They carry no data; ask for the views that are shown.
    """
    return StreamingResponse(
        here.events.listen(),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )
