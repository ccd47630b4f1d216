"""Every log line about an effect says which session, turn, effect and hash it is about."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import RetryEffectError
from effectmq.protocol.messages.log_names import log_names
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import AT_ONCE, Stage, code, logged, outcome

ROOT = Path(__file__).parents[3]
SOURCES = [path for room in ("broker", "consumers") for path in (ROOT / room).rglob("*.py")]
_CALLS = {"debug", "info", "warning", "error", "exception"}
_SINGLE = ("effect %s", "%s of effect")


def unnamed(path: Path) -> Iterator[str]:
    """The log calls of a file that speak of one effect and do not name it in their ``extra``."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="logger"), attr=attr),
                args=[ast.Constant(value=str(sentence)), *_],
                keywords=keywords,
            ) if attr in _CALLS and any(words in sentence for words in _SINGLE):
                extra = next(
                    (ast.unparse(word.value) for word in keywords if word.arg == "extra"), ""
                )
                if not any(
                    names in extra for names in ("log_names", "names_of_message", "names_of_effect")
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}: {sentence}"


def test_every_log_call_about_an_effect_names_it() -> None:
    """A line that is found by its session needs no second search for it."""
    assert [line for path in SOURCES for line in unnamed(path)] == []


async def test_a_retry_and_a_parking_are_found_by_session_turn_and_hash(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The same four names, whatever becomes of the effect."""
    app = stage.worker()

    @app.handler("exec_code", retry=AT_ONCE)
    async def run(command: Any) -> object:
        if command.code == "fail":
            raise RetryEffectError("not yet")
        return RuntimeEffectOutcomeExecCode(result=Err("done"))

    await stage.start(app)
    client = await stage.client()
    with caplog.at_level(logging.INFO, logger="effectmq"):
        handle = await client.submit(code("fail"))
        with pytest.raises(Exception, match="not yet"):
            await outcome(handle)
    expected = log_names(handle.request)
    assert set(expected) == {"session_id", "turn_id", "effect_id", "hash"}
    records = [*logged(caplog, "retry"), *logged(caplog, "park")]
    assert {getattr(record, "action", "") for record in records} == {"retry", "park"}
    for record in records:
        assert {key: getattr(record, key, None) for key in expected} == expected
