"""The book of what was spent, for people and for workers: sums, ceilings, retention."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from effectmq.broker.store.admission.declared.keys import spend_lines
from effectmq.broker.store.admission.declared.rules import wake_lines
from effectmq.broker.store.admission.steps import ADMISSION_SCHEMA
from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.spend import ceilings, reading
from effectmq.broker.store.spend.ceilings import Ceiling, Exceeded
from effectmq.broker.store.spend.reading import SpendRow
from effectmq.broker.store.spend.records import (
    Dimension,
    Payer,
    Period,
    Sums,
)
from effectmq.broker.store.spend.steps import SPEND_SCHEMA
from effectmq.broker.store.spend.writing import forget_before
from effectmq.protocol.messages.request import Identity

__all__ = ["Guard", "SpendBook"]

T = TypeVar("T")

_DAY_MS = 86_400_000
#: How long a worker goes on believing that there is no ceiling, in seconds.
_FRESH_S = 1.0


class SpendBook:
    """
    What was spent in one namespace.

    Args:
        database: An open database of a journal. Where nothing was ever spent there may be no tables
            yet; then there are no sums, and the first ceiling makes them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self) -> None:
        """
        Make the tables if there are none.

        Raises:
            SchemaVersionError: When they are of another version.
        """
        await SPEND_SCHEMA.ensure(self._database)

    async def by(self, by: Dimension, *, since_ms: int = 0, limit: int = 100) -> list[SpendRow]:
        """Those who have spent most since a moment's day (UTC), the first of all first."""
        day = since_ms // _DAY_MS
        return await self._read(lambda tx: reading.spend_by(tx, by, day, limit), [])

    async def days(self, *, since_ms: int = 0) -> dict[int, Sums]:
        """What was spent on each day, by its number since the Unix epoch."""
        nothing: dict[int, Sums] = {}
        return await self._read(lambda tx: reading.spend_by_day(tx, since_ms // _DAY_MS), nothing)

    async def of(self, effects: Sequence[Identity]) -> list[SpendRow | None]:
        """What each effect has spent; ``None`` for nothing."""
        nothing: list[SpendRow | None] = [None] * len(effects)
        return await self._read(lambda tx: reading.spend_of(tx, effects), nothing)

    async def ceilings(self) -> list[Ceiling]:
        """All ceilings."""
        return await self._read(ceilings.list_ceilings, [])

    async def set(self, ceiling: Ceiling) -> None:
        """Set a ceiling, or change it; workers know within a second."""
        await self.ensure()
        await self._change(lambda tx: ceilings.set_ceiling(tx, ceiling), ceiling.by)

    async def propose(self, proposed: Iterable[Ceiling]) -> None:
        """Set the ceilings of a program, but for those that a person has set."""
        found = list(proposed)

        def work(tx: Transaction) -> None:
            for ceiling in found:
                ceilings.propose_ceiling(tx, ceiling)

        changed: list[Dimension] = [ceiling.by for ceiling in found]
        await self._change(work, *changed)

    async def clear(self, by: Dimension, name: str | None, per: Period) -> bool:
        """Remove a ceiling; whether there was one."""
        await self.ensure()
        return await self._change(lambda tx: ceilings.clear_ceiling(tx, by, name, per), by)

    async def _change(self, work: Callable[[Transaction], T], *by: Dimension) -> T:
        """Change ceilings, and let what waits for room look again."""
        waits = await ADMISSION_SCHEMA.found(self._database)

        def change(tx: Transaction) -> T:
            done = work(tx)
            # In one order, as everywhere.
            for each in sorted(set(by)) if waits else ():
                wake_lines(tx, *spend_lines(each))
            return done

        return await self._database.write(change)

    async def forget_before(self, before_ms: int) -> None:
        """
        Remove what is older than a moment, in short transactions.

        The sums of the current month stay, because ceilings need them.
        """
        if not await SPEND_SCHEMA.found(self._database):
            return

        def work(tx: Transaction) -> bool:
            return forget_before(tx, before_ms, ceilings.first_day("month", tx.now_ms()))

        clock, more = asyncio.get_running_loop().time, True
        while more:
            began = clock()
            more = await self._database.write(work)
            await asyncio.sleep(clock() - began)

    async def _read(self, work: Callable[[Transaction], T], nothing: T) -> T:
        if not await SPEND_SCHEMA.found(self._database):
            return nothing
        return await self._database.read(work)


class Guard:
    """
    Tells a worker whether there is room under the ceilings.

    Args:
        database: An open database with the tables.
        clock: Seconds that never jump.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._none_until = float("-inf")
        # Attempts that begin together share a read; each is told what was so after it asked.
        self._reads: GroupCommit[Payer, Exceeded | None] = GroupCommit(self._read)

    @property
    def idle(self) -> bool:
        """Whether there was no ceiling at all a moment ago, so that nothing need be asked."""
        return self._clock() < self._none_until

    def ask(self, payer: Payer) -> asyncio.Future[Exceeded | None]:
        """The ceiling that has no room for somebody; ``None`` when all have."""
        return self._reads.ask(payer)

    def _read(self, payers: list[Payer]) -> asyncio.Future[list[Exceeded | None]]:
        clock_s = self._clock()

        def work(tx: Transaction) -> list[Exceeded | None]:
            found = {payer: ceilings.exceeded(tx, payer) for payer in dict.fromkeys(payers)}
            if not any(some for some, _ in found.values()):
                self._none_until = clock_s + _FRESH_S
            return [found[payer][1] for payer in payers]

        return self._database.read(work)
