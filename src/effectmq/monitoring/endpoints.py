"""
What a worker answers over HTTP: metrics and health.

::

    GET /metrics   the metrics, for Prometheus
    GET /live      200 while the event loop turns, with how late it was
    GET /ready     200 while the worker takes effects and reaches what it needs; else 503, and why

Nothing can be changed here, and no payload is shown. Whoever reaches the address reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from effectmq.monitoring.merging import Source
from effectmq.monitoring.prometheus import exposition
from effectmq.protocol.errors import MissingExtraError

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as missing:
    raise MissingExtraError("the HTTP endpoints of a worker", "http") from missing

__all__ = ["Probed", "endpoints"]

_NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}


class Probed(Source, Protocol):
    """A worker, as its probes see it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def lag_s(self) -> float:
        """How late its event loop is, in seconds."""
        ...

    @property
    def paused(self) -> dict[str, str]:
        """The routes that somebody paused, each with who and why."""
        ...

    async def problems(self) -> dict[str, str]:
        """What is wrong, by what it is wrong with."""
        ...


def endpoints(worker: Probed) -> Starlette:
    """
    The endpoints of a worker as an ASGI application.

    Args:
        worker: Whose.
    """

    async def metrics(request: Request) -> Response:
        # Not in a thread: the numbers belong to the event loop.
        text, content_type = exposition([worker], request.headers.get("accept", ""))
        return Response(text, headers={**_NO_STORE, "Content-Type": content_type})

    async def live(request: Request) -> Response:
        # That this is answered at all is the answer.
        return JSONResponse(
            {"worker": worker.name, "loop_lag_s": round(worker.lag_s, 3)}, headers=_NO_STORE
        )

    async def ready(request: Request) -> Response:
        problems = await worker.problems()
        return JSONResponse(
            {
                "worker": worker.name,
                "ready": not problems,
                "problems": problems,
                # Somebody wants it so: a paused worker must not be replaced for that.
                "paused": worker.paused,
            },
            status_code=503 if problems else 200,
            headers=_NO_STORE,
        )

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/live", live), Route("/ready", ready)]
    )
