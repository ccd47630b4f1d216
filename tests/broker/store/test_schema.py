"""The versions of tables, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys

import psycopg
import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.schema import Schema
from effectmq.protocol.errors import SchemaVersionError
from tests.databases.cluster import Cluster

FIRST = ("CREATE TABLE effectmq_things (name TEXT PRIMARY KEY, body {blob})",)
SECOND = ("ALTER TABLE effectmq_things ADD COLUMN size BIGINT",)
OLD = Schema("things", [FIRST])
NEW = Schema("things", [FIRST, SECOND])


async def test_tables_are_made_once_and_found_again(database_url: str) -> None:
    """What is in them stays."""
    async with open_database(database_url) as database:
        for _ in range(2):
            await NEW.ensure(database)
            await database.write(
                lambda tx: tx.execute(
                    "INSERT INTO effectmq_things VALUES (?, ?, 1) ON CONFLICT DO NOTHING",
                    ("a", b"\x00\xff"),
                )
            )
        rows = await database.read(lambda tx: tx.execute("SELECT * FROM effectmq_things"))
        assert rows == [("a", b"\x00\xff", 1)]


async def test_older_tables_are_refused_with_the_command_that_migrates_them(
    database_url: str,
) -> None:
    """And used once it has been run."""
    async with open_database(database_url) as database:
        await OLD.ensure(database)
        with pytest.raises(SchemaVersionError, match="effectmq journal migrate") as refused:
            await NEW.ensure(database)
        assert "have version 1, expected 2" in str(refused.value)
        assert await NEW.migrate(database) == (1, 2)
        assert await NEW.migrate(database) == (2, 2)
        await NEW.ensure(database)
        await database.write(
            lambda tx: tx.execute("INSERT INTO effectmq_things (name, size) VALUES ('a', 5)")
        )


async def test_newer_tables_are_refused_with_the_advice_to_upgrade(database_url: str) -> None:
    """Neither using nor migrating changes them."""
    async with open_database(database_url) as database:
        await NEW.ensure(database)
        for refused in (OLD.ensure, OLD.migrate):
            with pytest.raises(SchemaVersionError, match="newer effectmq, so upgrade this one"):
                await refused(database)
        await NEW.ensure(database)


async def test_a_migration_that_fails_leaves_nothing(database_url: str) -> None:
    """It is one transaction."""
    broken = Schema("things", [FIRST, SECOND, ("SELECT no such thing",)])
    async with open_database(database_url) as database:
        await OLD.ensure(database)
        with pytest.raises(Exception, match="cannot be used"):
            await broken.migrate(database)
        assert await NEW.migrate(database) == (1, 2)


async def test_components_have_versions_of_their_own(database_url: str) -> None:
    """In one table."""
    others = Schema("others", [("CREATE TABLE effectmq_others (name TEXT)",)])
    async with open_database(database_url) as database:
        await NEW.ensure(database)
        await others.ensure(database)
        await NEW.ensure(database)


async def test_many_who_find_no_tables_at_once_make_them_once(database_url: str) -> None:
    """Whoever waited for the first one finds what it made."""
    async with contextlib.AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(database_url)) for _ in range(8)]
        await asyncio.gather(*(NEW.ensure(database) for database in databases))


_OPEN = """
import asyncio, sys
from effectmq.broker.store.journal.journal import Journal

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    async with Journal(sys.argv[1]):
        pass

asyncio.run(main())
"""


def test_processes_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    """None of them fails, and none of them waits for longer than the others need."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert ends == [("", 0)] * len(started)


async def test_a_worker_needs_no_right_to_make_tables_that_are_there(
    private_postgres: Cluster,
) -> None:
    """An operator made them; the worker may only read and write."""
    url = private_postgres.url
    async with open_database(url) as database:
        await NEW.ensure(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE USER worker")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO worker")
    async with open_database(url.replace("postgres@", "worker@")) as database:
        await NEW.ensure(database)
        with pytest.raises(Exception, match="permission denied"):
            await Schema("more", [FIRST]).ensure(database)
