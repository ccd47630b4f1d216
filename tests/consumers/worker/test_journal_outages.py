"""A journal that goes away under a busy worker: it is waited for, and each body runs once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.handle import Handle
from effectmq.consumers.pipeline import journal_leases as recording
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import Stage, code, gathered, logged
from tests.databases.cluster import Cluster
from tests.freezing import freeze
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))
EFFECTS = 60


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Ask again sooner than people would, and hear everything."""
    caplog.set_level(logging.INFO, logger="effectmq.worker")
    monkeypatch.setattr(recording, "_AGAIN_S", 0.02)
    monkeypatch.setattr(recording, "_AGAIN_MAX_S", 0.1)


class Busy:
    """
    A worker with bodies that count themselves, and wait until they are let go.

    Attributes:
        ran: How many times each body ran.
        go: Lets the bodies end.
    """

    def __init__(self, stage: Stage, url: str) -> None:
        self.stage = stage
        self.ran: Counter[str] = Counter()
        self.go = asyncio.Event()
        self.worker = stage.worker(journal=url, concurrency=20)
        self.worker.handler("exec_code")(self._run)

    async def _run(self, command: Any) -> object:
        self.ran[command.code] += 1
        await self.go.wait()
        return DONE

    async def start(self) -> Busy:
        """Start the worker."""
        await self.stage.start(self.worker)
        return self

    @property
    def database(self) -> Any:
        """The worker's own, to break it."""
        running = self.worker._running
        assert running is not None
        assert running._journal is not None
        return running._journal.database

    async def submitted(self, first: int, count: int) -> list[Handle]:
        """So many effects on their way."""
        client = await self.stage.client()
        return [
            await client.submit(code(f"e{number}", str(number)))
            for number in range(first, first + count)
        ]

    async def assert_down(self, caplog: pytest.LogCaptureFixture, words: str) -> None:
        """The journal is away: that is said once, whatever is asked of it."""
        await eventually(lambda: self.worker.counters["journal_retries"] >= 3, timeout_s=60)
        assert words in logged(caplog, "journal_down")[-1].getMessage()

    async def assert_healed(self, handles: list[Handle], caplog: pytest.LogCaptureFixture) -> None:
        """Everything ends, each body ran once, nothing is left, and it is said that it is over."""
        self.go.set()
        replies = await gathered(handles)
        assert [reply.result for reply in replies] == [DONE] * len(handles)
        assert self.ran == Counter(f"e{number}" for number in range(len(handles)))
        await self.stage.idle(self.worker, "exec_code")
        assert not self.stage.letters()
        assert len(logged(caplog, "journal_down")) == len(logged(caplog, "journal_up"))


async def at_claims_and_at_records(
    busy: Busy,
    caplog: pytest.LogCaptureFixture,
    breaking: Callable[[], Awaitable[None]],
    mending: Callable[[], Awaitable[None]],
    words: str,
) -> None:
    """Away while some bodies run and others are claimed, then while outcomes are recorded."""
    handles = await busy.submitted(0, 10)
    await eventually(lambda: len(busy.ran) == 10)
    await breaking()
    handles += await busy.submitted(10, 20)
    await busy.assert_down(caplog, words)
    busy.go.set()
    busy.worker.counters["journal_retries"] = 0
    await busy.assert_down(caplog, words)
    await mending()
    await busy.assert_healed(handles, caplog)


@pytest.mark.postgres
@pytest.mark.parametrize("end", ["stop", "kill9"])
async def test_a_server_that_restarts_during_claims(
    stage: Stage, private_postgres: Cluster, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    """However it ends: nothing is run twice, and nothing is lost."""
    busy = await Busy(stage, private_postgres.url).start()
    await at_claims_and_at_records(
        busy,
        caplog,
        lambda: asyncio.to_thread(getattr(private_postgres, end)),
        lambda: asyncio.to_thread(private_postgres.start),
        "journal",
    )


@pytest.mark.postgres
async def test_a_server_that_is_killed_again_and_again(
    stage: Stage, private_postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of whatever is under way."""
    busy = await Busy(stage, private_postgres.url).start()
    busy.go.set()
    handles: list[Handle] = []
    for turn in range(4):
        handles += await busy.submitted(turn * EFFECTS, EFFECTS)
        await asyncio.to_thread(private_postgres.kill9)
        await asyncio.to_thread(private_postgres.start)
    await busy.assert_healed(handles, caplog)


@contextmanager
def frozen(cluster: Cluster) -> Generator[Callable[[], None]]:
    """The whole server stands still: it takes connections, and answers nothing."""
    assert cluster._server is not None
    family = [cluster._server.pid, *cluster.backends()]
    for pid in family:
        freeze(pid)

    def thaw() -> None:
        for pid in family:
            # Its own helpers come and go.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    try:
        yield thaw
    finally:
        thaw()


@pytest.mark.postgres
async def test_a_server_that_hangs_for_longer_than_it_is_waited_for(
    stage: Stage, private_postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections are cut, new ones too; when it goes on, so does everything."""
    busy = await Busy(stage, private_postgres.url).start()
    busy.database._patience_s = 0.5
    handles = await busy.submitted(0, 10)
    await eventually(lambda: len(busy.ran) == 10)
    with frozen(private_postgres) as thaw:
        handles += await busy.submitted(10, 20)
        await busy.assert_down(caplog, "gave no answer")
        busy.go.set()
        busy.worker.counters["journal_retries"] = 0
        await busy.assert_down(caplog, "gave no answer")
        assert len(busy.ran) == 10
        thaw()
        await busy.assert_healed(handles, caplog)


async def test_a_file_that_may_not_grow(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk: nothing is acknowledged, and with room again everything is done."""
    busy = await Busy(stage, f"sqlite:///{tmp_path}/j.db").start()

    async def room(pages: int) -> None:
        lane = busy.database._lanes[0]
        await lane.call(lambda: lane._connection.execute(f"PRAGMA max_page_count={pages}"))

    await at_claims_and_at_records(busy, caplog, lambda: room(1), lambda: room(10**6), "make room")
