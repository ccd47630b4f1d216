"""A database in memory: shared by all who open its name on one event loop, and gone with it."""

from __future__ import annotations

import asyncio
import secrets
import threading

import pytest

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Transaction
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    NotStorableError,
)


def put(tx: Transaction) -> None:
    """Keep something."""
    tx.execute("CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY)")
    tx.execute("INSERT INTO things VALUES ('one')")


def kept(tx: Transaction) -> int:
    """How many tables there are."""
    return len(tx.execute("SELECT 1 FROM sqlite_master WHERE type = 'table'"))


@pytest.fixture
def url() -> str:
    """A name that no other test uses."""
    return f"memory://{secrets.token_hex(6)}"


async def test_what_is_kept_outlasts_who_kept_it(url: str) -> None:
    """As the queues of the broker with this address do."""
    async with open_database(url) as first:
        await first.write(put)
    async with open_database(url) as again, open_database(url) as beside:
        assert await again.read(kept) == await beside.read(kept) == 1
    async with open_database(f"{url}-other") as other:
        assert await other.read(kept) == 0


def test_another_event_loop_begins_with_nothing(url: str) -> None:
    """So does the next program."""

    async def once() -> int:
        async with open_database(url) as database:
            before = await database.read(kept)
            await database.write(put)
            return before

    assert [asyncio.run(once()), asyncio.run(once())] == [0, 0]


async def test_nothing_runs_on_when_all_have_left(url: str) -> None:
    """No thread waits for somebody who may never come; one who has left is told."""

    def threads() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name.startswith("effectmq journal")}

    before = threads()
    async with open_database(url) as outer:
        async with open_database(url) as inner:
            await inner.write(put)
        assert await outer.read(kept) == 1
        (own,) = threads() - before
    await asyncio.to_thread(own.join)
    with pytest.raises(DatabaseUnavailableError, match="is not open"):
        await outer.read(kept)


async def test_of_a_transaction_that_fails_nothing_is_kept(url: str) -> None:
    """Whatever made it fail; the next one is not hurt."""

    def put_and_stop(tx: Transaction) -> None:
        put(tx)
        raise StopIteration("enough")

    def put_twice(tx: Transaction) -> None:
        put(tx)
        put(tx)

    async with open_database(url) as database:
        with pytest.raises(RuntimeError, match="enough"):
            await database.write(put_and_stop)
        with pytest.raises(NotStorableError, match="asking again gives the same"):
            await database.write(put_twice)
        assert await database.read(kept) == 0
        await database.write(put)
        assert await database.read(kept) == 1


@pytest.mark.parametrize("url", ["memory:", "memory://a/b", "memory://a?x=1", "memory://me:pw@h"])
def test_an_address_has_a_name_and_nothing_else(url: str) -> None:
    """What was expected is said, and no password."""
    with pytest.raises(ConfigurationError, match="expected memory:// or memory://name") as caught:
        open_database(url)
    assert "pw@" not in str(caught.value)
