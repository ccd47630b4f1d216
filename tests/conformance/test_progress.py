"""How far effects are, on every database: written with renewals, under the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.progress import PROGRESS_SCHEMA, RecordedProgress
from effectmq.broker.store.journal.records import Accepted, Granted, Lost, Release, Renew
from effectmq.protocol.messages.progress import Progress
from tests.conformance.asking import LEASE_MS, claim_of, effect, granted, said

FIRST = Progress(3, 12, "page 3")
SECOND = Progress(0.5, None, "Grüße ✓", 2)


@pytest.fixture
async def journal(database_url: str) -> AsyncGenerator[Journal]:
    """An open journal that a worker has checked."""
    async with Journal(database_url) as opened:
        await opened.check_writable()
        yield opened


@pytest.fixture
def archive(journal: Journal) -> Archive:
    """What is kept in it."""
    return Archive(journal.database)


def tell(
    journal: Journal, key: str, fence: int, told: Progress | None
) -> asyncio.Future[Accepted | Lost]:
    """Renew the lease of an effect, and say how far it is."""
    return journal.hand_back(Renew(effect(key).identity, fence, LEASE_MS, told))


async def recorded(archive: Archive) -> dict[str, RecordedProgress | None]:
    """What each effect has, by its replay key."""
    effects = await archive.find()
    found = await archive.progress(effects)
    return {each.identity.replay_key: told for each, told in zip(effects, found, strict=True)}


async def progress_of(archive: Archive, key: str = "k") -> Progress | None:
    """The progress of one."""
    found = (await recorded(archive))[key]
    return found and found.progress


async def test_the_last_one_is_kept_with_its_attempt_and_fence(
    journal: Journal, archive: Archive
) -> None:
    """A renewal without news changes nothing of it."""
    began_ms = await archive.now_ms()
    answer = await granted(journal, effect())
    assert await recorded(archive) == {"k": None}
    assert await tell(journal, "k", answer.fence, FIRST) == Accepted()
    assert await tell(journal, "k", answer.fence, None) == Accepted()
    found = (await recorded(archive))["k"]
    assert found is not None
    assert (found.progress, found.fence) == (FIRST, answer.fence)
    assert began_ms <= found.told_ms <= await archive.now_ms()
    assert await tell(journal, "k", answer.fence, SECOND) == Accepted()
    assert await progress_of(archive) == SECOND


async def test_who_lost_the_lease_says_nothing_more(journal: Journal, archive: Archive) -> None:
    """Not after another claim, a release, or the end; what was said before stays."""
    first = await granted(journal, effect())
    await tell(journal, "k", first.fence, FIRST)
    await journal.hand_back(Release(effect().identity, first.fence, 1, 0))
    assert await tell(journal, "k", first.fence, SECOND) == Lost()
    second = await journal.claim(claim_of(effect()))
    assert isinstance(second, Granted)
    assert await tell(journal, "k", first.fence, SECOND) == Lost()
    assert await progress_of(archive) == FIRST
    assert await journal.record(said(effect(), second)) == Accepted()
    assert await tell(journal, "k", second.fence, SECOND) == Lost()
    found = (await recorded(archive))["k"]
    assert found is not None
    assert (found.progress, found.fence) == (FIRST, first.fence)


async def test_it_is_written_beside_the_end_of_its_effect_and_others(
    journal: Journal, archive: Archive
) -> None:
    """All in one transaction, as when an attempt ends: the order is that of the questions."""
    held = {key: await granted(journal, effect(key)) for key in ("a", "b", "c")}
    asked = [
        tell(journal, "a", held["a"].fence, FIRST),
        journal.record(said(effect("a"), held["a"])),
        tell(journal, "b", held["b"].fence, FIRST),
        tell(journal, "b", held["b"].fence, SECOND),
        journal.record(said(effect("c"), held["c"])),
    ]
    assert [await each for each in asked] == [Accepted()] * len(asked)
    found = {key: told and told.progress for key, told in (await recorded(archive)).items()}
    assert found == {"a": FIRST, "b": SECOND, "c": None}


@pytest.mark.parametrize("keep_keys", [True, False])
async def test_it_is_forgotten_with_its_effect(
    keep_keys: bool, journal: Journal, archive: Archive
) -> None:
    """That of others stays."""
    held = {key: await granted(journal, effect(key)) for key in ("done", "runs")}
    for key, answer in held.items():
        await tell(journal, key, answer.fence, FIRST)
    await journal.record(said(effect("done"), held["done"]))
    assert (await archive.prune(older_than_s=0, keep_keys=keep_keys)).pruned == 1
    rows = await journal.database.read(
        lambda tx: tx.execute("SELECT replay_key FROM effectmq_progress")
    )
    assert [row[0] for row in rows] == ["runs"]


async def test_a_damaged_row_is_shown_as_none(journal: Journal, archive: Archive) -> None:
    """It is for people, and no reason to show nothing of the effect."""
    answer = await granted(journal, effect())
    await tell(journal, "k", answer.fence, FIRST)
    for damage in ("{", "[]", '{"done":-1}', '{"done":"much"}'):

        def write(tx: Transaction, damage: str = damage) -> None:
            tx.execute("UPDATE effectmq_progress SET progress_json = ?", (damage,))

        await journal.database.write(write)
        assert await recorded(archive) == {"k": None}


async def test_a_journal_that_no_worker_has_checked_has_none(database_url: str) -> None:
    """Workers of a release before have made its tables; they are read all the same."""
    async with Journal(database_url) as journal:
        await granted(journal, effect())
        archive = Archive(journal.database)
        assert await recorded(archive) == {"k": None}
        assert await PROGRESS_SCHEMA.found(journal.database) == 0
        assert (await archive.prune(older_than_s=0)).pruned == 0
