"""Effects that may not begin yet, on a worker with and without a journal."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    ConfigurationError,
    EffectCancelledError,
    EffectFailedError,
)
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import PATIENCE_S, Stage, code, outcome
from tests.waiting import eventually


@pytest.fixture(params=["journal", "none"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """With a journal of this test's own, and without one."""
    return f"sqlite:///{tmp_path}/journal.db" if request.param == "journal" else None


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


def runs_of(app: EffectWorker) -> list[float]:
    """When its handler ran, in Unix seconds."""
    runs: list[float] = []

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        runs.append(time.time())
        return RuntimeEffectOutcomeExecCode(result=Err(command.code))

    return runs


async def test_it_begins_once_and_not_before_its_moment(stage: Stage, journal: str | None) -> None:
    app = stage.worker(journal=journal)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client(journal=journal)
    begins = datetime.now(UTC) + timedelta(seconds=1)
    reply = await (await client.submit(code("a"), not_before=begins)).reply(PATIENCE_S)
    assert reply.attempt == 1
    (ran_s,) = runs
    assert ran_s >= round(begins.timestamp() * 1_000) / 1_000


async def test_it_holds_no_slot_while_it_waits(stage: Stage, journal: str | None) -> None:
    """A worker with one slot carries out what was asked later."""
    app = stage.worker(journal=journal, concurrency=1)
    runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client(journal=journal)
    for number in range(20):
        await client.submit(code(effect_id=f"later-{number}"), delay_s=3_600)
    await client.execute(code(effect_id="now"), timeout=PATIENCE_S)
    assert app.counters["completed"] == 1


async def test_nothing_is_claimed_before_its_moment(stage: Stage, url: str) -> None:
    app = stage.worker(journal=url)
    runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client(journal=url)
    await client.submit(code(), delay_s=3_600)
    await eventually(lambda: app.counters["put_off"] >= 2)
    assert app.counters["claims"] == 0


async def test_a_recorded_effect_is_answered_at_once(stage: Stage, url: str) -> None:
    """By the worker, when the caller has no journal."""
    app = stage.worker(journal=url)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    await client.execute(code(), timeout=PATIENCE_S)
    reply = await (await client.submit(code(), delay_s=3_600)).reply(PATIENCE_S)
    assert reply.replayed
    assert len(runs) == 1


async def test_a_copy_that_may_begin_now_does(stage: Stage, journal: str | None) -> None:
    """Of two moments of one effect the earlier counts."""
    app = stage.worker(journal=journal)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client(journal=journal)
    later = await client.submit(code(), delay_s=3_600)
    now = await client.submit(code())
    await asyncio.gather(outcome(later), outcome(now))
    assert len(runs) == 1


async def test_what_waits_can_be_cancelled(stage: Stage, url: str) -> None:
    """Its caller is told at once; another one when a worker looks at it next."""
    app = stage.worker(journal=url)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    asks, cancels = await stage.client(), await stage.client(journal=url)
    handle = await asks.submit(code(), delay_s=3_600)
    await eventually(lambda: app.counters["put_off"] >= 1)
    assert await cancels.cancel(code(), reason="no longer wanted")
    with pytest.raises(EffectCancelledError):
        await outcome(handle)
    assert not runs


async def test_a_deadline_that_comes_first_parks_it(stage: Stage, journal: str | None) -> None:
    """A stranger's; a client refuses to submit that."""
    app = stage.worker(journal=journal)
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    sealed = Request.seal(code(), deadline_ms=round(time.time() * 1_000) + 100)
    headers = {**sealed.message.headers, names.NOT_BEFORE: 2**62}
    await stage.publish("exec_code", replace(sealed.message, headers=headers))
    (letter,) = await stage.parked()
    assert letter.reason == "expired"
    assert not runs
    client = await stage.client()
    with pytest.raises(ConfigurationError, match="after its deadline"):
        await client.submit(code(), delay_s=60, deadline_s=10)


def test_the_replay_of_a_letter_is_done_now() -> None:
    """Its moment is not kept."""
    sealed = Request.seal(code(), not_before_ms=2**62)
    assert names.NOT_BEFORE not in names.revived(sealed.message.headers)


async def test_a_header_that_is_no_moment_is_malformed(stage: Stage) -> None:
    app = stage.worker()
    runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    sealed = Request.seal(code(), reply_to=client._mailbox.queue)
    headers = {**sealed.message.headers, names.NOT_BEFORE: "soon"}
    handle = client.attach(code())
    await stage.publish("exec_code", replace(sealed.message, headers=headers))
    with pytest.raises(EffectFailedError, match="effect-not-before"):
        await outcome(handle)


async def test_a_caller_who_waits_too_short_a_time_is_told_at_once(stage: Stage) -> None:
    client = await stage.client()
    with pytest.raises(ConfigurationError, match="its caller waits for 30 s"):
        await client.execute(code(), delay_s=60)


async def test_a_call_of_a_turn_can_be_put_off(stage: Stage) -> None:
    app = stage.worker()
    runs = runs_of(app)
    await stage.start(app, ["exec_code"])
    client = await stage.client()
    begins = datetime.now(UTC) + timedelta(milliseconds=50)
    turn = client.turn(session_id="s1", turn_id="t1")
    await turn.exec_code("a", not_before=begins, timeout=PATIENCE_S)
    assert runs[0] >= round(begins.timestamp() * 1_000) / 1_000
