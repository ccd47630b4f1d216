"""
The inbox of sessions: messages and causes that the next checkpoint delivers to the turn.

An entry is a whole delivery, and one checkpoint takes it, once. The entry records which one: a
checkpoint that runs again after its worker died takes the same entries again, and no other one
takes them. Entries of tools come before entries of queued work, each in the order in which they
were put, as a checkpoint delivers them.
"""

from __future__ import annotations

from typing import Literal, Self, overload

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.port import Database, Row, Transaction
from effectmq.broker.store.database.rows import number, text
from effectmq.broker.store.database.schema import Schema
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.serde.model import from_tree, to_tree
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.identity.digests import wake_source_key
from effectmq.protocol.numbers import one_time
from effectmq.protocol.processes.wakes import wake_turn_cause
from effectmq.protocol.text import printable
from effectmq.protocol.wire.execution import CheckpointDelivery
from effectmq.protocol.wire.messages import PluginMessage, TurnCause
from effectmq.protocol.wire.process_events import ProcessWakeDelivery

__all__ = ["INBOX_SCHEMA", "InboxOrigin", "SessionInbox"]

#: The origin of an entry: a tool of the running turn, or work queued for the session.
InboxOrigin = Literal["tool", "work"]

#: How many entries of queued work one checkpoint takes; the rest waits for the next.
MAX_CLAIMED = 64

_FORMER = (
    "session_id, number, source_key, origin, delivery_json, claimed_by, created_at_ms, "
    "claimed_at_ms"
)

INBOX_SCHEMA = Schema(
    "sessions",
    [
        [
            """CREATE TABLE effectmq_inbox (
                session_id TEXT NOT NULL,
                number BIGINT NOT NULL,
                source_key TEXT NOT NULL,
                origin TEXT NOT NULL,
                delivery_json TEXT NOT NULL,
                claimed_by TEXT NOT NULL,
                created_at_ms BIGINT NOT NULL,
                claimed_at_ms BIGINT NOT NULL,
                PRIMARY KEY (session_id, number)
            )""",
            "CREATE UNIQUE INDEX effectmq_inbox_source ON effectmq_inbox (session_id, source_key) "
            "WHERE source_key <> ''",
            "CREATE INDEX effectmq_inbox_claimed ON effectmq_inbox (session_id, claimed_by)",
        ],
        [
            # As in the journal: the rows move, and belong to the namespace that takes the step.
            "DROP INDEX effectmq_inbox_source",
            "DROP INDEX effectmq_inbox_claimed",
            "ALTER TABLE effectmq_inbox RENAME TO effectmq_inbox_former",
            """CREATE TABLE effectmq_inbox (
                namespace {text} NOT NULL,
                session_id {text} NOT NULL,
                number BIGINT NOT NULL,
                source_key {text} NOT NULL,
                origin TEXT NOT NULL,
                delivery_json TEXT NOT NULL,
                claimed_by {text} NOT NULL,
                created_at_ms BIGINT NOT NULL,
                claimed_at_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, session_id, number)
            )""",
            f"INSERT INTO effectmq_inbox (namespace, {_FORMER}) "
            f"SELECT '{{namespace}}', {_FORMER} FROM effectmq_inbox_former",
            "DROP TABLE effectmq_inbox_former",
            "CREATE UNIQUE INDEX effectmq_inbox_source "
            "ON effectmq_inbox (namespace, session_id, source_key) WHERE source_key <> ''",
            "CREATE INDEX effectmq_inbox_claimed "
            "ON effectmq_inbox (namespace, session_id, claimed_by)",
        ],
    ],
)

_PUT = (
    "INSERT INTO effectmq_inbox (namespace, session_id, number, source_key, origin, "
    "delivery_json, claimed_by, created_at_ms, claimed_at_ms) "
    "SELECT ?, ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, '', ?, 0 FROM effectmq_inbox "
    "WHERE namespace = ? AND session_id = ? ON CONFLICT DO NOTHING RETURNING number"
)
_KNOWN = "SELECT 1 FROM effectmq_inbox WHERE namespace = ? AND session_id = ? AND source_key = ?"
_MINE = (
    "SELECT origin, delivery_json FROM effectmq_inbox "
    "WHERE namespace = ? AND session_id = ? AND claimed_by = ? "
    "ORDER BY number"
)
_FREE = (
    "SELECT number, origin, delivery_json FROM effectmq_inbox "
    "WHERE namespace = ? AND session_id = ? AND claimed_by = '' AND origin = ? ORDER BY number"
)
_TAKE = (
    "UPDATE effectmq_inbox SET claimed_by = ?, claimed_at_ms = ? "
    "WHERE namespace = ? AND session_id = ? AND number = ?"
)
_WAITING = (
    "SELECT COUNT(*) FROM effectmq_inbox WHERE namespace = ? AND session_id = ? AND claimed_by = ''"
)
_PRUNE = (
    "DELETE FROM effectmq_inbox WHERE namespace = ? AND claimed_by <> '' "
    "AND claimed_at_ms <= ? RETURNING number"
)


class SessionInbox:
    """
    The inbox of all sessions. Use it as an asynchronous context manager.

    Args:
        database: The database of the entries, or its address; usually that of the journal.
        namespace: With an address, the namespace of the entries; see ``open_database``.

    Raises:
        ConfigurationError: When the address is of an unknown kind, or the namespace is invalid.
    """

    def __init__(self, database: Database | str, *, namespace: str | None = None) -> None:
        self._owns = isinstance(database, str)
        if isinstance(database, str):
            database = open_database(database, namespace=namespace)
        self._database = database

    def adopt(self, namespace: str) -> None:
        """Belong to the worker's namespace, unless one was named; see the port of databases."""
        if self._owns:
            self._database.adopt(namespace)

    async def __aenter__(self) -> Self:
        """
        Open it, and make its table if there is none.

        Raises:
            DatabaseUnavailableError: When it cannot be reached.
            SchemaVersionError: When its table is of another version.
        """
        if self._owns:
            await self._database.__aenter__()
        try:
            await INBOX_SCHEMA.ensure(self._database)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the database, if it was opened here."""
        if self._owns:
            await self._database.__aexit__()

    async def put(
        self,
        session_id: str,
        delivery: CheckpointDelivery,
        *,
        source_key: str = "",
        origin: InboxOrigin = "work",
    ) -> bool:
        """
        Leave an entry for the session's next checkpoint.

        Args:
            session_id: The session.
            delivery: Messages, transient messages and turn causes.
            source_key: Names the entry; a second one with the same name in the same session is
                ignored, whatever its content.
            origin: Where it comes from.

        Returns:
            Whether it is new.

        Raises:
            ConfigurationError: When an argument cannot be kept.
            DatabaseUnavailableError: When nothing could be written.
        """
        _check_text("session id", session_id)
        _check_text("source key", source_key)
        return await self._database.write(
            lambda tx: _put(tx, session_id, delivery, source_key, origin)
        )

    def deliver_wake(self, tx: Transaction, wake: ProcessWakeDelivery) -> None:
        """
        Leave the turn cause of a process's wake, in a transaction of this inbox's database.

        For ``ProcessRegistry(on_wake=…)``: event and wake are then kept together or not at all. A
        wake that is delivered again is the same entry.
        """
        source_key = wake_source_key(wake.process_id, wake.sequence)
        delivery = CheckpointDelivery(
            messages=[], transient_messages=[], turn_causes=[wake_turn_cause(wake)]
        )
        _put(tx, wake.target_session_id, delivery, source_key, "work")

    async def put_message(
        self,
        session_id: str,
        message: PluginMessage,
        *,
        transient: bool = False,
        source_key: str = "",
        origin: InboxOrigin = "work",
    ) -> bool:
        """Leave one message; ``transient`` for the next model call only. See ``put``."""
        delivery = CheckpointDelivery(
            messages=[] if transient else [message],
            transient_messages=[message] if transient else [],
            turn_causes=[],
        )
        return await self.put(session_id, delivery, source_key=source_key, origin=origin)

    async def put_cause(self, session_id: str, cause: TurnCause, *, source_key: str = "") -> bool:
        """Leave a reason for the turn to go on; its id names the entry by default. See ``put``."""
        delivery = CheckpointDelivery(messages=[], transient_messages=[], turn_causes=[cause])
        return await self.put(session_id, delivery, source_key=source_key or cause.id)

    async def claim(self, session_id: str, claimant: str) -> CheckpointDelivery:
        """
        Take the waiting entries: all entries of tools and up to 64 of queued work.

        Args:
            session_id: The session.
            claimant: The permanent name of the checkpoint; asking again returns the same entries.

        Raises:
            DatabaseUnavailableError: When nothing could be taken.
        """

        def work(tx: Transaction) -> list[Row]:
            mine = tx.execute(_MINE, (tx.namespace, session_id, claimant))
            if mine:
                return sorted(mine, key=_tools_first)
            now_ms = tx.now_ms()
            taken = tx.execute(_FREE + tx.for_update, (tx.namespace, session_id, "tool"))
            limited = f"{_FREE} LIMIT {MAX_CLAIMED}{tx.for_update}"
            taken += tx.execute(limited, (tx.namespace, session_id, "work"))
            for place, _, _ in taken:
                tx.execute(_TAKE, (claimant, now_ms, tx.namespace, session_id, place))
            return [(origin, document) for _, origin, document in taken]

        return _joined(await self._database.write(work))

    async def waiting(self, session_id: str) -> int:
        """How many entries wait for the session's next checkpoint."""
        rows = await self._database.read(
            lambda tx: tx.execute(_WAITING, (tx.namespace, session_id))
        )
        return number(rows[0][0])

    @overload
    async def prune(self, *, older_than_s: float) -> int: ...
    @overload
    async def prune(self, older_than_ms: int) -> int: ...
    async def prune(
        self, older_than_ms: int | None = None, *, older_than_s: float | None = None
    ) -> int:
        """
        Remove entries that a checkpoint took long ago; returns how many.

        Args:
            older_than_s: Longer than any checkpoint takes to be recorded, in seconds.
            older_than_ms: The same in milliseconds, as is a number without a name; deprecated.

        Raises:
            ConfigurationError: When that is no time, or a longer one than 100 years.
            TypeError: When no time is given, or two are.
        """
        age_ms = one_time("inbox.prune", "older_than_s", older_than_s, older_than_ms)
        return await self._database.write(
            lambda tx: len(tx.execute(_PRUNE, (tx.namespace, tx.now_ms() - age_ms)))
        )


def _put(
    tx: Transaction,
    session_id: str,
    delivery: CheckpointDelivery,
    source_key: str,
    origin: InboxOrigin,
) -> bool:
    document = canonical_json(to_tree(delivery)).decode()
    mine = (tx.namespace, session_id)
    row = (*mine, source_key, origin, document, tx.now_ms(), *mine)
    while not tx.execute(_PUT, row):
        if source_key and tx.execute(_KNOWN, (*mine, source_key)):
            return False
        # Another transaction just took the number.
    return True


def _tools_first(row: Row) -> bool:
    return row[0] != "tool"


def _joined(rows: list[Row]) -> CheckpointDelivery:
    whole = CheckpointDelivery(messages=[], transient_messages=[], turn_causes=[])
    for _, document in rows:
        part = from_tree(CheckpointDelivery, parse_json(text(document)))
        whole.messages.extend(part.messages)
        whole.transient_messages.extend(part.transient_messages)
        whole.turn_causes.extend(part.turn_causes)
    return whole


def _check_text(what: str, text: str) -> None:
    if "\x00" in text:
        raise ConfigurationError(
            f"the {what} is {printable(text, 100)!r}, with a zero character, which no database "
            "here can keep; choose another"
        )
