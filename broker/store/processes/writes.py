"""
The writes of the registry; where each commit waits for the disk, several share one.

Each write fails separately: one that breaks a rule is rolled back alone, and the others are kept.
PostgreSQL groups commits itself; there, locking several rows in one transaction would only delay
other hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.broker.store.database.port import Database, Transaction
from effectmq.protocol.errors import EffectmqError

__all__ = ["Writes"]

T = TypeVar("T")

Work = Callable[[Transaction], Any]


class Writes:
    """
    Sends all writes of the registry to its database.

    Args:
        database: The database.
        grouped: Whether writes that arrive together share a transaction.
    """

    def __init__(self, database: Database, *, grouped: bool) -> None:
        self._database = database
        self._group: GroupCommit[Work, Any] | None = None
        if grouped:
            self._group = GroupCommit(self._commit)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """
        Run a function in a transaction and commit; see ``Database.write``.

        Raises:
            DatabaseUnavailableError: When nothing was kept.
            EffectmqError: An error of the function; nothing of it was kept.
        """
        if self._group is None:
            return await self._database.write(work)
        given = await self._group.ask(work)
        if isinstance(given, EffectmqError):
            raise given
        result: T = given
        return result

    def _commit(self, works: list[Work]) -> asyncio.Future[list[Any]]:
        return self._database.write(lambda tx: [_apart(tx, work) for work in works])

    async def close(self) -> None:
        """Wait until all writes are kept."""
        if self._group is not None:
            await self._group.drain()


def _apart(tx: Transaction, work: Work) -> Any:
    """The result of a function, or the rule that it broke, with its changes undone."""
    tx.execute("SAVEPOINT apart")
    try:
        result = work(tx)
    except EffectmqError as problem:
        tx.execute("ROLLBACK TO SAVEPOINT apart")
        result = problem
    tx.execute("RELEASE SAVEPOINT apart")
    return result
