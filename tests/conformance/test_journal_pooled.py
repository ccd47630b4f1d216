"""
What every journal keeps, through a pooler that gives each transaction another session.

Everything here is run over the real PgBouncer of Debian in transaction mode, with fewer sessions
than connections, so that they are shared from the first test on.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.postgres.adapter import PostgresDatabase
from effectmq.broker.store.database.postgres.address import read_address
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Granted, Recorded
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions.inbox import SessionInbox
from effectmq.consumers.code.state.database_sessions import DatabaseSessions
from tests.conformance.asking import claim_of, effect, finished
from tests.conformance.test_journal import (
    TestCancelling,
    TestClaiming,
    TestConcurrency,
    TestParking,
    TestRecording,
    TestReplay,
    TestUncertainty,
    TestWaiting,
    journal,
    other,
)

#: Run here once more.
__all__ = [
    "TestCancelling",
    "TestClaiming",
    "TestConcurrency",
    "TestParking",
    "TestRecording",
    "TestReplay",
    "TestUncertainty",
    "TestWaiting",
    "journal",
    "other",
]

pytestmark = pytest.mark.postgres


@pytest.fixture
def database_url(pooled_url: str) -> str:
    """An empty schema, through the pooler."""
    return pooled_url


class TestSessions:
    async def test_nothing_is_left_behind_in_a_session(self, pooled_url: str) -> None:
        """Neither a setting nor a prepared statement; the next transaction is a stranger's."""
        async with Journal(pooled_url) as opened:
            for number in range(20):
                await finished(opened, effect(f"k{number}"))
        bare = pooled_url.partition("?")[0]
        settings = ("statement_timeout", "lock_timeout", "search_path", "TimeZone")
        with psycopg.connect(bare, autocommit=True, prepare_threshold=None) as stranger:
            for _ in range(10):
                assert stranger.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
                changed = stranger.execute(
                    "SELECT name FROM pg_settings WHERE source = 'session' AND name = ANY (%s)",
                    (list(settings),),
                ).fetchall()
                assert changed == []

    async def test_workers_that_come_and_go_share_the_sessions(self, pooled_url: str) -> None:
        """What one of them used before is nothing to the next one."""
        for number in range(4):
            async with Journal(pooled_url) as opened:
                keys = [f"{number}-{one}" for one in range(30)]
                await asyncio.gather(*(finished(opened, effect(key)) for key in keys))
                found = await asyncio.gather(*(opened.look(effect(key).identity) for key in keys))
                assert all(isinstance(one, Recorded) for one in found)

    async def test_everything_that_is_kept_opens_and_works(self, pooled_url: str) -> None:
        """The registry, the inbox, the variables of code, and the archive."""
        async with (
            Journal(pooled_url) as opened,
            open_database(pooled_url) as database,
            ProcessRegistry(database) as registry,
            SessionInbox(pooled_url) as inbox,
        ):
            sessions = DatabaseSessions(database, 3)
            await sessions.open()
            assert isinstance(await opened.claim(claim_of(effect())), Granted)
            assert await registry.list_non_terminal() == []
            assert await inbox.waiting("s") == 0
            assert (await sessions.start("s", "h")).sequence == 0
            async with open_archive(pooled_url) as archive:
                assert (await archive.stats()).effects == 1


_OPTIONS: list[tuple[str, dict[str, str], str]] = [
    ("-csearch_path=a", {"search_path": "a"}, ""),
    ("-c search_path=a,b", {"search_path": "a,b"}, ""),
    ("--search-path=a --geqo=off", {"search_path": "a", "geqo": "off"}, ""),
    (r"-csearch_path=with\ space", {"search_path": "with space"}, ""),
    ("-e -cgeqo=off", {"geqo": "off"}, "-e"),
    (r"-cx.y=it's\\", {"x.y": "it's\\"}, ""),
    ("", {}, ""),
]


@pytest.mark.parametrize(("options", "settings", "rest"), _OPTIONS)
def test_settings_in_the_address_are_taken_out_of_it(
    options: str, settings: dict[str, str], rest: str
) -> None:
    """They go into every transaction; the rest goes to the server as before."""
    url = psycopg.conninfo.make_conninfo("postgresql://h/db", options=options)
    found = read_address(url)
    assert found.settings == settings
    assert psycopg.conninfo.conninfo_to_dict(found.conninfo).get("options", "") == rest


async def test_a_value_with_quotes_stays_a_value(postgres_url: str) -> None:
    """It is never read as a statement."""
    value = "it's \\ '; DROP TABLE x; --"
    escaped = "".join(f"\\{letter}" if letter in " \\" else letter for letter in value)
    where = psycopg.conninfo.conninfo_to_dict(postgres_url)
    where["options"] = f"{where['options']} -ceffectmq.test={escaped}"
    url = psycopg.conninfo.make_conninfo("", **where)
    async with PostgresDatabase(url) as database:
        for _ in range(2):
            shown = await database.read(lambda tx: tx.execute("SHOW effectmq.test"))
            assert shown == [(value,)]
