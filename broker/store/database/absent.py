"""A database that does not exist: it refuses to be opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn, TypeVar

from effectmq.broker.store.database.belonging import OfNamespace
from effectmq.broker.store.database.port import Transaction
from effectmq.protocol.errors import ConfigurationError, DatabaseUnavailableError

__all__ = ["AbsentDatabase"]

T = TypeVar("T")


class AbsentDatabase(OfNamespace):
    """
    No database, for a program that may never need one.

    Args:
        why: The error of opening it.
    """

    durable = False

    def __init__(self, why: str) -> None:
        super().__init__("none", None)
        self._why = why

    async def __aenter__(self) -> NoReturn:
        """
        Refuse to open.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(self._why)

    async def __aexit__(self, *exc_info: object) -> None:
        """Do nothing: nothing was opened."""

    def write(
        self, work: Callable[[Transaction], T], *, durable: bool = True, large: bool = False
    ) -> asyncio.Future[T]:
        """See the port."""
        return self.read(work)

    def read(self, work: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """See the port."""
        closed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        closed.set_exception(DatabaseUnavailableError("the journal is not open: there is none"))
        return closed
