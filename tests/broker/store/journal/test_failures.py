"""An outcome that is a failure is kept and answered as it is, and is shown as failed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Claim, Record, Recorded, effect_of
from effectmq.protocol.messages.request import Request
from tests.broker.store.journal.effects import SLEPT, Writer, sleep

_ERROR = '{"code":"declined","message":"the bank says no"}'


@pytest.fixture
async def journal(database_url: str) -> AsyncIterator[Journal]:
    """An open journal."""
    async with Journal(database_url) as opened:
        yield opened


@pytest.fixture
async def archive(journal: Journal) -> Archive:
    """Its archive, with effects that ended in each way."""
    writer = Writer(journal)
    await writer.complete(sleep("good"))
    await fail(writer, sleep("bad"))
    await writer.fail(sleep("parked"), park="exhausted")
    return Archive(journal.database)


async def fail(writer: Writer, request: Request) -> Record:
    """Record an outcome that is a failure."""
    granted = await writer.claim(request)
    said = Record(request.identity, granted.fence, granted.attempt, SLEPT, _ERROR)
    await writer.journal.record(said)
    return said


async def found(archive: Archive, chosen: EffectFilter) -> set[str]:
    """The chosen effects."""
    return {effect.effect_id for effect in await archive.find(chosen)}


async def test_it_is_listed_and_counted_as_failed(archive: Archive) -> None:
    """By itself, with others, with a kind, by any index; and no longer as completed."""
    for chosen, expected in {
        EffectFilter(statuses=("failed",)): {"bad", "parked"},
        EffectFilter(statuses=("completed",)): {"good"},
        EffectFilter(statuses=("failed", "completed"), kinds=("sleep",)): {"good", "bad", "parked"},
        EffectFilter(statuses=("failed",), session_id="s"): {"bad", "parked"},
        EffectFilter(statuses=("failed",), key_prefix="s:"): {"bad", "parked"},
        EffectFilter(kinds=("sleep",)): {"good", "bad", "parked"},
        EffectFilter(): {"good", "bad", "parked"},
    }.items():
        assert await found(archive, chosen) == expected, chosen
    counts = (await archive.stats()).counts
    assert counts == {("sleep", "completed"): 1, ("sleep", "failed"): 2}


async def test_it_has_its_message_and_its_outcome(archive: Archive) -> None:
    """And nothing is wrong with its record."""
    effect = await archive.get("bad")
    assert (effect.status, effect.error) == ("failed", ("declined", "the bank says no"))
    assert effect.outcome_json == SLEPT
    assert [damage async for damage in archive.verify()] == []


async def test_who_asks_again_is_given_the_outcome(archive: Archive, journal: Journal) -> None:
    """Byte for byte, and not the error that is shown to people; an operator cannot replay it."""
    request = sleep("bad")
    effect = effect_of(request)
    for parked_as in (0, 1):
        asked = Claim(effect, "w2", f"token-{parked_as}", 60_000, parked_as=parked_as)
        answer = await journal.claim(asked)
        assert isinstance(answer, Recorded)
        assert (answer.status, answer.outcome_json, answer.error_json) == ("failed", SLEPT, "")


async def test_the_same_record_twice_is_accepted_once(journal: Journal) -> None:
    """The answer to the first time may have been lost."""
    said = await fail(Writer(journal), sleep("bad"))
    assert await journal.record(said) == await journal.record(said)


async def test_it_is_pruned_as_what_is_completed(archive: Archive) -> None:
    """It was never given up, so nothing waits for it."""
    await archive.database.write(
        lambda tx: tx.execute("UPDATE effectmq_effects SET updated_at_ms = 1")
    )
    assert (await archive.prune(older_than_s=1.0)).pruned == 2
    assert await found(archive, EffectFilter(statuses=("forgotten",))) == {"good", "bad"}
