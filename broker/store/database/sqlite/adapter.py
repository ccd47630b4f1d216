"""
SQLite: the embedded default, for every process of one host.

Write-ahead log with ``synchronous=FULL``: a commit is on the disk when it returns. A transaction
that need not be durable commits with ``NORMAL``: the system has it in the log, and the next commit
with ``FULL``, by whichever process, brings the whole log to the disk. A loss of power takes the end
of the log, so no commit is ever kept without those before it.

Writers take turns with ``BEGIN IMMEDIATE``, so none fails half-way because another came first;
readers have their own connection and wait for nobody.

A writer that finds another one at work tries again every millisecond. SQLite's own method, to sleep
longer and longer, lets a process that writes without a pause lock the others out for seconds.

A deleted file is the one fault that SQLite does not notice: it would go on writing to it. So each
transaction first checks whether the path still leads to the file that was opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from effectmq.broker.store.database.belonging import OfNamespace
from effectmq.broker.store.database.faults import raisable, verdict_of
from effectmq.broker.store.database.port import LeaseTime, Row, Value
from effectmq.broker.store.database.sqlite.clock import host_lease_time
from effectmq.broker.store.database.sqlite.mounts import network_filesystem
from effectmq.broker.store.database.sqlite.thread import OneThread
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    NotStorableError,
)
from effectmq.protocol.topology import DEFAULT_NAMESPACE
from effectmq.protocol.url_options import read_options

__all__ = ["SqliteDatabase", "is_missing", "read_only_problem", "sqlite_path"]

T = TypeVar("T")
_Id = tuple[int, int]

#: How long to wait for another process that is writing, in seconds.
_BUSY_TIMEOUT_S = 5.0
#: The pause before a writer tries again, in seconds; random between these two, so that waiting
#: processes do not try at the same time.
_TURN_PAUSE_S = (0.0005, 0.0015)
_ENCODING = "UTF-8"
#: The pause before looking again whether another process has set up a new file, in seconds.
_MODE_PAUSE_S = 0.01
#: At about this many pages (4 KiB each), the log is written back into the file.
_CHECKPOINT_PAGES = 4_000


def sqlite_path(url: str) -> Path:
    """
    The file of an address.

    Raises:
        ConfigurationError: When it names no file, or has an option.
    """
    prefix, separator, path = url.partition(":///")
    path, question, query = path.partition("?")
    if prefix.lower() != "sqlite" or not separator or not path or path.startswith(":"):
        raise ConfigurationError(
            f"{url!r} names no file; expected sqlite:///relative/path or sqlite:////absolute/path"
        )
    if question:
        # The journal writes, and has its own locks: no option of SQLite fits.
        read_options(query, {}, f"the address of the database {path}")
        raise ConfigurationError(
            f"{url!r} has a question mark without options after it; leave it out, and use a file "
            "name without one"
        )
    return Path(path).expanduser()


class SqliteDatabase(OfNamespace):
    """
    One SQLite database file.

    Args:
        url: ``sqlite:///path``.
        busy_timeout_s: How long to wait for another process that is writing, in seconds.
        namespace: The namespace of what is kept; see ``open_database``.
    """

    durable = True

    def __init__(
        self, url: str, *, busy_timeout_s: float = _BUSY_TIMEOUT_S, namespace: str | None = None
    ) -> None:
        self.path = sqlite_path(url)
        super().__init__(url, namespace)
        self._busy_timeout_s = busy_timeout_s
        self._lanes: tuple[_Lane, _Lane] | None = None

    async def __aenter__(self) -> SqliteDatabase:
        """Open the file, and make it if it does not exist; see the port."""
        kind = network_filesystem(self.path)
        if kind is not None:
            raise ConfigurationError(
                f"{self.path} is on a network file system ({kind}), where SQLite's locks do not "
                "hold; use a local file, or PostgreSQL for workers on several hosts"
            )
        file = _File(self.path, self._busy_timeout_s)
        self._lanes = file.lane("effectmq journal"), file.lane("effectmq journal reader")
        try:
            await self._lanes[0].call(self._lanes[0].open)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish the work under way, and close."""
        lanes, self._lanes = self._lanes, None
        # The writer last: the last connection to close writes the log back into the file.
        for lane in reversed(lanes or ()):
            await lane.close()

    def write(
        self, work: Callable[[SqliteTransaction], T], *, durable: bool = True, large: bool = False
    ) -> asyncio.Future[T]:
        """See the port."""
        return self._call(0, "BEGIN IMMEDIATE", work, _How(durable, large))

    def read(self, work: Callable[[SqliteTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return self._call(1, "BEGIN", work, _How(True, True))

    def _call(
        self, lane: int, begin: str, work: Callable[[SqliteTransaction], T], how: _How
    ) -> asyncio.Future[T]:
        if self._lanes is None:
            closed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            closed.set_exception(
                DatabaseUnavailableError(
                    "the journal is not open; it is opened and closed with its worker or client"
                )
            )
            return closed
        chosen = self._lanes[lane]
        return chosen.call(partial(chosen.transact, begin, work, self.namespace, how))


class _How(NamedTuple):
    """How a transaction is kept; see ``write`` of the port."""

    durable: bool
    large: bool


class _NotDurableError(Exception):
    """Rolls back a transaction that turned out to need a durable one."""


class SqliteTransaction:
    """See the port."""

    dialect: Literal["sqlite"] = "sqlite"
    #: ``BEGIN IMMEDIATE`` has locked everything already.
    for_update = ""

    def __init__(
        self,
        connection: sqlite3.Connection,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        durable: bool = True,
    ) -> None:
        self._connection = connection
        self._durable = durable
        self.namespace = namespace

    def durably(self) -> None:
        """Begin again with ``synchronous=FULL``, which cannot be set within a transaction."""
        if not self._durable:
            raise _NotDurableError

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement."""
        return self._connection.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row."""
        self._connection.executemany(sql, rows)

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one statement once for each row; returns the rows of each."""
        execute = self._connection.execute
        return [execute(sql, row).fetchall() for row in rows]

    def execute_together(self, sql: str, row: str, rows: Sequence[Sequence[Value]]) -> int | None:
        """
        Run a statement for a whole group at a time.

        Each step of a statement lets another thread run Python, and has to wait for it afterwards.
        """
        if len(rows) < _FEW:
            return None
        changed, first = 0, 0
        for size in _sizes(len(rows)):
            values = [value for one in rows[first : first + size] for value in one]
            found = self._connection.execute(_with_rows(sql, row, size), values)
            changed += found.rowcount
            first += size
        return changed

    def now_ms(self) -> int:
        """Unix milliseconds, by this host's clock."""
        return time.time_ns() // 1_000_000

    def lease_time(self) -> LeaseTime:
        """The time since boot."""
        return host_lease_time()


#: How many rows a statement takes at a time. Few numbers, because each is a statement of its own,
#: and small ones, because a statement has a limit of parameters.
_TOGETHER = (16, 4, 1)
#: Fewer rows are taken one by one.
_FEW = 4


def _sizes(count: int) -> Iterator[int]:
    """The numbers of rows that together are so many."""
    for size in _TOGETHER:
        while count >= size:
            count -= size
            yield size


@cache
def _with_rows(sql: str, row: str, count: int) -> str:
    return sql.format(rows=", ".join([row] * count))


class _File:
    """The file as it was first opened; shared by all connections to it."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        self._opened: _Id | None = None
        self._log: _Id | None = None
        self._lanes: list[_Lane] = []

    def lane(self, name: str) -> _Lane:
        """One more connection to it, not opened yet."""
        self._lanes.append(_Lane(name, self))
        return self._lanes[-1]

    def close_all(self) -> None:
        """
        Make every connection anew at its next use.

        A file that was opened read-only stays so for the connection, whatever becomes of the file,
        and the connections of one process share state.
        """
        for lane in self._lanes:
            lane.disconnect_soon()

    def connect(self) -> tuple[sqlite3.Connection, _Id]:
        """
        Open the file; only the first time may make it.

        Raises:
            DatabaseUnavailableError: When it cannot be used, or existed before and is gone. An
                empty one in its place would run everything again.
        """
        known = self._opened is not None
        if known:
            self._refuse_another()
        try:
            if not known:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # As a URI, because only a URI can say that the file must not be made.
            uri = f"{self.path.absolute().as_uri()}?mode={'rw' if known else 'rwc'}"
            connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=self.busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        except (sqlite3.Error, OSError) as problem:
            raise self.unavailable(problem) from None
        try:
            self._prepare(connection)
        except sqlite3.Error as problem:
            connection.close()
            raise self.unavailable(problem) from None
        except BaseException:
            connection.close()
            raise
        found = self.identity()
        if found is None:
            connection.close()
            raise self.gone()
        self._opened = found
        return connection, found

    def identity(self) -> _Id | None:
        """Which file the path leads to now; ``None`` for none."""
        return _identity(self.path)

    def note_log(self) -> None:
        """Remember the write-ahead log of the open file."""
        self._log = _identity(self._log_path)

    def _refuse_another(self) -> None:
        """Accept only the same file, or one with its own log."""
        found = self.identity()
        if found is None:
            raise self.gone()
        if found != self._opened and self._log and self._log == _identity(self._log_path):
            # SQLite would apply the log of the former file to this one, and destroy it.
            raise DatabaseUnavailableError(
                f"the journal {self.path} was replaced, and {self._log_path.name} beside it is "
                "that of the former file; stop all workers, put a whole backup in place, without "
                f"{self.path.name}-wal and {self.path.name}-shm unless they are part of it, and "
                "start them again"
            )

    @property
    def _log_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def gone(self) -> DatabaseUnavailableError:
        """The error for a file that existed before and is gone."""
        return DatabaseUnavailableError(
            f"the journal {self.path} is gone; put the file back. To start an empty journal, which "
            "remembers nothing, restart the worker"
        )

    def unavailable(self, problem: Exception) -> DatabaseUnavailableError:
        """The error of SQLite, with advice."""
        if self._opened is not None and self.identity() is None:
            return self.gone()
        sentence = read_only_problem(self.path)
        if sentence:
            return DatabaseReadOnlyError(sentence)
        said = str(problem)
        advice = next(
            (advice for words, advice in _ADVICE.items() if words in said),
            "look at the file and its folder",
        )
        return DatabaseUnavailableError(
            f"the journal {self.path} cannot be used: {said}; {advice}",
            lasting=not any(words in said for words in _PASSING),
        )

    def meant(self, problem: Exception) -> Exception:
        """An error of SQLite, or of the function that it ran, for the caller."""
        match verdict_of(problem):
            case "unavailable":
                return self.unavailable(problem)
            case "unstorable":
                return NotStorableError(
                    f"the journal {self.path} cannot keep this: {problem}; asking again gives the "
                    "same"
                )
            case "defect":
                return problem

    def _prepare(self, connection: sqlite3.Connection) -> None:
        mode = self._set_log_mode(connection)
        if mode != "wal":
            raise ConfigurationError(
                f"{self.path} is on a file system on which SQLite cannot keep a write-ahead log "
                f"(it stays in mode {mode!r}); use a local disk"
            )
        encoding = str(connection.execute("PRAGMA encoding").fetchone()[0])
        if encoding != _ENCODING:
            raise ConfigurationError(
                f"the journal {self.path} was made with the encoding {encoding}; expected "
                f"{_ENCODING}, in whose order keys are looked up. Choose another path, so that "
                "effectmq makes the file"
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")

    def _set_log_mode(self, connection: sqlite3.Connection) -> str:
        # When several processes open a new file at once, one changes its mode. SQLite refuses the
        # others at once, and does not let them wait as for other locks.
        give_up_s = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            except sqlite3.OperationalError as problem:
                if "locked" not in str(problem) or time.monotonic() > give_up_s:
                    raise
                time.sleep(_MODE_PAUSE_S)


class _Lane:
    """One connection, and the one thread that uses it."""

    def __init__(self, name: str, file: _File) -> None:
        self._file = file
        self._thread = OneThread(name)
        self._connection: sqlite3.Connection | None = None
        self._opened: _Id | None = None
        self._log_noted = False
        #: Whether the connection has ``synchronous=FULL``, waits for other writers by itself, and
        #: keeps in files what it needs for a statement only.
        self._full = self._patient = self._in_files = True

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return self._thread.call(function)

    async def close(self) -> None:
        await self.call(self._disconnect)
        self._thread.end()

    def disconnect_soon(self) -> None:
        """Close the connection, on its thread, as soon as it is idle."""
        # Not when the thread has ended: then there is no connection.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._disconnect)

    # On the thread ---------------------------------------------------------------------------

    def open(self) -> sqlite3.Connection:
        self._connection, self._opened = self._file.connect()
        self._log_noted = False
        self._full = self._patient = self._in_files = True
        return self._connection

    def transact(
        self,
        begin: str,
        work: Callable[[SqliteTransaction], T],
        namespace: str,
        how: _How,
    ) -> T:
        connection = self._usable()
        try:
            if how.durable is not self._full:
                connection.execute(f"PRAGMA synchronous={'FULL' if how.durable else 'NORMAL'}")
                self._full = how.durable
            if how.large is not self._in_files:
                # A statement that changes many rows keeps each page as it was, so that it can be
                # undone alone: in a file, more than half of all that a transaction writes.
                connection.execute(f"PRAGMA temp_store={'DEFAULT' if how.large else 'MEMORY'}")
                self._in_files = how.large
            self._begin(connection, begin)
            result = work(SqliteTransaction(connection, namespace, durable=how.durable))
            connection.execute("COMMIT")
            if not self._log_noted:
                self._file.note_log()
                self._log_noted = True
            return result
        except (sqlite3.Error, UnicodeError, OverflowError) as problem:
            self._roll_back(connection)
            if _code(problem) == sqlite3.SQLITE_READONLY:
                self._file.close_all()
            raise self._file.meant(problem) from None
        except _NotDurableError:
            self._roll_back(connection)
            return self.transact(begin, work, namespace, how._replace(durable=True))
        except StopIteration as problem:
            self._roll_back(connection)
            raise raisable(problem) from problem
        except BaseException:
            self._roll_back(connection)
            raise

    def _begin(self, connection: sqlite3.Connection, begin: str) -> None:
        if begin != "BEGIN IMMEDIATE":
            connection.execute(begin)
            return
        if self._patient:
            connection.execute("PRAGMA busy_timeout=0")
            self._patient = False
        give_up_s = time.monotonic() + self._file.busy_timeout_s
        while True:
            try:
                connection.execute(begin)
                return
            except sqlite3.OperationalError as problem:
                busy = _code(problem) == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > give_up_s:
                    raise
                time.sleep(random.uniform(*_TURN_PAUSE_S))

    def _usable(self) -> sqlite3.Connection:
        if self._connection is not None and self._file.identity() == self._opened:
            return self._connection
        # Replaced by a restored file, or deleted: the open file is of no use.
        self._disconnect()
        return self.open()

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # A connection left in a transaction would refuse every other transaction.
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


#: Whether the system can check the effective user, who may differ from the real one.
_EFFECTIVE = os.access in os.supports_effective_ids


def is_missing(path: Path) -> bool:
    """Whether there is surely no such file; where this user may not look, opening it says so."""
    try:
        return not path.exists()
    except OSError:
        return False


def read_only_problem(path: Path) -> str:
    """Why this user cannot write a journal there, as a sentence; empty when it can."""
    log, shared = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))
    places = (
        (path, "file"),
        (log, f"log {log.name}"),
        (shared, f"index {shared.name}"),
        (path.parent, "folder"),
    )
    for place, kind in places:
        # Where this user may not look there is nothing to say of the file; SQLite says something.
        if os.path.exists(place) and not os.access(place, os.W_OK, effective_ids=_EFFECTIVE):
            return _read_only(path, place, kind)
    return ""


def _read_only(path: Path, place: Path, kind: str) -> str:
    why = "on a file system that is mounted read-only" if _mounted_read_only(place) else "read-only"
    return (
        f"the journal {path} cannot be written: its {kind} is {why} for user {_user()}; expected a "
        f"file and a folder that are writable for this user. Run as their owner, or: chmod u+w "
        f"{place}"
    )


def _mounted_read_only(place: Path) -> bool:
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        return False


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


#: What SQLite says, and what to do about it.
#: Errors that pass when another process ends, or an operator acts, without a change of settings.
_PASSING = ("locked", "full", "disk I/O")
_ADVICE = {
    "locked": "another process has been writing for too long; find it (fuser) and let it end",
    "full": "make room on the disk",
    "readonly": "make the file and its folder writable for this user",
    "malformed": "the file is damaged: restore it from a backup",
    "not a database": "the file is something else: choose another path",
    "unable to open": "make the folder readable and writable for this user",
}


def _code(problem: Exception) -> int:
    """The error code of SQLite without its details; 0 when there is none."""
    return int(getattr(problem, "sqlite_errorcode", 0)) & 0xFF


def _identity(path: Path) -> _Id | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
