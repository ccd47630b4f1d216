"""
The index of dead letters: a copy beside the queue, to look at and to choose from.

The queue is the truth: a letter exists as long as its message is in the queue, and a program that
settles a letter holds that message. The index is written by workers when they park an effect, by
programs that settle letters, and by a *walk*, which sees the whole queue and makes both agree. It
can be deleted at any time.

Reading the index takes no message off the queue, and any number of readers may do it at once.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from effectmq.broker.store.database.port import Database, Row, Transaction, Value
from effectmq.broker.store.database.rows import RowReader, data, number, text
from effectmq.broker.store.letters.facts import LetterFacts
from effectmq.broker.store.letters.filter import EVERY_LETTER, DeadFilter
from effectmq.broker.store.letters.selecting import Cursor, conditions, source
from effectmq.broker.store.letters.steps import LETTERS_SCHEMA
from effectmq.protocol.messages.message import Message

__all__ = ["FACETS", "Facets", "LetterIndex", "LetterPage", "NotedLetter", "Walk"]

#: What letters are counted by.
FACETS = ("reason", "kind", "route", "tool", "model", "code", "error")

_NAMES = {"id": "letter_id"}
_COLUMNS = tuple(_NAMES.get(each.name, each.name) for each in fields(LetterFacts))
_READ = ", ".join(_COLUMNS)
_reader = RowReader(LetterFacts)

_INSERT = (
    f"INSERT INTO effectmq_letters (namespace, copies, seen, noted_ms, {_READ}) "
    f"VALUES (?, 1, ?, ?, {', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (namespace, letter_id) DO UPDATE SET "
)
#: A worker has posted it, perhaps once more. What a walk has counted is counted already.
_NOTE = _INSERT + (
    "copies = CASE WHEN effectmq_letters.seen = 0 THEN effectmq_letters.copies + 1 "
    "ELSE effectmq_letters.copies END"
)
#: A walk counts the copies that there are.
_SEE = (
    "UPDATE effectmq_letters SET copies = CASE WHEN seen = ? THEN copies + 1 ELSE 1 END, seen = ? "
    "WHERE namespace = ? AND letter_id = ?"
)
_FIND = _INSERT + (
    "copies = CASE WHEN effectmq_letters.seen = excluded.seen "
    "THEN effectmq_letters.copies + 1 ELSE 1 END, seen = excluded.seen"
)
_KEEP = (
    "INSERT INTO effectmq_letter_messages (namespace, letter_id, properties_json, body) "
    "VALUES (?, ?, ?, ?) "
    "ON CONFLICT (namespace, letter_id) DO NOTHING"
)
_KNOWN = "SELECT letter_id FROM effectmq_letters WHERE namespace = ? AND letter_id = ?"
_UNSEEN = (
    "SELECT letter_id FROM effectmq_letters "
    "WHERE namespace = ? AND seen <> ? AND noted_ms < ? LIMIT ?"
)
_ONE_LESS = "UPDATE effectmq_letters SET copies = copies - ? WHERE namespace = ? AND letter_id = ?"
_DROP = "DELETE FROM effectmq_letters WHERE namespace = ? AND letter_id = ?"
_DROP_IF_NONE = f"{_DROP} AND copies <= 0 RETURNING letter_id"
_DROP_MESSAGE = "DELETE FROM effectmq_letter_messages WHERE namespace = ? AND letter_id = ?"
_MESSAGE = (
    "SELECT properties_json, body FROM effectmq_letter_messages "
    "WHERE namespace = ? AND letter_id = ?"
)
_TOTAL = "SELECT count(*), coalesce(sum(copies), 0) FROM effectmq_letters WHERE namespace = ?"

#: What is kept of a message beside its body. ASCII, so that what a stranger sent comes back as it
#: was, zero characters and halves of pairs included.
_PROPERTIES = (
    "content_type",
    "type",
    "correlation_id",
    "reply_to",
    "message_id",
    "timestamp",
    "headers",
)
#: So many rows are written or dropped in one transaction, so that others get their turn.
_BATCH = 500
#: Numbers of walks fit into a column; 0 is that of no walk.
_WALK_BITS = 62


class NotedLetter(NamedTuple):
    """A letter for the index: what it is found by, its message, and the key that it came with."""

    facts: LetterFacts
    message: Message
    routing_key: str


class Counts(NamedTuple):
    """How many letters the index has, and how many messages of the queue these are."""

    letters: int
    messages: int


class Walk(NamedTuple):
    """One look at the whole queue: its number, and when it began."""

    number: int
    began_ms: int


@dataclass(frozen=True, slots=True)
class LetterPage:
    """
    A part of the letters that are meant, in the order of time.

    Attributes:
        letters: What is known of each.
        after: Where the next page begins; ``None`` when this is the last.
    """

    letters: list[LetterFacts]
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class Facets:
    """
    How many letters there are, by what.

    Attributes:
        letters: How many are meant.
        oldest_ms: When the oldest of them was parked, Unix milliseconds; 0 when unknown.
        counts: For each of ``FACETS`` how many letters have each value, the most common first.
    """

    letters: int
    oldest_ms: int
    counts: Mapping[str, Mapping[str, int]]


class LetterIndex:
    """
    The letters of one namespace, in a database that is open.

    Args:
        database: Where the index is; its namespace is whose letters.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self) -> None:
        """
        Make the tables if there are none.

        Raises:
            SchemaVersionError: When there are some, of another version.
            DatabaseUnavailableError: When the database cannot be used.
        """
        await LETTERS_SCHEMA.ensure(self._database)

    # Looking ---------------------------------------------------------------------------------

    async def page(
        self,
        chosen: DeadFilter = EVERY_LETTER,
        *,
        limit: int,
        after: Cursor | None = None,
        newest_first: bool = False,
    ) -> LetterPage:
        """
        One page of the letters that are meant.

        Args:
            chosen: Which.
            limit: At most so many.
            after: Where the page before ended.
            newest_first: Instead of the oldest.
        """
        rows = await self._database.read(
            lambda tx: _page(tx, chosen, limit + 1, after, newest_first)
        )
        last = rows[limit - 1] if len(rows) > limit else None
        return LetterPage(rows[:limit], Cursor(last.parked_ms, last.id) if last else None)

    async def facets(self, chosen: DeadFilter = EVERY_LETTER) -> Facets:
        """Count the letters that are meant."""
        return await self._database.read(lambda tx: _facets(tx, chosen))

    async def counts(self) -> Counts:
        """How many letters there are, and how many messages."""
        return await self._database.read(_counts)

    async def message(self, letter_id: str) -> tuple[Message, str] | None:
        """The message of a letter, and the routing key that it came with."""
        return (await self.messages([letter_id]))[0]

    async def messages(self, ids: Sequence[str]) -> list[tuple[Message, str] | None]:
        """The messages of several letters, in order."""
        found = await self._database.read(
            lambda tx: tx.execute_each(_MESSAGE, [(tx.namespace, each) for each in ids])
        )
        return [_message(rows[0]) if rows else None for rows in found]

    async def chosen(
        self, chosen: DeadFilter, *, limit: int, after: Cursor | None = None
    ) -> list[tuple[Cursor, str, int]]:
        """Places, reasons and numbers of copies of the letters that are meant, oldest first."""

        def read(tx: Transaction) -> list[tuple[Cursor, str, int]]:
            where, values = conditions(tx, chosen, after=after)
            rows = tx.execute(
                f"SELECT parked_ms, letter_id, reason, copies FROM {source(tx, chosen)} "
                f"WHERE {where} ORDER BY parked_ms, letter_id LIMIT ?",
                (*values, limit),
            )
            return [
                (Cursor(number(row[0]), text(row[1])), text(row[2]), number(row[3])) for row in rows
            ]

        return await self._database.read(read)

    # Writing ---------------------------------------------------------------------------------

    def note(self, letters: Sequence[NotedLetter]) -> asyncio.Future[list[None]]:
        """Write down letters that were just posted to the queue; an answer for each."""

        def write(tx: Transaction) -> list[None]:
            _insert(tx, _NOTE, letters, 0)
            return [None] * len(letters)

        return self._database.write(write)

    async def begin_walk(self) -> Walk:
        """Begin to see the whole queue."""
        number_ = secrets.randbits(_WALK_BITS) | 1
        return Walk(number_, await self._database.write(lambda tx: tx.now_ms()))

    async def unknown(self, ids: Sequence[str]) -> set[str]:
        """Which of these letters are not in the index."""
        found = await self._database.read(
            lambda tx: tx.execute_each(_KNOWN, [(tx.namespace, each) for each in ids])
        )
        return {each for each, rows in zip(ids, found, strict=True) if not rows}

    async def see(
        self, walk: Walk, known: Sequence[str], unknown: Sequence[NotedLetter] = ()
    ) -> None:
        """
        Write down what a walk has come by.

        Args:
            walk: The walk.
            known: Letters that are in the index, an id for each message.
            unknown: Letters that are not.
        """

        def write(tx: Transaction) -> None:
            tx.execute_many(
                _SEE, [(walk.number, walk.number, tx.namespace, each) for each in known]
            )
            _insert(tx, _FIND, unknown, walk.number)

        await self._database.write(write)

    async def end_walk(self, walk: Walk) -> int:
        """
        Drop what the queue does not have: all that was there before the walk and was not seen.

        Returns:
            How many letters that were.
        """
        dropped = 0
        while True:
            gone = await self._database.write(lambda tx: _drop_unseen(tx, walk))
            dropped += gone
            if gone < _BATCH:
                return dropped

    async def settled(self, ids: Iterable[str]) -> None:
        """Messages of these letters were taken off the queue; an id for each message."""
        counts = Counter(ids)
        if counts:
            await self._database.write(lambda tx: _settled(tx, counts))

    async def clear(self) -> None:
        """Forget every letter; the next walk finds those that there are."""

        def write(tx: Transaction) -> None:
            for table in ("effectmq_letters", "effectmq_letter_messages"):
                tx.execute(f"DELETE FROM {table} WHERE namespace = ?", (tx.namespace,))

        await self._database.write(write)


def _page(
    tx: Transaction, chosen: DeadFilter, limit: int, after: Cursor | None, newest_first: bool
) -> list[LetterFacts]:
    where, values = conditions(tx, chosen, after=after, newest_first=newest_first)
    order = "DESC" if newest_first else "ASC"
    rows = tx.execute(
        f"SELECT {_READ} FROM {source(tx, chosen)} WHERE {where} "
        f"ORDER BY parked_ms {order}, letter_id {order} LIMIT ?",
        (*values, limit),
    )
    return _reader.all(rows)


def _facets(tx: Transaction, chosen: DeadFilter) -> Facets:
    where, values = conditions(tx, chosen)
    columns = ", ".join(FACETS)
    rows = tx.execute(
        f"SELECT {columns}, count(*) FROM effectmq_letters WHERE {where} GROUP BY {columns}",
        values,
    )
    counts: dict[str, Counter[str]] = {name: Counter() for name in FACETS}
    letters = 0
    for row in rows:
        count = number(row[-1])
        letters += count
        for name, value in zip(FACETS, row, strict=False):
            counts[name][text(value)] += count
    return Facets(
        letters,
        _oldest_ms(tx, chosen) if letters else 0,
        {name: dict(counts[name].most_common()) for name in FACETS},
    )


def _oldest_ms(tx: Transaction, chosen: DeadFilter) -> int:
    since = chosen if chosen.since_ms is not None else replace(chosen, since_ms=1)
    where, values = conditions(tx, since)
    rows = tx.execute(
        f"SELECT parked_ms FROM {source(tx, chosen)} WHERE {where} "
        "ORDER BY parked_ms, letter_id LIMIT 1",
        values,
    )
    return number(rows[0][0]) if rows else 0


def _counts(tx: Transaction) -> Counts:
    letters, messages = tx.execute(_TOTAL, (tx.namespace,))[0]
    # PostgreSQL sums whole numbers into a decimal one.
    return Counts(number(letters), int(messages or 0))


def _insert(tx: Transaction, sql: str, letters: Sequence[NotedLetter], walk: int) -> None:
    now_ms = tx.now_ms()
    tx.execute_many(
        sql,
        [(tx.namespace, walk, now_ms, *_values(letter.facts)) for letter in letters],
    )
    tx.execute_many(
        _KEEP,
        [
            (tx.namespace, letter.facts.id, _properties(letter), letter.message.body)
            for letter in letters
        ],
    )


def _values(facts: LetterFacts) -> tuple[Value, ...]:
    return tuple(getattr(facts, each.name) for each in fields(facts))


def _drop_unseen(tx: Transaction, walk: Walk) -> int:
    rows = tx.execute(_UNSEEN, (tx.namespace, walk.number, walk.began_ms, _BATCH))
    gone = [(tx.namespace, text(row[0])) for row in rows]
    tx.execute_many(_DROP, gone)
    tx.execute_many(_DROP_MESSAGE, gone)
    return len(gone)


def _settled(tx: Transaction, counts: Mapping[str, int]) -> None:
    # In one order, so that two who do this at once do not wait for each other in a circle.
    ids = sorted(counts)
    tx.execute_many(_ONE_LESS, [(counts[each], tx.namespace, each) for each in ids])
    dropped = tx.execute_each(_DROP_IF_NONE, [(tx.namespace, each) for each in ids])
    gone = [(tx.namespace, each) for each, rows in zip(ids, dropped, strict=True) if rows]
    tx.execute_many(_DROP_MESSAGE, gone)


def _properties(letter: NotedLetter) -> str:
    message = letter.message
    return json.dumps(
        {
            "routing_key": letter.routing_key,
            **{name: getattr(message, name) for name in _PROPERTIES},
        }
    )


def _message(row: Row) -> tuple[Message, str]:
    properties = json.loads(text(row[0]))
    routing_key = properties.pop("routing_key")
    return Message(body=data(row[1]), **properties), routing_key
