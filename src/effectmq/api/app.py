"""
The application: FastAPI with the paths of the API, for ``effectmq api`` and for the dashboard.

::

    create_app(place, tokens)
        Guard                 host, origin, who, role, size of the body
        /api/v1/…             routes/
        app.state.effectmq    Context: connections, letters, operations, overviews, events, …

Its lifespan opens what it works with, and opens it again when it was away.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import Any

from effectmq.broker.place import Place
from effectmq.broker.version import version
from effectmq.protocol.errors import EffectmqError, MissingExtraError

try:
    from fastapi import APIRouter, FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException
except ImportError as missing:
    raise MissingExtraError("the HTTP API", "api") from missing

from effectmq.api.access.guard import LOOPBACK_HOSTS, Access, Guard
from effectmq.api.access.sessions import COOKIE, Sessions
from effectmq.api.access.tokens import NO_TOKENS, Tokens, Who, local_user
from effectmq.api.connections import Connections
from effectmq.api.context import Context
from effectmq.api.models.common import Problem
from effectmq.api.operations import Operations
from effectmq.api.problems import ProblemError, problem_of, respond, sentence_of
from effectmq.api.routes import (
    answers,
    asking,
    changing_letters,
    effects,
    fleet,
    journal,
    letters,
    limits,
    me,
    schedules,
    sessions,
    spend,
    versions,
    workers,
)
from effectmq.api.views.events import Events
from effectmq.api.views.fleet import FleetLooks
from effectmq.api.views.letters import LetterLooks
from effectmq.api.views.overview import Overviews
from effectmq.api.views.streams import Streams

__all__ = ["PREFIX", "create_app", "openapi_document"]

PREFIX = "/api/v1"
_ROUTERS = (
    me.router,
    asking.router,
    answers.router,
    effects.router,
    sessions.router,
    letters.router,
    changing_letters.router,
    fleet.router,
    journal.router,
    limits.router,
    schedules.router,
    spend.router,
    workers.router,
    versions.router,
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "What is asked for cannot be done, and why."},
    "5XX": {"model": Problem, "description": "Something is away, or failed."},
}
_DESCRIPTION = """\
What effectmq's command line can look at and do, over HTTP.

Errors are problem details (RFC 9457). Times are Unix milliseconds, durations seconds."""


def create_app(
    place: Place,
    tokens: Tokens = NO_TOKENS,
    *,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
    management: str = "",
    max_body_bytes: int | None = None,
) -> FastAPI:
    """
    Make the application.

    Args:
        place: The place of the installation that it shows and steers.
        tokens: Those that are accepted; without any, everybody who reaches it may do everything.
        hosts: The names under which it may be asked, without ports; ``None`` for any.
        management: The address of RabbitMQ's management API, which knows more of queues; empty for
            none.
        max_body_bytes: The largest body of a request; by default what an envelope may have, and
            some more.

    Raises:
        ConfigurationError: When an address cannot be used.
    """
    most = max_body_bytes or place.transport.max_body_bytes + _BESIDE_BYTES
    access = Access(tokens, Sessions(), hosts, Who(local_user(), "operate"), most)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        context: Context = app.state.effectmq
        async with context.connections:
            try:
                yield
            finally:
                context.streams.end()
                await context.events.close()
                await context.operations.close()
                await context.overviews.close()
                await context.letters.close()
                await context.fleet.close()

    app = FastAPI(
        title="effectmq",
        version=version(),
        description=_DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.effectmq = _context(place, access, management)
    api = APIRouter(prefix=PREFIX, responses=_PROBLEMS)
    for router in _ROUTERS:
        api.include_router(router)
    app.include_router(api)
    _answer_problems(app)
    app.add_middleware(Guard, access=access)
    _describe_access(app)
    return app


#: A filter, a patch and a name stand beside an envelope.
_BESIDE_BYTES = 1024 * 1024


def _context(place: Place, access: Access, management: str) -> Context:
    connections = Connections(place)
    seen, operations = LetterLooks(connections), Operations()
    queues = FleetLooks(connections, management)
    return Context(
        access=access,
        connections=connections,
        letters=seen,
        fleet=queues,
        operations=operations,
        overviews=Overviews(connections, seen, queues),
        events=Events(connections, seen, queues, operations),
        streams=Streams(connections, queues),
    )


def _answer_problems(app: FastAPI) -> None:
    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, EffectmqError)
        return respond(problem_of(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        wrong = sentence_of(error.errors())
        first = f"{wrong[0]['where']}: {wrong[0]['problem']}" if wrong else "it is not valid"
        return respond(
            ProblemError(
                422,
                "not_valid",
                f"the request cannot be used: {first}",
                more={"problems": wrong},
            )
        )

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return respond(
            ProblemError(
                error.status_code,
                _CODES.get(error.status_code, "not_usable"),
                _SENTENCES.get(error.status_code, "the request cannot be used"),
                headers=error.headers,
            )
        )

    async def defect(request: Request, error: Exception) -> JSONResponse:
        # It is raised again, and the server logs its traceback.
        return respond(
            ProblemError(
                500, "defect", "a defect of effectmq; the log of the API has its traceback"
            )
        )

    app.add_exception_handler(EffectmqError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, defect)


_CODES = {400: "not_valid", 404: "no_such_path", 405: "no_such_method", 413: "too_large"}
_SENTENCES = {
    400: "the body cannot be read: expected a JSON document that is not nested too deep",
    413: "the body is larger than the limit; see EFFECTMQ_MAX_BODY_BYTES",
    404: "there is no such path; see /api/v1/openapi.json for those that there are",
    405: "the path does not take this method; see /api/v1/openapi.json",
}


def _describe_access(app: FastAPI) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        if "security" not in document:
            document["components"]["securitySchemes"] = {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of EFFECTMQ_API_TOKENS. Its role is read or operate.",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            document["security"] = [{"token": []}, {"session": []}]
            _without_framework_errors(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _without_framework_errors(document: dict[str, Any]) -> None:
    """What FastAPI says about its own errors, which nobody gets to see."""
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            for status in ("4XX", "5XX"):
                content = operation["responses"][status]["content"]
                content["application/problem+json"] = content.pop("application/json")
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document, the same for every place."""
    return create_app(Place()).openapi()
