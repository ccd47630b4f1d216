"""
The database port: one transaction at a time, on a thread of its own.

What is kept (the journal, the process registry, sessions) is written once, in SQL that SQLite and
PostgreSQL both understand, as functions of a ``Transaction``. An adapter gives the transaction: it
begins, calls the function on a thread, commits, and hands the result to the event loop. When
``write`` returns, everything the function did is durable; when it raises, nothing of it is there.

* Statements use ``?`` for parameters. In a schema, ``{blob}`` is the type of binary data, and
  ``{text}`` that of text which sorts by code point.
* Rows that are about to be changed are read with ``tx.for_update`` behind the statement.
* A function may be called again after a conflict with another writer or after a lost connection,
  so it has no other effects.
* Cancelling the caller does not stop a transaction that has begun.
* An error of the function itself is raised as it is; nothing of its transaction is kept. What
  cannot be kept at all is ``NotStorableError``.
* Everything that is kept belongs to a namespace, and several share a database without seeing each
  other. A database is opened for one of them; every statement names it.

Adapters: SQLite (one host) and PostgreSQL (many).
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

__all__ = ["Database", "LeaseTime", "Row", "Transaction", "Value"]

T = TypeVar("T")

#: What a column can hold.
Value = str | int | bytes | None
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class LeaseTime:
    """
    A reading of the clock that leases are measured by.

    It never jumps: the database's own clock where many hosts share it, the time since boot where
    all are on one host.

    Attributes:
        clock: Names the clock. A lease of another clock (the host was booted since) is over.
        now_ms: Milliseconds; comparable with readings of the same clock only.
    """

    clock: str
    now_ms: int


class Transaction(Protocol):
    """What a function gets to work with; valid until it returns."""

    @property
    def dialect(self) -> Literal["sqlite", "postgres"]:
        """Which SQL this is, for the few things that differ."""
        ...

    @property
    def namespace(self) -> str:
        """To whom belongs what is read and written."""
        ...

    @property
    def for_update(self) -> str:
        """What to put behind a SELECT of rows that will be changed; starts with a space."""
        ...

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement; the rows it returns, if it returns any."""
        ...

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row."""
        ...

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one statement once for each row, in order; the rows that each of them returns."""
        ...

    def now_ms(self) -> int:
        """The database's wall clock, Unix milliseconds."""
        ...

    def lease_time(self) -> LeaseTime:
        """The clock of leases."""
        ...


class Database(Protocol):
    """A place to keep things. Use as an asynchronous context manager."""

    @property
    def where(self) -> str:
        """Its address, as it may be shown to people."""
        ...

    @property
    def durable(self) -> bool:
        """Whether what was committed survives the loss of power."""
        ...

    @property
    def namespace(self) -> str:
        """To whom belongs what is kept through it."""
        ...

    def adopt(self, namespace: str) -> None:
        """
        Belong to a namespace, unless one was named when it was made.

        Raises:
            ConfigurationError: When it belongs to another one already.
        """
        ...

    async def __aenter__(self) -> Database:
        """
        Open it.

        Raises:
            ConfigurationError: When the address cannot be used.
            MissingExtraError: When the driver is not installed.
            DatabaseUnavailableError: When it cannot be reached.
        """
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what is under way, and close."""
        ...

    def write(self, work: Callable[[Transaction], T]) -> Future[T]:
        """
        Run a function in one transaction and commit.

        Raises:
            DatabaseUnavailableError: Nothing was kept. Only when a connection is lost in the very
                moment of its commit is that not known, and the error says so; what is written here
                must be such that writing it again does no harm.
        """
        ...

    def read(self, work: Callable[[Transaction], T]) -> Future[T]:
        """
        Run a function that only reads, beside the writers.

        Raises:
            DatabaseUnavailableError: When the database cannot be read.
        """
        ...
