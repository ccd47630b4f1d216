"""
The loop that carries out schedules.

Any number of workers run it. Each sleeps until the next time, by the database's clock, and looks at
least every few seconds, because schedules are made and changed while it sleeps. What is due is
claimed, published and confirmed, and only then noted as done (``ScheduleTable`` says why this is
the order).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from effectmq.broker.crashpoints import reached
from effectmq.broker.metrics.instruments import Histogram
from effectmq.broker.sparingly import Sparingly
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.schedules.rows import ScheduleRow
from effectmq.broker.store.schedules.table import ScheduleTable
from effectmq.broker.timetable.missed import Firing, firing_at
from effectmq.broker.timetable.schedule import Schedule
from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import EffectmqError, TransportClosedError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe, printable

__all__ = ["Scheduler"]

logger = logging.getLogger("effectmq.worker")

#: The longest time between two looks: so late is a new schedule noticed.
LOOK_S = 10.0
#: How many schedules one look claims: what is claimed must be published before the claim ends.
_MOST_CLAIMED = 50
#: How often to look whether the database's clock was ahead, in seconds.
_CLOCK_S = 60.0
#: The pause after a database or a broker that is away.
_AWAY_S = 5.0
#: When what cannot be published, or not be read here, is tried again, in milliseconds.
_AGAIN_MS = 15_000
#: How many schedules a worker leaves to others; databases limit the parameters of a statement.
_MOST_UNREAD = 500
#: How long one publish may take, in seconds; the claim of a schedule lasts longer.
_PUBLISH_S = 5.0


class Scheduler:
    """
    The scheduler of one worker.

    Args:
        database: Open; that of the journal.
        transport: Open.
        exchange: The exchange of work.
        declared: The schedules that the program has.
        counters: ``schedules_fired``, ``schedules_given_up``, ``schedules_failed``.
        late: How late times were carried out, in seconds.
    """

    def __init__(
        self,
        database: Database,
        transport: Transport,
        exchange: str,
        declared: Sequence[Schedule],
        counters: Counter[str],
        late: Histogram,
    ) -> None:
        self._table = ScheduleTable(database)
        self._transport = transport
        self._exchange = exchange
        self._declared = list(declared)
        self._counters = counters
        self._late = late
        self._said = Sparingly()
        #: What this worker cannot read, by name, and until when it leaves that to others.
        self._unread: dict[str, float] = {}
        self._clock_looked_s = -_CLOCK_S

    async def run(self) -> None:
        """Carry out schedules until cancelled, or until the connection is closed."""
        ready = False
        while True:
            try:
                if not ready:
                    await self._begin()
                    ready = True
                wait_s = await self.look()
            except TransportClosedError:
                return
            except EffectmqError as problem:
                if self._said.due(asyncio.get_running_loop().time()):
                    logger.warning(
                        "schedules cannot be carried out here for now: %s",
                        describe(problem),
                        extra={"action": "schedules_away"},
                    )
                wait_s = _AWAY_S
            except Exception:
                # A defect; without this, nobody would notice that this worker fires no more.
                logger.exception(
                    "schedules cannot be carried out here for now", extra={"action": "defect"}
                )
                wait_s = _AWAY_S
            await asyncio.sleep(wait_s)

    async def _begin(self) -> None:
        """Make the table if there is none, and keep the schedules of the program."""
        await self._table.ensure()
        while self._declared:
            await self._table.put(self._declared[0], "code")
            del self._declared[0]

    async def look(self) -> float:
        """
        Carry out what is due.

        Returns:
            How long to sleep until the next look, in seconds.

        Raises:
            EffectmqError: When the database is away, or the broker.
        """
        without = self._left_to_others()
        await self._bring_back()
        soonest_ms, now_ms = await self._table.soonest(without)
        if soonest_ms is None:
            return LOOK_S
        if soonest_ms > now_ms:
            return min(LOOK_S, (soonest_ms - now_ms) / 1_000)
        claimed, now_ms = await self._table.claim(_MOST_CLAIMED, without)
        for row in claimed:
            await self._carry_out(row, now_ms)
        return 0.0

    async def _bring_back(self) -> None:
        """Once a minute, look for what waits because the database's clock was ahead."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._clock_looked_s + _CLOCK_S:
            return
        self._clock_looked_s = now_s
        for name in await self._table.bring_back():
            logger.warning(
                "schedule %s waited for a time that the database's clock has shown too early; it "
                "fires from now on again",
                printable(name, 100),
                extra={"action": "schedule_brought_back", "schedule": name},
            )

    async def _carry_out(self, row: ScheduleRow, now_ms: int) -> None:
        try:
            schedule = row.schedule
            firing = firing_at(schedule.timing, schedule.missed, next_ms=row.next_ms, now_ms=now_ms)
        except Exception as problem:
            # Of another release, or without a package or a time zone: others may be able to.
            await self._failed(row, problem, 0 if self._leave_to_others(row.name) else _AGAIN_MS)
            return
        if firing is None:
            return
        try:
            for time_ms in firing.times_ms:
                await self._publish(schedule, time_ms, now_ms)
        except TransportClosedError:
            raise
        except Exception as problem:
            await self._failed(row, problem, _AGAIN_MS)
            return
        reached("after_schedule_publish")
        if await self._table.advance(row, firing, now_ms):
            self._count(firing, now_ms)

    async def _publish(self, schedule: Schedule, time_ms: int, now_ms: int) -> None:
        # It loads the types of the wire, which nobody needs before something is due.
        from effectmq.broker.schedules.effects import schedule_envelope

        request = Request.seal(schedule_envelope(schedule, time_ms), timestamp_s=now_ms // 1_000)
        await self._transport.publish(
            self._exchange, schedule.route, request.message, timeout=_PUBLISH_S
        )

    def _left_to_others(self) -> tuple[str, ...]:
        now = asyncio.get_running_loop().time()
        self._unread = {name: until for name, until in self._unread.items() if until > now}
        return tuple(self._unread)

    def _leave_to_others(self, name: str) -> bool:
        """Whether this worker remembers to do so; else it would take the same again and again."""
        if len(self._unread) >= _MOST_UNREAD:
            return False
        self._unread[name] = asyncio.get_running_loop().time() + _AGAIN_MS / 1_000
        return True

    async def _failed(self, row: ScheduleRow, problem: Exception, again_ms: int) -> None:
        """Note it for people, and leave the others alone: one bad row must not stop them."""
        self._counters["schedules_failed"] += 1
        logger.warning(
            "schedule %s could not be carried out and is tried again: %s",
            printable(row.name, 100),
            describe(problem),
            extra={"action": "schedule_failed", "schedule": row.name},
        )
        await self._table.note_problem(row, describe(problem), again_ms)

    def _count(self, firing: Firing, now_ms: int) -> None:
        self._counters["schedules_fired"] += len(firing.times_ms)
        self._counters["schedules_given_up"] += firing.missed
        for time_ms in firing.times_ms:
            self._late.observe(max(0, now_ms - time_ms) / 1_000)
