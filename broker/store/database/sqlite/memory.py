"""
A database in the memory of this process, for ``memory://``: the same SQL, and no file.

Like the broker of the same address it lives as long as its event loop: whoever opens the name
again finds what was kept, and the next program begins with nothing. All who have it open share one
connection and one thread, so transactions never meet.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from effectmq.broker.store.database.belonging import OfNamespace
from effectmq.broker.store.database.faults import raisable, verdict_of
from effectmq.broker.store.database.sqlite.adapter import SqliteTransaction
from effectmq.broker.store.database.sqlite.thread import OneThread
from effectmq.protocol.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    NotStorableError,
)
from effectmq.protocol.urls import mask_url, memory_name

__all__ = ["MemoryDatabase"]

T = TypeVar("T")


class MemoryDatabase(OfNamespace):
    """
    One database of this process and event loop.

    Args:
        url: ``memory://name``, or ``memory://`` for the default name.
        namespace: To whom belongs what is kept; see ``open_database``.

    Raises:
        ConfigurationError: When the address has more than a name.
    """

    #: Nobody expects it to outlast the process, so nobody is warned that it does not.
    durable = True

    def __init__(self, url: str, *, namespace: str | None = None) -> None:
        name = memory_name(url)
        if name is None:
            raise ConfigurationError(
                f"{mask_url(url)!r} is no address of a journal in memory; expected memory:// or "
                "memory://name, where a name has letters, digits and -_."
            )
        super().__init__(url, namespace)
        self._name = name
        self._shared: _Shared | None = None

    async def __aenter__(self) -> MemoryDatabase:
        """Find it, or make it; see the port."""
        self._shared = _Shared.named(self._name)
        self._shared.enter()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what is under way, and close."""
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.leave()

    def write(
        self, work: Callable[[SqliteTransaction], T], *, durable: bool = True, large: bool = False
    ) -> asyncio.Future[T]:
        """See the port."""
        if self._shared is None:
            closed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            closed.set_exception(
                DatabaseUnavailableError(
                    "the journal is not open; it is opened and closed with its worker or client"
                )
            )
            return closed
        return self._shared.call(work, self.namespace)

    def read(self, work: Callable[[SqliteTransaction], T]) -> asyncio.Future[T]:
        """See the port."""
        return self.write(work)


class _Shared:
    """The database behind a name: its connection, and a thread while somebody has it open."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._users = 0
        self._thread: OneThread | None = None

    @classmethod
    def named(cls, name: str) -> _Shared:
        """The database of this name on the running event loop; a new one when it is the first."""
        for key in [key for key in list(_databases) if key[0].is_closed()]:
            gone = _databases.pop(key, None)
            if gone is not None:
                gone.forget()
        found = _databases.get((asyncio.get_running_loop(), name))
        if found is None:
            found = _databases[asyncio.get_running_loop(), name] = cls()
        return found

    def enter(self) -> None:
        self._users += 1
        if self._thread is None:
            self._thread = OneThread("effectmq journal")

    async def leave(self) -> None:
        """Wait for what was asked before; who leaves last ends the thread."""
        thread = self._thread
        if thread is None:
            return
        try:
            await thread.call(_nothing)
        finally:
            self._users -= 1
            if not self._users:
                self._thread = None
                thread.end()

    def forget(self) -> None:
        """Its event loop is gone, and with it everybody who could ask."""
        if self._thread is not None:
            self._thread.end()
        self._connection.close()

    def call(self, work: Callable[[SqliteTransaction], T], namespace: str) -> asyncio.Future[T]:
        assert self._thread is not None
        return self._thread.call(partial(self._transact, work, namespace))

    def _transact(self, work: Callable[[SqliteTransaction], T], namespace: str) -> T:
        connection = self._connection
        connection.execute("BEGIN")
        try:
            result = work(SqliteTransaction(connection, namespace))
            connection.execute("COMMIT")
        except BaseException as problem:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(problem, sqlite3.Error | UnicodeError | OverflowError | StopIteration):
                raise _meant(problem) from problem
            raise
        return result


def _meant(problem: Exception) -> Exception:
    match verdict_of(problem):
        case "unavailable":
            return DatabaseUnavailableError(f"the journal in memory cannot be used: {problem}")
        case "unstorable":
            return NotStorableError(
                f"the journal in memory cannot keep this: {problem}; asking again gives the same"
            )
        case "defect":
            return raisable(problem)


def _nothing() -> None:
    """Runs when everything that was asked before has run."""


_databases: dict[tuple[asyncio.AbstractEventLoop, str], _Shared] = {}
