"""
The table of schedules: kept, claimed, advanced.

A scheduler claims what is due for ``CLAIM_MS``, publishes, and then advances ``next_ms`` from the
time that it read. When it dies in between, another one claims the same times and publishes them
again: the replay key of an effect is made of the schedule's name and the time. So no time is lost,
and none has two outcomes. The claim only spares every scheduler from publishing every time.
"""

from __future__ import annotations

from collections.abc import Sequence

from effectmq.broker.store.database.port import Database, Transaction
from effectmq.broker.store.database.rows import number
from effectmq.broker.store.schedules.rows import COLUMNS, ScheduleRow, columns_of, read_rows
from effectmq.broker.store.schedules.steps import SCHEDULES_SCHEMA
from effectmq.broker.timetable.missed import GRACE_MS, Firing
from effectmq.broker.timetable.schedule import Schedule
from effectmq.broker.timetable.timing import times_after
from effectmq.protocol.errors import ConfigurationError, MissingExtraError
from effectmq.protocol.text import printable

__all__ = ["CLAIM_MS", "MOST_SCHEDULES", "ScheduleTable"]

#: How long others leave a schedule to the scheduler that carries it out.
CLAIM_MS = 10_000
#: How many schedules a namespace has at most: every look and every list is bounded.
MOST_SCHEDULES = 10_000
_MAX_PROBLEM = 500

_SPEC = "cron, zone, every_ms, kind, command_json, lane, missed_policy"
_GET = f"SELECT {COLUMNS} FROM effectmq_schedules WHERE namespace = ? AND name = ?"
_LIST = f"SELECT {COLUMNS} FROM effectmq_schedules WHERE namespace = ? ORDER BY name LIMIT ?"
_COUNT = "SELECT COUNT(*) FROM effectmq_schedules WHERE namespace = ?"
_SOONEST = (
    "SELECT MIN(CASE WHEN claimed_ms > next_ms THEN claimed_ms ELSE next_ms END) "
    "FROM effectmq_schedules WHERE namespace = ? AND paused = 0{others}"
)
_DUE = (
    f"SELECT {COLUMNS} FROM effectmq_schedules WHERE namespace = ? AND paused = 0 "
    "AND next_ms <= ? AND claimed_ms <= ?{others} ORDER BY next_ms, name LIMIT ?"
)
_CLAIM = "UPDATE effectmq_schedules SET claimed_ms = ? WHERE namespace = ? AND name = ?"
_ADVANCE = (
    "UPDATE effectmq_schedules SET next_ms = ?, claimed_ms = 0, last_ms = ?, late_ms = ?, "
    "fired = fired + ?, missed = missed + ?, problem = '' "
    "WHERE namespace = ? AND name = ? AND next_ms = ? RETURNING name"
)
_PROBLEM = (
    "UPDATE effectmq_schedules SET problem = ?, claimed_ms = ? "
    "WHERE namespace = ? AND name = ? AND next_ms = ?"
)
#: What has fired, was changed, or is claimed in the future, or waits for longer than its interval.
_AHEAD = (
    f"SELECT {COLUMNS} FROM effectmq_schedules WHERE namespace = ? AND paused = 0 AND "
    "(last_ms > ? OR updated_ms > ? OR claimed_ms > ? OR (every_ms > 0 AND next_ms > every_ms + ?))"
    " ORDER BY name LIMIT ?"
)
_BRING_BACK = (
    "UPDATE effectmq_schedules SET next_ms = ?, claimed_ms = 0 "
    "WHERE namespace = ? AND name = ? AND next_ms = ? AND claimed_ms = ?"
)
_INSERT = (
    f"INSERT INTO effectmq_schedules (namespace, name, {_SPEC}, origin, paused, next_ms, "
    "claimed_ms, last_ms, late_ms, fired, missed, problem, created_ms, updated_ms) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, 0, 0, 0, '', ?, ?) "
    "ON CONFLICT (namespace, name) DO NOTHING RETURNING name"
)
_CHANGE = (
    "UPDATE effectmq_schedules SET cron = ?, zone = ?, every_ms = ?, kind = ?, command_json = ?, "
    "lane = ?, missed_policy = ?, origin = ?, next_ms = ?, claimed_ms = 0, problem = '', "
    "updated_ms = ? WHERE namespace = ? AND name = ?"
)
_PAUSE = (
    "UPDATE effectmq_schedules SET paused = ?, next_ms = ?, claimed_ms = 0, updated_ms = ? "
    "WHERE namespace = ? AND name = ?"
)
_REMOVE = "DELETE FROM effectmq_schedules WHERE namespace = ? AND name = ? RETURNING name"


class ScheduleTable:
    """
    The schedules of one namespace.

    Args:
        database: Open; that of the journal.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self) -> None:
        """
        Make the table if there is none.

        Raises:
            SchemaVersionError: When it is of another version.
            DatabaseUnavailableError: When the database cannot be used.
        """
        await SCHEDULES_SCHEMA.ensure(self._database)

    # For people and programs -------------------------------------------------------------------

    async def rows(self) -> list[ScheduleRow]:
        """All schedules, by name."""
        return read_rows(
            await self._database.read(lambda tx: tx.execute(_LIST, (tx.namespace, MOST_SCHEDULES)))
        )

    async def row(self, name: str) -> ScheduleRow | None:
        """One schedule; ``None`` when there is none of the name."""
        return await self._database.read(lambda tx: _found(tx, name))

    async def put(self, schedule: Schedule, origin: str) -> ScheduleRow:
        """
        Make a schedule, or change the one of its name; it stays paused when it was.

        It fires from now on: with the same timing the next time stays, and what is due stays due.

        Raises:
            ConfigurationError: When there are too many.
            DatabaseUnavailableError: When nothing was kept.
        """

        def write(tx: Transaction) -> ScheduleRow:
            now_ms = tx.now_ms()
            next_ms = next(times_after(schedule.timing, now_ms))
            spec = columns_of(schedule)
            row = _found(tx, schedule.name, tx.for_update)
            if row is None:
                if number(tx.execute(_COUNT, (tx.namespace,))[0][0]) >= MOST_SCHEDULES:
                    raise ConfigurationError(
                        f"the namespace has {MOST_SCHEDULES} schedules already; remove some first"
                    )
                new = (tx.namespace, schedule.name, *spec, origin, next_ms, now_ms, now_ms)
                tx.execute(_INSERT, new)
                # When another transaction was first, its row is the one to change.
                row = _known(tx, schedule.name)
            if (row.cron, row.zone, row.every_ms) == spec[:3]:
                next_ms = row.next_ms
            if _spec_of(row) != (*spec, origin):
                tx.execute(_CHANGE, (*spec, origin, next_ms, now_ms, tx.namespace, row.name))
            return _known(tx, schedule.name)

        return await self._database.write(write)

    async def pause(self, name: str) -> ScheduleRow | None:
        """Let it not fire until it is resumed; ``None`` when there is none of the name."""
        return await self._set_paused(name, paused=True)

    async def resume(self, name: str) -> ScheduleRow | None:
        """Let it fire again from now on: what fell into the pause is not carried out."""
        return await self._set_paused(name, paused=False)

    async def _set_paused(self, name: str, *, paused: bool) -> ScheduleRow | None:
        def write(tx: Transaction) -> ScheduleRow | None:
            row = _found(tx, name, tx.for_update)
            if row is None or bool(row.paused) is paused:
                return row
            now_ms = tx.now_ms()
            next_ms = row.next_ms if paused else next(times_after(row.schedule.timing, now_ms))
            tx.execute(_PAUSE, (int(paused), next_ms, now_ms, tx.namespace, name))
            return _known(tx, name)

        return await self._database.write(write)

    async def remove(self, name: str) -> bool:
        """Remove it; returns whether there was one. Its effects stay."""
        return bool(
            await self._database.write(lambda tx: tx.execute(_REMOVE, (tx.namespace, name)))
        )

    # For schedulers ----------------------------------------------------------------------------

    async def soonest(self, without: Sequence[str] = ()) -> tuple[int | None, int]:
        """
        When there is something to claim next, ``None`` for never; and the time now.

        Args:
            without: The names of schedules that are left to others.
        """
        sql = _SOONEST.format(others=_others(without))

        def read(tx: Transaction) -> tuple[int | None, int]:
            found = tx.execute(sql, (tx.namespace, *without))[0][0]
            return None if found is None else number(found), tx.now_ms()

        return await self._database.read(read)

    async def claim(self, most: int, without: Sequence[str] = ()) -> tuple[list[ScheduleRow], int]:
        """Take what is due, so that others leave it for a while; and the time now."""
        sql = _DUE.format(others=_others(without))

        def write(tx: Transaction) -> tuple[list[ScheduleRow], int]:
            now_ms = tx.now_ms()
            due: list[str | int] = [tx.namespace, now_ms, now_ms, *without, most]
            rows = read_rows(tx.execute(f"{sql}{tx.for_update}", due))
            for row in rows:
                tx.execute(_CLAIM, (now_ms + CLAIM_MS, tx.namespace, row.name))
            return rows, now_ms

        return await self._database.write(write)

    async def advance(self, row: ScheduleRow, firing: Firing, now_ms: int) -> bool:
        """
        Note that these times are carried out.

        Returns:
            Whether this scheduler was the one; another may have done the same meanwhile, or an
            operator have changed the schedule.
        """
        times_ms = firing.times_ms
        last_ms, late_ms = row.last_ms, row.late_ms
        if times_ms:
            last_ms, late_ms = times_ms[-1], max(0, now_ms - times_ms[-1])
        counts = (firing.next_ms, last_ms, late_ms, len(times_ms), firing.missed)
        return bool(
            await self._database.write(
                lambda tx: tx.execute(_ADVANCE, (*counts, tx.namespace, row.name, row.next_ms))
            )
        )

    async def bring_back(self, most: int = 500) -> list[str]:
        """
        Let schedules fire again that wait for a time which a clock once showed too early.

        A database's clock that was ahead and is right again would silence them until then. Times
        that were carried out meanwhile are published once more, which is the same effect.

        Args:
            most: How many are looked at.

        Returns:
            The names of those that were changed.
        """
        rows, now_ms = await self._database.read(lambda tx: _ahead(tx, most))
        early: list[tuple[ScheduleRow, int]] = []
        for row in rows:
            try:
                next_ms = next(times_after(row.schedule.timing, now_ms))
            except (ConfigurationError, MissingExtraError):
                # Of another release, or without a package: left to workers that can read it.
                continue
            if next_ms < row.next_ms or row.claimed_ms > now_ms + GRACE_MS:
                early.append((row, min(next_ms, row.next_ms)))
        if early:
            await self._database.write(lambda tx: _bring_back(tx, early))
        return [row.name for row, _ in early]

    async def note_problem(self, row: ScheduleRow, problem: str, again_ms: int) -> None:
        """Note why it could not be carried out; it is tried again after so many milliseconds."""
        shown = printable(problem, _MAX_PROBLEM)

        def write(tx: Transaction) -> None:
            again = (shown, tx.now_ms() + again_ms, tx.namespace, row.name, row.next_ms)
            tx.execute(_PROBLEM, again)

        await self._database.write(write)


def _others(without: Sequence[str]) -> str:
    return f" AND name NOT IN ({', '.join('?' * len(without))})" if without else ""


def _ahead(tx: Transaction, most: int) -> tuple[list[ScheduleRow], int]:
    now_ms = tx.now_ms()
    until_ms = now_ms + GRACE_MS
    found = tx.execute(_AHEAD, (tx.namespace, *(until_ms,) * 4, most))
    return read_rows(found), now_ms


def _bring_back(tx: Transaction, early: Sequence[tuple[ScheduleRow, int]]) -> None:
    tx.execute_many(
        _BRING_BACK,
        [(next_ms, tx.namespace, row.name, row.next_ms, row.claimed_ms) for row, next_ms in early],
    )


def _found(tx: Transaction, name: str, lock: str = "") -> ScheduleRow | None:
    rows = read_rows(tx.execute(f"{_GET}{lock}", (tx.namespace, name)))
    return rows[0] if rows else None


def _known(tx: Transaction, name: str) -> ScheduleRow:
    (row,) = read_rows(tx.execute(_GET, (tx.namespace, name)))
    return row


def _spec_of(row: ScheduleRow) -> tuple[str, str, int, str, str, str, str, str]:
    return (
        row.cron,
        row.zone,
        row.every_ms,
        row.kind,
        row.command_json,
        row.lane,
        row.missed_policy,
        row.origin,
    )
