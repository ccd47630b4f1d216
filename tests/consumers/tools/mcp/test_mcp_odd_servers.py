"""
Servers on stdin and stdout that do what they must not: each call ends with what can be said of it,
and the others on the line are not harmed. The limit of each call is far away, so that an outcome
that is no timeout came before it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.tools import (
    ToolFailure,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)
from tests.consumers.stage import Stage, logged, payload
from tests.consumers.tools.mcp.calling import called, calling, odd_command, started
from tests.consumers.tools.mcp.serving import PATIENCE_S, told
from tests.waiting import eventually

OBJECT = {"type": "object"}
TEXT = {"type": "text", "text": "the words"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What a server writes down of itself."""
    return tmp_path / "log"


def starts(log: Path) -> int:
    """How many times the server was started."""
    return log.read_text().count("started")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-32000, "Connection closed"),
        (-32000, "the weather API is over its quota"),
        (-32600, "Session terminated"),
        (-32001, "Session not found"),
        (-32603, "Internal error"),
        (-32700, "Parse error"),
        (-32800, "Request cancelled"),
        (0, ""),
        (17, "Connection closed"),
    ],
)
async def test_an_error_of_the_server_is_the_calls_own_whatever_its_code(
    stage: Stage, log: Path, code: int, words: str
) -> None:
    """Though the library has the same numbers and words for a connection that is closed."""
    client = await started(stage, stage.worker(), odd_command(log))
    waiting = await client.submit(calling("wait"))
    await told(log, "wait")
    failure = await called(client, "error", code=code, message=words)
    assert (failure.class_, failure.code) == ("external", "mcp_error")
    assert failure.message.endswith(f"answered: {words}")
    await called(client, "release")
    assert payload(await waiting.outcome(PATIENCE_S)) == "waited"
    assert starts(log) == 1


async def test_the_server_may_say_that_the_arguments_are_wrong(stage: Stage, log: Path) -> None:
    """The one code that says something about the call itself."""
    client = await started(stage, stage.worker(), odd_command(log))
    failure = await called(client, "error", code=-32602, message="no such city")
    assert (failure.class_, failure.code) == ("invalid_request", "invalid_tool_args")
    assert "no such city" in failure.message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("this is no JSON", "which is not a JSON-RPC message"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{', "it is not JSON"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"content":[]}} }', "it is not JSON"),
        ('{"jsonrpc":"2.0","result":{"content":[]}}', "no call has that id"),
        ('{"jsonrpc":"2.0","id":987654,"result":{"content":[]}}', "no call has that id"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":"done"}', "not a JSON-RPC answer"),
        ('{"jsonrpc":"2.0","id":%ID%}', "not a JSON-RPC answer"),
        (
            '{"jsonrpc":"2.0","id":%ID%,"result":{},"error":{"code":1,"message":"x"}}',
            "not a JSON-RPC",
        ),
        ('{"id":%ID%,"result":{"content":[]}}', "not a JSON-RPC answer"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"content":[],"a":"\xff\xfe"}}', "not UTF-8"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"structuredContent":{"a":NaN}}}', "NaN"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"structuredContent":[-Infinity]}}', "Infinity"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"structuredContent":[1e999]}}', "too large"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"content":[],"a":"\\ud83d"}}', "not JSON"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"content":"text"}}', "content is str"),
        ('{"jsonrpc":"2.0","id":%ID%,"result":{"content":[1]}}', "a piece of it is int"),
        ('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}', "what?"),
        ("\x00\x01\x02", "not JSON"),
        ("[]", "not a JSON-RPC message"),
        ("7", "not a JSON-RPC message"),
    ],
)
async def test_an_answer_that_cannot_be_read_ends_its_call(
    stage: Stage, log: Path, line: str, words: str
) -> None:
    """With a sentence that says what is wrong with it."""
    client = await started(stage, stage.worker(), odd_command(log))
    failure = await called(client, "line", lines=[line])
    assert (failure.class_, failure.code) == ("external", "mcp_unreadable")
    assert words in failure.message
    assert failure.retry == ToolRetryDispositionNever()
    assert await called(client, "content", result={"content": [TEXT]}) == "the words"
    assert starts(log) == 1


async def test_an_answer_that_is_too_large_ends_its_call_and_no_other(
    stage: Stage, log: Path
) -> None:
    """It is not kept either; its id stands at its beginning."""
    client = await started(stage, stage.worker(), odd_command(log))
    waiting = await client.submit(calling("wait"))
    await told(log, "wait")
    big = await client.submit(calling("big"))
    failure = payload(await big.outcome(PATIENCE_S))
    assert failure.code == "mcp_unreadable"
    assert "larger than 16 MiB" in failure.message
    await called(client, "release")
    assert payload(await waiting.outcome(PATIENCE_S)) == "waited"


async def test_of_several_calls_the_one_that_is_left_had_the_spoilt_answer(
    stage: Stage, log: Path
) -> None:
    """An answer without an id may be anybody's, until the others have theirs."""
    client = await started(stage, stage.worker(), odd_command(log))
    waiting = await client.submit(calling("wait"))
    await told(log, "wait")
    spoilt = await client.submit(calling("line", lines=['{"jsonrpc":"2.0","result":{}}']))
    await told(log, "line")
    await called(client, "release")
    assert payload(await waiting.outcome(PATIENCE_S)) == "waited"
    assert payload(await spoilt.outcome(PATIENCE_S)).code == "mcp_unreadable"


async def test_what_a_server_prints_besides_does_no_harm(stage: Stage, log: Path) -> None:
    """Though it must not; once it is known to print, its lines are passed over."""
    client = await started(stage, stage.worker(), odd_command(log))
    for text in ("starting up…", "", "  ", "[info] up", "{not}"):
        assert await called(client, "noise", text=f"{text}\n") == "done"


async def test_a_batch_of_answers_is_read_one_by_one(stage: Stage, log: Path) -> None:
    """As an older version of the protocol has it."""
    answer = '{"jsonrpc":"2.0","id":%ID%,"result":{"content":[]}}'
    note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
    client = await started(stage, stage.worker(), odd_command(log))
    assert await called(client, "line", lines=[f"[{note},{answer}]"]) is None
    # A second answer, and one to a call that is over, do no harm.
    assert await called(client, "line", lines=[answer, answer]) is None
    assert await called(client, "content", result={"content": [TEXT]}) == "the words"


@pytest.mark.parametrize("code", [0, 3])
async def test_a_server_that_ends_tells_with_which_code(stage: Stage, log: Path, code: int) -> None:
    """And is started again by the next call."""
    client = await started(stage, stage.worker(), odd_command(log))
    failure = await called(client, "exit", code=code)
    assert (failure.class_, failure.code) == ("unavailable", "mcp_unavailable")
    assert f"its process ended with exit code {code}" in failure.message
    assert failure.retry == ToolRetryDispositionNever(), "nobody knows how far it came"


async def test_a_server_that_ends_at_every_call_is_left_alone_for_a_while(
    stage: Stage, log: Path
) -> None:
    """Longer each time; calls in between say how long, and that nothing was called."""
    client = await started(stage, stage.worker(), odd_command(log))
    for _ in range(2):
        await called(client, "exit", code=1)
    failure = await called(client, "exit", code=1)
    assert "before a call is answered" in failure.message
    assert isinstance(failure.retry, ToolRetryDispositionSafe)
    assert failure.retry.after_ms is not None
    assert 0 < failure.retry.after_ms <= 1_000
    assert starts(log) == 2

    async def healed() -> bool:
        return bool(await called(client, "content", result={"content": [TEXT]}) == "the words")

    await eventually(healed, PATIENCE_S)


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({"inputSchema": OBJECT}, "it has no name"),
        ({"name": 7, "inputSchema": OBJECT}, "it has no name"),
        ("odd", "it is str"),
        ({"name": "odd"}, "inputSchema is missing"),
        ({"name": "odd", "inputSchema": None}, "inputSchema is missing"),
        ({"name": "odd", "inputSchema": []}, "inputSchema is list"),
        ({"name": "odd", "inputSchema": {"type": "string"}}, "the type 'string'"),
        ({"name": "odd", "inputSchema": {"type": "object", "properties": 7}}, "not a JSON Schema"),
        (
            {"name": "odd", "inputSchema": {"type": "object", "properties": {"a": {"type": "x"}}}},
            "not a JSON Schema",
        ),
        (
            {"name": "odd", "inputSchema": {**OBJECT, "properties": {"a": {"$ref": "#/$defs/N"}}}},
            "refers to '#/$defs/N'",
        ),
        (
            {"name": "odd", "inputSchema": OBJECT, "outputSchema": {"$ref": "#/$defs/N"}},
            "outputSchema",
        ),
        ({"name": "odd", "inputSchema": OBJECT, "outputSchema": {"type": "array"}}, "'array'"),
        ({"name": "odd", "inputSchema": OBJECT, "description": 7}, "description"),
        ({"name": "odd", "inputSchema": OBJECT, "annotations": "none"}, "annotations"),
        ({"name": "odd name", "inputSchema": OBJECT}, "its name is not allowed for a tool"),
        ({"name": "", "inputSchema": OBJECT}, "its name is not allowed for a tool"),
        ({"name": "wait", "inputSchema": OBJECT}, "an earlier tool has the same name"),
        (
            {"name": "odd", "inputSchema": OBJECT, "description": "x" * 300_000},
            "larger than 256 KiB",
        ),
    ],
)
async def test_an_odd_tool_is_left_out_with_a_warning(
    stage: Stage, log: Path, caplog: pytest.LogCaptureFixture, tool: Any, why: str
) -> None:
    """And all the others are there, those after it, too."""
    after = {"name": "after", "inputSchema": {**OBJECT, "properties": {"$ref": {"type": "string"}}}}
    app = stage.worker()
    client = await started(stage, app, odd_command(log, tools=[tool, after]))
    (record,) = logged(caplog, "mcp_tool_left_out")
    assert why in record.getMessage()
    assert "odd" not in app.tools
    assert await called(client, "after") == "after done"


async def test_a_tool_that_was_asked_for_and_is_odd_keeps_the_worker_from_starting(
    stage: Stage, log: Path
) -> None:
    """The sentence says which, and what is odd about it."""
    app = stage.worker()
    app.mcp(odd_command(log, tools=[{"name": "odd"}]), only=["odd"], connect_timeout_s=PATIENCE_S)
    with pytest.raises(ConfigurationError, match=r"'odd'.*inputSchema is missing.*mend"):
        await app.start()


@pytest.mark.parametrize("cursors", [["a", "b", "a"], ["a", "a"], ["a", "b"]])
async def test_a_list_that_runs_in_a_circle_ends(
    stage: Stage, log: Path, caplog: pytest.LogCaptureFixture, cursors: list[str]
) -> None:
    """With the tools that it told on the way."""
    app = stage.worker()
    await started(stage, app, odd_command(log, cursors=cursors))
    assert "wait" in app.tools
    endless = [record.getMessage() for record in logged(caplog, "mcp_tool_left_out")]
    assert bool(endless) == (len(set(cursors)) < len(cursors))
    assert all("does not end" in said for said in endless)


async def test_a_list_that_changes_is_followed(stage: Stage, log: Path) -> None:
    """Without a new connection; calls that know the new tool find it."""
    app = stage.worker()
    client = await started(stage, app, odd_command(log), prefix="p.")
    assert "p.fresh" not in app.tools
    fresh = {"name": "fresh", "inputSchema": OBJECT}
    assert await called(client, "p.change", tools=[fresh, {"name": "odd"}]) == "changed"
    await eventually(lambda: "p.fresh" in app.tools, PATIENCE_S)
    assert await called(client, "p.fresh") == "fresh done"
    await called(client, "p.change", tools=[])
    await eventually(lambda: "p.fresh" not in app.tools, PATIENCE_S)
    assert starts(log) == 1


BLOB = {"uri": "file:///a", "blob": "AAAA"}


@pytest.mark.parametrize(
    ("block", "left_out"),
    [
        ({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}, "audio/wav"),
        ({"type": "image", "data": "AAAA", "mimeType": "image/svg+xml"}, "image/svg+xml"),
        ({"type": "image", "data": "AAAA", "mimeType": "image/png"}, "EFFECTMQ_ATTACHMENTS"),
        ({"type": "resource", "resource": {**BLOB, "mimeType": "application/pdf"}}, "file:///a"),
        ({"type": "resource", "resource": BLOB}, "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("structured", [False, True])
async def test_content_that_cannot_be_kept_is_named_beside_what_can(
    stage: Stage, log: Path, block: dict[str, Any], left_out: str, structured: bool
) -> None:
    """A worker without a store; by itself it is a failure that says the same."""
    client = await started(stage, stage.worker(), odd_command(log))
    result: dict[str, Any] = {"content": [TEXT, block]}
    if structured:
        result["structuredContent"] = {"a": 1}
    *first, named = await called(client, "content", result=result)
    assert first == ([{"a": 1}] if structured else []) + ["the words"]
    assert left_out in str(named)
    assert named["left_out"]

    failure = await called(client, "content", result={"content": [block]})
    assert isinstance(failure, ToolFailure)
    assert failure.message.startswith("the tool ran, but nothing of its answer can be kept")

    failure = await called(client, "content", result={**result, "isError": True})
    assert (failure.code, failure.message) == ("mcp_tool_error", "the words")
    assert left_out in str(failure.raw)


@pytest.mark.parametrize(
    ("block", "value"),
    [
        ({"type": "resource", "resource": {"uri": "a:b", "text": "in it"}}, "in it"),
        (
            {"type": "resource_link", "uri": "a:b", "name": "b", "size": 3},
            {"type": "resource_link", "uri": "a:b", "name": "b", "size": 3},
        ),
        ({"type": "video", "url": "a:b"}, {"type": "video", "url": "a:b"}),
        ({"type": "text", "text": "x", "annotations": {"audience": ["user"]}}, "x"),
    ],
)
async def test_every_other_kind_of_content_arrives(
    stage: Stage, log: Path, block: dict[str, Any], value: object
) -> None:
    """Kinds that are newer than the library, too; beside a text, and beside data."""
    client = await started(stage, stage.worker(), odd_command(log))
    assert await called(client, "content", result={"content": [block]}) == value
    found = await called(client, "content", result={"content": [TEXT, block]})
    assert found == ["the words", value]


async def test_data_that_does_not_fit_the_tools_own_schema_is_a_failure(
    stage: Stage, log: Path
) -> None:
    """Nobody could rely on the schema otherwise."""
    schema = {**OBJECT, "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    typed = {"name": "typed", "inputSchema": OBJECT, "outputSchema": schema}
    app = stage.worker()
    client = await started(stage, app, odd_command(log, tools=[typed]))
    failure = await called(client, "typed")
    assert failure.code == "mcp_unreadable"
    assert "structured content" in failure.message


async def test_what_a_server_writes_to_stderr_is_logged_without_its_secrets(
    stage: Stage, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However much it is: a server never waits for us to read it."""
    caplog.set_level(logging.INFO, "effectmq.mcp")
    client = await started(stage, stage.worker(), odd_command(log), env={"KEY": "s3cret-key"})
    assert await called(client, "shout", text="key s3cret-key\n" + "x" * 1_000_000) == "shouted"
    await eventually(lambda: logged(caplog, "mcp_stderr"), PATIENCE_S)
    assert "key ***" in logged(caplog, "mcp_stderr")[0].getMessage()
    assert "s3cret-key" not in caplog.text


async def test_many_calls_share_a_line_and_each_gets_its_own_answer(
    stage: Stage, log: Path
) -> None:
    """Good ones and spoilt ones at the same time."""
    client = await started(stage, stage.worker(), odd_command(log))
    good = [
        await client.submit(
            calling("content", result={"content": [{"type": "text", "text": str(number)}]})
        )
        for number in range(20)
    ]
    spoilt = [
        await client.submit(calling("line", lines=[json.dumps({"id": "%ID%"})])) for _ in range(5)
    ]
    async with asyncio.timeout(PATIENCE_S):
        found = [payload(await handle.outcome(PATIENCE_S)) for handle in good]
        failed = [payload(await handle.outcome(PATIENCE_S)).code for handle in spoilt]
    assert found == [str(number) for number in range(20)]
    assert set(failed) == {"mcp_unreadable"}
    assert starts(log) == 1
