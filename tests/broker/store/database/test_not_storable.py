"""What a database cannot keep: told as that, without harm to what shares its transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Accepted, Granted, Recorded
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, NotStorableError
from tests.conformance.asking import claim_of, effect, finished, said
from tests.consumers.stage import PATIENCE_S
from tests.databases.cluster import Cluster

#: The same in both: whoever writes this key is refused by the table itself.
_REFUSING = {
    "sqlite": [
        "CREATE TRIGGER picky BEFORE INSERT ON effectmq_effects WHEN new.replay_key = 'odd' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    ],
    "postgres": [
        "ALTER TABLE effectmq_effects ADD CONSTRAINT picky CHECK (replay_key <> 'odd')",
    ],
}


def _refuse(tx: Transaction) -> None:
    for statement in _REFUSING[tx.dialect]:
        tx.execute(statement)


@pytest.mark.parametrize("value", ["half \ud83d", "\udcff", 2**63, -(2**70)])
async def test_a_value_that_no_column_holds_is_not_storable(
    database_url: str, value: str | int
) -> None:
    """The transaction is rolled back, and the next one works."""
    async with open_database(database_url) as database:
        await database.write(lambda tx: tx.execute("CREATE TABLE t (a TEXT, b BIGINT)"))
        column = "a" if isinstance(value, str) else "b"

        def work(tx: Transaction) -> None:
            tx.execute("INSERT INTO t (a) VALUES ('before')")
            tx.execute(f"INSERT INTO t ({column}) VALUES (?)", (value,))

        with pytest.raises(NotStorableError, match="cannot keep this"):
            await database.write(work)
        rows = await database.read(lambda tx: tx.execute("SELECT count(*) FROM t"))
        assert rows == [(0,)]


@pytest.mark.parametrize("problem", [StopIteration, TypeError, MemoryError, KeyError])
async def test_what_the_function_raises_comes_back(
    database_url: str, problem: type[Exception]
) -> None:
    """Also the one that a future does not take."""

    def work(tx: Transaction) -> None:
        raise problem("mine")

    async with open_database(database_url) as database:
        for ask in (database.write, database.read):
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises((problem, RuntimeError), match="mine"):
                    await ask(work)


async def test_whoever_shares_a_transaction_does_not_share_its_fate(database_url: str) -> None:
    """One of many is refused by the database; every other one is claimed and recorded."""
    async with Journal(database_url) as journal:
        await journal.database.write(_refuse)
        keys = [*(f"k{number}" for number in range(50)), "odd", *(f"l{n}" for n in range(50))]
        answers = await asyncio.gather(
            *(journal.claim(claim_of(effect(key))) for key in keys), return_exceptions=True
        )
        refused = answers.pop(50)
        assert isinstance(refused, NotStorableError)
        assert "not this one" in str(refused) or "picky" in str(refused)
        assert answers == [Granted(1, 1)] * 100
        keys.remove("odd")
        records = [journal.record(said(effect(key), Granted(1, 1))) for key in keys]
        assert await asyncio.gather(*records) == [Accepted()] * 100


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_a_database_that_cannot_hold_every_text_is_refused(
    private_postgres: Cluster, encoding: str
) -> None:
    """At the start, and with what to do."""
    private_postgres.execute(
        f"CREATE DATABASE narrow ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' "
        "LC_CTYPE 'C'"
    )
    url = private_postgres.url.replace("/postgres", "/narrow").replace("//narrow", "//postgres")
    with pytest.raises(ConfigurationError, match=f"{encoding}; expected UTF8.*createdb"):
        await Journal(url).__aenter__()


async def test_an_sqlite_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Its order of texts is another one."""
    with sqlite3.connect(tmp_path / "j.db") as connection:
        connection.execute("PRAGMA encoding = 'UTF-16'")
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"UTF-16.*expected UTF-8"):
        await Journal(f"sqlite:///{tmp_path}/j.db").__aenter__()


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "SJIS", "nonsense"])
async def test_the_environment_does_not_choose_how_text_is_sent(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """What comes back is what was kept."""
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    async with Journal(postgres_url) as journal:
        outcome = '"ü 日本 🚀"'
        await finished(journal, effect("ключ"), outcome)
        found = await journal.look(effect("ключ").identity)
        assert isinstance(found, Recorded)
        assert found.outcome_json == outcome
    monkeypatch.delenv("PGCLIENTENCODING")
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT replay_key FROM effectmq_effects").fetchall()
    assert rows == [("ключ",)]


@pytest.mark.parametrize("name", ["zero \x00 character", "half \ud800", "n" * 10_000])
async def test_a_worker_with_an_odd_name_claims_like_any_other(
    database_url: str, name: str, make_worker: Callable[..., EffectWorker]
) -> None:
    """Its name is a fact about the worker, and no effect is parked for it."""
    worker = make_worker(database_url, name)

    @worker.tool
    async def hello() -> str:
        return "hello"

    await worker.start()
    try:
        async with EffectClient(worker.broker) as client:
            turn = client.turn("s", "t")
            outcome = await turn.tool_call("hello", {}, call_id="c", timeout=PATIENCE_S)
        assert outcome.type == "tool_call"
    finally:
        await worker.stop(0.0)


@pytest.fixture
def make_worker(tmp_path: Path) -> Callable[..., EffectWorker]:
    """A worker on a broker of its own."""

    def make(journal: str, name: str) -> EffectWorker:
        return EffectWorker(f"memory://{tmp_path.name}", journal=journal, name=name)

    return make
