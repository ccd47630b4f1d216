"""
Streamable HTTP, below the library: every POST of a request gets one readable answer.

The library sees statuses, broken connections and bodies that are no JSON only as numbers and texts,
which a server could have sent, too. And one failed connection ends all calls on the line. Here each
failure becomes the sealed error of the one call that it belongs to.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import anyio
import httpx2

from effectmq.consumers.decisions.retry_after import wait_asked_for
from effectmq.consumers.tools.mcp.listing import cleared_list, passed_by
from effectmq.consumers.tools.mcp.messages import (
    MAX_MESSAGE_BYTES,
    Seal,
    Trouble,
    UnreadableMessageError,
    read_messages,
    same,
)
from effectmq.consumers.tools.mcp.wires.asked import AbandonedError, Asked
from effectmq.protocol.encoding.narrowing import is_object, members_of
from effectmq.protocol.text import printable

__all__ = ["HttpWire"]

_SESSION = "mcp-session-id"
_MAX_ERROR_BYTES = 64 * 1024
#: How long a server may take to accept a notification, such as a cancellation, in seconds.
_COURTESY_S = 5.0
#: How long a server may take to end a session, in seconds.
_GOODBYE_S = 2.0
#: Statuses that say "not now".
_LIMITED = frozenset({429, 503})
_NOT_FOUND = -32601
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)

_Id = str | int
_Message = dict[str, Any]


class HttpWire(httpx2.AsyncClient):
    """
    The HTTP client for the library.

    Args:
        seal: The seal of the connection.
        headers: The headers of each request.
        timeout_s: The limit for connecting and sending, in seconds. Reading has none: the limit of
            the tool decides how long a call may take.
    """

    def __init__(self, seal: Seal, headers: Mapping[str, str], timeout_s: float) -> None:
        # The worker limits how many calls there may be at a time.
        super().__init__(
            headers=dict(headers),
            timeout=httpx2.Timeout(timeout_s, read=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        )
        self._seal = seal
        #: The requests under way.
        self._asked: dict[str, Asked] = {}
        self._courtesies: set[asyncio.Task[None]] = set()
        #: Whether the server has given a session.
        self.in_session = False
        #: The version of the protocol, once both sides have agreed on one.
        self.version = "2025-11-25"

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request, and read its answer before the library does."""
        if request.method != "POST":
            return await self._beside(request, stream=stream, **options)
        message: dict[str, Any] = json.loads(await request.aread())
        id_ = message.get("id") if "method" in message else None
        if id_ is None:
            return await self._told(message, request, **options)
        self.in_session = self.in_session or _SESSION in request.headers
        asked = self._asked[str(id_)] = Asked(str(message["method"]))
        try:
            with asked.waiting():
                response = await super().send(request, stream=True, **options)
                response = await self._read(id_, asked, response, request)
        except AbandonedError:
            return self._failed(id_, Trouble("lost", "nobody waits for it"), request)
        except Exception as problem:
            # Any error ends this call only; the library would give up the line.
            return self._failed(id_, _broken(problem), request)
        except BaseException:
            self._asked.pop(str(id_), None)
            raise
        return response

    async def aclose(self) -> None:
        """Close the client; notifications under way are dropped."""
        for task in self._courtesies:
            task.cancel()
        await super().aclose()

    async def _beside(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        """The stream beside the calls, and the end of a session."""
        if request.method == "DELETE":
            with anyio.move_on_after(_GOODBYE_S):
                return await super().send(request, stream=stream, **options)
            return httpx2.Response(HTTPStatus.NO_CONTENT, request=request)
        response = await super().send(request, stream=stream, **options)
        if stream and request.method == "GET" and _is_events(response):
            # A resumed stream brings the answers to earlier requests.
            return self._retold(response, None, None, request)
        return response

    async def _told(
        self, message: _Message, request: httpx2.Request, **options: Any
    ) -> httpx2.Response:
        """
        Send a notification. It has no answer, and one that does not arrive counts as not heard.

        The library sends nothing else before this returns, so a server may not take long to accept
        the cancellation of a call.
        """
        telling = asyncio.create_task(self._tell(request, options))
        self._courtesies.add(telling)
        telling.add_done_callback(self._courtesies.discard)
        if message.get("method") == "notifications/cancelled":
            over = str(members_of(message.get("params")).get("requestId"))
            telling.add_done_callback(lambda _: self._abandon(over))
        else:
            await asyncio.wait({telling})
        return httpx2.Response(HTTPStatus.ACCEPTED, request=request)

    async def _tell(self, request: httpx2.Request, options: Mapping[str, Any]) -> None:
        with suppress(httpx2.RequestError), anyio.move_on_after(_COURTESY_S):
            response = await super().send(request, stream=True, **options)
            await response.aclose()

    def _abandon(self, id_: str) -> None:
        """Drop the connection on which a server goes on with a call that is over."""
        asked = self._asked.get(id_)
        if asked is not None:
            asked.abandon()

    async def _read(
        self, id_: _Id, asked: Asked, response: httpx2.Response, request: httpx2.Request
    ) -> httpx2.Response:
        if 300 <= response.status_code < 400:
            # The library follows redirects within the same server.
            return response
        if response.status_code < 300 and _is_events(response):
            return self._retold(response, id_, asked, request)
        error: object = None
        try:
            body = await _body(response)
            if response.status_code >= 400:
                trouble, error = _refusal(response, body, request)
            elif response.status_code == HTTPStatus.ACCEPTED or not _is_json(response):
                kind = printable(response.headers.get("content-type") or "none", 60)
                trouble = Trouble(
                    "unreadable",
                    f"it answered HTTP {response.status_code} with content of the type {kind}, "
                    "expected JSON or events",
                )
            else:
                message = _answer_to(id_, read_messages(body))
                return _response(self._checked(message, request), request, _session(response))
        except UnreadableMessageError as problem:
            trouble = Trouble("unreadable", problem.reason)
        finally:
            await response.aclose()
        return self._failed(id_, trouble, request, error)

    def _failed(
        self, id_: _Id, trouble: Trouble, request: httpx2.Request, error: object = None
    ) -> httpx2.Response:
        self._asked.pop(str(id_), None)
        return _response(_error(id_, self._seal.error(trouble, error)), request)

    def _checked(self, message: _Message, request: httpx2.Request) -> _Message:
        """A message of the server in a form that the library can read."""
        asked = self._asked.pop(str(message.get("id")), None)
        method = asked.method if asked else ""
        if "error" in message:
            in_session = _SESSION in request.headers
            error = members_of(message["error"])
            trouble = Trouble("answer", str(error.get("message", "")), in_session=in_session)
            return _error(message["id"], self._seal.error(trouble, error))
        result = members_of(message["result"])
        if method == "tools/list":
            return {**message, "result": cleared_list(result, self.version, self._seal)}
        if method == "tools/call":
            return {**message, "result": passed_by(result, self._seal)}
        return message

    # Events ------------------------------------------------------------------------------------

    def _retold(
        self,
        response: httpx2.Response,
        id_: _Id | None,
        asked: Asked | None,
        request: httpx2.Request,
    ) -> httpx2.Response:
        headers = {"content-type": "text/event-stream", **_session(response)}
        source = _each(httpx2.EventSource(response, max_event_size=MAX_MESSAGE_BYTES), asked)
        stream = _Retold(response, self._events(source, id_, request))
        return httpx2.Response(
            response.status_code, headers=headers, stream=stream, request=request
        )

    async def _events(
        self,
        source: AsyncIterator[httpx2.ServerSentEvent],
        id_: _Id | None,
        request: httpx2.Request,
    ) -> AsyncIterator[bytes]:
        last_id = ""
        trouble = Trouble("lost", "its stream ended before the answer")
        try:
            async for event in source:
                last_id = event.id or last_id
                data = event.data
                if event.event == "message" and data:
                    data, answered = self._event(data, id_, request)
                    if answered:
                        yield _event(data, event)
                        return
                yield _event(data, event)
        except httpx2.SSEError as problem:
            trouble = Trouble("unreadable", printable(str(problem), 100))
        except AbandonedError:
            trouble, last_id = Trouble("lost", "nobody waits for it"), ""
        except Exception as problem:
            trouble = _broken(problem)
        if id_ is not None and (not last_id or trouble.origin == "unreadable"):
            # With the id of an event, the library resumes a stream that broke off.
            self._asked.pop(str(id_), None)
            yield _event(json.dumps(_error(id_, self._seal.error(trouble))), None)

    def _event(self, data: str, id_: _Id | None, request: httpx2.Request) -> tuple[str, bool]:
        """
        The data of an event in a form that the library can read, and whether it is the answer.
        """
        try:
            messages = read_messages(data.encode())
            if len(messages) > 1 and id_ is not None:
                messages = [_answer_to(id_, messages)]
            message = messages[0]
            if "method" in message:
                return data, False
            # On a separate stream, an answer belongs to its request, whatever its id is.
            id_ = message.get("id") if id_ is None else id_
            if id_ is None:
                return data, False
            message = _answer_to(id_, [{**message, "id": id_}])
            return json.dumps(self._checked(message, request)), True
        except UnreadableMessageError as problem:
            if id_ is None:
                return data, False
            trouble = Trouble("unreadable", problem.reason)
            self._asked.pop(str(id_), None)
            return json.dumps(_error(id_, self._seal.error(trouble))), True


class _Retold(httpx2.AsyncByteStream):
    """The corrected body of an answer."""

    def __init__(self, response: httpx2.Response, pieces: AsyncIterator[bytes]) -> None:
        self._response = response
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        await self._response.aclose()


async def _each(
    source: httpx2.EventSource, asked: Asked | None
) -> AsyncGenerator[httpx2.ServerSentEvent]:
    """The events of a stream, until the request is abandoned."""
    events = aiter(source)
    asked = asked or Asked("")
    while True:
        event: httpx2.ServerSentEvent | None = None
        with asked.waiting():
            event = await anext(events, None)
        if event is None:
            return
        yield event


def _answer_to(id_: _Id, messages: list[_Message]) -> _Message:
    """
    The one message that answers a request.

    Raises:
        UnreadableMessageError: When none does, or it is incomplete.
    """
    answers = [one for one in messages if "method" not in one]
    for one in answers:
        if not same(one.get("id"), id_) and not (one.get("id") is None and "error" in one):
            continue
        if ("result" in one) == ("error" in one) or one.get("jsonrpc") != "2.0":
            break
        if not isinstance(one.get("result", one.get("error")), dict):
            break
        return {**one, "id": id_}
    else:
        found = printable(repr(answers[0].get("id")), 60) if answers else "none"
        raise UnreadableMessageError(
            f"it answers another request: found the id {found}, expected {id_!r}", id_
        )
    raise UnreadableMessageError(
        "it is not a JSON-RPC answer; expected an object with a result or an error", id_
    )


def _refusal(
    response: httpx2.Response, body: bytes, request: httpx2.Request
) -> tuple[Trouble, object]:
    status = response.status_code
    error: object = None
    plain: dict[str, Any] | None = None
    try:
        plain = read_messages(body)[0]
        error = plain.get("error")
    except UnreadableMessageError:
        pass
    if not is_object(error):
        # The status with which the library tries the older protocol.
        error = {"code": _NOT_FOUND} if status == HTTPStatus.NOT_FOUND else {}
    trouble = Trouble(
        "http",
        printable(str(error.get("message", "")), 300),
        status=status,
        after_s=wait_asked_for(
            dict(response.headers), plain, now_s=time.time(), limited=status in _LIMITED
        ),
        in_session=_SESSION in request.headers,
    )
    return trouble, error


async def _body(response: httpx2.Response) -> bytes:
    """The body, up to the size limit and a little more, so that a larger one is found too large."""
    limit = MAX_MESSAGE_BYTES if response.status_code < 400 else _MAX_ERROR_BYTES
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    return b"".join(pieces)


def _broken(problem: Exception) -> Trouble:
    """The trouble of an exception; the library's texts may have addresses, so its name must do."""
    if isinstance(problem, _NEVER_SENT):
        return Trouble("not_called", "no connection could be made")
    if isinstance(problem, httpx2.DecodingError):
        return Trouble("unreadable", "its body is not compressed as its content-encoding says")
    if isinstance(problem, httpx2.TransportError):
        return Trouble("lost", f"its connection broke ({type(problem).__name__})")
    return Trouble("unreadable", f"reading it failed ({type(problem).__name__})")


def _response(
    message: _Message, request: httpx2.Request, headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    return httpx2.Response(200, json=message, headers=dict(headers or {}), request=request)


def _session(response: httpx2.Response) -> dict[str, str]:
    """The session id of a server."""
    given = response.headers.get(_SESSION)
    return {_SESSION: given} if given else {}


def _error(id_: _Id, error: dict[str, Any]) -> _Message:
    return {"jsonrpc": "2.0", "id": id_, "error": error}


def _event(data: str, event: httpx2.ServerSentEvent | None) -> bytes:
    lines = [f"event: {event.event}"] if event else []
    if event and event.id:
        lines.append(f"id: {event.id}")
    if event and event.retry is not None:
        lines.append(f"retry: {event.retry}")
    lines += [f"data: {line}" for line in data.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


def _is_json(response: httpx2.Response) -> bool:
    return _type(response) == "application/json"


def _is_events(response: httpx2.Response) -> bool:
    return _type(response) == "text/event-stream"


def _type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
