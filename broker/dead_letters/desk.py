"""
The desk: dead letters are looked at and changed here, by several people at once.

Looks are answered from the index. They take no message off the queue, and do not hinder each other.
An action chooses letters from the index, writes who does what into the audit, and settles letter by
letter while it holds the letter's message. Only one program holds a message at a time: of two that
want the same letter one gets it, and the other finds it gone.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from effectmq.broker.dead_letters.choosing import IndexChooser
from effectmq.broker.dead_letters.content import DeadContent
from effectmq.broker.dead_letters.dead_letters import DEFAULT_RATE, DeadLetters, Progress
from effectmq.broker.dead_letters.edit import DeadEdit
from effectmq.broker.dead_letters.patching import Patch
from effectmq.broker.dead_letters.queue.browser import Turn
from effectmq.broker.dead_letters.queue.settling import PATIENT
from effectmq.broker.dead_letters.report import DeadLetterIdError as DeadLetterIdError
from effectmq.broker.dead_letters.report import DeadReport, check_ids, no_such_letter
from effectmq.broker.dead_letters.walking import Freshness, refreshed, walked
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.letters.audit import AuditLine, AuditLog, choice_of
from effectmq.broker.store.letters.facts import LetterFacts
from effectmq.broker.store.letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.store.letters.index import Facets, LetterIndex, LetterPage
from effectmq.broker.store.letters.selecting import Cursor
from effectmq.broker.transports.port import Transport
from effectmq.protocol.encoding.codec import Limits
from effectmq.protocol.errors import DatabaseError
from effectmq.protocol.messages.dead_letter import DeadLetter, read_dead_letter
from effectmq.protocol.topology import Names, TopologySettings

__all__ = ["DeadDesk", "operator"]

_PAGE = 500
#: What was settled is taken out of the index so many at a time, and this often, in seconds.
_SETTLED = 200
_EVERY_S = 1.0


def operator() -> str:
    """Who acts, when no name is given: the user of the operating system and the host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        # A container may run under a number that has no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class DeadDesk:
    """
    The dead letters of one namespace. Use as an asynchronous context manager.

    Args:
        transport: An open transport.
        topology: The namespace.
        database: Where the index and the audit are kept: an open database, that of the journal
            usually, or its address. Without one the index is made anew in a temporary file, which
            goes with the desk, and the audit is logged only.
        bodies: Fetches bodies that are kept out of line.
        limits: What a worker accepts, to tell what can be replayed.
        who: Who acts, for the audit; by default the user of the operating system and the host.
        turn: How to wait for a turn at the queue, where one has to.
    """

    def __init__(
        self,
        transport: Transport,
        topology: TopologySettings,
        *,
        database: Database | str | None = None,
        bodies: LargeBodies | None = None,
        limits: Limits | None = None,
        who: str = "",
        turn: Turn = PATIENT,
    ) -> None:
        self._transport = transport
        self._topology = topology
        self._given = database
        self._bodies = bodies
        self._limits = limits
        self._who = who or operator()
        self._turn = turn
        self._queue = Names(topology.namespace).dead
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """
        Open the index, made if there is none.

        Raises:
            DatabaseUnavailableError: When its database cannot be used.
            SchemaVersionError: When its tables are of another version.
        """
        try:
            database = await self._opened()
            self.index = LetterIndex(database)
            await self.index.ensure()
            self._audit = AuditLog(database, self._who)
            chooser = IndexChooser(self.index)
            settled = self._settled = _Settled(self.index)
            self.letters = DeadLetters(
                self._transport,
                self._topology,
                self._limits,
                self._bodies,
                chooser=chooser,
                on_settled=settled.add,
                turn=self._turn,
            )
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def _opened(self) -> Database:
        given = self._given
        if given is not None and not isinstance(given, str):
            return given
        if given is None:
            folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="effectmq-"))
            given = f"sqlite:///{Path(folder, 'letters.db')}"
        database = open_database(given, namespace=self._topology.namespace)
        await self._open.enter_async_context(database)
        return database

    async def __aexit__(self, *exc_info: object) -> None:
        """Close what was opened."""
        await self._open.aclose()

    # Looking ---------------------------------------------------------------------------------

    async def refresh(self, *, thorough: bool = True) -> Freshness:
        """
        Make the index agree with the queue, if it does not seem to; see ``walking``.

        Args:
            thorough: Walk a queue that is short also when the numbers agree.

        Raises:
            TopologyError: When there is no dead-letter queue.
            DeadLettersInUseError: When nothing is known yet, and others have the queue all the
                time.
        """
        return await refreshed(
            self._transport,
            self._queue,
            self.index,
            thorough=thorough,
            turn=self._turn,
            bodies=self._bodies,
        )

    async def walk(self) -> int:
        """
        See the whole queue, whatever the numbers say; how many messages there are.

        Raises:
            DeadLettersInUseError: When others have the queue all the time.
        """
        return await walked(
            self._transport,
            self._queue,
            self.index,
            turn=self._turn,
            bodies=self._bodies,
        )

    async def page(
        self,
        chosen: DeadFilter = EVERY_LETTER,
        *,
        limit: int,
        after: Cursor | None = None,
        newest_first: bool = False,
    ) -> LetterPage:
        """One page of the letters that are meant; see ``LetterIndex.page``."""
        return await self.index.page(chosen, limit=limit, after=after, newest_first=newest_first)

    async def every(self, chosen: DeadFilter = EVERY_LETTER) -> AsyncIterator[LetterFacts]:
        """All letters that are meant, the oldest first, page by page."""
        after: Cursor | None = None
        while True:
            page = await self.index.page(chosen, limit=_PAGE, after=after)
            for letter in page.letters:
                yield letter
            if page.after is None:
                return
            after = page.after

    async def facets(self, chosen: DeadFilter = EVERY_LETTER) -> Facets:
        """How many letters are meant, by what."""
        return await self.index.facets(chosen)

    async def find(self, letter_id: str) -> DeadLetter:
        """
        One letter, by its id or the beginning of it.

        Raises:
            DeadLetterIdError: When there is none, or more than one.
        """
        page = await self.index.page(DeadFilter(ids=(letter_id,)), limit=_PAGE)
        check_ids(DeadFilter(ids=(letter_id,)), [letter.id for letter in page.letters])
        found = await self.index.message(page.letters[0].id)
        if found is None:
            raise DeadLetterIdError(no_such_letter(letter_id))
        return read_dead_letter(*found)

    async def content(self, letter: DeadLetter) -> DeadContent:
        """What is inside a letter, decoded as far as it goes."""
        return await self.letters.content(letter)

    async def audit(self, limit: int) -> Sequence[AuditLine]:
        """Who did what, the newest first."""
        return await self._audit.lines(limit)

    # Changing --------------------------------------------------------------------------------

    async def replay(
        self,
        chosen: DeadFilter,
        *,
        rate: float = DEFAULT_RATE,
        limit: int | None = None,
        dry_run: bool = False,
        on_progress: Progress | None = None,
        reply_to: str | None = None,
    ) -> DeadReport:
        """Send letters back to the queues of their kinds; see ``DeadLetters.replay``."""
        return await self._done(
            _Deed("replay", chosen, {"rate": rate, "limit": limit}, dry_run),
            lambda: self.letters.replay(
                chosen,
                rate=rate,
                limit=limit,
                dry_run=dry_run,
                on_progress=on_progress,
                reply_to=reply_to,
            ),
        )

    async def edit(
        self,
        chosen: DeadFilter,
        patch: Patch,
        *,
        rate: float = DEFAULT_RATE,
        limit: int | None = None,
        dry_run: bool = False,
        on_progress: Progress | None = None,
    ) -> DeadReport:
        """Send letters back with a patch applied; see ``DeadLetters.replay_patched``."""
        return await self._done(
            _Deed(
                "edit",
                chosen,
                {"rate": rate, "limit": limit, "patch": patch.operations},
                dry_run,
            ),
            lambda: self.letters.replay_patched(
                chosen, patch, rate=rate, limit=limit, dry_run=dry_run, on_progress=on_progress
            ),
        )

    async def replace(
        self,
        letter_id: str,
        document: bytes | str,
        *,
        dry_run: bool = False,
        reply_to: str | None = None,
    ) -> DeadEdit:
        """Send one letter back with another envelope; see ``DeadLetters.replay_edited``."""
        if dry_run:
            return await self.letters.replay_edited(
                letter_id, document, dry_run=True, reply_to=reply_to
            )
        line = await self._audit.begin("edit", choice_of(DeadFilter(ids=(letter_id,))))
        facts: dict[str, Any] = {"interrupted": True}
        try:
            async with self._settled:
                edit = await self.letters.replay_edited(letter_id, document, reply_to=reply_to)
            facts = {"done": 1, "edited_from": edit.edited_from, "hash": edit.request.hash}
            return edit
        finally:
            with suppress(DatabaseError):
                await self._audit.end(line, "edit", facts)

    async def purge(
        self,
        chosen: DeadFilter,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        on_progress: Progress | None = None,
    ) -> DeadReport:
        """Throw letters away, for ever; see ``DeadLetters.purge``."""
        return await self._done(
            _Deed("purge", chosen, {"limit": limit}, dry_run),
            lambda: self.letters.purge(
                chosen, limit=limit, dry_run=dry_run, on_progress=on_progress
            ),
        )

    async def _done(self, deed: _Deed, act: Callable[[], Awaitable[DeadReport]]) -> DeadReport:
        if deed.dry_run:
            return await act()
        line = await self._audit.begin(deed.action, {**choice_of(deed.chosen), **deed.how})
        report: DeadReport | None = None
        try:
            async with self._settled:
                report = await act()
            return report
        finally:
            facts = {"interrupted": True} if report is None else report.facts()
            # It is in the log, whatever becomes of the database; what was done is done.
            with suppress(DatabaseError):
                await self._audit.end(line, deed.action, facts)


@dataclass(frozen=True, slots=True)
class _Deed:
    """An action that is about to begin, for the audit."""

    action: str
    chosen: DeadFilter
    how: Mapping[str, Any]
    dry_run: bool


class _Settled:
    """Takes out of the index what was settled, some at a time, beside the settling."""

    def __init__(self, index: LetterIndex) -> None:
        self._index = index
        self._ids: list[str] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, letter_id: str) -> None:
        """A message of this letter was taken off the queue."""
        self._ids.append(letter_id)
        if len(self._ids) >= _SETTLED:
            self._wake.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="effectmq letters")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._flush()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._flush()

    async def _flush(self) -> None:
        ids, self._ids = self._ids, []
        try:
            await self._index.settled(ids)
        except DatabaseError:
            # The queue is the truth; the next walk finds what is missing there.
            return
