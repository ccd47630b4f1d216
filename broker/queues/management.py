"""
The management API of RabbitMQ, as far as queues are concerned.

It is asked over HTTP with the standard library, in a thread. No redirect is followed and no proxy
is used, because the login goes to one host only; and no message of an error shows it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from effectmq.protocol.encoding.narrowing import members_of, objects_of
from effectmq.protocol.errors import ConfigurationError, EffectmqError
from effectmq.protocol.text import printable
from effectmq.protocol.urls import mask_url

__all__ = ["Managed", "Management", "ManagementError"]

_TIMEOUT_S = 5.0
_PAGE = 500
#: Queues of one namespace that are read; reply queues are not among them.
_MOST_PAGES = 20
_MOST_BYTES = 16 * 1024 * 1024
_COLUMNS = (
    "name",
    "messages_ready",
    "messages_unacknowledged",
    "consumers",
    "message_stats.publish_details.rate",
    "message_stats.deliver_get_details.rate",
)
_HINTS = {
    401: "check its user and password",
    403: "the user needs the tag 'monitoring' and the virtual host",
    404: "check the address and the virtual host",
}


class ManagementError(EffectmqError):
    """The management API of RabbitMQ did not answer as it should."""


class Managed(NamedTuple):
    """
    One queue, as the management API knows it. Its numbers are a few seconds old.

    Attributes:
        ready: Messages that wait.
        in_flight: Messages that are delivered and not settled.
        consumers: Consumers.
        in_per_s: Messages that come in, a second; ``None`` when the broker keeps no rates.
        out_per_s: Messages that are delivered, a second; likewise.
    """

    ready: int
    in_flight: int
    consumers: int
    in_per_s: float | None
    out_per_s: float | None


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class Management:
    """
    The management API of one RabbitMQ.

    Args:
        url: Its address, ``http://user:password@host:15672``; without a login that of the broker
            is used.
        broker: The broker's address, which has the virtual host.

    Raises:
        ConfigurationError: When the address cannot be used.
    """

    def __init__(self, url: str, broker: str) -> None:
        try:
            parts, place = urlsplit(url), urlsplit(broker.partition(",")[0])
            port = parts.port
        except ValueError:
            parts = place = urlsplit("")
            port = None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"the address of the management API is {printable(mask_url(url), 200)!r}; expected "
                "http://user:password@host:15672, or https://…"
            )
        login = parts if parts.username else place
        user = unquote(login.username or "guest")
        password = unquote(login.password or ("" if login.username else "guest"))
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        #: The address, without a login.
        self.where = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
        self._vhost = unquote(place.path[1:]) or "/"
        self._authorization = f"Basic {token}"
        self._opener = build_opener(_NoRedirects, ProxyHandler({}))

    async def queues(self, namespace: str) -> dict[str, Managed]:
        """
        The queues of a namespace, but those of producers and of single workers, by name.

        Raises:
            ManagementError: When it cannot be reached, refuses, or answers something else.
        """
        return await asyncio.to_thread(self._queues, namespace)

    def _queues(self, namespace: str) -> dict[str, Managed]:
        found: dict[str, Managed] = {}
        name = rf"^{re.escape(namespace)}\.(work|delay|limbo|dead)(\..*)?$"
        for page in range(1, _MOST_PAGES + 1):
            asked = {
                "name": name,
                "use_regex": "true",
                "page": page,
                "page_size": _PAGE,
                "columns": ",".join(_COLUMNS),
            }
            answer = members_of(self._get(f"/api/queues/{quote(self._vhost, safe='')}", asked))
            if "items" not in answer:
                raise self._problem("answered something else than a list of queues")
            for item in objects_of(answer["items"]):
                queue = item.get("name")
                if isinstance(queue, str):
                    found[queue] = _managed(item)
            pages = answer.get("page_count")
            if not isinstance(pages, int) or page >= pages:
                break
        return found

    def _get(self, path: str, query: Mapping[str, object]) -> object:
        request = Request(
            f"{self.where}{path}?{urlencode(query)}",
            headers={"Authorization": self._authorization, "Accept": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                body = response.read(_MOST_BYTES + 1)
        except HTTPError as problem:
            hint = _HINTS.get(problem.code, "look into the log of RabbitMQ")
            raise self._problem(f"answered {problem.code}; {hint}") from None
        except (URLError, HTTPException, OSError, ValueError) as problem:
            why = problem.reason if isinstance(problem, URLError) else problem
            raise self._problem(f"cannot be asked: {printable(str(why), 200)}") from None
        if len(body) > _MOST_BYTES:
            raise self._problem(f"answered more than {_MOST_BYTES} bytes")
        try:
            tree: object = json.loads(body)
        except (ValueError, RecursionError):
            raise self._problem("answered something else than JSON") from None
        return tree

    def _problem(self, what: str) -> ManagementError:
        return ManagementError(f"the management API at {self.where} {what}")


def _managed(item: dict[str, object]) -> Managed:
    stats = members_of(item.get("message_stats"))
    return Managed(
        _count(item.get("messages_ready")),
        _count(item.get("messages_unacknowledged")),
        _count(item.get("consumers")),
        _rate(stats, "publish_details"),
        _rate(stats, "deliver_get_details"),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _rate(stats: dict[str, object], name: str) -> float | None:
    # Without any message so far, there are no statistics.
    value = members_of(stats.get(name)).get("rate", None if stats else 0.0)
    return float(value) if isinstance(value, int | float) else None
