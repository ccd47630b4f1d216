"""The pauses between the attempts of a tool, in the journal as the sleep effects that they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Recorded
from effectmq.consumers.decisions.retry import RetryPolicy
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.identity import invocations
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep, RuntimeEffectEnvelope
from effectmq.protocol.wire.scopes import EffectScopeQueueDrain
from effectmq.protocol.wire.tools import ToolFailure, ToolRetryDispositionExhausted
from tests.consumers.stage import PATIENCE_S, Stage, hurry, payload, tool

SLEPT = '{"type":"sleep"}'
CALL = tool("shaky")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of the test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal]:
    """To look into it."""
    async with Journal(url, namespace="t") as opened:
        yield opened


def sleep(attempt: int, duration_ms: int) -> Request:
    """The pause after an attempt, as a host of another make would ask for it."""
    invocation = invocations.tool_retry_sleep("shaky", attempt, parent=CALL.invocation)
    command = RuntimeEffectCommandSleep(duration_ms=duration_ms)
    return Request.seal(RuntimeEffectEnvelope(invocation=invocation, command=command))


def shaky(app: EffectWorker, retry: RetryPolicy) -> list[int]:
    """A tool that always fails; its attempts."""
    attempts: list[int] = []

    @app.tool(retry=retry, name="shaky")
    async def run() -> None:
        attempts.append(len(attempts) + 1)
        raise ValueError("no")

    return attempts


async def call(stage: Stage, app: EffectWorker, **options: Any) -> ToolFailure:
    """The failure that the call comes to."""
    await stage.start(app)
    client = await stage.client()
    found: ToolFailure = payload(await client.execute(CALL, timeout=PATIENCE_S, **options))
    return found


@pytest.mark.parametrize("in_place_ms", [0, 1_000])
async def test_each_pause_is_recorded_under_the_key_of_the_wire_format(
    stage: Stage, url: str, journal: Journal, monkeypatch: pytest.MonkeyPatch, in_place_ms: int
) -> None:
    """With the length that the policy gave it, whether it was slept here or over a delay level."""
    hurry(monkeypatch, in_place_ms)
    app = stage.worker(journal=url)
    attempts = shaky(app, RetryPolicy(max_attempts=3, base_delay_s=0.02, max_delay_s=0))
    failure = await call(stage, app)
    assert failure.retry == ToolRetryDispositionExhausted(attempts=3)
    assert attempts == [1, 2, 3]
    for attempt, duration_ms in ((1, 20), (2, 40)):
        asked = sleep(attempt, duration_ms)
        assert asked.effect_id == f"1:shaky:attempt:{attempt}:sleep"
        found = await journal.look(asked.identity, asked.hash)
        assert isinstance(found, Recorded)
        assert (found.status, found.outcome_json) == ("completed", SLEPT)
    assert await journal.look(sleep(3, 80).identity) is None


async def test_a_pause_belongs_to_the_scope_of_its_call(
    stage: Stage, url: str, journal: Journal
) -> None:
    """Also when that is not the one of the turn."""
    app = stage.worker(journal=url)
    shaky(app, RetryPolicy(max_attempts=2, base_delay_s=0.001, max_delay_s=0))
    scope = EffectScopeQueueDrain(session_id="s1", drain_id="d1")
    await call(stage, app, scope=scope)
    asked = sleep(1, 1)
    assert await journal.look(asked.identity) is None
    elsewhere = Request.seal(asked.envelope, scope=scope)
    assert isinstance(await journal.look(elsewhere.identity, asked.hash), Recorded)


async def test_no_pause_is_no_effect(stage: Stage, url: str, journal: Journal) -> None:
    """The wire format counts positive delays only."""
    app = stage.worker(journal=url)
    shaky(app, RetryPolicy(max_attempts=2, base_delay_s=0, max_delay_s=0))
    failure = await call(stage, app)
    assert failure.retry == ToolRetryDispositionExhausted(attempts=2)
    assert await journal.look(sleep(1, 0).identity) is None


async def test_a_pause_that_was_cancelled_beforehand_ends_the_call(
    stage: Stage, url: str, journal: Journal
) -> None:
    """With the failure of the wire format, and without another attempt."""
    client = await stage.client(journal=url)
    assert await client.cancel(sleep(1, 20).envelope)
    app = stage.worker(journal=url)
    attempts = shaky(app, RetryPolicy(max_attempts=3, base_delay_s=0.02, max_delay_s=0))
    failure = await call(stage, app)
    assert (failure.code, failure.class_, failure.source) == (
        "tool_retry_sleep_failed",
        "internal",
        "runtime",
    )
    assert "1:shaky:attempt:1:sleep" in failure.message
    assert attempts == [1]


async def test_a_pause_that_was_slept_before_is_no_obstacle(
    stage: Stage, url: str, journal: Journal
) -> None:
    """A worker died between writing it down and waiting, and the failure asks for another time."""
    client = await stage.client()
    app = stage.worker(journal=url)
    attempts = shaky(app, RetryPolicy(max_attempts=2, base_delay_s=0.001, max_delay_s=0))
    await stage.start(app)
    await client.execute(sleep(1, 2).envelope, timeout=PATIENCE_S)
    found = payload(await client.execute(CALL, timeout=PATIENCE_S))
    assert found.retry == ToolRetryDispositionExhausted(attempts=2)
    assert attempts == [1, 2]
