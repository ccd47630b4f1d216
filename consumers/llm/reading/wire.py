"""
What arrives over HTTP from a provider, corrected before the provider's library reads it.

The libraries trust an answer with status 200 to be a good one of the requested form, join the
pieces of tool calls blindly, and add up the usage of every chunk. So here the real form of an
answer is found, an error in the body gets its status, tool calls are put together, and the usage of
a stream is passed on once, at its end. For each call this module keeps whether there was an answer,
its headers, and the answer itself when it came in the other form, so that it can be read in that.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2

from effectmq.consumers.llm.port import ModelCallError
from effectmq.consumers.llm.reading.bodies import error_in, status_of
from effectmq.consumers.llm.reading.body import Body
from effectmq.consumers.llm.reading.chat import DONE, ChatStream, read_whole
from effectmq.consumers.llm.reading.failures import failure_in_stream
from effectmq.consumers.llm.reading.forms import EVENTS, not_json, unreadable, unreadable_as
from effectmq.protocol.encoding.narrowing import members_of, objects_of
from effectmq.protocol.text import printable

__all__ = ["SEEN", "Seen", "WireClient"]

#: The row's time limit ends a call; this one closes connections that no call waits for.
_TIMEOUT = httpx2.Timeout(1_200.0, connect=5.0)
_LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100)
_MAX_EVENT_BYTES = 64 * 1024 * 1024
_JSON = "application/json"
_MAX_RAW = 4_000
#: Headers of the original body that are wrong for the corrected one.
_OF_THE_BODY = frozenset({"content-length", "content-encoding", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that came in another form than was asked for."""

    kind: str
    content: bytes


class OtherFormError(Exception):
    """A whole answer was asked for and a stream came, or the other way round."""


@dataclass(slots=True)
class Seen:
    """
    What was seen of the answer to one call.

    Attributes:
        answered: Whether there was an answer with status 200.
        headers: The headers of the answer.
        usage: The last usage.
        given: The answer, when it must be read in the other form; a call in that form gets it in
            place of another answer.
    """

    answered: bool = False
    headers: dict[str, str] = field(default_factory=dict[str, str])
    usage: object = None
    given: Given | None = None


SEEN: ContextVar[Seen | None] = ContextVar("effectmq_llm_seen", default=None)


class WireClient(httpx2.AsyncClient):
    """
    The HTTP client for a provider's library.

    Args:
        chat: Whether the provider speaks Chat Completions.
    """

    def __init__(self, *, chat: bool) -> None:
        super().__init__(timeout=_TIMEOUT, limits=_LIMITS)
        self._chat = chat

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """
        Send a request, and read its answer before the library does.

        Raises:
            OtherFormError: When the answer must be read in the other form.
            ModelCallError: When it is no answer, in spite of status 200.
        """
        seen = SEEN.get() or Seen()
        if seen.given is not None:
            response = _told_again(seen.given, seen.headers, request)
        else:
            response = await super().send(request, stream=True, **options)
            seen.headers = dict(response.headers)
        seen.answered = response.is_success
        if response.is_success and request.method == "POST":
            return await self._answer(response, request, seen)
        if response.is_redirect:
            await response.aclose()
            raise unreadable(_redirected(response))
        if not stream:
            await response.aread()
        return response

    async def _answer(
        self, response: httpx2.Response, request: httpx2.Request, seen: Seen
    ) -> httpx2.Response:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = Body(response)
        form = await body.form(kind)
        if form == "events" and _asks_for_stream(request):
            if self._chat:
                told: httpx2.AsyncByteStream = _Stream(body, _offered(request), seen)
            else:
                told = _Watched(body, seen)
            return _remade(response, request, stream=told, kind=EVENTS)
        content = await body.whole()
        if form == "events":
            raise _other_form(Given(EVENTS, content), seen)
        if form != "json":
            raise unreadable_as(form, kind, content)
        return self._whole(content, kind, response, request, seen)

    def _whole(
        self,
        content: bytes,
        kind: str,
        response: httpx2.Response,
        request: httpx2.Request,
        seen: Seen,
    ) -> httpx2.Response:
        try:
            body: object = json.loads(content)
        except (ValueError, RecursionError):
            raise unreadable_as("json", kind, content) from None
        error = error_in(body)
        members = members_of(body)
        seen.usage = members.get("usage") or members.get("usageMetadata")
        if error is not None:
            data = json.dumps(error).encode()
            status = status_of(error)
            return _remade(response, request, status=status, content=data, kind=_JSON)
        if not members:
            raise unreadable("it is JSON, but not an object with an answer in it", _raw(content))
        if _asks_for_stream(request):
            # A server that cannot stream sends it in one piece; the library would find nothing.
            raise _other_form(Given(_JSON, content), seen)
        if self._chat:
            seen.usage = read_whole(members, _offered(request))
        return _remade(response, request, content=json.dumps(members).encode(), kind=_JSON)


class _Events(httpx2.AsyncByteStream):
    """The events of a stream, passed on once: a library reads on after the end."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._begun = False

    async def aclose(self) -> None:
        await self._body.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._begun:
            return
        self._begun = True
        async for piece in self._told():
            yield piece

    def _told(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def _each(self) -> AsyncIterator[httpx2.ServerSentEvent]:
        """The events with data, up to the one that ends the stream."""
        kind = f"{EVENTS}; charset={self._body.charset or 'utf-8'}"
        told = httpx2.Response(
            200,
            headers={"content-type": kind},
            stream=self._body,
            request=self._body.request,
        )
        async for event in httpx2.EventSource(told, max_event_size=_MAX_EVENT_BYTES):
            if event.data.strip() == DONE:
                return
            if event.data.strip():
                yield event


class _Stream(_Events):
    """The events of Chat Completions, with the known mistakes of servers corrected."""

    def __init__(self, body: Body, offered: Collection[str], seen: Seen) -> None:
        super().__init__(body)
        self._chat = ChatStream(offered)
        self._seen = seen

    async def _told(self) -> AsyncIterator[bytes]:
        async for event in self._each():
            told = self._chat.read(_data_of(event))
            self._seen.usage = self._chat.usage
            for data in told:
                yield _event(data)
        for data in self._chat.end():
            yield _event(data)
        yield _event(DONE)


class _Watched(_Events):
    """
    The events of a stream, unchanged, up to an error.

    A library looks for the errors of its own provider only. It would take an error of a gateway for
    a stream that was cut off.
    """

    def __init__(self, body: Body, seen: Seen) -> None:
        super().__init__(body)
        self._seen = seen

    async def _told(self) -> AsyncIterator[bytes]:
        empty = True
        async for event in self._each():
            error = error_in(_json_of(_data_of(event)))
            if error is not None:
                raise ModelCallError(failure_in_stream(error, self._seen.headers))
            empty = False
            yield _event(event.data, event.event)
        if empty:
            raise unreadable("its stream holds no event with data")


def _data_of(event: httpx2.ServerSentEvent) -> str:
    """The data of an event; some servers name the event an error, and put the error into it."""
    if event.event == "error" and '"error"' not in event.data:
        return f'{{"error":{event.data}}}'
    return event.data


def _json_of(data: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise not_json(data) from None


def _event(data: str, name: str = "") -> bytes:
    lines = "\n".join(f"data: {line}" for line in data.split("\n"))
    head = f"event: {name}\n" if name and name != "message" else ""
    return f"{head}{lines}\n\n".encode()


def _offered(request: httpx2.Request) -> list[str]:
    """The names of the tools that a request offers."""
    try:
        body: object = json.loads(request.content)
    except (ValueError, httpx2.RequestNotRead):
        return []
    tools = objects_of(members_of(body).get("tools"))
    names = [members_of(tool.get("function")).get("name") for tool in tools]
    return [name for name in names if isinstance(name, str)]


def _asks_for_stream(request: httpx2.Request) -> bool:
    if request.url.path.endswith(":streamGenerateContent"):
        return True
    try:
        return bool(json.loads(request.content).get("stream"))
    except (ValueError, AttributeError, httpx2.RequestNotRead):
        return False


def _other_form(given: Given, seen: Seen) -> Exception:
    """The exception for a call whose answer must be read in the other form, at most once."""
    if seen.given is not None:
        return unreadable("it has another form than was asked for", _raw(given.content))
    seen.given = given
    return OtherFormError()


def _told_again(
    given: Given, headers: Mapping[str, str], request: httpx2.Request
) -> httpx2.Response:
    named = {name: value for name, value in headers.items() if name not in _OF_THE_BODY}
    return httpx2.Response(
        200, headers={**named, "content-type": given.kind}, content=given.content, request=request
    )


def _redirected(response: httpx2.Response) -> str:
    to = response.headers.get("location", "").partition("?")[0]
    return (
        f"it is a redirect (HTTP {response.status_code}) to {printable(to, 200)!r}; set base_url "
        "to the address of the provider"
    )


def _raw(content: bytes) -> str:
    return printable(content.decode(errors="replace"), _MAX_RAW)


def _remade(
    response: httpx2.Response,
    request: httpx2.Request,
    *,
    status: int | None = None,
    content: bytes | None = None,
    kind: str | None = None,
    stream: httpx2.AsyncByteStream | None = None,
) -> httpx2.Response:
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in _OF_THE_BODY and not (kind and name.lower() == "content-type")
    ]
    if kind:
        headers.append(("content-type", kind))
    return httpx2.Response(
        status or response.status_code,
        headers=headers,
        content=content,
        stream=stream,
        request=request,
    )
