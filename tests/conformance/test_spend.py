"""What was spent, on every database: once for each stay, in the transaction of its record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import pytest

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Accepted, Lost, Record, Release
from effectmq.broker.store.spend import writing
from effectmq.broker.store.spend.book import Guard, SpendBook
from effectmq.broker.store.spend.ceilings import Ceiling, Exceeded, first_day
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import NANOS, Payer, Spend, Sums, Use
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.request import Identity
from tests.conformance.asking import claim_of, effect, granted

USE = Use("gpt", 10, 5, 2, 700)
SPEND = Spend("acme", "s1", (USE,))
PAYER = Payer("acme", "s1", "gpt")


@pytest.fixture
async def journal(database_url: str) -> AsyncGenerator[Journal]:
    """An open journal that a worker has checked."""
    async with Journal(database_url) as opened:
        await opened.check_writable()
        yield opened


@pytest.fixture
def book(journal: Journal) -> SpendBook:
    """What is spent in it."""
    return SpendBook(journal.database)


async def spent(journal: Journal, number: int, spend: Spend = SPEND) -> Record:
    """One effect, run and recorded with what it spent."""
    asked = effect(f"k{number}")
    answer = await granted(journal, asked)
    said = Record(asked.identity, answer.fence, 1, '{"a":1}', spend=spend)
    assert await journal.record(said) == Accepted()
    return said


async def rows(book: SpendBook) -> dict[str, list[SpendRow]]:
    return {
        "all": await book.by("all"),
        "tenant": await book.by("tenant"),
        "session": await book.by("session"),
        "model": await book.by("model"),
    }


async def test_what_is_recorded_is_counted_for_everybody_it_belongs_to(
    journal: Journal, book: SpendBook
) -> None:
    """Tokens, money and calls, by tenant, session and model, and on the effect itself."""
    first = await spent(journal, 1)
    await spent(journal, 2, Spend("", "s2", (replace(USE, model="own", nanos=None),)))
    one, unpriced = Sums(1, 10, 5, 2, 700, 0), Sums(1, 10, 5, 2, 0, 1)
    assert await rows(book) == {
        "all": [SpendRow("", one.plus(unpriced))],
        "tenant": [SpendRow("acme", one), SpendRow("", unpriced)],
        "session": [SpendRow("s1", one), SpendRow("s2", unpriced)],
        "model": [SpendRow("gpt", one), SpendRow("own", unpriced)],
    }
    assert list((await book.days()).values()) == [one.plus(unpriced)]
    assert await book.of([first.identity, Identity("no", "body")]) == [SpendRow("acme", one), None]


async def test_the_same_record_again_is_counted_once(journal: Journal, book: SpendBook) -> None:
    """The answer to the first was lost: also amid others that are new."""
    said = await spent(journal, 1)
    assert await journal.record(said) == Accepted()
    others = [await granted(journal, effect(f"k{number}")) for number in (2, 3)]
    records = [
        Record(effect(f"k{number}").identity, answer.fence, 1, "{}", spend=SPEND)
        for number, answer in zip((2, 3), others, strict=True)
    ]
    asked = [journal.record(each) for each in (said, records[0], said, records[1], records[0])]
    assert [await each for each in asked] == [Accepted()] * 5
    assert await book.by("all") == [SpendRow("", Sums(3, 30, 15, 6, 2_100, 0))]


async def test_failed_attempts_count_with_their_release(journal: Journal, book: SpendBook) -> None:
    """Each stay at a worker once, with all of its calls."""
    asked = effect("k1")
    first = await granted(journal, asked)
    let_go = Release(asked.identity, first.fence, 1, 0, SPEND)
    assert await journal.hand_back(let_go) == Accepted()
    assert await journal.hand_back(let_go) == Accepted()
    second = await granted(journal, asked)
    both = Spend("acme", "s1", (USE, replace(USE, model="other")))
    assert await journal.record(Record(asked.identity, second.fence, 2, "{}", spend=both)) == (
        Accepted()
    )
    assert (await book.of([asked.identity]))[0] == SpendRow("acme", Sums(3, 30, 15, 6, 2_100, 0))
    assert [row.sums.calls for row in await book.by("model")] == [2, 1]


async def test_who_lost_the_lease_counts_nothing(journal: Journal, book: SpendBook) -> None:
    """Its outcome does not count either."""
    asked = effect("k1")
    first = await granted(journal, asked)
    await journal.hand_back(Release(asked.identity, first.fence, 1, 0))
    await granted(journal, asked)
    late = Record(asked.identity, first.fence, 1, "{}", spend=SPEND)
    assert await journal.record(late) == Lost()
    assert await book.by("all") == []


async def test_a_record_that_is_not_kept_spends_nothing(journal: Journal, book: SpendBook) -> None:
    """Both are in one transaction."""
    asked = effect("k1")
    answer = await granted(journal, asked)

    def fails(tx: Transaction) -> None:
        from effectmq.broker.store.journal.tables import apply

        apply(tx, [Record(asked.identity, answer.fence, 1, "{}", spend=SPEND)])
        raise ConfigurationError("the process dies here")

    with pytest.raises(ConfigurationError, match="dies"):
        await journal.database.write(fails)
    assert await book.by("all") == []


async def test_counts_of_a_mad_provider_are_bounded(journal: Journal, book: SpendBook) -> None:
    """No sum runs over, and nothing goes below zero."""
    mad = Use("m" * 1_000, 2**63 - 1, -5, 2**64, 2**70)
    await spent(journal, 1, Spend("", "s", (mad,) * 5))
    [row] = await book.by("model")
    assert row.name == "m" * 200
    assert row.sums == Sums(5, 5 * 10**10, 0, 5 * 10**10, 5 * 100_000 * NANOS, 0)


# Ceilings ----------------------------------------------------------------------------------------


async def full(journal: Journal, payer: Payer = PAYER) -> Exceeded | None:
    return await Guard(journal.database).ask(payer)


async def test_a_ceiling_has_room_until_it_is_spent(journal: Journal, book: SpendBook) -> None:
    """Then it says how much was spent, and raising it makes room."""
    await book.set(Ceiling(by="tenant", name="acme", nanos=1_400))
    assert await full(journal) is None
    await spent(journal, 1)
    assert await full(journal) is None
    await spent(journal, 2)
    found = await full(journal)
    assert found is not None
    assert (found.nanos, found.tokens, found.name) == (1_400, 30, "acme")
    assert "of tenant 'acme' is $0.0000014 and its ceiling is $0.0000014 per month" in (
        found.sentence
    )
    assert await full(journal, replace(PAYER, tenant="other")) is None
    await book.set(Ceiling(by="tenant", name="acme", nanos=5_000))
    assert await full(journal) is None


@pytest.mark.parametrize("by", ["all", "tenant", "session", "model"])
@pytest.mark.parametrize("per", ["day", "month", "ever"])
async def test_every_ceiling_counts_what_belongs_to_it(
    journal: Journal, book: SpendBook, by: str, per: str
) -> None:
    """In tokens, for each of them."""
    made = Ceiling(by=by, per=per, tokens=15)  # type: ignore[arg-type]
    await book.set(made)
    await spent(journal, 1)
    found = await full(journal)
    assert found is not None
    assert found.ceiling.who in found.ceiling.who
    assert "15 tokens" in found.sentence
    other = await full(journal, Payer("o", "o", "o"))
    assert (other is None) == (by != "all")


async def test_a_name_counts_instead_of_each(journal: Journal, book: SpendBook) -> None:
    """The tenant that pays more has its own ceiling, larger or smaller."""
    await book.set(Ceiling(by="tenant", nanos=100))
    await book.set(Ceiling(by="tenant", name="acme", nanos=10_000))
    await spent(journal, 1)
    await spent(journal, 2, replace(SPEND, tenant="small"))
    assert await full(journal) is None
    found = await full(journal, replace(PAYER, tenant="small"))
    assert found is not None
    assert found.ceiling.name is None


async def test_one_that_refuses_comes_before_one_that_waits(
    journal: Journal, book: SpendBook
) -> None:
    """Waiting for the other would not help."""
    await book.set(Ceiling(by="all", tokens=1, on_exceeded="wait"))
    await book.set(Ceiling(by="session", tokens=1))
    await spent(journal, 1)
    found = await full(journal)
    assert found is not None
    assert found.ceiling.by == "session"


async def test_what_a_person_sets_stands_against_the_program(
    journal: Journal, book: SpendBook
) -> None:
    """Until it is cleared; a program changes its own."""
    program = Ceiling(by="model", name="gpt", nanos=1, source="program")
    await book.propose([program])
    await book.propose([replace(program, nanos=2)])
    assert [each.nanos for each in await book.ceilings()] == [2]
    await book.set(replace(program, nanos=3, source="person"))
    await book.propose([program])
    assert [(each.nanos, each.source) for each in await book.ceilings()] == [(3, "person")]
    assert await book.clear("model", "gpt", "month")
    assert not await book.clear("model", "gpt", "month")
    assert await book.ceilings() == []


async def test_a_worker_asks_nothing_while_there_is_no_ceiling(
    journal: Journal, book: SpendBook
) -> None:
    """It looks again after a second."""
    now_s = 100.0
    guard = Guard(journal.database, lambda: now_s)
    assert not guard.idle
    assert await guard.ask(PAYER) is None
    assert guard.idle
    await book.set(Ceiling(by="tenant", name="somebody else", tokens=0))
    now_s += 1.5
    assert not guard.idle
    assert await guard.ask(PAYER) is None
    assert not guard.idle


async def test_attempts_that_begin_together_share_a_read(
    journal: Journal, book: SpendBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told of its own payer."""
    await book.set(Ceiling(by="tenant", name="acme", tokens=0))
    reads: list[object] = []
    database, read = journal.database, journal.database.read

    def counted(work: Callable[[Transaction], Any]) -> asyncio.Future[Any]:
        reads.append(work)
        return read(work)

    monkeypatch.setattr(database, "read", counted)
    guard = Guard(database)
    payers = [Payer(("acme", "bolt")[nth % 2], f"s{nth}", "gpt") for nth in range(100)]
    answers = await asyncio.gather(*map(guard.ask, payers))
    assert [answer is not None for answer in answers] == [True, False] * 50
    assert len(reads) == 1


@pytest.mark.postgres
async def test_workers_that_record_side_by_side_do_not_wait_for_each_other(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although all that is spent counts for the same day, model and tenant."""
    shards = iter((0, 1))
    monkeypatch.setattr(writing, "_shard", lambda: next(shards))
    async with Journal(postgres_url) as journal:
        await journal.check_writable()
        first, second = threading.Event(), threading.Event()

        def slow(tx: Transaction) -> bool:
            stay = Identity("s", "k1"), 1, Spend("acme", "s1", (USE,))
            writing.add(tx, [stay], tx.now_ms())
            first.set()
            return second.wait(4.0)

        def quick(tx: Transaction) -> None:
            writing.add(tx, [(Identity("s", "k2"), 1, Spend("acme", "s2", (USE,)))], tx.now_ms())

        beside = journal.database.write(slow)
        await asyncio.to_thread(first.wait)
        await journal.database.write(quick)
        second.set()
        assert await beside
        book = SpendBook(journal.database)
        assert await book.by("all") == [SpendRow("", Sums(2, 20, 10, 4, 1_400))]
        assert await book.by("tenant") == [SpendRow("acme", Sums(2, 20, 10, 4, 1_400))]
        await book.set(Ceiling(by="all", tokens=30))
        assert await full(journal) is not None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"by": "team"}, "expected one of all, tenant"),
        ({"per": "week"}, "expected one of day, month"),
        ({"on_exceeded": "cry"}, "'refuse' or 'wait'"),
        ({"by": "all", "name": "x"}, "leave it out"),
        ({"name": "a\x00"}, "no journal keeps"),
        ({"name": "a" * 2_001}, "no journal keeps"),
        ({"tokens": None}, "neither money nor tokens"),
        ({"tokens": -1}, "below 0"),
        ({"nanos": 2**62}, "too large"),
    ],
)
def test_a_ceiling_that_cannot_be_one_is_refused(wrong: dict[str, object], why: str) -> None:
    """With what was found and what was expected."""
    with pytest.raises(ConfigurationError, match=why):
        Ceiling(**{"by": "tenant", "tokens": 5, **wrong})  # type: ignore[arg-type]


def test_periods_begin_at_midnight_of_the_first_in_utc() -> None:
    """30 November 2026 is day 20,787."""
    now_ms = 20_787 * 86_400_000 + 86_399_999
    assert first_day("day", now_ms) == 20_787
    assert first_day("month", now_ms) == 20_758
    assert first_day("month", now_ms + 1) == 20_788
    assert first_day("ever", now_ms) == 0


# Retention ---------------------------------------------------------------------------------------


async def test_pruning_takes_the_ledger_along_and_leaves_the_month(
    journal: Journal, book: SpendBook
) -> None:
    """A ceiling per month must know the month, whatever was pruned."""
    said = await spent(journal, 1)
    await Archive(journal.database).prune(older_than_s=0)
    assert await book.of([said.identity]) == [None]
    assert [row.sums.calls for row in await book.by("session")] == [1]
    await journal.database.write(_long_ago)
    await Archive(journal.database).prune(older_than_s=0)
    assert await book.by("session") == []


async def test_an_effect_that_runs_again_after_it_was_removed_is_counted(
    journal: Journal, book: SpendBook
) -> None:
    """Its first stay then is not the one that was counted before."""
    said = await spent(journal, 1)
    archive = Archive(journal.database)
    found = await archive.get_exactly(said.identity)
    assert await archive.prune_one(found, keep_key=False)
    assert await book.of([said.identity]) == [None]
    await spent(journal, 1)
    assert [row.sums.calls for row in await book.by("all")] == [2]


def _long_ago(tx: Transaction) -> None:
    tx.execute("UPDATE effectmq_spend_sums SET day = day - 40 WHERE namespace = ?", (tx.namespace,))


async def test_where_nothing_was_ever_spent_there_are_no_tables(database_url: str) -> None:
    """A journal of the version before: looking at it makes nothing, and pruning goes on."""
    async with Journal(database_url) as journal:
        book = SpendBook(journal.database)
        assert (await book.by("all"), await book.days(), await book.ceilings()) == ([], {}, [])
        await Archive(journal.database).prune(older_than_s=0)
        await journal.claim(claim_of(effect()))
        await book.set(Ceiling(by="all", tokens=5))
        assert len(await book.ceilings()) == 1
