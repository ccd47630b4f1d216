"""
The database port: one transaction at a time, on a separate thread.

The stores (journal, process registry, sessions) are written once, in SQL that SQLite and PostgreSQL
both understand, as functions of a ``Transaction``. An adapter begins a transaction, calls the
function on a thread, commits, and passes the result to the event loop. When ``write`` returns,
everything that the function did is durable, unless it was asked for less; when it raises, nothing
of it was kept.

* Statements use ``?`` for parameters. In a schema, ``{blob}`` is the type of binary data, and
  ``{text}`` that of text that sorts by code point.
* Rows that will be changed are read with ``tx.for_update`` after the statement.
* A function may be called again after a conflict with another writer or after a lost connection,
  so it has no other effects.
* Cancelling the caller does not stop a transaction that has begun.
* An error of the function itself is raised unchanged; nothing of its transaction is kept. For a
  value that cannot be kept it is ``NotStorableError``.
* Everything that is kept belongs to a namespace, and several namespaces share a database without
  seeing each other. A database is opened for one of them; every statement names it.

Adapters: SQLite (one host) and PostgreSQL (many).
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

__all__ = ["Database", "LeaseTime", "Row", "Transaction", "Value"]

T = TypeVar("T")

#: The types of a column's value.
Value = str | int | bytes | None
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class LeaseTime:
    """
    A reading of the clock that measures leases.

    The clock never jumps: it is the database's own clock where many hosts share it, and the time
    since boot where all workers are on one host.

    Attributes:
        clock: Names the clock. A lease of another clock (the host has been rebooted) is over.
        now_ms: Milliseconds; comparable with readings of the same clock only.
    """

    clock: str
    now_ms: int


class Transaction(Protocol):
    """The transaction that a function works with; valid until it returns."""

    @property
    def dialect(self) -> Literal["sqlite", "postgres"]:
        """The SQL dialect, for the few differences."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace of what is read and written."""
        ...

    def durably(self) -> None:
        """
        Demand that this transaction is durable, whatever ``write`` was asked for.

        Call it before a change that must survive a loss of power. The function may be called again
        for it, from its beginning; what this raises then must reach ``write``.
        """
        ...

    @property
    def for_update(self) -> str:
        """The clause after a SELECT of rows that will be changed; starts with a space."""
        ...

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Run one statement; returns its rows, if any."""
        ...

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row."""
        ...

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one statement once for each row, in order; returns the rows of each."""
        ...

    def execute_together(self, sql: str, row: str, rows: Sequence[Sequence[Value]]) -> int | None:
        """
        Run one statement that takes many rows at a time, where that is cheaper.

        Args:
            sql: The statement, with ``{rows}`` where the rows belong.
            row: One row, with its parameters: ``(?, ?)``.
            rows: Their values.

        Returns:
            How many rows it changed; ``None`` when nothing was done, because rows one by one cost
            no more.
        """
        ...

    def now_ms(self) -> int:
        """The database's wall clock, Unix milliseconds."""
        ...

    def lease_time(self) -> LeaseTime:
        """A reading of the clock of leases."""
        ...


class Database(Protocol):
    """A database. Use it as an asynchronous context manager."""

    @property
    def where(self) -> str:
        """Its address, in a form that may be shown to people."""
        ...

    @property
    def durable(self) -> bool:
        """Whether committed data survives the loss of power."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace of what is kept through it."""
        ...

    def adopt(self, namespace: str) -> None:
        """
        Belong to a namespace, unless one was named when it was made.

        Raises:
            ConfigurationError: When it belongs to another namespace already.
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
        """Finish the work under way, and close."""
        ...

    def write(
        self, work: Callable[[Transaction], T], *, durable: bool = True, large: bool = False
    ) -> Future[T]:
        """
        Run a function in one transaction and commit.

        Args:
            work: The function.
            durable: Whether the transaction must survive a loss of power when this returns. One
                that need not survives the death of every process, and is durable with the next
                durable one; a database for which the difference is small may ignore this.
            large: Whether one statement may change, sort or copy more than fits in the memory; a
                database that takes care of that by itself ignores this.

        Raises:
            DatabaseUnavailableError: When nothing was kept. Only when a connection is lost during a
                commit is that unknown, and the error says so; so writing the same again must do no
                harm.
        """
        ...

    def read(self, work: Callable[[Transaction], T]) -> Future[T]:
        """
        Run a function that only reads, in parallel to writers.

        Raises:
            DatabaseUnavailableError: When the database cannot be read.
        """
        ...
