"""
A started worker: one consumer for each route, one collector, and the way to end.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading
from effectmq.broker.metrics.transports import transport_readings
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.letters.notes import LetterNotes
from effectmq.broker.store.spend.book import SpendBook
from effectmq.broker.store.spend.ceilings import Ceiling
from effectmq.broker.timetable.schedule import Schedule
from effectmq.broker.tracing import Tracing
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.port import Consumer, Transport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.admission.opening import open_taker
from effectmq.consumers.admission.taker import Taker
from effectmq.consumers.fleet.abilities import Abilities, taking, version_of
from effectmq.consumers.fleet.marks import Marks
from effectmq.consumers.fleet.pauses import Pauses
from effectmq.consumers.fleet.priorities import PriorityQueues
from effectmq.consumers.fleet.quarantine import Quarantine
from effectmq.consumers.fleet.ramps import RampLooks, Ramps
from effectmq.consumers.fleet.witnesses import Witnesses
from effectmq.consumers.handler import Handler
from effectmq.consumers.metrics.numbers import WorkerNumbers
from effectmq.consumers.outboxes.chunks import ChunkOutbox
from effectmq.consumers.outboxes.replies import ReplyOutbox
from effectmq.consumers.outboxes.roads import keep_roads
from effectmq.consumers.outboxes.settlement import Settlement
from effectmq.consumers.permits import declare_and_check
from effectmq.consumers.pipeline.collector import LIMBO_HANDLER, LIMBO_PREFETCH, collect
from effectmq.consumers.pipeline.inflight import InFlight
from effectmq.consumers.pipeline.job import Job
from effectmq.consumers.pipeline.journal_leases import JournalLeases
from effectmq.consumers.pipeline.leases import Leases, NoLeases
from effectmq.consumers.pipeline.reading.unread import STORE, VERSION, running
from effectmq.consumers.pipeline.road import carry_out
from effectmq.consumers.pipeline.route import Route
from effectmq.consumers.runtime.abandoned import Abandoned
from effectmq.consumers.runtime.health import Health, Patience, problem_of
from effectmq.consumers.runtime.threads import Threads
from effectmq.consumers.runtime.watchdog import LoopWatchdog
from effectmq.consumers.serving.serving import Serving
from effectmq.consumers.serving.taps import Source
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.steering.reports import About, report_of
from effectmq.consumers.steering.steering import Steering
from effectmq.consumers.tracing import Road, TracedHandler, traced_road
from effectmq.protocol.encoding.limits import HARD_MAX_BODY_BYTES
from effectmq.protocol.errors import ConfigurationError, DatabaseReadOnlyError
from effectmq.protocol.kinds import kind_of, unprioritized
from effectmq.protocol.messages.chosen.priority import PRIORITY_TYPE
from effectmq.protocol.messages.fleet.reports import WorkerReport
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.notices.cancel import Able, read_notice
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import describe
from effectmq.protocol.topology import (
    Names,
    TopologySettings,
    shared_topology,
    work_topology,
)
from effectmq.protocol.urls import mask_url

if TYPE_CHECKING:
    from effectmq.broker.store.admission.declared.shares import Share

__all__ = ["Service"]

logger = logging.getLogger("effectmq.worker")

_CLOSE_S = 10.0
#: How long a leaving worker waits for a broker that may be gone, in seconds.
_HAND_ON_S = 2.0
_NOTICE_PREFETCH = 100
_NO_JOURNAL = "no journal, so effects are at-least-once and outcomes live in the reply queue only"


class Service:
    """
    A started worker: its connection, its routes, its consumers.

    Args:
        name: The worker's, noted on dead letters.
        handlers: What runs the effects of each route, in the order in which to consume.
        settings: Concurrency, limits and times.
        topology: Namespace and delay levels.
        numbers: The worker's.
        journal: What remembers outcomes; without one nothing does.
        attachments: Where large bodies are kept.
        strict: Answer from the journal only.
        app_version: The version of the application, for lists of workers.
        version: The version that effects can be bound to; empty for none.
        tracing: The library of traces.
        limits: Limits of the fleet that the program sets.
        shares: Routes that the program shares out.
        ceilings: What the program lets effects spend.
        schedules: The schedules of the program.
    """

    def __init__(
        self,
        name: str,
        handlers: Mapping[str, Handler],
        settings: WorkerSettings,
        topology: TopologySettings,
        numbers: WorkerNumbers,
        journal: Journal | None = None,
        attachments: AttachmentStore | None = None,
        *,
        strict: bool = False,
        app_version: str = "",
        version: str = "",
        tracing: Tracing | None = None,
        limits: Sequence[Limit] = (),
        shares: Sequence[Share] = (),
        ceilings: Sequence[Ceiling] = (),
        schedules: Sequence[Schedule] = (),
    ) -> None:
        self._limits = limits
        self._shares = shares
        self._ceilings = ceilings
        self._taker: Taker | None = None
        self._name = name
        self._schedules = schedules
        self._about = About(name, app_version, time.time_ns() // 1_000_000)
        self._handlers = handlers
        self._settings = settings
        self._levels = topology
        self._numbers = numbers
        self._counters = counters = numbers.shared
        self._journal = journal
        self._strict = strict
        self._tracing = tracing
        self._attachments = attachments
        self._bodies: LargeBodies | None = None
        self._names = Names(topology.namespace)
        self._inflight: InFlight[Job] = InFlight()
        self._routes: list[Route[Job]] = []
        self._consumers: list[Consumer] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.stuck = asyncio.Event()
        #: Set when it was asked to drain and nothing is left.
        self.drained = asyncio.Event()
        self._pauses = Pauses()
        self._ramps = Ramps(version)
        self._draining: asyncio.Task[None] | None = None
        self._abandoned = Abandoned(settings.max_abandoned, counters, self._get_stuck)
        self._refusing: asyncio.Task[None] | None = None
        self._watchdog = LoopWatchdog(settings.blocked_loop_s, self._running_effects)

    @property
    def health(self) -> Health:
        """What a started worker is doing."""
        if self.stuck.is_set():
            return Health("paused", "too many handlers could not be stopped; replace this process")
        if self._serving.draining:
            left = sum(len(route.jobs) for route in self._routes)
            return Health("draining", f"{left} effect(s) left; it takes no more, and then ends")
        if self._serving.paused is not None:
            return Health("paused", str(self._serving.paused))
        if self._transport.problem:
            return Health("waiting", f"the broker: {self._transport.problem}")
        if self._leases.down:
            return Health("waiting", f"the journal: {self._leases.down}")
        if not self._serving.consuming:
            return Health("waiting", "the broker does not serve every queue at the moment")
        return Health("ready")

    @property
    def lag_s(self) -> float:
        """How late the event loop is, in seconds."""
        return self._watchdog.lag_s

    @property
    def paused(self) -> dict[str, str]:
        """The routes that somebody paused, each with a sentence; the worker is well, though."""
        found = {key: self._pauses.of(key) for key in self._handlers}
        return {key: str(pause) for key, pause in found.items() if pause is not None}

    async def problems(self, timeout_s: float) -> dict[str, str]:
        """
        Ask everything that this worker needs.

        Args:
            timeout_s: How long journal and store may take to answer, in seconds.

        Returns:
            What is wrong, by what it is wrong with; empty when all is well.
        """
        found = {
            "broker": self._transport.problem,
            "queues": "" if self._serving.consuming else "the broker does not serve all of them",
            "permissions": str(self._serving.paused or ""),
            "handlers": "too many could not be stopped" if self.stuck.is_set() else "",
            "worker": "it drains, and takes no more" if self._serving.draining else "",
        }
        asked: dict[str, Coroutine[object, object, None]] = {}
        if self._journal is not None:
            asked["journal"] = self._journal.check_readable()
        if self._attachments is not None:
            asked["attachments"] = self._attachments.check()
        answers = await asyncio.gather(*(problem_of(one, timeout_s) for one in asked.values()))
        found |= dict(zip(asked, answers, strict=True))
        return {what: problem for what, problem in found.items() if problem}

    def readings(self) -> Iterator[Reading]:
        """What is true at the moment, and what the connection counts."""
        for route in self._routes:
            yield Reading(catalog.IN_FLIGHT, (route.key,), len(route.jobs))
        for tap in self._serving.taps:
            if not tap.source.limbo:
                yield Reading(catalog.SLOTS, (tap.key,), tap.slots)
                yield Reading(catalog.PAUSED, (tap.key,), int(tap.key in self.paused))
        if self._taker is not None:
            yield from self._taker.readings()
        for shared, ramp in self._ramps.items():
            yield Reading(catalog.RAMP, (shared, ramp.version), ramp.share)
        yield Reading(catalog.LOOP_LAG, (), self.lag_s)
        yield from transport_readings("worker", self._transport)

    async def start(
        self, broker: str, transport_settings: TransportSettings, patience: Patience
    ) -> None:
        """
        Open the journal, connect, declare, check the permissions, and begin to consume.

        Args:
            broker: The broker's address.
            transport_settings: Timeouts and limits of the connection.
            patience: Waits for what is away.

        Raises:
            BrokerError: When the broker cannot be used, and trying again would not help.
            DatabaseError: When the journal cannot be used; likewise.
        """
        # One thread for each effect that may run, so that no slot is held by a wait for a thread.
        self._threads = Threads(self._settings.slots(self._handlers), self._abandoned)
        self._quarantine = Quarantine()
        #: With a broker in memory, every worker is in this process.
        self._alone = broker.startswith("memory:")
        self._witnesses: Witnesses | None = None
        self._leases: Leases = NoLeases()
        self._letters: LetterNotes | None = None
        if self._journal is not None:
            journal = self._journal
            await patience.open(
                f"the journal {journal.where}", partial(self._open_journal, journal)
            )
            self._leases = self._open_leases(journal)
            if not self._strict:
                self._letters = LetterNotes(journal.database, self._counters)
                await self._letters.open()
        try:
            await self._open_taker(patience)
            await self._connect(broker, transport_settings, patience)
        except BaseException:
            await self._close_stores()
            raise
        try:
            await self._consume(patience)
        except BaseException:
            # Effects may have begun on the routes that were open already.
            await self._leave()
            raise
        self._watchdog.start()
        if self._taker is not None:
            following = self._taker.follow(self._serving, self._settlement, self._routes)
            self._pumps.append(
                asyncio.get_running_loop().create_task(following, name="effectmq admission")
            )
        self._keep_schedules()
        self._pumps.append(
            asyncio.get_running_loop().create_task(
                keep_roads(self._transport, self._topology), name="effectmq roads"
            )
        )
        logger.info(
            "worker %s consumes %s in namespace %s, %d at a time; %s",
            self._name,
            ", ".join(self._handlers),
            self._names.namespace,
            self._settings.slots(self._handlers),
            f"journal {self._journal.where}" if self._journal else _NO_JOURNAL,
            extra={"action": "worker_started", "routes": list(self._handlers)},
        )

    def _keep_schedules(self) -> None:
        """Carry out schedules, where there is a database for them."""
        if self._journal is None or self._strict:
            if self._schedules:
                logger.warning(
                    "the schedules of this program are not carried out here: %s",
                    "this worker only replays" if self._strict else _NO_JOURNAL,
                    extra={"action": "schedules_not_kept"},
                )
            return
        # Not at the top: a worker without a journal does without it.
        from effectmq.consumers.schedules.scheduler import Scheduler

        scheduler = Scheduler(
            self._journal.database,
            self._transport,
            self._names.work_exchange,
            self._schedules,
            self._counters,
            self._numbers.schedules_late,
        )
        self._pumps.append(
            asyncio.get_running_loop().create_task(scheduler.run(), name="effectmq schedules")
        )

    async def _connect(
        self, broker: str, transport_settings: TransportSettings, patience: Patience
    ) -> None:
        if self._attachments is not None:
            store = self._attachments
            await patience.open(f"the attachment store {store.where}", store.__aenter__)
            self._bodies = LargeBodies(store, max_inline_bytes=transport_settings.max_body_bytes)
        self._topology = work_topology(self._levels, self._handlers) | shared_topology(self._levels)
        transport = self._transport = await patience.open(
            f"the broker {mask_url(broker)}", lambda: self._reach(broker, transport_settings)
        )
        most = min(self._settings.max_reply_bytes, self._settings.max_body_bytes)
        serving = self._serving = Serving(
            self._name, transport, self._counters, self._pauses, self._ramps
        )
        replies = ReplyOutbox(
            transport,
            most,
            self._counters,
            self._bodies,
            serving,
            self._settings.reply_keep_s,
            self._numbers.replies,
        )
        self._settlement = Settlement(
            transport,
            self._names,
            self._topology,
            replies,
            self._counters,
            serving,
            self._letters,
            self._levels,
        )
        self._chunks = ChunkOutbox(transport, self._counters, self._inflight.__contains__)

    async def _reach(self, broker: str, transport_settings: TransportSettings) -> Transport:
        """
        Connect, declare everything and check permissions; on failure no connection stays open.
        """
        # What a worker cannot read it parks with the reason, so it must be able to publish it. What
        # it reads and answers has limits of its own.
        widest = replace(transport_settings, max_body_bytes=HARD_MAX_BODY_BYTES)
        transport = open_transport(broker, widest)
        await transport.__aenter__()
        try:
            await declare_and_check(
                transport, self._levels, self._topology, self._handlers, self._control_queue
            )
        except BaseException:
            await transport.__aexit__()
            raise
        return transport

    async def _consume(self, patience: Patience) -> None:
        await patience.open("the broker", self._listen)
        # After listening, so that no change in between is missed.
        found = await patience.open("the broker", self._priorities.look)
        for route in found:
            self._marks.follow_also(route)
        await patience.open("the broker", self._marks.look)
        sources = [self._source(key) for key in self._handlers]
        beside = [self._source(route) for route in found]
        limbo = self._route("limbo", LIMBO_HANDLER)
        sources.append(Source(limbo, self._names.limbo, LIMBO_PREFETCH, collect, limbo=True))
        if self._taker is not None:
            self._taker.hold(self._routes)
        for source in sources:
            own = [each for each in beside if unprioritized(each.route.key) == source.route.key]
            await patience.open("the broker", partial(self._serving.open, source, *own))
        self._priorities.begin(self._take_beside)

    def _source(self, key: str) -> Source:
        own = self._handlers.get(key)
        route = self._route(key, self._handlers[unprioritized(key)] if own is None else own)
        slots, queue = self._settings.concurrency_of(key), self._names.work_queue(key)
        shared = None if self._taker is None else self._taker.shared(route, slots)
        road = self._road(queue, carry_out if shared is None else shared.carry_out)
        return Source(route, queue, slots, road, counted=shared)

    def _take_beside(self, route: str) -> None:
        """Take from the queue of a priority that was opened meanwhile."""
        source = self._source(route)
        if self._taker is not None:
            self._taker.hold([source.route])
            source.route.room = self._taker.gatekeeper
        self._marks.follow_also(route)
        self._serving.open_beside(source)
        self._threads.resize(self._serving.slots)

    def _road(self, queue: str, road: Road) -> Road:
        if self._tracing is None:
            return road
        return traced_road(self._tracing, road, self._names.work_exchange, queue)

    async def _open_journal(self, journal: Journal) -> None:
        try:
            await journal.__aenter__()
            if not self._strict:
                try:
                    await journal.check_writable()
                    if self._ceilings:
                        await SpendBook(journal.database).propose(self._ceilings)
                except BaseException:
                    await journal.__aexit__()
                    raise
        except DatabaseReadOnlyError as problem:
            # A mistake in the configuration: waiting would not mend it.
            raise ConfigurationError(str(problem)) from None

    def _open_leases(self, journal: Journal) -> Leases:
        if not journal.database.durable:
            logger.warning(
                "the journal %s does not wait for the disk (synchronous_commit or fsync is off): "
                "after a power failure its last records may be missing, and effects run again",
                journal.where,
                extra={"action": "journal_not_durable"},
            )
        lease_ms = round(self._settings.lease_s * 1_000)
        return JournalLeases(
            journal,
            self._name,
            lease_ms,
            self._counters,
            strict=self._strict,
            took=self._numbers.journal,
        )

    async def _open_taker(self, patience: Patience) -> None:
        if self._journal is None or self._strict or not isinstance(self._leases, JournalLeases):
            return
        opening = partial(
            open_taker,
            self._journal.database,
            self._leases,
            self._settings.lease_s,
            self._names,
            self._counters,
            self._limits,
            self._shares,
            self._name,
            self._settings.max_waiting,
        )
        self._taker = await patience.open("the limits of the fleet", opening)

    async def _close_stores(self) -> None:
        if self._bodies is not None and self._attachments is not None:
            self._bodies = None
            await self._attachments.__aexit__()
        if isinstance(self._leases, JournalLeases):
            await self._leases.leave(_CLOSE_S)
        if self._taker is not None:
            await self._taker.close()
        if self._letters is not None:
            await self._letters.close()
        if self._journal is not None:
            await self._journal.__aexit__()

    async def _listen(self) -> None:
        """
        Listen to the control exchange.

        With a journal: for cancelled effects, before the next renewal of their leases. Without one:
        for questions about messages that came back.
        """
        self._marks = Marks(
            self._transport,
            self._names,
            self._handlers,
            self._pauses,
            RampLooks(self._transport, self._names, self._handlers, self._ramps),
        )
        self._steering = Steering(
            self._name,
            self._transport,
            self._names,
            self._serving,
            self._pauses,
            self._marks,
            self._threads,
            self._chunks.watches,
            self._counters,
            self._report,
            self._begin_to_drain,
        )
        self._priorities = PriorityQueues(self._transport, self._levels, self._handlers)
        consumer = await self._transport.listen(
            self._names.control,
            name=self._control_queue,
            prefetch=_NOTICE_PREFETCH,
            on_renewed=self._heard_nothing,
        )
        queue = consumer.queue
        self._consumers.append(consumer)
        self._abilities = Abilities(
            self._transport, self._names.control, queue, self._able(), alone=self._alone
        )
        if not self._leases.kept:
            self._witnesses = Witnesses(self._transport, self._names.control, queue)
        self._pumps.append(
            asyncio.get_running_loop().create_task(self._heed(consumer), name="effectmq control")
        )
        self._pumps.append(
            asyncio.get_running_loop().create_task(
                self._steering.follow_marks(), name="effectmq marks"
            )
        )
        await self._abilities.announce()

    def _control_queue(self) -> str:
        """The name of a new control queue."""
        return self._names.control_queue(f"worker-{secrets.token_hex(6)}")

    def _heard_nothing(self, queue: str) -> None:
        """
        The connection was lost, and the control queue is a new one.

        What others said meanwhile is asked for again, and so is what is paused. A missed
        cancellation is found at the next renewal of the effect's lease.
        """
        self._abilities.renew(queue)
        self._steering.look_again()
        self._priorities.look_again()
        if self._witnesses is not None:
            self._witnesses.renew(queue)

    def _able(self) -> dict[str, str]:
        """What this worker can do, with the version of each."""
        able = {VERSION: "1", **{taking(route): "1" for route in self._handlers}}
        if self._attachments is not None:
            able[STORE] = version_of({"where": self._attachments.where})
        for handler in self._handlers.values():
            if not self._strict:
                able[running(handler.kind)] = "1"
            able.update(getattr(handler, "abilities", {}))
        return able

    async def _heed(self, consumer: Consumer) -> None:
        async for delivery in consumer:
            try:
                self._hear(delivery.message)
            except Exception as problem:
                # Anybody may publish here, and one bad notice must not end the listening.
                self._counters["notices_unreadable"] += 1
                logger.warning(
                    "a notice on the control exchange cannot be read and is ignored: %s",
                    describe(problem),
                    extra={"action": "notice_unreadable"},
                )
            delivery.ack()

    def _hear(self, message: Message) -> None:
        if self._steering.is_for_it(message):
            self._steering.heed(message)
            return
        if message.type == PRIORITY_TYPE:
            self._priorities.hear(message)
            return
        said = read_notice(message)
        if isinstance(said, Identity):
            self._leases.check(said)
            if self._taker is not None:
                self._taker.cancelled(said)
        elif isinstance(said, Able):
            self._abilities.heed(said)
        elif self._witnesses is not None:
            self._witnesses.heed(said)

    def _report(self) -> WorkerReport:
        return report_of(self._about, self.health, self.lag_s, self._serving.taps, self._pauses)

    def _begin_to_drain(self) -> bool:
        """Take nothing more, finish everything, and then set ``drained``; whether this is new."""
        if self._serving.draining:
            return False
        self._serving.draining = True
        self._serving.close_slots()
        self._serving.turn()
        self._draining = asyncio.get_running_loop().create_task(
            self._finish(), name="effectmq drain"
        )
        return True

    async def _finish(self) -> None:
        while not await self._serving.turned(_CLOSE_S):
            pass
        for route in self._routes:
            await route.empty()
        await self._settlement.drain()
        logger.info(
            "worker %s has finished everything that it held",
            self._name,
            extra={"action": "worker_drained"},
        )
        self.drained.set()

    def _route(self, key: str, handler: Handler) -> Route[Job]:
        route: Route[Job] = Route(
            kind_of(key),
            key,
            handler if self._tracing is None else TracedHandler(handler, self._tracing),
            self._settlement,
            self._chunks,
            self._inflight,
            self._leases,
            self._bodies,
            self._settings,
            self._levels.delay_levels_ms,
            self._name,
            self._numbers.route(key),
            self._threads,
            self._abandoned,
            self._quarantine,
            self._abilities,
            self._witnesses,
            self._ramps,
        )
        route.priority_queues = self._priorities
        self._routes.append(route)
        return route

    def _running_effects(self) -> list[str]:
        return [job.effect_id for route in self._routes for job in list(route.jobs)][:20]

    def _get_stuck(self) -> None:
        """Too many handlers run on that cannot be stopped: leave new effects to other workers."""
        if self.stuck.is_set():
            return
        self.stuck.set()
        logger.error(
            "worker %s takes no more effects: %d handlers ran over their time limit and could not "
            "be stopped (max_abandoned); replace this process, and look for what blocks",
            self._name,
            self._abandoned.now,
            extra={"action": "worker_stuck"},
        )
        if not any(route.leaving for route in self._routes):
            self._refusing = asyncio.get_running_loop().create_task(self._stop_consuming())

    async def _stop_consuming(self) -> None:
        await self._serving.stop()
        for consumer in self._consumers:
            await consumer.stop()

    async def stop(self, grace_s: float) -> None:
        """Stop consuming, drain within the grace, leave the rest, disconnect."""
        try:
            await self._stop_consuming()
            await self._drain(grace_s)
        finally:
            await self._leave()

    async def _tell_what_is_done(self) -> None:
        """Send the outcomes of handlers that had ended in time, if that is quick."""
        done = [job.task for route in self._routes for job in route.jobs if not job.left]
        if done:
            await asyncio.wait(done, timeout=_HAND_ON_S)

    async def _say_goodbye(self) -> None:
        if self._routes and self._transport.server:
            with suppress(TimeoutError):
                async with asyncio.timeout(_HAND_ON_S):
                    await self._abilities.leave()

    async def _drain(self, grace_s: float) -> None:
        try:
            async with asyncio.timeout(grace_s):
                for route in self._routes:
                    await route.empty()
                await self._settlement.drain()
        except TimeoutError:
            left = self._running_effects()
            logger.warning(
                "%d effect(s) did not finish within %.0f s and go to another worker: %s",
                len(left),
                grace_s,
                ", ".join(left),
                extra={"action": "grace_over", "effect_ids": left},
            )

    async def _leave(self) -> None:
        self._watchdog.stop()
        for route in self._routes:
            route.leaving = True
            for job in list(route.jobs):
                job.leave()
        self._threads.close()
        for task in (self._refusing, self._draining, *self._steering.tasks):
            if task is not None:
                task.cancel()
        await self._tell_what_is_done()
        await self._settlement.handed_on(_HAND_ON_S)
        await self._say_goodbye()
        self._settlement.abort()
        if self._witnesses is not None:
            self._witnesses.abort()
        self._chunks.abort()
        self._priorities.close()
        for pump in self._pumps:
            pump.cancel()
        # Also when this fails or is cancelled: no lease may be renewed for ever after the worker
        # left.
        try:
            await asyncio.gather(*self._pumps, *self._serving.abort(), return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._transport.__aexit__()
        finally:
            await self._close_stores()
            for route in self._routes:
                for job in list(route.jobs):
                    job.abort()
                route.time_limits.close()
            # The jobs end in the next turn of the loop, which may be its last.
            await asyncio.sleep(0)
