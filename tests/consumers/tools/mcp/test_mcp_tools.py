"""Tools of real MCP servers, through a worker: what they give, how they fail, what heals."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.sessions import SurfaceHandler
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolFailure,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)
from tests.consumers.stage import Stage, effect, logged, payload, tool
from tests.consumers.tools.mcp.calling import called, started
from tests.consumers.tools.mcp.server import PNG, digest
from tests.consumers.tools.mcp.serving import COMMAND, PATIENCE_S, HttpServer, kill, told
from tests.waiting import eventually

SAFE = RetryPolicy(max_attempts=2, base_delay_s=0, max_delay_s=0)


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest) -> str | list[str]:
    """A server to register, in each of the ways to reach one."""
    if request.param == "stdio":
        return COMMAND
    url: str = request.getfixturevalue("http_server").url
    return url


async def test_the_tools_of_a_server_are_tools_like_others(
    stage: Stage, server: str | list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Listed with schemas, called by name, their results as values and attachments."""
    app = stage.worker(attachments=f"memory://{stage.url}")

    @app.tool
    async def add(a: int) -> int:
        return a

    with caplog.at_level(logging.INFO, "effectmq.mcp"):
        client = await started(stage, app, server, prefix="far.")
    assert app.tools["far.add"].description == "Add two numbers."
    assert list(app.tools["far.add"].parameters) == ["a", "b"]
    assert app.tools["far.find"].spec().output_schema["properties"].keys() == {"city", "zip"}
    assert "far.odd/name" not in app.tools
    assert "odd/name" in logged(caplog, "mcp_tool_left_out")[0].getMessage()

    assert await called(client, "add", a=1) == 1
    assert await called(client, "far.add", a=1, b=2) == {"result": 3}
    assert await called(client, "far.find", city="Bonn") == {"city": "Bonn", "zip": 53111}
    assert await called(client, "far.say", text="hi") == "hi"
    look, first, second, words = await called(client, "far.picture")
    assert (look, words, second.label) == ("look", "words", "mem://a")
    assert isinstance(first, AttachmentRef)
    assert first.id == second.id
    assert app.attachments is not None
    assert await app.attachments.get(first.id) == PNG


async def test_failures_of_a_server_are_failures_of_its_tools(
    stage: Stage, http_server: HttpServer
) -> None:
    """With the server's words, and with what came with them."""
    app = stage.worker(attachments=f"memory://{stage.url}")
    client = await started(stage, app, http_server.url)
    failure = await called(client, "add", a="x", b=2)
    assert isinstance(failure, ToolFailure)
    assert (failure.class_, failure.code, failure.source) == ("execution", "mcp_tool_error", "tool")
    assert "valid integer" in failure.message
    assert failure.retry == ToolRetryDispositionNever()

    failure = await called(client, "broken_picture")
    assert failure.message == "no"
    assert isinstance(failure.raw[0], AttachmentRef)

    failure = await called(client, "sound")
    assert failure.code == "runtime_effect_attachment_media_type"


async def test_without_a_store_a_picture_is_named_in_its_place(
    stage: Stage, http_server: HttpServer
) -> None:
    """With what to do about it; the words beside it arrive."""
    client = await started(stage, stage.worker(), http_server.url, retry=SAFE)
    look, first, _, words = await called(client, "picture")
    assert (look, words) == ("look", "words")
    assert first["mimeType"] == "image/png"
    assert "EFFECTMQ_ATTACHMENTS" in first["left_out"]
    failure = await called(client, "fail", message="x")
    assert failure.retry == ToolRetryDispositionExhausted(attempts=2)


async def test_a_call_over_its_time_limit_is_cancelled_on_the_server(
    stage: Stage, server: str | list[str], tmp_path: Path
) -> None:
    """The server hears of it, so that it does not work for nobody."""
    app = stage.worker()
    client = await started(stage, app, server, time_limit_s=PATIENCE_S)
    assert app.longest_time_limit_s >= PATIENCE_S
    note = tmp_path / "note"
    handle = await client.submit(tool("hang", note=str(note)))
    await told(note)
    running = app._running
    assert running is not None
    (attempt,) = [job.attempt for route in running._routes for job in route.jobs]
    assert attempt is not None
    # Its time is up now, and not when the machine has counted to it.
    attempt._limit_s = 0.0
    attempt.is_over()
    assert payload(await handle.outcome(PATIENCE_S)).class_ == "timeout"
    assert "cancelled" in await told(note, "cancelled")


async def test_a_server_killed_during_a_call_is_started_again_by_the_next(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call that was under way fails as unavailable; nobody knows how far it came."""
    client = await started(stage, stage.worker(), COMMAND)
    for name, retry in (
        ("hang", ToolRetryDispositionNever()),
        ("watch", ToolRetryDispositionSafe()),
    ):
        note = tmp_path / name
        handle = await client.submit(tool(name, name, note=str(note)))
        await kill(note)
        failure = payload(await handle.outcome(PATIENCE_S))
        assert (failure.class_, failure.code) == ("unavailable", "mcp_unavailable")
        assert failure.source == "runtime"
        assert failure.retry == retry, "only what is harmless may be run again"
        assert await called(client, "say", text=name) == name
    assert len(logged(caplog, "mcp_lost")) == 2


async def test_a_tool_with_a_retry_policy_survives_its_server(stage: Stage, tmp_path: Path) -> None:
    """Whoever gave it the policy has said that it may run twice."""
    app = stage.worker()
    client = await started(stage, app, COMMAND, retry=SAFE)
    note = tmp_path / "note"
    handle = await client.submit(tool("once", note=str(note)))
    await kill(note)
    assert payload(await handle.outcome(PATIENCE_S)) == "done"
    assert app.counters["retried"] == 1


async def test_a_server_that_comes_back_is_used_again(stage: Stage, tmp_path: Path) -> None:
    """Until then its tools are unavailable, and trying again is safe: nothing was called."""
    with HttpServer() as server:
        client = await started(stage, stage.worker(), server.url)
        note = tmp_path / "note"
        handle = await client.submit(tool("hang", note=str(note)))
        await told(note)
        server.kill()
        assert payload(await handle.outcome(PATIENCE_S)).code == "mcp_unavailable"
        failure = await called(client, "say", text="hi")
        assert failure.class_ == "unavailable"
        assert failure.retry == ToolRetryDispositionSafe()
        assert "no connection could be made" in failure.message
        server.start()

        async def healed() -> bool:
            outcome = await called(client, "say", text="hi")
            return bool(outcome == "hi")

        await eventually(healed, PATIENCE_S)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (["/no/such/program"], "No such file or directory"),
        ([sys.executable, "-c", "pass"], "it ended at once"),
        ("http://127.0.0.1:9/mcp", "no connection could be made"),
    ],
)
async def test_a_server_that_cannot_be_used_is_found_out_at_the_start(
    stage: Stage, server: Any, reason: str
) -> None:
    """With a sentence, and nothing is left running."""
    app = stage.worker()
    app.mcp(server, connect_timeout_s=PATIENCE_S)
    with pytest.raises(ConfigurationError, match=reason):
        await app.start()
    assert app.tools == {}


async def test_a_server_that_says_nothing_is_given_up_on(stage: Stage) -> None:
    """Within the time that was given to it."""
    app = stage.worker()
    app.mcp([sys.executable, "-c", "import sys; sys.stdin.read()"], connect_timeout_s=0.2)
    with pytest.raises(ConfigurationError, match=r"did not answer within 0\.2 s"):
        await app.start()


async def test_two_tools_of_one_name_are_found_out_at_the_start(
    stage: Stage, http_server: HttpServer
) -> None:
    """A prefix or a choice resolves it."""
    app = stage.worker()

    @app.tool
    async def say() -> None: ...

    app.mcp(http_server.url, connect_timeout_s=PATIENCE_S)
    with pytest.raises(ConfigurationError, match=r"has a tool 'say'.*only="):
        await app.start()


async def test_only_the_chosen_tools_are_taken(stage: Stage, http_server: HttpServer) -> None:
    """On the lane that was chosen for them; a name that the server does not have is an error."""
    app = stage.worker()
    app.mcp(http_server.url, only=["say"], lane="far", connect_timeout_s=PATIENCE_S)
    assert app.routes == ("sleep", "tool_call", "tool_call.far")
    await stage.start(app)
    assert list(app.tools) == ["say"]
    assert app.tools["say"].lane == "far"

    other = stage.worker()
    other.mcp(http_server.url, only=["shout"], connect_timeout_s=PATIENCE_S)
    with pytest.raises(ConfigurationError, match="no tool 'shout'"):
        await other.start()


async def test_secrets_reach_the_server_and_no_log(
    stage: Stage, http_server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Variables, headers and the query of an address, at every level of logging."""
    caplog.set_level(logging.DEBUG)
    app = stage.worker()
    app.mcp(COMMAND, prefix="near.", env={"KEY": "s3cret"}, connect_timeout_s=PATIENCE_S)
    app.mcp(
        f"{http_server.url}?k=s3cret",
        prefix="far.",
        headers={"x-key": "s3cret"},
        connect_timeout_s=PATIENCE_S,
    )
    await stage.start(app)
    client = await stage.client()
    secret = digest("s3cret")
    assert await called(client, "near.variable", name="KEY") == secret
    assert await called(client, "far.header", name="x-key") == secret
    assert any(record.name == "httpx2" for record in caplog.records)
    assert [record for record in caplog.records if "s3cret" in record.getMessage()] == []


async def test_arguments_that_are_no_object_are_refused_here(
    stage: Stage, http_server: HttpServer
) -> None:
    """MCP has no other."""
    client = await started(stage, stage.worker(), http_server.url)
    call = PreparedToolCall(call_id="c", tool_name="say", args=[1])
    envelope = effect("tool_call", RuntimeEffectCommandToolCall(call=call), "1")
    found = payload(await client.execute(envelope, timeout=PATIENCE_S))
    assert (found.class_, found.code) == ("invalid_request", "invalid_tool_args")


async def test_a_worker_can_be_started_again(stage: Stage, http_server: HttpServer) -> None:
    """Everything is connected anew."""
    app = stage.worker()
    client = await started(stage, app, http_server.url)
    await app.stop(0)
    await app.start()
    assert await called(client, "say", text="again") == "again"


async def test_a_worker_that_only_tells_of_tools_knows_those_of_servers(
    stage: Stage, http_server: HttpServer
) -> None:
    """The surface of a model lists them, wherever they are run."""
    app = stage.worker()
    app.add(SurfaceHandler(lambda: app.tools))
    app.mcp(http_server.url, only=["say"], connect_timeout_s=PATIENCE_S)
    await stage.start(app, ["sleep"])
    assert app.tools == {}
    await app.stop(0)
    await app.start(["sync_execution_surface"])
    client = await stage.client()
    turn = client.turn(session_id="s1", turn_id="t1")
    outcome: Any = await turn.sync_execution_surface(update_machine_config=True, timeout=PATIENCE_S)
    assert [spec.name for spec in outcome.result.ok.tool_specs] == ["say"]
