"""
PostgreSQL: the journal of a fleet on many hosts. Needs the extra ``postgres``.

A handful of threads with a connection each; time is the database's own, so that hosts with wrong
clocks agree about leases. A connection that failed is thrown away and made anew by the next
transaction; a transaction that lost against another one (deadlock, serialization) is run again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar, cast

from effectmq.broker.database import LeaseTime, Row, Value
from effectmq.broker.urls import mask_url
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    MissingExtraError,
)
from effectmq.protocol.text import printable

try:
    import psycopg
except ImportError as missing:
    raise MissingExtraError("a journal in PostgreSQL", "postgres") from missing

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

_THREADS = 4
_CONNECT_TIMEOUT_S = 5
_TRIES = 5
#: A statement that takes longer is given up; its transaction leaves nothing behind.
_SESSION = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; SET TIME ZONE 'UTC'"
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


class PostgresDatabase:
    """
    One database, through a few connections.

    Args:
        url: ``postgresql://user:password@host/database``; whatever libpq understands.
        threads: How many connections there are at most.
    """

    def __init__(self, url: str, *, threads: int = _THREADS) -> None:
        self.where = mask_url(url)
        self.durable = True
        self._url = url
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="effectmq journal")
        self._own = threading.local()
        self._connections: set[psycopg.Connection[Any]] = set()

    async def __aenter__(self) -> PostgresDatabase:
        """Connect; see the port."""
        self.durable = await self.read(_is_durable)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what is under way, and close."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in list(self._connections):
            self._drop(connection)

    def write(self, work: Callable[[PostgresTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return asyncio.get_running_loop().run_in_executor(
            self._threads, partial(self._transact, work)
        )

    def read(self, work: Callable[[PostgresTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return self.write(work)

    # On a thread -----------------------------------------------------------------------------

    def _transact(self, work: Callable[[PostgresTransaction], T]) -> T:
        tries = _TRIES
        while True:
            tries -= 1
            connection = self._connection()
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    return work(PostgresTransaction(cursor))
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as lost:
                if not tries:
                    raise self._unavailable(lost) from None
            except psycopg.Error as problem:
                self._drop(connection)
                raise self._unavailable(problem) from None

    def _connection(self) -> psycopg.Connection[Any]:
        known: psycopg.Connection[Any] | None = getattr(self._own, "connection", None)
        if known is not None and not known.closed:
            return known
        try:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_CONNECT_TIMEOUT_S,
                application_name="effectmq",
                keepalives_idle=10,
            )
            connection.execute(_SESSION)
        except psycopg.ProgrammingError as problem:
            raise ConfigurationError(
                f"the journal's address {self.where} cannot be used: {_said(problem)}; expected "
                "postgresql://user:password@host:port/database"
            ) from None
        except psycopg.Error as problem:
            raise self._unavailable(problem) from None
        self._own.connection = connection
        self._connections.add(connection)
        return connection

    def _drop(self, connection: psycopg.Connection[Any]) -> None:
        self._connections.discard(connection)
        connection.close()

    def _unavailable(self, problem: psycopg.Error) -> DatabaseUnavailableError:
        advice = "check that the server runs and takes connections"
        if problem.sqlstate is not None:
            advice = _ADVICE.get(problem.sqlstate[:2], "look into the server's log")
        return DatabaseUnavailableError(
            f"the journal {self.where} cannot be used: {_said(problem)}; {advice}"
        )


class PostgresTransaction:
    """See the port."""

    dialect: Literal["postgres"] = "postgres"
    for_update = " FOR UPDATE"

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor
        self._now_ms = 0

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement."""
        cursor = self._cursor.execute(_translated(sql), parameters)
        return cursor.fetchall() if cursor.description is not None else []

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row."""
        self._cursor.executemany(_translated(sql), rows)

    def now_ms(self) -> int:
        """Unix milliseconds by the server's clock, read once in a transaction."""
        if not self._now_ms:
            self._now_ms = cast("int", self.execute(_CLOCK)[0][0])
        return self._now_ms

    def lease_time(self) -> LeaseTime:
        """The server's clock, which every host shares."""
        return LeaseTime("postgres", self.now_ms())


#: By class of SQLSTATE: what to do.
_ADVICE = {
    "08": "check that the server runs and takes connections",
    "28": "check user and password",
    "3D": "create the database, or name another one",
    "42": "run: effectmq journal migrate, as a user who may create tables",
    "53": "the server is out of connections, memory or disk",
    "57": "the server is stopping or starting",
}


@lru_cache(maxsize=500)
def _translated(sql: str) -> bytes:
    """psycopg's placeholders for ours; our statements have no percent signs of their own."""
    return sql.replace("?", "%s").encode()


def _said(problem: psycopg.Error) -> str:
    return printable(" ".join(str(problem).split()), 500)


def _is_durable(tx: PostgresTransaction) -> bool:
    settings = [tx.execute(f"SHOW {name}")[0][0] for name in ("synchronous_commit", "fsync")]
    return "off" not in settings
