"""
What every request passes first, pages of the dashboard included.

::

    /live         answered at once: it tells nothing
    Host header   a name that this server has            else 421: DNS rebinding
    origin        none, or this server's                 else 403: another site's page asks
    who           a token, or the cookie of a session    else 401, under /api/
    role          operate, for all that changes          else 403
    body          at most so many bytes                  else 413

So no path can forget to ask. What a handler learns of it is ``scope["state"]["who"]``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from effectmq.api.access.sessions import COOKIE, Sessions
from effectmq.api.access.tokens import Tokens, Who
from effectmq.api.problems import ProblemError, respond
from effectmq.protocol.text import printable

__all__ = ["LIVE", "LOOPBACK_HOSTS", "SIGN_IN", "Access", "Guard"]

#: The names of this machine for itself.
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
#: Where a browser changes a token for a session; asked for without one.
SIGN_IN = "/api/v1/session"
#: Where a probe asks. That of Kubernetes has no token, and asks by the address of the pod.
LIVE = "/live"

_SAFE = ("GET", "HEAD", "OPTIONS")
_MAX_BODY_BYTES = 64 * 1024 * 1024
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="effectmq"'}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Access:
    """
    Who may do what.

    Attributes:
        tokens: Those that are accepted; without any, everybody who reaches the address may do all.
        sessions: Those of browsers.
        hosts: The names under which this server may be asked; ``None`` for any.
        nobody: Who asks when no token is needed.
        max_body_bytes: The largest body of a request.
    """

    tokens: Tokens
    sessions: Sessions
    hosts: Collection[str] | None
    nobody: Who
    max_body_bytes: int = _MAX_BODY_BYTES

    def who(self, headers: Headers) -> Who | None:
        """Who asks; ``None`` when a token is needed and there is none, or a wrong one."""
        if not self.tokens:
            return self.nobody
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if secret:
            return self.tokens.who(secret.strip()) if kind.lower() == "bearer" else None
        cookie = session_of(headers)
        return self.sessions.who(cookie) if cookie else None


def session_of(headers: Headers) -> str:
    """What the cookie of a session holds; empty without one."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


class Guard:
    """
    Lets through what may pass, and answers the rest.

    Args:
        app: What is behind it.
        access: Who may do what.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            # There is none; Starlette would ask the routes.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = _WithHeaders(scope, send)
        if scope["path"] == LIVE and scope["method"] in ("GET", "HEAD"):
            # That it comes says that the event loop turns, and there is nothing else in it.
            alive = PlainTextResponse("live\n", headers={"Cache-Control": "no-store"})
            await alive(scope, receive, sending)
            return
        try:
            self._admit(scope)
        except ProblemError as problem:
            await respond(problem)(scope, receive, sending)
            return
        await self._app(scope, _Bounded(receive, self._access.max_body_bytes), sending)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        method, path = str(scope["method"]), str(scope["path"])
        self._check_host(headers)
        _check_origin(headers, path, changes=method not in _SAFE)
        self._check_length(headers)
        who = self._access.who(headers)
        scope.setdefault("state", {})["who"] = who
        if not path.startswith("/api/") or path == SIGN_IN:
            return
        if who is None:
            raise ProblemError(
                401,
                "no_token",
                "a token is needed, and there is none or a wrong one; send "
                "Authorization: Bearer TOKEN with one of EFFECTMQ_API_TOKENS",
                headers=_CHALLENGE,
            )
        if who.role != "operate" and method not in _SAFE:
            raise ProblemError(
                403,
                "read_only",
                f"the token {who.name!r} may look and not change anything; use one whose role is "
                "operate",
            )

    def _check_host(self, headers: Headers) -> None:
        hosts = self._access.hosts
        if hosts is None:
            return
        asked = headers.get("host", "")
        if _name_of(asked) not in hosts:
            raise ProblemError(
                421,
                "other_host",
                f"this server is asked under the name {printable(asked, 200)!r}, which is none of "
                f"its own; use one of {', '.join(sorted(hosts))}",
            )

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        most = self._access.max_body_bytes
        if not length.isascii() or not length.isdecimal():
            raise ProblemError(400, "bad_length", "the Content-Length is no number")
        if len(length) > 18 or int(length) > most:
            raise _too_large(most)


def _check_origin(headers: Headers, path: str, *, changes: bool) -> None:
    """Refuse what the page of another site asks for, in the name of who looks at it."""
    if not (changes or path.startswith("/api/")):
        # A link from elsewhere to a page of the dashboard is fine.
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = site is not None and site not in ("same-origin", "none")
    if origin is not None and _host_of(origin) != headers.get("host", "").lower():
        foreign = True
    if changes and origin is None and site is None and session_of(headers):
        # Every browser says one of them with what changes something, and only they have cookies.
        foreign = True
    if foreign:
        raise ProblemError(
            403,
            "other_site",
            "this was asked for by a page of another site, and only the dashboard's own pages may; "
            "a program sends no Origin, and a token instead of a cookie",
        )


def _host_of(origin: str) -> str:
    """Host and port of an origin; empty for what is none, as ``null`` is."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _too_large(most: int) -> ProblemError:
    return ProblemError(413, "too_large", f"the body is larger than the limit of {most} bytes")


class _Bounded:
    """Receives a body up to its limit; what says no length is measured as it comes."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._left = self._most = most

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                # Of this family, because FastAPI takes any other for a body that is no JSON.
                raise HTTPException(413, _too_large(self._most).detail)
        return message


class _WithHeaders:
    """Sends an answer with the headers that all have."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._api = str(scope["path"]).startswith("/api/")
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._api:
                headers.setdefault("Cache-Control", "no-store")
                headers.setdefault("Content-Security-Policy", "default-src 'none'")
        await self._send(message)
