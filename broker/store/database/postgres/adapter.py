"""
PostgreSQL: the journal of a fleet on many hosts. Needs the extra ``postgres``.

It uses a few threads with a connection each. Time is that of the database, so that hosts with wrong
clocks agree about leases. Transient errors end here: a connection that was lost while idle is made
again, and a transaction that lost against another one (deadlock, serialization) is run again.

Nothing waits for ever. The server ends a long statement, a lock and a silent session by itself, so
that a worker that was stopped in the middle of a transaction delays nobody. The connection to a
server that does not answer at all is cut from this side.

Between client and server there may be a pooler that gives every transaction another session of the
server. So nothing is left in a session or expected there: no prepared statement, and no setting
that outlives its transaction, not even one from the address. Settings are set at the beginning of
each transaction, in the statement that reads the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Generic, Literal, TypeVar

from effectmq.broker.store.database.belonging import OfNamespace
from effectmq.broker.store.database.faults import raisable
from effectmq.broker.store.database.port import LeaseTime, Row, Value
from effectmq.broker.store.database.postgres.address import beginning, read_address
from effectmq.broker.store.database.postgres.errors import (
    address_problem,
    encoding_problem,
    lost_in_commit,
    meant,
    not_storable,
    unavailable,
)
from effectmq.broker.store.database.rows import number
from effectmq.protocol.errors import DatabaseUnavailableError, MissingExtraError
from effectmq.protocol.topology import DEFAULT_NAMESPACE
from effectmq.protocol.urls import mask_url

try:
    import psycopg
except ImportError as missing:
    raise MissingExtraError("a journal in PostgreSQL", "postgres") from missing

__all__ = ["PostgresDatabase"]

T = TypeVar("T")

_THREADS = 4
_CONNECT_TIMEOUT_S = 5
#: How often a transaction is run that loses against others.
_TRIES = 6
_PATIENCE_S = 15.0
#: The limits after which the server gives up a transaction.
_LIMITS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
}
_NO_LIMITS = dict.fromkeys(_LIMITS, "0")
#: The time is read in the first statement, so that it needs no extra round trip.
_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_ENCODING = "UTF8"
#: The longest pause after a first lost race, in seconds; it doubles each time.
_RACE_PAUSE_S = 0.01
_CUT_AGAIN_S = 1.0

_Connection = psycopg.Connection[tuple[Any, ...]]
_Cursor = psycopg.Cursor[tuple[Any, ...]]
_RACES = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


class PostgresDatabase(OfNamespace):
    """
    One PostgreSQL database, through a few connections.

    Args:
        url: ``postgresql://user:password@host/database``, or any address that libpq understands.
        threads: The most connections.
        patience_s: How long one transaction may take before its connection is cut, in seconds.
        limited: Whether the server should end long statements.
        namespace: The namespace of what is kept; see ``open_database``.
    """

    def __init__(
        self,
        url: str,
        *,
        threads: int = _THREADS,
        patience_s: float = _PATIENCE_S,
        limited: bool = True,
        namespace: str | None = None,
    ) -> None:
        super().__init__(mask_url(url), namespace)
        self.durable = True
        self.url = url
        self._limits = _LIMITS if limited else _NO_LIMITS
        self._conninfo = ""
        self._begin = self._begin_read = b""
        self._size = threads
        self._patience_s = patience_s
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> PostgresDatabase:
        """Connect; see the port."""
        self._read_address()
        self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="effectmq journal")
        try:
            self.durable = await self.read(_is_durable)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish the work under way, and close."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        self._close_idle()

    def write(
        self, work: Callable[[PostgresTransaction], T], *, durable: bool = True, large: bool = False
    ) -> asyncio.Future[T]:
        """See the port; every transaction is durable, because hosts fail one at a time."""
        return self._start(_Job(work, writes=True))

    def read(self, work: Callable[[PostgresTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return self._start(_Job(work, writes=False))

    def _start(self, job: _Job[T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        if self._threads is None:
            closed: asyncio.Future[T] = loop.create_future()
            closed.set_exception(
                DatabaseUnavailableError(
                    "the journal is not open; it is opened and closed with its worker or client"
                )
            )
            return closed
        done = loop.run_in_executor(self._threads, partial(self._run, job))
        watch = _Watch(loop, job, self._patience_s)
        done.add_done_callback(watch.end)
        return done

    def _read_address(self) -> None:
        try:
            address = read_address(self.url)
        except (psycopg.Error, ValueError) as problem:
            raise address_problem(self.url, problem) from None
        self._conninfo = address.conninfo
        # These first: the address may override them.
        first = f"SELECT {_CLOCK}{beginning({**self._limits, **address.settings})}"
        self._begin = f"BEGIN; {first}".encode()
        self._begin_read = f"BEGIN READ ONLY; {first}".encode()

    # On a thread -----------------------------------------------------------------------------

    def _run(self, job: _Job[T]) -> T:
        """Run a transaction until it is committed, or until trying again is useless."""
        job.started_s = time.monotonic()
        races_lost = 0
        reconnected = False
        while True:
            connection, fresh = self._take(job)
            try:
                begin = self._begin if job.writes else self._begin_read
                return _transact(connection, job, begin, self)
            except _RACES as problem:
                races_lost += 1
                if races_lost == _TRIES or job.cut:
                    raise self._unavailable(problem, job) from None
                # A random pause, so that those that lost together do not collide again.
                time.sleep(random.uniform(0, _RACE_PAUSE_S * 2**races_lost))
            except (psycopg.Error, OSError) as problem:
                if fresh or reconnected or job.cut or not connection.closed:
                    raise self._meant(problem, job) from None
                # The connection was lost while idle, like all other idle ones. Nothing was kept:
                # run the transaction once more, on a new connection.
                reconnected = True
                self._close_idle()
            except (UnicodeError, OverflowError) as problem:
                raise not_storable(self.url, problem) from None
            except StopIteration as problem:
                raise raisable(problem) from problem
            finally:
                self._give_back(connection, job)

    def _take(self, job: _Job[T]) -> tuple[_Connection, bool]:
        """A connection, and whether it is new."""
        try:
            job.connection = self._idle.pop()
            return job.connection, False
        except IndexError:
            pass
        connection = job.connection = self._connect(job)
        found = connection.info.parameter_status("server_encoding")
        if found != _ENCODING:
            connection.close()
            raise encoding_problem(self.url, found or "unknown")
        return connection, True

    def _connect(self, job: _Job[T]) -> _Connection:
        try:
            return psycopg.connect(
                self._conninfo,
                autocommit=True,
                # Whatever PGCLIENTENCODING says: all text is sent as UTF-8.
                client_encoding=_ENCODING,
                # A pooler hands the next transaction to a session that does not know them.
                prepare_threshold=None,
                connect_timeout=_CONNECT_TIMEOUT_S,
                application_name="effectmq",
                keepalives_idle=10,
            )
        except (psycopg.ProgrammingError, ValueError) as problem:
            raise address_problem(self.url, problem) from None
        except (psycopg.Error, OSError) as problem:
            raise self._unavailable(problem, job) from None

    def _give_back(self, connection: _Connection, job: _Job[T]) -> None:
        job.connection = None
        idle = connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if idle and not job.cut:
            self._idle.append(connection)
        else:
            connection.close()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _meant(self, problem: psycopg.Error | OSError, job: _Job[T]) -> Exception:
        if job.cut:
            return self._unavailable(problem, job)
        return meant(self.url, problem)

    def _unavailable(
        self, problem: psycopg.Error | OSError, job: _Job[T]
    ) -> DatabaseUnavailableError:
        return unavailable(self.url, problem, cut_after_s=self._patience_s if job.cut else None)


class PostgresTransaction:
    """See the port."""

    dialect: Literal["postgres"] = "postgres"
    for_update = " FOR UPDATE"

    def __init__(self, cursor: _Cursor, now_ms: int, namespace: str = DEFAULT_NAMESPACE) -> None:
        self.namespace = namespace
        self._cursor = cursor
        self._now_ms = now_ms

    def durably(self) -> None:
        """Every transaction is."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement."""
        cursor = self._cursor.execute(_translated(sql), parameters)
        return cursor.fetchall() if cursor.description is not None else []

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row; all are sent before the first answer is read."""
        self._cursor.executemany(_translated(sql), rows)

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one statement once for each row; returns the rows of each."""
        if not rows:
            return []
        cursor = self._cursor
        cursor.executemany(_translated(sql), rows, returning=True)
        found: list[list[Row]] = []
        for _ in rows:
            found.append(cursor.fetchall())
            cursor.nextset()
        return found

    def execute_together(self, sql: str, row: str, rows: Sequence[Sequence[Value]]) -> int | None:
        """Do nothing: rows one by one are sent in one round trip, too."""
        return None

    def now_ms(self) -> int:
        """Unix milliseconds by the server's clock, at the beginning of the transaction."""
        return self._now_ms

    def lease_time(self) -> LeaseTime:
        """The server's clock, which every host shares."""
        return LeaseTime("postgres", self._now_ms)


class _Job(Generic[T]):
    """A transaction to be run, and its state."""

    def __init__(self, work: Callable[[PostgresTransaction], T], *, writes: bool) -> None:
        self.work = work
        self.writes = writes
        self.started_s = 0.0
        self.connection: _Connection | None = None
        #: Set before its connection is cut from this side.
        self.cut = False


class _Watch:
    """Cuts the connection of a job that takes too long; libpq itself would wait for ever."""

    def __init__(self, loop: asyncio.AbstractEventLoop, job: _Job[Any], patience_s: float) -> None:
        self._loop = loop
        self._job = job
        self._patience_s = patience_s
        self._timer = loop.call_later(patience_s, self._look)

    def end(self, _: asyncio.Future[Any]) -> None:
        """The job is done."""
        self._timer.cancel()

    def _look(self) -> None:
        job = self._job
        # While it waits for a thread, the jobs before it are being cut.
        began_s = job.started_s or time.monotonic()
        left_s = began_s + self._patience_s - time.monotonic()
        if left_s <= 0:
            job.cut = True
            left_s = _CUT_AGAIN_S
            if job.connection is not None:
                _cut(job.connection)
        self._timer = self._loop.call_later(left_s, self._look)


def _transact(connection: _Connection, job: _Job[T], begin: bytes, database: PostgresDatabase) -> T:
    with connection.cursor() as cursor:
        try:
            cursor.execute(begin)
            cursor.nextset()
            now_ms = number(cursor.fetchall()[0][0])
            result = job.work(PostgresTransaction(cursor, now_ms, database.namespace))
        except BaseException:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.execute("ROLLBACK")
            raise
    try:
        connection.execute("COMMIT")
    except _RACES:
        raise
    except (psycopg.Error, OSError) as problem:
        if connection.closed and job.writes:
            raise lost_in_commit(database.url, problem) from None
        raise
    return result


def _cut(connection: _Connection) -> None:
    """Make a thread that waits for this connection see its end, as if the server had gone."""
    with contextlib.suppress(psycopg.Error, OSError), _borrowed(connection) as line:
        line.shutdown(socket.SHUT_RDWR)


def _borrowed(connection: _Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


@lru_cache(maxsize=500)
def _translated(sql: str) -> bytes:
    """A statement with psycopg's placeholders; the statements have no percent signs."""
    return sql.replace("?", "%s").encode()


def _is_durable(tx: PostgresTransaction) -> bool:
    settings = [tx.execute(f"SHOW {name}")[0][0] for name in ("synchronous_commit", "fsync")]
    return "off" not in settings
