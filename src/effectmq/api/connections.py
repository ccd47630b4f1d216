"""
What the API works with, opened once and kept open: broker, journal, index of dead letters, client.

What is away at the start, or later, is opened again until it is there: a request meanwhile is
answered with a sentence that says what is away. A transport and a database that were open once heal
by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, NoReturn, Self, TypeVar

from effectmq.api.problems import AwayError
from effectmq.broker.backoff import Backoff
from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.desk import DeadDesk
from effectmq.broker.place import Place
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.letters.steps import LETTERS_SCHEMA
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names

__all__ = ["Connections"]

logger = logging.getLogger("effectmq.api")

T = TypeVar("T")

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_LEAST_WAIT_S = 0.2
#: How long a request waits for what is just being opened, in seconds.
_PATIENCE_S = 1.0


class _Kept(Generic[T]):
    """
    One thing that is opened, and opened again until it is there.

    Args:
        what: Its name in answers, ``broker`` or ``journal``.
        opening: Makes one, to be entered.
    """

    def __init__(self, what: str, opening: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._what = what
        self._opening = opening
        self._thing: T | None = None
        self._closing = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.problem = ""

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(
            self._keep(), name=f"effectmq api {self._what}"
        )

    async def end(self) -> None:
        self._closing.set()
        self._wanted.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def get(self) -> T:
        """
        The thing; when it is away, who asks has it tried at once, and waits a moment.

        Raises:
            AwayError: When it is not there.
        """
        if self._thing is None and self._task is not None:
            self._tried.clear()
            self._wanted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._tried.wait()
        if self._thing is None:
            why = self.problem or "it is being opened"
            raise AwayError(self._what, f"the {self._what} is away: {why}")
        return self._thing

    async def _keep(self) -> None:
        backoff = Backoff(_LONGEST_WAIT_S, first_s=_FIRST_WAIT_S)
        while not self._closing.is_set():
            self._wanted.clear()
            try:
                async with self._opening() as self._thing:
                    self.problem = ""
                    self._tried.set()
                    await self._closing.wait()
            except EffectmqError as problem:
                self._note(describe(problem))
            finally:
                self._thing = None
            # Those who ask all the time must not make it be tried all the time.
            await _either(self._closing, _LEAST_WAIT_S)
            await _either(self._wanted, backoff.next_s())

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning(
                "the %s is away, and is tried again until it is there: %s",
                self._what,
                problem,
                extra={"action": "away", "what": self._what},
            )
        self.problem = problem
        self._tried.set()


async def _either(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


@dataclass(frozen=True, slots=True)
class Stores:
    """
    What is kept.

    Attributes:
        archive: The journal, to look at; ``None`` without one.
        journal: The journal, to decide in; ``None`` without one.
        letters: The database with the index of dead letters and the audit.
    """

    archive: Archive | None
    journal: Journal | None
    letters: Database


class Connections:
    """
    All of them, for one place. Use as an asynchronous context manager.

    Args:
        place: The place of the installation.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.names = Names(place.topology.namespace)
        self._broker = _Kept("broker", self._transport)
        self._stores = _Kept("journal", self._opened_stores)
        self._client: EffectClient | None = None
        self._making = asyncio.Lock()
        store = place.attachments
        if isinstance(store, str):
            store = open_attachments(store, namespace=place.topology.namespace)
        self.bodies = None if store is None else LargeBodies(store)

    async def __aenter__(self) -> Self:
        """Begin to open; nothing is waited for."""
        self._broker.begin()
        self._stores.begin()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close everything."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)
        await self._stores.end()
        await self._broker.end()

    @property
    def away(self) -> dict[str, str]:
        """What is away at the moment, and why, by its name."""
        found = {"broker": self._broker.problem, "journal": self._stores.problem}
        return {what: problem for what, problem in found.items() if problem}

    async def transport(self) -> Transport:
        """
        The broker.

        Raises:
            AwayError: When it is away, also when it was there before.
        """
        transport = await self._broker.get()
        if transport.problem:
            raise AwayError("broker", f"the broker is away: {transport.problem}")
        return transport

    async def archive(self) -> Archive:
        """
        The journal, to look at.

        Raises:
            AwayError: When it is away, or there is none.
        """
        return (await self._stores.get()).archive or _refuse_none()

    async def journal(self) -> Journal:
        """
        The journal, to decide in.

        Raises:
            AwayError: When it is away, or there is none.
        """
        return (await self._stores.get()).journal or _refuse_none()

    async def letters(self) -> Database:
        """
        The database with the index of dead letters and the audit.

        Raises:
            AwayError: When it is away.
        """
        return (await self._stores.get()).letters

    async def schedules(self) -> ScheduleTable:
        """
        The schedules, in the journal's database.

        Raises:
            AwayError: When it is away, or there is none.
            SchemaVersionError: When their table is of another version.
        """
        table = ScheduleTable((await self.archive()).database)
        await table.ensure()
        return table

    @asynccontextmanager
    async def desk(self, who: str = "") -> AsyncGenerator[DeadDesk]:
        """
        A desk for who asks.

        Raises:
            AwayError: When the broker or the database is away.
        """
        async with DeadDesk(
            await self.transport(),
            self.place.topology,
            database=await self.letters(),
            bodies=self.bodies,
            limits=self.place.limits,
            who=who,
        ) as desk:
            yield desk

    async def client(self) -> EffectClient:
        """
        Who submits; opened at its first use.

        Raises:
            BrokerError: When the broker cannot be used.
        """
        await self.transport()
        async with self._making:
            if self._client is None:
                # Recorded outcomes come from the workers; the client looks at nothing itself.
                client = EffectClient(place=replace(self.place, journal=None, replay="execute"))
                self._client = await client.__aenter__()
            return self._client

    # Opening ---------------------------------------------------------------------------------

    def _transport(self) -> AbstractAsyncContextManager[Transport]:
        return open_transport(self.place.broker, self.place.connection_of("effectmq api"))

    @asynccontextmanager
    async def _opened_stores(self) -> AsyncGenerator[Stores]:
        namespace, journal_url = self.names.namespace, self.place.journal
        if journal_url is None:
            # The index is made anew, and ends with the API.
            with tempfile.TemporaryDirectory(prefix="effectmq-") as folder:
                url = f"sqlite:///{Path(folder, 'letters.db')}"
                async with open_database(url, namespace=namespace) as database:
                    await LETTERS_SCHEMA.ensure(database)
                    yield Stores(None, None, database)
            return
        # A look refuses a journal that is not there; what decides would make it.
        async with (
            open_archive(journal_url, namespace=namespace) as archive,
            Journal(journal_url, namespace=namespace) as journal,
        ):
            await LETTERS_SCHEMA.ensure(archive.database)
            yield Stores(archive, journal, archive.database)


def _refuse_none() -> NoReturn:
    raise AwayError(
        "journal",
        "there is no journal, so there are no effects to look at; name the one of your workers "
        "with --journal or EFFECTMQ_JOURNAL",
    )
