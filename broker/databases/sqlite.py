"""
SQLite: the embedded default, for every process of one host.

Write-ahead log with ``synchronous=FULL``: a commit is on the disk when it returns. Writers take
turns with ``BEGIN IMMEDIATE``, so none fails half-way because another came first; readers have a
connection of their own and wait for nobody.

A deleted file is the one fault that SQLite does not see: it would go on writing into the void. So
each transaction first looks whether the path still leads to the file that was opened.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from effectmq.broker.database import LeaseTime, Row, Value
from effectmq.broker.databases.clock import host_lease_time
from effectmq.broker.databases.mounts import network_filesystem
from effectmq.protocol.errors import ConfigurationError, DatabaseUnavailableError

__all__ = ["SqliteDatabase", "sqlite_path"]

T = TypeVar("T")

#: How long to wait for another process that is writing, in seconds.
_BUSY_TIMEOUT_S = 5.0
#: A log of about this many pages (4 KiB each) is written back into the file.
_CHECKPOINT_PAGES = 4_000


def sqlite_path(url: str) -> Path:
    """
    The file that an address means.

    Raises:
        ConfigurationError: When it names no file.
    """
    prefix, separator, path = url.partition(":///")
    if prefix.lower() != "sqlite" or not separator or not path or path.startswith(":"):
        raise ConfigurationError(
            f"{url!r} names no file; expected sqlite:///relative/path or sqlite:////absolute/path"
        )
    return Path(path).expanduser()


class SqliteDatabase:
    """
    One file.

    Args:
        url: ``sqlite:///path``.
        busy_timeout_s: How long to wait for another process that is writing, in seconds.
    """

    durable = True

    def __init__(self, url: str, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> None:
        self.path = sqlite_path(url)
        self.where = url
        self._writer = _Lane("effectmq journal", self.path, busy_timeout_s)
        self._reader = _Lane("effectmq journal reader", self.path, busy_timeout_s)

    async def __aenter__(self) -> SqliteDatabase:
        """Open the file, made if there is none; see the port."""
        kind = network_filesystem(self.path)
        if kind is not None:
            raise ConfigurationError(
                f"{self.path} is on a network file system ({kind}), where SQLite's locks do not "
                "hold; use a local file, or PostgreSQL for workers on several hosts"
            )
        await self._writer.call(self._writer.connect)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what is under way, and close."""
        for lane in (self._reader, self._writer):
            await lane.close()

    def write(self, work: Callable[[SqliteTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return self._writer.call(partial(self._writer.transact, "BEGIN IMMEDIATE", work))

    def read(self, work: Callable[[SqliteTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return self._reader.call(partial(self._reader.transact, "BEGIN", work))


class SqliteTransaction:
    """See the port."""

    dialect: Literal["sqlite"] = "sqlite"
    #: ``BEGIN IMMEDIATE`` has locked everything already.
    for_update = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement."""
        return self._connection.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row."""
        self._connection.executemany(sql, rows)

    def now_ms(self) -> int:
        """Unix milliseconds, by this host's clock."""
        return time.time_ns() // 1_000_000

    def lease_time(self) -> LeaseTime:
        """Time since boot."""
        return host_lease_time()


class _Lane:
    """One connection, and the one thread that uses it."""

    def __init__(self, name: str, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def close(self) -> None:
        await self.call(self._disconnect)
        self._threads.shutdown(wait=False)

    # On the thread ---------------------------------------------------------------------------

    def transact(self, begin: str, work: Callable[[SqliteTransaction], T]) -> T:
        connection = self._usable()
        try:
            connection.execute(begin)
            try:
                result = work(SqliteTransaction(connection))
                connection.execute("COMMIT")
                return result
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as problem:
            raise self._unavailable(problem) from None

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            return self.connect()
        found = _identity(self._path)
        if found != self._file:
            # Replaced by a restored one, or gone: what is open leads nowhere any more.
            self._disconnect()
            if found is None:
                raise DatabaseUnavailableError(
                    f"the journal {self._path} is gone; put the file back. To begin an empty one, "
                    "which remembers nothing, restart the worker"
                )
            return self.connect()
        return self._connection

    def connect(self) -> sqlite3.Connection:
        if self._file is not None and _identity(self._path) is None:
            # It was there before. An empty one in its place would run everything again.
            raise DatabaseUnavailableError(
                f"the journal {self._path} is gone; put the file back. To begin an empty one, "
                "which remembers nothing, restart the worker"
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path,
                timeout=self._busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        except (sqlite3.Error, OSError) as problem:
            raise self._unavailable(problem) from None
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        except sqlite3.Error as problem:
            connection.close()
            raise self._unavailable(problem) from None
        self._connection, self._file = connection, _identity(self._path)
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _unavailable(self, problem: Exception) -> DatabaseUnavailableError:
        advice = next(
            (advice for words, advice in _ADVICE.items() if words in str(problem)),
            "look at the file and its folder",
        )
        return DatabaseUnavailableError(
            f"the journal {self._path} cannot be used: {problem}; {advice}"
        )


#: What SQLite says, and what to do about it.
_ADVICE = {
    "locked": "another process has been writing for too long; find it (fuser) and let it end",
    "full": "make room on the disk",
    "readonly": "make the file and its folder writable for this user",
    "malformed": "the file is damaged: restore it from a backup",
    "not a database": "the file is something else: choose another path",
    "unable to open": "make the folder readable and writable for this user",
}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
