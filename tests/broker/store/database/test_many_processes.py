"""Many processes of one host share a journal: they start together, and all of them get to write."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from effectmq.broker.store.database.sqlite.adapter import SqliteDatabase
from effectmq.broker.store.journal.journal import Journal

_TOGETHER = 8
_TURNS = 20

#: Commits again and again without a pause, from the first line that it prints.
_RESTLESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("PRAGMA synchronous=FULL")
print("begun", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO lines VALUES ('theirs')")
    connection.execute("COMMIT")
"""


async def test_journals_that_are_opened_together_make_their_tables_once(database_url: str) -> None:
    """None of them fails because another one was there first."""

    async def opened() -> bool:
        async with Journal(database_url):
            return True

    # Not once but often: what one session saw before it waited must not decide.
    for _ in range(3):
        assert all(await asyncio.gather(*(opened() for _ in range(_TOGETHER))))


async def test_a_process_that_never_pauses_does_not_keep_others_from_writing(
    tmp_path: Path,
) -> None:
    """Every one of many transactions gets its turn, within the usual patience."""
    path = tmp_path / "journal.db"
    async with SqliteDatabase(f"sqlite:///{path}") as database:
        await database.write(lambda tx: tx.execute("CREATE TABLE lines (line TEXT)"))
        restless = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RESTLESS, path, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert restless.stdout is not None
            assert await restless.stdout.readline() == b"begun\n"
            for _ in range(_TURNS):
                await database.write(lambda tx: tx.execute("INSERT INTO lines VALUES ('ours')"))
            rows = await database.read(
                lambda tx: tx.execute("SELECT count(*) FROM lines WHERE line = 'ours'")
            )
        finally:
            restless.kill()
            await restless.communicate()
    assert rows == [(_TURNS,)]
