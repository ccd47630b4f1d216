"""A client with a journal, when the journal is slow, strict, or asked about another scope."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    EffectCancelledError,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from effectmq.protocol.wire.scopes import EffectScopeProcess
from tests.consumers.stage import PATIENCE_S, Stage, code, outcome

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal of this test's own."""
    return f"sqlite:///{tmp_path}/journal.db"


def hang(client: EffectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on its journal answers nothing."""
    journal = client._opened_journal
    assert journal is not None
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(journal, "look", lambda *_: loop.create_future())
    monkeypatch.setattr(journal, "cancel", lambda *_: loop.create_future())


async def test_a_journal_that_hangs_leaves_time_for_the_effect(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It travels, as if there were nothing recorded."""
    app = stage.worker(journal=url)

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await stage.start(app)
    client = await stage.client(journal=url)
    hang(client, monkeypatch)
    assert await client.execute(code("a"), timeout=2.0) == DONE
    assert client.counters["journal_unavailable"] == 1


async def test_a_strict_client_says_that_its_journal_is_silent(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing about a broker, which it has none of."""
    async with EffectClient("memory://nobody", journal=url, replay="strict") as client:
        hang(client, monkeypatch)
        with pytest.raises(DatabaseUnavailableError, match=r"no answer within 0\.05 s"):
            await client.execute(code("a"), timeout=0.05)
        with pytest.raises(ConfigurationError, match="only replays"):
            await client.cancel(code("a"))


async def test_cancelling_is_bounded(
    stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was done is not known then, and cancelling again is safe."""
    client = await stage.client(journal=url)
    hang(client, monkeypatch)
    with pytest.raises(DatabaseUnavailableError, match="may have been done"):
        await client.cancel(code("a"), timeout=0.05)


async def test_an_effect_of_another_scope_is_cancelled_in_that_scope(
    stage: Stage, url: str
) -> None:
    """The same envelope in its usual scope is another effect, and goes on."""
    app = stage.worker(journal=url)

    @app.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    scope = EffectScopeProcess(process_id="p1")
    client = await stage.client(journal=url)
    assert await client.cancel(code("a"), scope=scope)
    await stage.start(app)
    other = await stage.client()
    with pytest.raises(EffectCancelledError):
        await outcome(await other.submit(code("a"), scope=scope))
    third = await stage.client()
    assert await third.execute(code("a"), timeout=PATIENCE_S) == DONE
