"""Admission as a worker asks for it, and limits as people set them, in the journal's database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.declared.rules import (
    clear_limit,
    declare_limits,
    load_limits,
    set_limit,
)
from effectmq.broker.store.admission.keeping import applying, upkeep
from effectmq.broker.store.admission.looking import (
    LimitState,
    RouteState,
    limit_states,
    route_states,
    shut_lines,
)
from effectmq.broker.store.admission.records import Answer, Ask, Claimed, Operation, Worker
from effectmq.broker.store.admission.steps import ADMISSION_SCHEMA, SHARES_SCHEMA
from effectmq.broker.store.database.group_commit import GroupCommit
from effectmq.broker.store.database.port import Database, Transaction

__all__ = ["AdmissionStore", "LimitDesk", "Seen", "Waiting"]


class Seen(NamedTuple):
    """
    What a look has found.

    Attributes:
        limits: Every limit.
        due: Whether an effect of the routes may be ready to start, or only has to be answered.
        left_over: Whether a dead worker has left something.
    """

    limits: list[Limit]
    due: bool
    left_over: bool


class Waiting(NamedTuple):
    """
    What waits, for metrics.

    Attributes:
        routes: The effects of each route that wait.
        shut: For each limit, how many values of its key are shut.
    """

    routes: list[RouteState]
    shut: dict[str, int]


class LimitDesk:
    """
    The limits of one namespace, for people.

    Args:
        database: An open one; its namespace is whose limits.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self) -> None:
        """
        Make the tables if there are none.

        Raises:
            SchemaVersionError: When there are some, of another version.
            DatabaseUnavailableError: When the database cannot be used.
        """
        await ADMISSION_SCHEMA.ensure(self._database)

    async def states(self) -> list[LimitState]:
        """Every limit, with what runs under it and waits for it."""
        return await self._database.read(limit_states)

    async def waiting(self) -> list[RouteState]:
        """How many effects of each route wait for admission."""
        return await self._database.read(route_states)

    async def set(self, limit: Limit, set_by: str) -> None:
        """Set a limit, in place of the one of its name; workers heed it within a second."""
        await self._database.write(lambda tx: set_limit(tx, limit, set_by))

    async def clear(self, name: str) -> bool:
        """Remove a limit; returns whether there was one."""
        return await self._database.write(lambda tx: clear_limit(tx, name))


class AdmissionStore:
    """
    Admission for one worker; its questions share transactions, as those to the journal.

    Args:
        database: That of the journal, open.
        worker: Who asks.
    """

    def __init__(self, database: Database, worker: Worker) -> None:
        self._database = database
        self._worker = worker
        self._writes: GroupCommit[Operation, Answer] = GroupCommit(self._commit)

    async def open(self, limits: Sequence[Limit], set_by: str) -> None:
        """
        Make the tables if there are none, and set the limits of the program.

        Raises:
            SchemaVersionError: When there are tables of another version.
            DatabaseUnavailableError: When the database cannot be used.
        """
        await ADMISSION_SCHEMA.ensure(self._database)
        await SHARES_SCHEMA.ensure(self._database)
        await self._database.write(upkeep.look_anew, durable=False)
        if limits:
            await self._database.write(lambda tx: declare_limits(tx, list(limits), set_by))

    def _commit(self, operations: list[Operation]) -> asyncio.Future[list[Answer]]:
        # Else it would find out on the way that it must be, and begin again.
        durable = any(isinstance(one, Ask) and one.full for one in operations)
        return self._database.write(
            lambda tx: applying.apply(tx, self._worker, operations), durable=durable
        )

    def ask(self, operation: Operation) -> asyncio.Future[Answer]:
        """
        Ask for admission, say that an attempt has ended, or that an effect of the room is settled.

        Raises:
            DatabaseUnavailableError: From the future; asking the same again does no harm.
        """
        return self._writes.ask(operation)

    async def look(self, routes: Sequence[str], full: Sequence[str] = ()) -> Seen:
        """
        See which limits there are, and whether there is something to do.

        Args:
            routes: The routes of the worker that have slots.
            full: Those that have none: what only has to be answered needs no slot.
        """

        def read(tx: Transaction) -> Seen:
            limits = list(load_limits(tx).values())
            return Seen(limits, applying.is_due(tx, routes, full), upkeep.left_over(tx))

        return await self._database.read(read)

    async def waiting(self) -> Waiting:
        """See what waits, for metrics."""
        return await self._database.read(lambda tx: Waiting(route_states(tx), shut_lines(tx)))

    async def take(self, free: dict[str, int], cancelled: Sequence[str] = ()) -> list[Claimed]:
        """Take out of the room what may start; see ``applying.take``."""
        return await self._database.write(
            lambda tx: applying.take(tx, self._worker, free, cancelled), durable=False
        )

    async def renew(self) -> None:
        """Renew what this worker has."""
        await self._database.write(lambda tx: upkeep.renew(tx, self._worker), durable=False)

    async def recover(self) -> None:
        """Free what dead workers had."""
        await self._database.write(upkeep.recover, durable=False)

    async def close(self) -> None:
        """Answer every question, then give back everything that this worker has."""
        await self._writes.drain()
        await self._database.write(lambda tx: upkeep.leave(tx, self._worker), durable=False)
