"""A journal that can only be read: refused at the start, waited for while a worker runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

# Loaded ahead: whom the process is later may not read where Python is.
from effectmq.broker.store.database import sqlite
from effectmq.broker.store.journal.journal import Journal
from effectmq.consumers.pipeline import journal_leases as recording
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import PATIENCE_S, Stage, code, logged
from tests.databases.cluster import Cluster, somebody
from tests.waiting import eventually

assert sqlite
assert sqlite3
DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder of a user who is not root, whom this process is meanwhile."""
    made = Path(tempfile.mkdtemp(prefix="effectmq-readonly-"))
    if os.geteuid() != 0:
        yield made
    else:
        account = somebody()
        os.chown(made, account.pw_uid, account.pw_gid)
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
        try:
            yield made
        finally:
            os.seteuid(0)
            os.setegid(0)
    shutil.rmtree(made, ignore_errors=True)


def allow(place: Path, mode: int) -> None:
    """Change what may be done there."""
    place.chmod(mode)


def everything(folder: Path) -> list[Path]:
    """The file and what SQLite put beside it, which has the file's rights."""
    return list(folder.glob("j.db*"))


async def made_journal(folder: Path) -> str:
    """One that was used before."""
    url = f"sqlite:///{folder}/j.db"
    async with Journal(url):
        pass
    return url


@pytest.mark.parametrize(("what", "mode"), [("file", 0o444), ("folder", 0o555)])
async def test_a_worker_does_not_start_on_what_it_may_only_read(
    stage: Stage, folder: Path, what: str, mode: int
) -> None:
    """The sentence names the file or the folder, the user, and what to do."""
    url = await made_journal(folder)
    allow(folder / "j.db" if what == "file" else folder, mode)
    worker = stage.worker(journal=url)
    words = f"cannot be written: its {what} is read-only for user .*; expected .* chmod"
    try:
        with pytest.raises(ConfigurationError, match=words):
            await worker.start()
    finally:
        allow(folder, 0o755)


async def test_a_new_journal_in_a_folder_that_is_read_only_is_refused(
    stage: Stage, folder: Path
) -> None:
    """There is nothing to wait for."""
    allow(folder, 0o555)
    worker = stage.worker(journal=f"sqlite:///{folder}/new.db")
    with pytest.raises(ConfigurationError, match="its folder is read-only"):
        await worker.start()
    allow(folder, 0o755)


async def test_what_becomes_read_only_is_waited_for(
    stage: Stage,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is acknowledged, it is said once, and it heals."""
    monkeypatch.setattr(recording, "_AGAIN_S", 0.01)
    monkeypatch.setattr(recording, "_AGAIN_MAX_S", 0.05)
    url = await made_journal(folder)
    worker = stage.worker(journal=url)

    @worker.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await stage.start(worker)
    running = worker._running
    assert running is not None
    journal = running._journal
    assert journal is not None
    client = await stage.client()
    # What is open stays writable, as on a disk that fails: only a new connection finds out.
    allow(folder / "j.db", 0o444)
    lanes = journal.database._lanes  # type: ignore[attr-defined]
    # All at once: SQLite hands the open file of one to the next, while another one is there.
    together = threading.Barrier(len(lanes))

    def cut(lane: Any) -> None:
        lane._disconnect()
        together.wait(PATIENCE_S)

    await asyncio.gather(*(lane.call(partial(cut, lane)) for lane in lanes))
    handle = await client.submit(code("a"))
    await eventually(lambda: worker.counters["journal_retries"] >= 3)
    assert stage.unsettled("exec_code") == 1
    (down,) = logged(caplog, "journal_down")
    assert "cannot be written: its file is read-only" in down.getMessage()
    for file in everything(folder):
        allow(file, 0o644)
    assert await handle.outcome(PATIENCE_S) == DONE


@pytest.mark.postgres
async def test_a_server_without_free_connections_is_waited_for(
    stage: Stage,
    private_postgres: Cluster,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others have taken them all; when they let go, the effect is done."""
    monkeypatch.setattr(recording, "_AGAIN_S", 0.01)
    monkeypatch.setattr(recording, "_AGAIN_MAX_S", 0.05)
    private_postgres.execute("CREATE USER worker")
    private_postgres.execute("GRANT ALL ON SCHEMA public TO worker")
    url = private_postgres.url.replace("postgres@", "worker@")
    worker = stage.worker(journal=url)

    @worker.handler("exec_code")
    async def run(command: object) -> object:
        return DONE

    await stage.start(worker)
    client = await stage.client()
    for pid in private_postgres.backends_of("effectmq"):
        private_postgres.execute(f"SELECT pg_terminate_backend({pid})")
    taken: list[psycopg.Connection] = []
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(url))
    handle = await client.submit(code("a"))
    await eventually(lambda: worker.counters["journal_retries"] >= 3)
    assert stage.unsettled("exec_code") == 1
    (down,) = logged(caplog, "journal_down")
    assert "max_connections" in down.getMessage() or "out of connections" in down.getMessage()
    for connection in taken:
        connection.close()
    assert await handle.outcome(PATIENCE_S) == DONE
