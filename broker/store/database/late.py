"""
A database whose address is asked for when it is opened.

What is made when a program is imported (handlers, registries) needs a database, and the command
line has the last word on which one it is.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import TypeVar

from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.belonging import Belonging
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.protocol.errors import DatabaseUnavailableError

__all__ = ["LateDatabase"]

T = TypeVar("T")


class LateDatabase:
    """
    Args:
        address: Gives the address; called each time it is opened.
        namespace: Gives the namespace, too; that of the worker that opens it by default.
    """

    def __init__(
        self, address: Callable[[], str], namespace: Callable[[], str] | None = None
    ) -> None:
        self._address = address
        self._namespace = namespace
        self._belonging = Belonging(None)
        self._database: Database | None = None

    @property
    def _opened(self) -> Database:
        if self._database is None:
            raise DatabaseUnavailableError(
                "the database is not open; it is opened and closed with its worker"
            )
        return self._database

    @property
    def where(self) -> str:
        """See the port."""
        return self._opened.where

    @property
    def durable(self) -> bool:
        """See the port."""
        return self._opened.durable

    @property
    def namespace(self) -> str:
        """See the port."""
        return self._namespace() if self._namespace is not None else self._belonging.namespace

    def adopt(self, namespace: str) -> None:
        """See the port."""
        self._belonging.adopt(namespace, "of a program")

    async def __aenter__(self) -> LateDatabase:
        """Ask for the address, and open it."""
        database = open_database(self._address(), namespace=self.namespace)
        await database.__aenter__()
        self._database = database
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        database, self._database = self._database, None
        if database is not None:
            await database.__aexit__()

    def write(self, work: Callable[[Transaction], T]) -> Future[T]:
        """See the port."""
        return self._opened.write(work)

    def read(self, work: Callable[[Transaction], T]) -> Future[T]:
        """See the port."""
        return self._opened.read(work)
