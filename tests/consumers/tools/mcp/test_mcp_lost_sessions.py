"""
Sessions that a server over HTTP does not know any more, and servers that hear nothing: the call
that meets them ends with its own error, once, and the next one has a new session.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from effectmq.consumers.tools.mcp import connection
from tests.consumers.stage import Stage, logged, payload
from tests.consumers.tools.mcp.calling import called, calling, odd_command, started
from tests.consumers.tools.mcp.odd_http import Answer, OddHttp, Play, event, json_answer, result
from tests.consumers.tools.mcp.serving import PATIENCE_S
from tests.waiting import eventually

DONE = {"content": [{"type": "text", "text": "done"}]}
#: For calls that end only by their limit; enough for those that end by themselves.
LIMIT_S = 5.0


def done(message: dict[str, Any]) -> Answer:
    """The call worked."""
    return json_answer(result(message, DONE))


def hang(message: dict[str, Any]) -> Answer:
    """Never answer."""
    return Answer(hold=asyncio.Event())


def error(message: dict[str, Any], code: int) -> Answer:
    """An error of JSON-RPC."""
    told = {"code": code, "message": "no"}
    return json_answer({"jsonrpc": "2.0", "id": message.get("id"), "error": told})


def refused(message: dict[str, Any]) -> Answer:
    """Only calls are answered, with an error; everything else hangs."""
    return error(message, -32001) if message["method"] == "tools/call" else hang(message)


@pytest.mark.parametrize(
    ("unknown", "code"),
    [
        (lambda message: Answer(500), "mcp_unavailable"),
        (lambda message: error(message, -32603), "mcp_error"),
        (lambda message: error(message, -ord(message["method"][-1])), "mcp_error"),
        (lambda message: Answer(body=b"{", breaks=True), "mcp_unavailable"),
        (lambda message: event(), "mcp_unavailable"),
        (lambda message: Answer(202), "mcp_unreadable"),
        (lambda message: Answer(302, headers={"location": "/login"}), "mcp_unreadable"),
        (lambda message: Answer(body=b"<h1>Log in</h1>", type="text/html"), "mcp_unreadable"),
        (lambda message: Answer(body=b"{nope"), "mcp_unreadable"),
        (lambda message: Answer(body=b'{"jsonrpc":"2.0","id":1,"result":NaN}'), "mcp_unreadable"),
        (lambda message: json_answer(result({"id": 77777}, {})), "mcp_unreadable"),
    ],
)
async def test_what_may_have_run_is_not_called_again_and_the_next_call_has_a_new_session(
    stage: Stage, code: str, unknown: Play
) -> None:
    """The failure is the call's own, and it comes at once: its limit is far away."""
    async with OddHttp(done) as server:
        client = await started(stage, stage.worker(), server.url)
        assert await called(client, "do") == "done"
        server.generation, server.unknown = 2, unknown
        assert (await called(client, "do")).code == code
        asked = server.methods.count("tools/call")
        assert await called(client, "do") == "done"
        assert asked == 2
        assert server.methods.count("tools/call") == 3
        assert server.connected == 2


@pytest.mark.parametrize(
    ("unknown", "code"),
    [
        (hang, "timeout"),
        (
            lambda message: Answer(body=b": on\n\n", type="text/event-stream", endless=True),
            "timeout",
        ),
        (lambda message: Answer(body=b" ", endless=True), "timeout"),
        (refused, "mcp_error"),
    ],
)
async def test_a_session_in_which_nothing_is_answered_ends_its_call_by_its_limit(
    stage: Stage, unknown: Play, code: str
) -> None:
    """And no other: the server is asked, for a part of the limit, whether it hears anything."""
    async with OddHttp(done) as server:
        client = await started(stage, stage.worker(), server.url, time_limit_s=LIMIT_S)
        assert await called(client, "do") == "done"
        server.generation, server.unknown = 2, unknown
        assert (await called(client, "do")).code == code
        assert await called(client, "do") == "done"
        assert server.connected == 2


async def test_a_call_that_hangs_in_a_session_that_lives_costs_no_other_its_session(
    stage: Stage,
) -> None:
    """The server answers what it is asked, so the line stays."""

    def play(message: dict[str, Any]) -> Answer:
        return hang(message) if message["params"]["name"] == "other" else done(message)

    async with OddHttp(play) as server:
        client = await started(stage, stage.worker(), server.url, time_limit_s=LIMIT_S)
        assert (await called(client, "other")).code == "timeout"
        assert await called(client, "do") == "done"
        assert server.connected == 1


@pytest.mark.parametrize("code", [-32602, -32601, -32603, -32001])
async def test_a_server_that_knows_no_ping_does_not_run_a_call_twice(
    stage: Stage, code: int
) -> None:
    """What it has listed before it can list again, so it knows the session."""

    class Deaf(OddHttp):
        def _answer(self, message: dict[str, Any], session: str | None) -> Answer:
            if message["method"] == "ping":
                return error(message, code)
            return super()._answer(message, session)

    async with Deaf(lambda message: error(message, code)) as server:
        client = await started(stage, stage.worker(), server.url)
        await called(client, "do")
        assert server.calls == ["do"]
        server.play = done
        assert await called(client, "do") == "done"
        assert server.connected == 1


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
async def test_a_proxy_that_says_not_now_costs_no_session(stage: Stage, status: int) -> None:
    """It says nothing of the server behind it."""
    async with OddHttp(done) as server:
        client = await started(stage, stage.worker(), server.url)
        server.generation, server.unknown = 2, lambda message: Answer(status)
        assert (await called(client, "do")).code == "mcp_unavailable"
        server.generation = 1
        assert await called(client, "do") == "done"
        assert server.connected == 1


@pytest.mark.parametrize("endless", [False, True])
async def test_calls_that_hang_keep_neither_connections_nor_the_worker(
    stage: Stage, caplog: pytest.LogCaptureFixture, endless: bool
) -> None:
    """Though the server does not even hear that they are over."""
    caplog.set_level(logging.ERROR)

    def play(message: dict[str, Any]) -> Answer:
        if message["params"]["name"] == "do":
            return done(message)
        if endless:
            return Answer(body=b": on\n\n", type="text/event-stream", endless=True)
        return hang(message)

    async with OddHttp(play) as server:
        server.heard = lambda message: hang(message) if "params" in message else Answer(202)
        app = stage.worker(concurrency=30, max_abandoned=1, kill_grace_s=PATIENCE_S)
        client = await started(stage, app, server.url, time_limit_s=1.0)
        handles = [await client.submit(calling("other")) for _ in range(30)]
        ends = [payload(await handle.outcome(PATIENCE_S)).code for handle in handles]
        assert ends == ["timeout"] * 30
        assert "cannot be stopped" not in caplog.text

        async def healed() -> bool:
            return bool(await called(client, "do") == "done")

        await eventually(healed, PATIENCE_S)
        await eventually(lambda: server.connections < 10, PATIENCE_S)


async def test_more_calls_than_a_pool_of_connections_has_run_at_once(stage: Stage) -> None:
    """How many is for the worker to say."""
    go_on = asyncio.Event()

    def play(message: dict[str, Any]) -> Answer:
        return Answer(hold=go_on, body=done(message).body)

    async with OddHttp(play) as server:
        client = await started(stage, stage.worker(concurrency=120), server.url)
        handles = [await client.submit(calling("do")) for _ in range(120)]
        await eventually(lambda: len(server.calls) == 120, PATIENCE_S)
        go_on.set()
        assert {payload(await handle.outcome(PATIENCE_S)) for handle in handles} == {"done"}


async def test_a_worker_ends_beside_a_server_that_hears_nothing(stage: Stage) -> None:
    """The good-bye is a courtesy."""
    async with OddHttp(done) as server:
        app = stage.worker()
        client = await started(stage, app, server.url)
        assert await called(client, "do") == "done"
        server.others = Answer(hold=asyncio.Event())
        async with asyncio.timeout(PATIENCE_S):
            await app.stop()


async def test_a_worker_ends_while_a_server_does_not_even_answer_its_greeting(
    stage: Stage,
) -> None:
    """Nothing is under way on a line that is not there yet."""
    async with OddHttp(done) as server:
        app = stage.worker()
        client = await started(stage, app, server.url, time_limit_s=1.0, connect_timeout_s=3_600)
        server.generation = 2
        server._answer = lambda message, session: (  # type: ignore[method-assign]
            hang(message) if message["method"] == "initialize" else Answer(404)
        )
        assert (await called(client, "do")).code == "timeout"
        async with asyncio.timeout(PATIENCE_S):
            await app.stop()


async def test_a_key_that_is_refused_when_the_line_is_made_anew_is_no_outage(
    stage: Stage,
) -> None:
    """The server is there, and not for us; as when a call is refused."""
    async with OddHttp(done) as server:
        client = await started(stage, stage.worker(), server.url)
        server._answer = lambda message, session: Answer(401)  # type: ignore[method-assign]
        for _ in range(3):
            failure = await called(client, "do")
            assert (failure.class_, failure.code) == ("permission_denied", "mcp_unauthorized")


async def test_a_list_that_changes_is_followed_over_http(stage: Stage) -> None:
    """Told on the stream of a call; what is gone is the worker's to refuse."""

    def play(message: dict[str, Any]) -> Answer:
        if message["params"]["name"] != "do":
            return done(message)
        note = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
        answer = event(note.decode())
        return Answer(body=answer.body + event(done(message).body.decode()).body, type=answer.type)

    async with OddHttp(play) as server:
        app = stage.worker()
        client = await started(stage, app, server.url)
        server.tools = ["do", "fresh"]
        assert await called(client, "do") == "done"
        await eventually(lambda: "fresh" in app.tools, PATIENCE_S)
        assert "other" not in app.tools
        assert await called(client, "fresh") == "done"


async def test_a_command_that_hears_nothing_any_more_is_started_again(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that is at work may be slow to answer; one that never does is of no use."""
    monkeypatch.setattr(connection, "_PATIENT_QUESTION_S", 0.5)
    client = await started(
        stage, stage.worker(), odd_command(tmp_path / "log"), time_limit_s=LIMIT_S
    )
    assert (await called(client, "deaf")).code == "timeout"
    await eventually(lambda: logged(caplog, "mcp_lost"), PATIENCE_S)
    assert await called(client, "release") == "release done"
