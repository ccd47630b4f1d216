"""
What comes over HTTP from a provider, before its library reads it.

The libraries take an answer that says 200 for a good one, join the pieces of tool calls blindly and
add up the usage of every chunk. So an error in the body is given its status, calls are made what
they were, and the usage of a stream is told once, at its end. Of each call it is kept whether there
was an answer, and with which headers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx2

from effectmq.consumers.llm.port import ModelCallError
from effectmq.consumers.llm.reading.bodies import error_in, status_of
from effectmq.consumers.llm.reading.chat import DONE, ChatStream, as_chunk, read_whole
from effectmq.consumers.llm.reading.failures import failure_in_stream
from effectmq.protocol.encoding.narrowing import members_of, objects_of

__all__ = ["SEEN", "Seen", "WireClient"]

#: Reading has a limit of its own, the row's; this one is for connections nobody waits for any more.
_TIMEOUT = httpx2.Timeout(1_200.0, connect=5.0)
_LIMITS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100)
_MAX_EVENT_BYTES = 64 * 1024 * 1024
_JSON = "application/json"
#: Of the body, and no longer true of what we make of it.
_OF_THE_BODY = frozenset({"content-length", "content-encoding", "transfer-encoding"})


@dataclass(slots=True)
class Seen:
    """
    What was seen of the answer to one call.

    Attributes:
        answered: Whether there was an answer that says 200.
        headers: Of the answer.
        usage: The last that was told.
    """

    answered: bool = False
    headers: dict[str, str] = field(default_factory=dict[str, str])
    usage: object = None


SEEN: ContextVar[Seen | None] = ContextVar("effectmq_llm_seen", default=None)


class WireClient(httpx2.AsyncClient):
    """
    The client that a provider's library is given.

    Args:
        chat: Whether the provider speaks Chat Completions.
    """

    def __init__(self, *, chat: bool) -> None:
        super().__init__(timeout=_TIMEOUT, limits=_LIMITS)
        self._chat = chat

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request, and read its answer before the library does."""
        response = await super().send(request, stream=True, **options)
        seen = SEEN.get() or Seen()
        seen.headers = dict(response.headers)
        seen.answered = response.is_success
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.is_success and kind == "text/event-stream":
            if self._chat:
                told: httpx2.AsyncByteStream = _Stream(response, _offered(request), seen)
            else:
                told = _Watched(response, seen)
            return _remade(response, request, stream=told)
        if response.is_success and request.method == "POST" and _may_be_json(kind, stream):
            await response.aread()
            return self._whole(response, request, seen)
        if not stream:
            await response.aread()
        return response

    def _whole(
        self, response: httpx2.Response, request: httpx2.Request, seen: Seen
    ) -> httpx2.Response:
        try:
            body: object = json.loads(response.content)
        except (ValueError, RecursionError):
            return response
        error = error_in(body)
        members = members_of(body)
        seen.usage = members.get("usage") or members.get("usageMetadata")
        if error is not None:
            data = json.dumps(error).encode()
            status = status_of(error)
            return _remade(response, request, status=status, content=data, kind=_JSON)
        if not self._chat or not members:
            return response
        seen.usage = read_whole(members, _offered(request))
        if not _asks_for_stream(request):
            data = json.dumps(members).encode()
            return _remade(response, request, content=data, kind=_JSON)
        # A server that cannot stream says it in one piece; the library would find nothing in it.
        content = b"".join((_event(json.dumps(as_chunk(members))), _event(DONE)))
        return _remade(response, request, content=content, kind="text/event-stream")


class _Stream(httpx2.AsyncByteStream):
    """The events of a stream, told again."""

    def __init__(self, response: httpx2.Response, offered: Collection[str], seen: Seen) -> None:
        self._response = response
        self._chat = ChatStream(offered)
        self._seen = seen

    async def aclose(self) -> None:
        await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        source = httpx2.EventSource(self._response, max_event_size=_MAX_EVENT_BYTES)
        async for event in source:
            if event.data.strip() == DONE:
                break
            told = self._chat.read(_data_of(event))
            self._seen.usage = self._chat.usage
            for data in told:
                yield _event(data)
        for data in self._chat.end():
            yield _event(data)
        yield _event(DONE)


class _Watched(httpx2.AsyncByteStream):
    """
    The events of a stream as they come, up to an error.

    A library looks for the errors of its own provider only, and takes those that a gateway puts
    there for a stream that was cut off.
    """

    def __init__(self, response: httpx2.Response, seen: Seen) -> None:
        self._response = response
        self._seen = seen

    async def aclose(self) -> None:
        await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        source = httpx2.EventSource(self._response, max_event_size=_MAX_EVENT_BYTES)
        async for event in source:
            error = _error_of(_data_of(event))
            if error is not None:
                raise ModelCallError(failure_in_stream(error, self._seen.headers))
            yield _event(event.data, event.event)


def _data_of(event: httpx2.ServerSentEvent) -> str:
    """The data of an event; some name the event an error, and put the error itself into it."""
    if event.event == "error" and '"error"' not in event.data:
        return f'{{"error":{event.data}}}'
    return event.data


def _error_of(data: str) -> dict[str, Any] | None:
    if '"error"' not in data:
        return None
    try:
        return error_in(json.loads(data))
    except (ValueError, RecursionError):
        # The library says that it cannot be read.
        return None


def _event(data: str, name: str = "") -> bytes:
    lines = "\n".join(f"data: {line}" for line in data.split("\n"))
    head = f"event: {name}\n" if name and name != "message" else ""
    return f"{head}{lines}\n\n".encode()


def _may_be_json(kind: str, stream: bool) -> bool:
    """Whether an answer may be JSON in one piece, by its content type; some gateways have none."""
    if kind == _JSON or kind.endswith("+json"):
        return True
    return not stream and kind in ("", "text/plain", "text/json")


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
    try:
        return bool(json.loads(request.content).get("stream"))
    except (ValueError, AttributeError, httpx2.RequestNotRead):
        return False


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
