"""
The application: the HTTP API, and beside it the pages that are over it.

Who may see what, and what is refused before that, is the guard's, which stands in front of both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from inspect import isawaitable
from typing import TypeAlias

from effectmq.protocol.errors import MissingExtraError

try:
    from fastapi import FastAPI, Request
    from starlette.exceptions import HTTPException
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.responses import Response
except ImportError as missing:
    raise MissingExtraError("the dashboard", "dashboard") from missing

from effectmq.api.access.guard import LOOPBACK_HOSTS
from effectmq.api.access.tokens import NO_TOKENS, Tokens
from effectmq.api.app import create_app
from effectmq.broker.place import Place
from effectmq.dashboard.headers import SafeHeaders
from effectmq.dashboard.pages import Pages, page_routes
from effectmq.protocol.urls import mask_url

__all__ = ["create_dashboard"]

_WORTH_PACKING_BYTES = 1_024

Answer: TypeAlias = Callable[[Request, Exception], Response | Awaitable[Response]]


def create_dashboard(
    place: Place,
    tokens: Tokens = NO_TOKENS,
    *,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
) -> FastAPI:
    """
    Make the application.

    Args:
        place: The place of the installation that it shows and steers.
        tokens: Those that are accepted; without any, everybody who reaches it may do everything.
        hosts: The names under which it may be asked, without ports; ``None`` for any.
    """
    app = create_app(place, tokens, hosts=hosts)
    pages = Pages({"namespace": place.topology.namespace, "broker": mask_url(place.broker)})
    app.router.routes.extend(page_routes(pages, asks_for_token=bool(tokens)))
    _answer_missing_pages(app, pages)
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_PACKING_BYTES)
    # Outermost, so that what the guard refuses has the headers as well.
    app.add_middleware(SafeHeaders)
    return app


def _answer_missing_pages(app: FastAPI, pages: Pages) -> None:
    of_api: Answer = app.exception_handlers[HTTPException]

    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        missing = error.status_code == HTTPStatus.NOT_FOUND
        if missing and not request.url.path.startswith(("/api/", "/assets/")):
            return pages.missing()
        found = of_api(request, error)
        return await found if isawaitable(found) else found

    app.add_exception_handler(HTTPException, answer)
