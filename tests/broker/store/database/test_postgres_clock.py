"""A server whose wall clock is set by an hour while effects are held and sleep; both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psycopg
import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import (
    Accepted,
    Busy,
    Granted,
    Lost,
    Recorded,
    Release,
    Renew,
)
from tests.conformance.asking import claim_of, effect, granted, said
from tests.databases.cluster import Cluster
from tests.databases.faketime import faked, faketime_library
from tests.databases.fixtures import have
from tests.waiting import eventually

pytestmark = pytest.mark.postgres

HOUR_MS = 3_600_000
LEASE_MS = 15_000


class Clock:
    """The wall clock of a server, and of nobody else."""

    def __init__(self, cluster: Cluster, library: Path) -> None:
        self._url = cluster.url
        self._file = cluster.folder / "off"
        cluster.stop()
        cluster.variables = faked(library, self._file)
        cluster.start()

    async def set(self, offset_s: int) -> None:
        """Off by so much; returns when it is so."""
        self._file.write_text(f"{offset_s:+d}\n")
        await eventually(lambda: abs(self._off_s() - offset_s) < 60)

    def _off_s(self) -> float:
        with psycopg.connect(self._url) as connection:
            found = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        assert found is not None
        return float(found[0]) - time.time()


@pytest.fixture
async def clock(pytestconfig: pytest.Config, private_postgres: Cluster) -> Clock:
    """That of the private server."""
    library = have(pytestconfig, faketime_library)
    return await asyncio.to_thread(Clock, private_postgres, library)


@pytest.fixture
async def journal(private_postgres: Cluster, clock: Clock) -> AsyncGenerator[Journal]:
    """One that the clock is of."""
    async with Journal(private_postgres.url) as opened:
        yield opened


async def test_set_forward_a_lease_ends_early_and_one_outcome_counts(
    journal: Journal, clock: Clock
) -> None:
    """The fence decides: who had it first is told that it lost it."""
    first = await granted(journal, effect(), lease_ms=LEASE_MS)
    await clock.set(3_600)
    second = await granted(journal, effect(), lease_ms=LEASE_MS)
    assert second.fence == first.fence + 1
    assert await journal.record(said(effect(), first, '"first"')) == Lost()
    assert await journal.record(said(effect(), second, '"second"')) == Accepted()
    found = await journal.look(effect().identity)
    assert isinstance(found, Recorded)
    assert found.outcome_json == '"second"'


async def test_set_back_who_lives_keeps_its_lease_and_ends_as_ever(
    journal: Journal, clock: Clock
) -> None:
    """Its next renewal is by the new time."""
    held = await granted(journal, effect(), lease_ms=LEASE_MS)
    await clock.set(-3_600)
    found = await journal.claim(claim_of(effect()))
    assert isinstance(found, Busy)
    assert found.wait_ms > HOUR_MS
    renewed = await journal.hand_back(Renew(effect().identity, held.fence, LEASE_MS))
    assert renewed == Accepted()
    found = await journal.claim(claim_of(effect()))
    assert isinstance(found, Busy)
    assert found.wait_ms <= LEASE_MS
    assert await journal.record(said(effect(), held)) == Accepted()


async def test_set_back_the_lease_of_the_dead_ends_when_the_clock_is_right(
    journal: Journal, clock: Clock
) -> None:
    """Until then nobody takes over: what cannot be known is not guessed."""
    await granted(journal, effect(), lease_ms=1)
    await clock.set(-3_600)
    assert isinstance(await journal.claim(claim_of(effect())), Busy)
    await clock.set(0)
    assert (await granted(journal, effect())).fence == 2


@pytest.mark.parametrize(("offset_s", "left_ms"), [(3_600, 0), (-3_600, HOUR_MS + 600_000)])
async def test_a_sleep_ends_by_the_clock_of_the_server(
    journal: Journal, clock: Clock, offset_s: int, left_ms: int
) -> None:
    """Early or late by what it was set, and right again with it."""
    held = await granted(journal, effect())
    await journal.hand_back(Release(effect().identity, held.fence, 1, 600_000))
    await clock.set(offset_s)
    found = await granted(journal, effect())
    assert abs(found.due_in_ms - left_ms) < 60_000
    await journal.hand_back(Release(effect().identity, found.fence, 1, None))
    await clock.set(0)
    again = await journal.claim(claim_of(effect()))
    assert isinstance(again, Granted)
    assert abs(again.due_in_ms - 600_000) < 60_000
