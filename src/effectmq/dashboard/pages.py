"""
The pages: each is the same frame with the name of the module that fills it, out of the HTTP API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from effectmq.api.access.tokens import Who
from effectmq.dashboard.assets import asset_route, folder, modules_of
from effectmq.protocol.errors import MissingExtraError

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ImportError as missing:
    raise MissingExtraError("the dashboard", "dashboard") from missing

__all__ = ["Page", "Pages", "page_routes"]


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page.

    Attributes:
        name: The module that fills it.
        path: Where it is.
        title: Its title.
        under: The page that the navigation marks; empty for itself.
    """

    name: str
    path: str
    title: str
    under: str = ""


#: Those of the navigation, then those that are reached from them.
NAVIGATION = (
    Page("overview", "/", "Overview"),
    Page("dead-letters", "/dead-letters", "Dead letters"),
    Page("effects", "/effects", "Effects"),
    Page("answers", "/answers", "Answers"),
    Page("sessions", "/sessions", "Sessions"),
    Page("schedules", "/schedules", "Schedules"),
    Page("workers", "/workers", "Workers"),
    Page("queues", "/queues", "Queues"),
    Page("limits", "/limits", "Limits"),
    Page("spend", "/spend", "Spend"),
    Page("topology", "/topology", "Topology"),
    Page("audit", "/audit", "Audit"),
)
_OTHERS = (
    Page("effect", "/effect", "Effect", "effects"),
    Page("session", "/session", "Session", "sessions"),
)


class Pages:
    """
    Makes pages.

    Args:
        shown: What every page says of where it is: ``namespace`` and ``broker``.
    """

    def __init__(self, shown: Mapping[str, str]) -> None:
        # Whatever the name of a template: everything that goes in is escaped.
        self._made = Environment(
            loader=PackageLoader("effectmq.dashboard"), autoescape=True, undefined=StrictUndefined
        )
        self._shown = dict(shown)

    def page(self, page: Page, *, operates: bool, signed_in: bool) -> Response:
        """
        The frame of one page.

        Args:
            page: Which.
            operates: Whether who looks may change anything; what they may not is not offered.
            signed_in: Whether there is a session to end.
        """
        return self._written(
            "page.html",
            page.title,
            page=page.name,
            here=page.under or page.name,
            operates=operates,
            signed_in=signed_in,
            modules=modules_of(page.name),
            pages=[(one.name, one.path, one.title) for one in NAVIGATION],
            **self._shown,
        )

    def login(self) -> Response:
        """The form that asks for a token."""
        return self._written("login.html", "Sign in", page="login", operates=False)

    def missing(self) -> Response:
        """What is answered where there is no page."""
        answer = self._written("missing.html", "No such page", page="missing", operates=False)
        answer.status_code = HTTPStatus.NOT_FOUND
        return answer

    def _written(self, template: str, title: str, **values: object) -> Response:
        return HTMLResponse(
            self._made.get_template(template).render(title=title, assets=folder(), **values)
        )


def page_routes(pages: Pages, *, asks_for_token: bool) -> list[BaseRoute]:
    """
    The routes of all pages and of what they load.

    Args:
        pages: Makes them.
        asks_for_token: Whether who has no session is sent to sign in.
    """

    def route(page: Page) -> Route:
        async def answer(request: Request) -> Response:
            who: Who | None = request.state.who
            if who is None:
                query = f"?{request.url.query}" if request.url.query else ""
                following = urlencode({"next": f"{request.url.path}{query}"})
                return RedirectResponse(f"/login?{following}", status_code=303)
            return pages.page(page, operates=who.role == "operate", signed_in=asks_for_token)

        return Route(page.path, answer, name=page.name)

    async def login(request: Request) -> Response:
        return pages.login()

    return [
        *(route(page) for page in (*NAVIGATION, *_OTHERS)),
        Route("/login", login),
        asset_route(),
    ]
