"""What a worker posts to the dead letters is written into their index, many in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.letters.steps import LETTERS_SCHEMA
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import describe

if TYPE_CHECKING:
    from effectmq.broker.store.letters.index import NotedLetter

__all__ = ["LetterNotes"]

logger = logging.getLogger("effectmq.worker")


class LetterNotes:
    """
    The index as a worker writes it.

    A letter whose note is lost is found by the next walk, so a note may fail: it is counted, and
    no effect waits for it.

    Args:
        database: Open; that of the journal.
        counters: ``letters_noted``, ``letters_unnoted``.
    """

    def __init__(self, database: Database, counters: Counter[str]) -> None:
        self._database = database
        self._counters = counters
        self._writes: GroupCommit[NotedLetter, None] | None = None

    async def open(self) -> None:
        """Make the tables if there are none; without them nothing is noted, which is said once."""
        try:
            await LETTERS_SCHEMA.ensure(self._database)
        except EffectmqError as problem:
            logger.warning(
                "dead letters are not noted in the journal's database, so that a look at them has "
                "to walk the queue: %s",
                describe(problem),
                extra={"action": "letters_unnoted"},
            )
            return
        self._writes = GroupCommit(self._write)

    async def close(self) -> None:
        """Wait until what was noted is kept."""
        if self._writes is not None:
            await self._writes.drain()

    def _write(self, letters: list[NotedLetter]) -> asyncio.Future[list[None]]:
        from effectmq.broker.store.letters.index import LetterIndex

        return LetterIndex(self._database).note(letters)

    async def note(self, message: Message, routing_key: str, tree: object = None) -> None:
        """
        Write down a letter that the broker has.

        Args:
            message: The dead letter.
            routing_key: What it was published with.
            tree: The envelope as plain data, when it is not in the message.
        """
        if self._writes is None:
            return
        # Loaded with the first dead letter: most workers make none.
        from effectmq.broker.store.letters.facts import row_of
        from effectmq.broker.store.letters.index import NotedLetter
        from effectmq.protocol.messages.dead_letter import read_dead_letter

        letter = read_dead_letter(message, routing_key)
        try:
            await self._writes.ask(NotedLetter(row_of(letter, tree), message, routing_key))
        except Exception as problem:
            self._counters["letters_unnoted"] += 1
            logger.warning(
                "a dead letter is not noted in the journal's database, and is found by the next "
                "walk of the queue: %s",
                describe(problem),
                extra={"action": "letter_unnoted", "letter": letter.id},
            )
            return
        self._counters["letters_noted"] += 1
