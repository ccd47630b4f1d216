"""Which transactions SQLite brings to the disk at once, and what a loss of power takes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.database.sqlite.adapter import SqliteDatabase, SqliteTransaction
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Cancel, ClaimAnswer, Granted, Recorded, Release
from tests.conformance.asking import claim_of, effect, finished, granted, said
from tests.waiting import eventually

T = TypeVar("T")

#: What ``PRAGMA synchronous`` tells.
NORMAL, FULL = 1, 2


class Noted(SqliteDatabase):
    """Notes how each transaction is committed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.levels: list[int] = []

    def write(
        self, work: Callable[[SqliteTransaction], T], *, durable: bool = True, large: bool = False
    ) -> asyncio.Future[T]:
        def noted(tx: SqliteTransaction) -> T:
            given = work(tx)
            # One that is begun again does not get here the first time.
            self.levels.append(number(tx.execute("PRAGMA synchronous")[0][0]))
            return given

        return super().write(noted, durable=durable, large=large)


@pytest.fixture
async def noted(tmp_path: Path) -> AsyncGenerator[tuple[Journal, list[int]]]:
    """A journal in a file, and how its transactions were committed."""
    url = f"sqlite:///{tmp_path / 'j.db'}"
    journal, database = Journal(url), Noted(url)
    journal.database = database
    async with journal:
        database.levels.clear()
        yield journal, database.levels


async def test_a_first_claim_that_may_be_lost_waits_for_no_disk(
    noted: tuple[Journal, list[int]],
) -> None:
    """Its record does, and brings the claim along."""
    journal, levels = noted
    held = await granted(journal, effect("a"), durable=False)
    assert levels == [NORMAL]
    await journal.record(said(effect("a"), held))
    assert levels == [NORMAL, FULL]
    await granted(journal, effect("b"))
    assert levels == [NORMAL, FULL, FULL]


async def test_whatever_shares_a_transaction_with_more_is_durable(
    noted: tuple[Journal, list[int]],
) -> None:
    """A group is as durable as the most that one of it needs."""
    journal, levels = noted
    held = await granted(journal, effect("a"), durable=False)
    levels.clear()
    await asyncio.gather(
        journal.claim(claim_of(effect("b"), durable=False)),
        journal.record(said(effect("a"), held)),
    )
    assert levels == [FULL]


@pytest.mark.parametrize("former", ["died", "waiting", "parked"])
async def test_only_a_first_claim_may_be_lost(
    former: str, noted: tuple[Journal, list[int]]
) -> None:
    """Deaths, attempts and replays are counted on from a row: such a claim is durable."""
    journal, levels = noted
    held = await granted(journal, effect("a"), lease_ms=1)
    if former == "waiting":
        await journal.hand_back(Release(effect("a").identity, held.fence, 1, 0))
    elif former == "parked":
        parked = said(effect("a"), held, "", error_json='{"code":"x"}', park_reason="rejected")
        await journal.record(parked)
    parked_as = int(former == "parked")

    answers: list[ClaimAnswer] = []

    async def taken() -> bool:
        levels.clear()
        asked = claim_of(effect("a"), durable=False, parked_as=parked_as)
        answers.append(await journal.claim(asked))
        return isinstance(answers[-1], Granted)

    await eventually(taken)
    answer = answers[-1]
    assert isinstance(answer, Granted)
    assert (answer.fence, answer.deaths) == (2, int(former == "died"))
    assert levels == [FULL]


async def test_a_claim_that_changes_nothing_is_not_begun_again(
    noted: tuple[Journal, list[int]],
) -> None:
    """What is answered from the record costs no second transaction."""
    journal, levels = noted
    await finished(journal, effect("a"))
    levels.clear()
    assert isinstance(await journal.claim(claim_of(effect("a"), durable=False)), Recorded)
    assert levels == [NORMAL]


async def test_a_cancel_is_durable(noted: tuple[Journal, list[int]]) -> None:
    journal, levels = noted
    await journal.cancel(Cancel(effect("a"), '{"code":"x"}'))
    assert levels == [FULL]


async def test_an_error_leaves_the_next_transactions_as_they_are_asked_for(
    noted: tuple[Journal, list[int]],
) -> None:
    """The level belongs to the connection, which goes on after an error."""
    journal, levels = noted

    def fail(tx: Transaction) -> None:
        tx.execute("SELECT nonsense")

    with pytest.raises(Exception, match="nonsense"):
        await journal.database.write(fail, durable=False)
    await granted(journal, effect("a"))
    await granted(journal, effect("b"), durable=False)
    assert levels == [FULL, NORMAL]


async def test_a_loss_of_power_takes_claims_and_no_record(tmp_path: Path) -> None:
    """
    The log as far as it had been brought to the disk: what was recorded is there, and the claim
    that is gone is granted again.
    """
    path, after = tmp_path / "j.db", tmp_path / "after.db"
    log = path.with_name("j.db-wal")
    async with Journal(f"sqlite:///{path}") as journal:
        held = await granted(journal, effect("recorded"), durable=False)
        await journal.record(said(effect("recorded"), held, '{"ok":7}'))
        on_disk = log.stat().st_size
        lost = await granted(journal, effect("claimed"), durable=False)
        assert log.stat().st_size > on_disk
        shutil.copy(path, after)
        after.with_name("after.db-wal").write_bytes(log.read_bytes()[:on_disk])
    async with Journal(f"sqlite:///{after}") as journal:
        assert await journal.look(effect("claimed").identity) is None
        assert await granted(journal, effect("claimed"), durable=False) == lost
        found = await journal.claim(claim_of(effect("recorded")))
        assert isinstance(found, Recorded)
        assert found.outcome_json == '{"ok":7}'
