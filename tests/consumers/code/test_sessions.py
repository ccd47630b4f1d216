"""States of sessions: the same rules in memory and in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from effectmq.broker.store.database.port import Database
from effectmq.consumers.code.state.database_sessions import CODE_SCHEMA, DatabaseSessions
from effectmq.consumers.code.state.sessions import MemorySessions, Sessions, Start
from effectmq.protocol.errors import RejectEffectError, RetryEffectError, SchemaVersionError
from tests.consumers.code.databases import empty_database

Maker = Callable[[], Sessions]

KEPT = 2


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Maker]:
    """Sessions as one worker has them; each call is another worker, where that is possible."""
    if request.param == "memory":
        only = MemorySessions(KEPT)
        yield lambda: only
        return
    async with empty_database(request.param, tmp_path) as database:
        yield lambda: DatabaseSessions(database, KEPT)


@pytest.fixture
async def sessions(make: Maker) -> Sessions:
    """Those of one worker, opened."""
    made = make()
    await made.open()
    return made


async def keep(sessions: Sessions, block: str, state: bytes | None = None) -> Start:
    """Run a block, so to speak."""
    start = await sessions.start("s", block)
    await sessions.keep("s", block, start, state or block.encode(), "e 1")
    return start


async def test_a_session_begins_with_nothing(sessions: Sessions) -> None:
    """And one session is not another."""
    await keep(sessions, "a")
    assert await sessions.start("other", "a") == Start()


async def test_a_block_begins_where_the_last_one_ended(sessions: Sessions, make: Maker) -> None:
    """On any worker."""
    await keep(sessions, "a")
    assert await make().start("s", "b") == Start(1, b"a", "e 1")


async def test_a_block_that_is_run_again_begins_where_it_began(
    sessions: Sessions, make: Maker
) -> None:
    """Before itself, even when others have been run since; what stands stays."""
    await keep(sessions, "a")
    await keep(sessions, "b")
    assert await keep(sessions, "b", b"again") == Start(1, b"a", "e 1")
    assert await make().start("s", "c") == Start(2, b"b", "e 1")
    await keep(sessions, "c")
    assert await sessions.start("s", "b") == Start(1, b"a", "e 1")


async def test_two_blocks_at_a_time_are_one_too_many(sessions: Sessions) -> None:
    """The second to end is tried again, from where the first one ended."""
    first = await sessions.start("s", "a")
    second = await sessions.start("s", "b")
    await sessions.keep("s", "a", first, b"a", "e 1")
    with pytest.raises(RetryEffectError, match="one after another"):
        await sessions.keep("s", "b", second, b"b", "e 1")
    assert await keep(sessions, "b") == Start(1, b"a", "e 1")


async def test_many_at_once_are_kept_one_after_another(sessions: Sessions, make: Maker) -> None:
    """Whoever comes too late is told; nothing is lost and nothing is overwritten."""

    async def insist(block: str) -> None:
        while True:
            try:
                await keep(make(), block)
                return
            except RetryEffectError:
                continue

    await asyncio.gather(*(insist(f"b{number}") for number in range(6)))
    assert (await sessions.start("s", "last")).sequence == 6


async def test_old_states_are_removed_and_their_blocks_still_known(sessions: Sessions) -> None:
    """A block that cannot be run again as it was is refused, not run on something else."""
    for block in "abcd":
        await keep(sessions, block)
    assert (await sessions.start("s", "c")).state == b"b"
    assert (await sessions.start("s", "d")).state == b"c"
    with pytest.raises(RejectEffectError, match="effectmq_code_state_forgotten"):
        await sessions.start("s", "b")
    assert await sessions.start("s", "a") == Start()


async def test_a_block_that_left_nothing_counts_all_the_same(sessions: Sessions) -> None:
    """The next one begins with nothing, and after it."""
    await sessions.keep("s", "a", Start(), None, "")
    assert await sessions.start("s", "b") == Start(1, None, "")


async def test_a_block_has_one_beginning_in_time(sessions: Sessions, make: Maker) -> None:
    """Whenever and wherever it is asked for."""
    first = await sessions.started_ms("s", "a")
    assert first > 1_600_000_000_000
    assert await make().started_ms("s", "a") == first


async def test_a_session_can_be_forgotten(sessions: Sessions) -> None:
    """All of it."""
    await keep(sessions, "a")
    await sessions.forget("s")
    assert await sessions.start("s", "b") == Start()


async def test_tables_of_another_version_are_refused(database: Database) -> None:
    """As with all our tables."""
    sessions = DatabaseSessions(database, KEPT)
    await sessions.open()
    await database.write(
        lambda tx: tx.execute("UPDATE effectmq_schema SET version = 9 WHERE component = 'code'")
    )
    with pytest.raises(SchemaVersionError, match="code"):
        await sessions.open()
    assert CODE_SCHEMA.version == 2


async def test_memory_keeps_a_bounded_number_of_sessions() -> None:
    """Those that were used last."""
    sessions = MemorySessions(KEPT)
    for number in range(1_001):
        await sessions.keep(f"s{number}", "a", Start(), b"a", "e")
    assert await sessions.start("s0", "b") == Start()
    assert (await sessions.start("s1000", "b")).state == b"a"
