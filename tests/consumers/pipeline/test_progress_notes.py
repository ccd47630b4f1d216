"""How far effects are, on the way to their records: what waits, what is taken, what comes back."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Renew
from effectmq.consumers.pipeline import progress_notes
from effectmq.consumers.pipeline.leases import Lease
from effectmq.consumers.pipeline.progress_notes import ProgressNotes
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import DatabaseUnavailableError
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity
from tests.waiting import eventually

LEASE, OTHER = Lease(Identity("t", "k"), 1), Lease(Identity("t", "other"), 1)
LATER = Lease(LEASE.identity, 2)


@pytest.fixture
def renewed() -> list[Lease]:
    """The leases that were renewed."""
    return []


@pytest.fixture
async def notes(renewed: list[Lease]) -> ProgressNotes:
    """Whose owner renews leases, and takes nothing yet."""
    return ProgressNotes(asyncio.get_running_loop(), renewed.append)


async def test_leases_with_news_are_renewed_together(
    notes: ProgressNotes, renewed: list[Lease]
) -> None:
    """Once, however much was said; the last word is taken, once."""
    for done in range(100):
        notes.add(LEASE, Progress(done))
    notes.add(OTHER, Progress(7))
    await eventually(lambda: len(renewed) == 2)
    assert renewed == [LEASE, OTHER]
    assert (notes.take(LEASE), notes.take(LEASE)) == (Progress(99), None)
    assert notes.has(OTHER)
    assert not notes.has(LEASE)


async def test_the_word_of_another_lease_is_never_taken(notes: ProgressNotes) -> None:
    """An effect that came back has another fence; what its former run said is void."""
    notes.add(LEASE, Progress(1))
    assert not notes.has(LATER)
    assert notes.take(LATER) is None
    assert notes.take(LEASE) is None


async def test_what_could_not_be_recorded_waits_unless_there_is_news(notes: ProgressNotes) -> None:
    """For the next renewal, whenever that is."""
    notes.put_back(LEASE, None)
    assert not notes.has(LEASE)
    notes.put_back(LEASE, Progress(1))
    notes.put_back(LEASE, Progress(0))
    assert notes.take(LEASE) == Progress(1)


async def test_who_leaves_renews_nothing_more(notes: ProgressNotes, renewed: list[Lease]) -> None:
    """Another worker may have the effect by then."""
    notes.add(LEASE, Progress(1))
    notes.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert renewed == []
    assert not notes.has(LEASE)


async def test_a_journal_that_is_away_for_a_while_gets_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The effect does not notice."""
    monkeypatch.setattr(progress_notes, "_STEP_S", 0.01)
    real, refused = Journal.hand_back, list[Renew]()

    def hand_back(journal: Journal, said: Any) -> asyncio.Future[Any]:
        if isinstance(said, Renew) and said.progress is not None and len(refused) < 3:
            refused.append(said)
            raise DatabaseUnavailableError("the journal is away")
        return real(journal, said)

    monkeypatch.setattr(Journal, "hand_back", hand_back)
    broker, url = f"memory://{secrets.token_hex(4)}", f"sqlite:///{tmp_path / 'j.db'}"
    worker = EffectWorker(broker, journal=url, lease_s=5)

    @worker.tool
    async def work(context: ToolContext) -> None:
        while len(refused) < 3:
            context.progress(len(refused), 3)
            await asyncio.sleep(0.01)
        context.progress(3, 3, "through")

    async with worker, EffectClient(broker) as client, open_archive(url) as archive:
        await client.turn("s", "t").tool_call("work", {}, call_id="c", timeout=60)
        (found,) = await archive.progress(await archive.find())
        assert found is not None
        assert found.progress == Progress(3, 3, "through")
