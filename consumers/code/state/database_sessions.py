"""
The states of sessions in a database, where any worker finds them.
"""

from __future__ import annotations

from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.database.rows import data, number, text
from effectmq.broker.store.database.schema import Schema
from effectmq.consumers.code.state.sessions import FORGOTTEN, Start, forgotten, overtaken

__all__ = ["CODE_SCHEMA", "DatabaseSessions"]

CODE_SCHEMA = Schema(
    "code",
    (
        (
            """
            CREATE TABLE effectmq_code_sessions (
                session_id TEXT NOT NULL,
                sequence BIGINT NOT NULL,
                effect_hash TEXT NOT NULL,
                engine TEXT NOT NULL,
                state {blob},
                kept_ms BIGINT NOT NULL,
                PRIMARY KEY (session_id, sequence)
            )""",
            """
            CREATE TABLE effectmq_code_clocks (
                session_id TEXT NOT NULL,
                effect_hash TEXT NOT NULL,
                started_ms BIGINT NOT NULL,
                PRIMARY KEY (session_id, effect_hash)
            )""",
        ),
        (
            # As in the journal: the rows move, and belong to the namespace that takes the step.
            "ALTER TABLE effectmq_code_sessions RENAME TO effectmq_code_sessions_former",
            "ALTER TABLE effectmq_code_clocks RENAME TO effectmq_code_clocks_former",
            """
            CREATE TABLE effectmq_code_sessions (
                namespace {text} NOT NULL,
                session_id {text} NOT NULL,
                sequence BIGINT NOT NULL,
                effect_hash {text} NOT NULL,
                engine TEXT NOT NULL,
                state {blob},
                kept_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, session_id, sequence)
            )""",
            """
            CREATE TABLE effectmq_code_clocks (
                namespace {text} NOT NULL,
                session_id {text} NOT NULL,
                effect_hash {text} NOT NULL,
                started_ms BIGINT NOT NULL,
                PRIMARY KEY (namespace, session_id, effect_hash)
            )""",
            "INSERT INTO effectmq_code_sessions (namespace, session_id, sequence, effect_hash, "
            "engine, state, kept_ms) SELECT '{namespace}', session_id, sequence, effect_hash, "
            "engine, state, kept_ms FROM effectmq_code_sessions_former",
            "INSERT INTO effectmq_code_clocks (namespace, session_id, effect_hash, started_ms) "
            "SELECT '{namespace}', session_id, effect_hash, started_ms "
            "FROM effectmq_code_clocks_former",
            "DROP TABLE effectmq_code_sessions_former",
            "DROP TABLE effectmq_code_clocks_former",
        ),
    ),
)

_MINE = "namespace = ? AND session_id = ?"

_CLOCKS_KEPT_MS = 30 * 86_400_000


class DatabaseSessions:
    """
    The states of sessions in a database.

    Args:
        database: An open one; it may be that of the journal.
        kept_states: How many blocks of a session can be run again.
    """

    def __init__(self, database: Database, kept_states: int) -> None:
        self._database = database
        self._kept_states = kept_states

    async def open(self) -> None:
        """Make the tables, or check their version; see the port."""
        await CODE_SCHEMA.ensure(self._database)

    async def start(self, session_id: str, effect_hash: str) -> Start:
        """See the port."""
        found = await self._database.read(lambda tx: _start(tx, session_id, effect_hash))
        if found is None:
            raise forgotten(session_id)
        return found

    async def started_ms(self, session_id: str, effect_hash: str) -> int:
        """See the port."""
        return await self._database.write(lambda tx: _started_ms(tx, session_id, effect_hash))

    async def keep(
        self, session_id: str, effect_hash: str, start: Start, state: bytes | None, engine: str
    ) -> None:
        """See the port."""
        number = start.sequence + 1

        def work(tx: Transaction) -> str:
            kept = _insert(tx, session_id, number, effect_hash, state, engine)
            _prune(tx, session_id, number - self._kept_states - 1)
            return kept

        if await self._database.write(work) != effect_hash:
            raise overtaken(session_id)

    async def forget(self, session_id: str) -> None:
        """See the port."""

        def work(tx: Transaction) -> None:
            for table in ("effectmq_code_sessions", "effectmq_code_clocks"):
                tx.execute(f"DELETE FROM {table} WHERE {_MINE}", (tx.namespace, session_id))

        await self._database.write(work)


def _start(tx: Transaction, session_id: str, effect_hash: str) -> Start | None:
    before = _number_before(tx, session_id, effect_hash)
    if before == 0:
        return Start()
    rows = tx.execute(
        f"SELECT state, engine FROM effectmq_code_sessions WHERE {_MINE} AND sequence = ?",
        (tx.namespace, session_id, before),
    )
    state, engine = rows[0]
    if engine == FORGOTTEN:
        return None
    return Start(before, None if state is None else data(state), text(engine))


def _number_before(tx: Transaction, session_id: str, effect_hash: str) -> int:
    rows = tx.execute(
        f"SELECT sequence FROM effectmq_code_sessions WHERE {_MINE} AND effect_hash = ?",
        (tx.namespace, session_id, effect_hash),
    )
    if rows:
        return number(rows[0][0]) - 1
    rows = tx.execute(
        f"SELECT max(sequence) FROM effectmq_code_sessions WHERE {_MINE}",
        (tx.namespace, session_id),
    )
    highest = rows[0][0]
    return 0 if highest is None else number(highest)


def _started_ms(tx: Transaction, session_id: str, effect_hash: str) -> int:
    tx.execute(
        "INSERT INTO effectmq_code_clocks (namespace, session_id, effect_hash, started_ms) "
        "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (tx.namespace, session_id, effect_hash, tx.now_ms()),
    )
    rows = tx.execute(
        f"SELECT started_ms FROM effectmq_code_clocks WHERE {_MINE} AND effect_hash = ?",
        (tx.namespace, session_id, effect_hash),
    )
    return number(rows[0][0])


def _insert(
    tx: Transaction,
    session_id: str,
    number: int,
    effect_hash: str,
    state: bytes | None,
    engine: str,
) -> str:
    """Store a state, unless its number is taken; returns the hash that has the number now."""
    tx.execute(
        "INSERT INTO effectmq_code_sessions "
        "(namespace, session_id, sequence, effect_hash, engine, state, kept_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (tx.namespace, session_id, number, effect_hash, engine, state, tx.now_ms()),
    )
    rows = tx.execute(
        f"SELECT effect_hash FROM effectmq_code_sessions WHERE {_MINE} AND sequence = ?",
        (tx.namespace, session_id, number),
    )
    return text(rows[0][0])


def _prune(tx: Transaction, session_id: str, number: int) -> None:
    """Remove the states up to a number, and clocks that are needed no more."""
    tx.execute(
        "UPDATE effectmq_code_sessions SET state = NULL, engine = ? "
        f"WHERE {_MINE} AND sequence <= ? AND engine <> ?",
        (FORGOTTEN, tx.namespace, session_id, number, FORGOTTEN),
    )
    tx.execute(
        f"DELETE FROM effectmq_code_clocks WHERE {_MINE} AND started_ms < ?",
        (tx.namespace, session_id, tx.now_ms() - _CLOCKS_KEPT_MS),
    )
