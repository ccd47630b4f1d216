"""
Servers over HTTP: what their statuses say, sessions that they forget, and answers that are none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.utils import formatdate
from typing import Any

import pytest

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.tools import ToolRetryDispositionNever, ToolRetryDispositionSafe
from tests.consumers.stage import Stage, payload
from tests.consumers.tools.mcp.calling import called, calling, started
from tests.consumers.tools.mcp.odd_http import Answer, OddHttp, Play, event, json_answer, result
from tests.consumers.tools.mcp.serving import PATIENCE_S
from tests.waiting import eventually

DONE = {"content": [{"type": "text", "text": "done"}]}


def done(message: dict[str, Any]) -> Answer:
    """The call worked."""
    return json_answer(result(message, DONE))


def error(code: int, words: str, status: int = 200, id_: Any = "same") -> Play:
    """An error of JSON-RPC."""
    return lambda message: json_answer(
        {
            "jsonrpc": "2.0",
            "id": message.get("id") if id_ == "same" else id_,
            "error": {"code": code, "message": words},
        },
        status,
    )


class Street:
    """Servers that end with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def server(self, play: Play = done, **options: Any) -> OddHttp:
        """One that listens."""
        return await self._stack.enter_async_context(OddHttp(play, **options))


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """Where servers stand."""
    async with AsyncExitStack() as stack:
        yield Street(stack)


@pytest.mark.parametrize(
    "unknown",
    [
        lambda message: Answer(404),
        lambda message: Answer(404, b"<h1>Not Found</h1>", "text/html"),
        error(-32600, "Session not found", 404, "server-error"),
        error(-32001, "Session not found", 404, None),
        error(-32600, "Not Found: Session has been terminated", 404),
        error(-32000, "Bad Request: No valid session ID provided", 400, None),
        error(-32600, "Missing or unknown session", 400),
        lambda message: Answer(400, b"unbekannte Sitzung", "text/plain"),
        lambda message: Answer(410),
        error(-32001, "Sitzung abgelaufen"),
        error(-32600, "Session terminated"),
        error(-32000, "Connection closed"),
        error(4711, ""),
        error(-32602, "unknown session id"),
        error(-32602, "unknown session id", 400),
        error(-32601, "there is nothing for you here"),
        lambda message: Answer(401),
        lambda message: Answer(403),
        lambda message: json_answer(
            {
                "jsonrpc": "2.0",
                "id": message.get("id"),
                "error": {"code": -32001, "message": f"request {message.get('id')}: no session"},
            }
        ),
        lambda message: Answer(400 if message["method"] == "tools/call" else 409),
    ],
)
async def test_a_session_that_the_server_forgot_is_opened_again_whatever_it_says(
    stage: Stage, street: Street, unknown: Play
) -> None:
    """By the very call that finds it out, which has run once and no more."""
    server = await street.server()
    client = await started(stage, stage.worker(), server.url)
    assert await called(client, "do") == "done"
    server.generation, server.unknown = 2, unknown
    assert await called(client, "do") == "done"
    assert await called(client, "do") == "done"
    assert server.calls == ["do"] * 3
    assert server.connected == 2


async def test_a_server_that_breaks_off_whatever_is_said_in_an_old_session_is_met_anew(
    stage: Stage, street: Street
) -> None:
    """The call that finds it out fails: nobody knows how far it came. The next one does not."""
    server = await street.server()
    client = await started(stage, stage.worker(), server.url)
    server.generation = 2
    server.unknown = lambda message: Answer(body=b"{", breaks=True)
    failure = await called(client, "do")
    assert (failure.code, failure.retry) == ("mcp_unavailable", ToolRetryDispositionNever())
    assert await called(client, "do") == "done"
    assert server.connected == 2


async def test_a_server_that_forgets_every_session_at_once_is_unavailable(
    stage: Stage, street: Street
) -> None:
    """After two tries, and nothing was called."""
    server = await street.server(lambda message: Answer(404))
    client = await started(stage, stage.worker(), server.url)
    failure = await called(client, "do")
    assert failure.code == "mcp_unavailable"
    assert isinstance(failure.retry, ToolRetryDispositionSafe)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("code", "words", "status"),
    [
        (-32600, "Session terminated", 200),
        (-32001, "Session not found", 200),
        (-32000, "Connection closed", 200),
        (-32600, "Session terminated", 400),
        (-32000, "the city is unknown", 422),
    ],
)
async def test_an_error_in_a_session_that_lives_is_the_calls_own(
    stage: Stage, street: Street, code: int, words: str, status: int
) -> None:
    """The call is not made again."""
    server = await street.server(error(code, words, status))
    client = await started(stage, stage.worker(), server.url)
    failure = await called(client, "do")
    assert (failure.class_, failure.code) == ("external", "mcp_error")
    assert words in failure.message
    assert server.calls == ["do"]
    assert server.connected == 1


async def test_calls_in_the_old_session_are_not_cut_off_when_it_is_forgotten(
    stage: Stage, street: Street
) -> None:
    """The server may still be at work for them."""
    go_on = asyncio.Event()

    def play(message: dict[str, Any]) -> Answer:
        name = message["params"]["name"]
        hold = go_on if name == "other" else None
        return Answer(body=json.dumps(result(message, DONE)).encode(), hold=hold)

    server = await street.server(play)
    client = await started(stage, stage.worker(), server.url)
    waiting = await client.submit(calling("other"))
    await eventually(lambda: server.calls == ["other"], PATIENCE_S)
    server.generation = 2
    assert await called(client, "do") == "done"
    go_on.set()
    assert payload(await waiting.outcome(PATIENCE_S)) == "done"


@pytest.mark.parametrize("sessions", [True, False])
@pytest.mark.parametrize(
    ("status", "headers", "class_", "code", "retry"),
    [
        (401, {}, "permission_denied", "mcp_unauthorized", ToolRetryDispositionNever()),
        (403, {}, "permission_denied", "mcp_unauthorized", ToolRetryDispositionNever()),
        (418, {}, "external", "mcp_error", ToolRetryDispositionNever()),
        (413, {}, "resource_limit", "mcp_error", ToolRetryDispositionNever()),
        (429, {}, "unavailable", "mcp_unavailable", ToolRetryDispositionSafe()),
        (
            429,
            {"retry_after": "7"},
            "unavailable",
            "mcp_unavailable",
            ToolRetryDispositionSafe(after_ms=7_000),
        ),
        (
            503,
            {"retry_after": "1.5"},
            "unavailable",
            "mcp_unavailable",
            ToolRetryDispositionSafe(after_ms=1_500),
        ),
        (
            503,
            {"retry_after": formatdate(0, usegmt=True)},
            "unavailable",
            "mcp_unavailable",
            ToolRetryDispositionSafe(after_ms=0),
        ),
        (500, {}, "unavailable", "mcp_unavailable", ToolRetryDispositionNever()),
        (502, {}, "unavailable", "mcp_unavailable", ToolRetryDispositionNever()),
        (599, {}, "unavailable", "mcp_unavailable", ToolRetryDispositionNever()),
    ],
)
async def test_a_status_is_told_and_says_whether_to_try_again(
    stage: Stage,
    street: Street,
    status: int,
    headers: dict[str, str],
    class_: str,
    code: str,
    retry: object,
    sessions: bool,
) -> None:
    """The server's words stand beside it; the session and the others are not harmed."""
    words = {"error": {"message": "because"}}
    server = await street.server(
        lambda message: json_answer(words, status, **headers), sessions=sessions
    )
    client = await started(stage, stage.worker(), server.url)
    failure = await called(client, "do")
    assert (failure.class_, failure.code, failure.retry) == (class_, code, retry)
    assert f"HTTP {status}" in failure.message
    assert "because" in failure.message
    assert len(server.calls) == 1
    server.play = done
    assert await called(client, "do") == "done"
    assert server.connected == 1


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_status_at_the_start_is_told(stage: Stage, street: Street, status: int) -> None:
    """The worker does not start, and the sentence says why."""
    server = await street.server()
    server._answer = lambda message, session: Answer(status)  # type: ignore[method-assign]
    app = stage.worker()
    app.mcp(server.url, connect_timeout_s=PATIENCE_S)
    with pytest.raises(ConfigurationError, match=f"HTTP {status}"):
        await app.start()


def raw(body: bytes, **options: Any) -> Play:
    """Bytes, with the id of the request in them."""
    return lambda message: Answer(
        body=body.replace(b"%ID%", str(message["id"]).encode()), **options
    )


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (raw(b""), "not JSON"),
        (raw(b"{nope"), "not JSON"),
        (raw(b'{"jsonrpc":"2.0","id":%ID%,"result":{"a":"\xff"}}'), "not UTF-8"),
        (raw(b'{"jsonrpc":"2.0","id":%ID%,"result":{"structuredContent":[NaN]}}'), "NaN"),
        (raw(b'{"jsonrpc":"2.0","id":%ID%,"result":{"structuredContent":[1e400]}}'), "too large"),
        (raw(b'{"jsonrpc":"2.0","id":77777,"result":{"content":[]}}'), "77777"),
        (raw(b'{"jsonrpc":"2.0","result":{"content":[]}}'), "None"),
        (raw(b'{"jsonrpc":"2.0","id":%ID%,"result":[]}'), "not a JSON-RPC answer"),
        (raw(b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'), "none"),
        (raw(b"[]"), "not a JSON-RPC message"),
        (raw(b"<h1>Welcome</h1>", type="text/html"), "text/html"),
        (raw(b"nope", headers={"content-encoding": "gzip"}), "not compressed"),
        (
            raw(b"nope", headers={"content-encoding": "gzip"}, type="text/event-stream"),
            "not compressed",
        ),
        (raw(b"", status=202), "HTTP 202"),
        (raw(b"", status=204, type=""), "HTTP 204 with content of the type none"),
        (raw(b"x" * (17 * 1024 * 1024)), "larger than 16 MiB"),
        (lambda message: event("{nope"), "not JSON"),
        (lambda message: event('{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}'), "NaN"),
        (lambda message: event('{"jsonrpc":"2.0","id":1,"result":7}'), "not a JSON-RPC answer"),
        (lambda message: event('{"jsonrpc":"2.0","id":1,"result":{"content":{}}}'), "dict"),
    ],
)
async def test_an_answer_that_cannot_be_read_ends_its_call(
    stage: Stage, street: Street, play: Play, words: str
) -> None:
    """It is not called again, because it ran."""
    server = await street.server(play)
    client = await started(stage, stage.worker(), server.url)
    failure = await called(client, "do")
    assert (failure.class_, failure.code) == ("external", "mcp_unreadable")
    assert words in failure.message
    server.play = done
    assert await called(client, "do") == "done"
    assert server.connected == 1
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    "play",
    [
        lambda message: Answer(body=b'{"jsonrpc"', breaks=True),
        lambda message: event(breaks=True),
        lambda message: event('{"jsonrpc":"2.0","method":"notifications/progress"}'),
        lambda message: event(),
    ],
)
async def test_a_connection_that_breaks_ends_its_call_and_no_other(
    stage: Stage, street: Street, play: Play
) -> None:
    """Nobody knows how far it came; the call beside it goes on."""
    go_on = asyncio.Event()

    def both(message: dict[str, Any]) -> Answer:
        if message["params"]["name"] == "do":
            return play(message)
        return Answer(body=json.dumps(result(message, DONE)).encode(), hold=go_on)

    server = await street.server(both)
    client = await started(stage, stage.worker(), server.url)
    waiting = await client.submit(calling("other"))
    await eventually(lambda: server.calls == ["other"], PATIENCE_S)
    failure = await called(client, "do")
    assert (failure.class_, failure.code) == ("unavailable", "mcp_unavailable")
    assert "it is unknown how far it came" in failure.message
    go_on.set()
    assert payload(await waiting.outcome(PATIENCE_S)) == "done"
    assert server.connected == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [(-32000, "Connection closed"), (-32000, "SSE stream ended without a response"), (-32700, "")],
)
async def test_an_error_on_a_stream_is_the_servers_own(
    stage: Stage, street: Street, code: int, words: str
) -> None:
    """Though the library says the same when a stream breaks."""

    def play(message: dict[str, Any]) -> Answer:
        told = {"code": code, "message": words}
        return event(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": told}))

    server = await street.server(play)
    client = await started(stage, stage.worker(), server.url)
    failure = await called(client, "do")
    assert (failure.class_, failure.code) == ("external", "mcp_error")


async def test_a_stream_may_say_other_things_before_the_answer(
    stage: Stage, street: Street
) -> None:
    """Notifications, comments, and an id that is a text."""

    def play(message: dict[str, Any]) -> Answer:
        note = {
            "jsonrpc": "2.0",
            "method": "notifications/message",
            "params": {"level": "info", "data": "working"},
        }
        told = {**result(message, DONE), "id": str(message["id"])}
        answer = event(json.dumps(note), json.dumps(told))
        return Answer(200, b": hello\n\n" + answer.body, answer.type)

    server = await street.server(play)
    client = await started(stage, stage.worker(), server.url)
    assert await called(client, "do") == "done"
