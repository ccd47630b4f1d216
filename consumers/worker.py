"""
The worker: where it works, and how it is started and stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Self, Unpack

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading
from effectmq.broker.metrics.transports import transport_readings
from effectmq.broker.place import (
    Place,
    Said,
    checked_arguments,
    first_said,
    settings_from,
    unfolded,
    values_of,
)
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.database.belonging import Adoptable
from effectmq.broker.store.journal.choice import ReplayMode, open_journal
from effectmq.broker.tracing import Tracing
from effectmq.broker.transports.settings import TransportSettings
from effectmq.broker.version import version
from effectmq.consumers.arguments import WorkerArguments
from effectmq.consumers.handler import Handler
from effectmq.consumers.metrics.collecting import handler_readings, number_readings
from effectmq.consumers.metrics.numbers import WorkerNumbers
from effectmq.consumers.registering import Registrations
from effectmq.consumers.runtime.health import Health, Patience
from effectmq.consumers.runtime.shutdown import stop_signals
from effectmq.consumers.service import Service
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.tools.handler import ToolHandler
from effectmq.protocol.errors import ConfigurationError, EffectmqError
from effectmq.protocol.kinds import kind_of, versioned
from effectmq.protocol.messages.chosen.version import checked_version
from effectmq.protocol.text import printable
from effectmq.protocol.topology import (
    TopologySettings,
)

__all__ = ["EffectWorker", "WorkerStuckError"]

logger = logging.getLogger("effectmq.worker")

#: Kinds that must know the tools even where no tool is run.
_TELL_TOOLS = {"sync_execution_surface", "exec_code"}
#: Characters of a worker's name; reports have no more.
_MOST_NAME = 200


class WorkerStuckError(EffectmqError):
    """Too many handlers could not be stopped; the process should be replaced."""


class EffectWorker(Registrations):
    """
    A worker: takes effects from the broker and carries them out.

    Args:
        broker: The broker's address, ``amqp://…`` or ``memory://…``; several of a cluster in
            a list, or separated by commas.
        place: Broker, namespace, journal, store and connection together; an argument beside it
            wins.
        settings: Concurrency, limits and times together.
        topology: Namespace, delay levels and limits together; the same for all of an installation.
        transport: Timeouts and limits of the connection together.
        arguments: ``name`` is shown on dead letters and on the connection; host and process id by
            default. Without a ``journal`` outcomes are not remembered and bodies may run again.
            With ``replay="strict"`` it answers from the journal only, and never executes. Without
            ``attachments``, a store or its address, bodies that are kept out of line cannot be
            read. ``concurrency`` and the others are in docs/settings.md.

    Attributes:
        place: Where it works, with nothing left open.
        settings: Concurrency, limits and times.
        http: Where metrics and health are served; empty for nowhere.
        app_version: The version of the application, for lists of workers; may be empty.
        version: The version that effects can be bound to; empty when it takes part in none.
        attachments: The attachment store; ``None`` without one.

    Raises:
        ConfigurationError: When an argument cannot be used.
        MissingExtraError: When the store needs a package that is not installed.
    """

    def __init__(
        self,
        broker: str | Sequence[str] | None = None,
        *,
        place: Place | None = None,
        settings: WorkerSettings | None = None,
        topology: TopologySettings | None = None,
        transport: TransportSettings | None = None,
        **arguments: Unpack[WorkerArguments],
    ) -> None:
        given = checked_arguments("Worker", arguments, WorkerArguments.__optional_keys__)
        if "version" in given:
            # Options and variables name it with whose version it is.
            given = {**given, "worker_version": given["version"]}
        whole = unfolded(place=place, topology=topology, transport=transport)
        own = {} if settings is None else values_of(settings)
        wide = _one_limit(own, whole)
        said = self._resolve(first_said({"broker": broker}, given, own, whole))
        self.name = _shown(str(said.get("name") or f"{socket.gethostname()}-{os.getpid()}"))
        self.http = str(said.get("http") or "")
        self.app_version = _shown(str(said.get("app_version") or ""))
        self.version = checked_version(said.get("worker_version") or "")
        self.settings = settings_from(WorkerSettings, said)
        # What the worker accepts it must be able to delay, to park and to answer.
        cap = max(wide, self.settings.max_body_bytes)
        self.place = Place.of({**said, "max_body_bytes": cap})
        store = self.place.attachments
        self._opened_attachments = isinstance(store, str)
        self.attachments = open_attachments(store) if isinstance(store, str) else store
        #: The library of traces; ``None`` for none. To be set before it starts.
        self.tracing: Tracing | None = self._tracing_of(self.place)
        self._numbers = WorkerNumbers()
        super().__init__(ToolHandler(self.attachments))
        self._running: Service | None = None
        #: The routes that it takes, from the beginning of its start on; ``None`` while it is
        #: stopped.
        self._taken: frozenset[str] | None = None
        self._takes_all = True
        self._told = Health("stopped")
        self._open = AsyncExitStack()
        self._completed()

    def _completed(self) -> None:
        """It is made; the front door adds what it was asked for."""

    @staticmethod
    def _tracing_of(place: Place) -> Tracing | None:
        """The library of traces of a place; the front door knows one."""
        return None

    @staticmethod
    def _resolve(arguments: Said) -> Said:
        """The arguments that count; the front door also reads command line and environment."""
        return arguments

    @property
    def broker(self) -> str:
        """The broker's address."""
        return self.place.broker

    @property
    def journal(self) -> str | None:
        """The journal's address; ``None`` without one."""
        return self.place.journal

    @property
    def replay(self) -> ReplayMode:
        """Whether it only answers from the journal (``strict``)."""
        return self.place.replay

    @property
    def topology(self) -> TopologySettings:
        """Namespace, delay levels and limits; can be set until the worker starts."""
        return self.place.topology

    @topology.setter
    def topology(self, topology: TopologySettings) -> None:
        self.place = replace(self.place, topology=topology)

    @property
    def longest_time_limit_s(self) -> float:
        """The longest that one attempt of anything registered here may run, in seconds."""
        tools = self._tools
        registered = (*self._handlers.values(), *tools.tools.values(), *tools.sources)
        limits = (getattr(one, "time_limit_s", None) for one in registered)
        return max(limit or self.settings.time_limit_s for limit in limits)

    # Running -----------------------------------------------------------------------------------

    @property
    def _is_running(self) -> bool:
        return self._taken is not None

    def _comes_too_late(self, route: str) -> bool:
        # Who chose what it takes does not expect more.
        return self._taken is not None and self._takes_all and route not in self._taken

    async def start(self, routes: Iterable[str] | None = None) -> None:
        """
        Connect, declare, and begin to consume.

        A broker, journal or attachment store that is away for now is waited for, without limit;
        ``health`` and the log say so. Bound it with ``asyncio.timeout``.

        Args:
            routes: Kinds, or ``kind.lane``, to consume; everything registered by default, the
                lanes of tools included.

        Raises:
            ConfigurationError: When a route has no handler.
            AccessRefusedError: When the user may not do all that a worker needs; names all of it.
            BrokerError: When the broker cannot be used, and trying again would not help.
            DatabaseError: When the journal cannot be used; likewise.
        """
        if self._taken is not None:
            raise ConfigurationError("the worker has been started already")
        self._check_ceilings()
        self._told = Health("starting")
        try:
            await self._start(routes)
        finally:
            self._told = Health("ready" if self._running is not None else "stopped")
            if self._running is None:
                self._taken = None

    def _check_ceilings(self) -> None:
        if self._ceilings and self.journal is None:
            raise ConfigurationError(
                "ceilings on spend are kept in the journal's database and this worker has no "
                "journal; name one with journal= or EFFECTMQ_JOURNAL"
            )

    async def _start(self, routes: Iterable[str] | None) -> None:
        given = tuple(routes or ())
        chosen = tuple(dict.fromkeys(given or self.routes))
        for route in chosen:
            if kind_of(route) not in self._handlers:
                raise ConfigurationError(
                    f"this worker has no handler for {route!r}; it has "
                    f"{', '.join(self._handlers)}. Register one with "
                    f"@app.handler({kind_of(route)!r}) or choose another --kind"
                )
        self._check_limits()
        self._taken, self._takes_all = frozenset(chosen), not given
        handlers = {
            each: self._handlers[kind_of(route)]
            for route in chosen
            for each in dict.fromkeys((route, versioned(route, self.version)))
        }
        if self._opened_attachments and self.attachments is not None:
            self.attachments.adopt(self.topology.namespace)
        service = Service(
            self.name,
            handlers,
            self.settings,
            self.topology,
            self._numbers,
            open_journal(self.journal, self.topology.namespace),
            self.attachments,
            strict=self.replay == "strict",
            app_version=self.app_version,
            version=self.version,
            tracing=self.tracing,
            limits=self.limits,
            shares=self.shares,
            ceilings=self._ceilings,
            schedules=tuple(self._schedules.values()),
        )
        patience = Patience(self.name, self._tell)
        async with AsyncExitStack() as opening:
            taken = {kind_of(route) for route in chosen}
            for resource, kinds in self._resources:
                if taken & kinds:
                    if isinstance(resource, Adoptable):
                        resource.adopt(self.topology.namespace)
                    await patience.open(
                        "what it uses", partial(opening.enter_async_context, resource), quick=False
                    )
            # Tools first: a handler that lists them needs all of them when it is entered.
            needed: list[Handler] = [self._tools] if _TELL_TOOLS & taken else []
            needed += handlers.values()
            # By identity: one handler may serve several routes.
            for handler in {id(one): one for one in needed}.values():
                if isinstance(handler, Adoptable):
                    handler.adopt(self.topology.namespace)
                if isinstance(handler, AbstractAsyncContextManager):
                    await patience.open(
                        "what its handlers use",
                        partial(opening.enter_async_context, handler),
                        quick=False,
                    )
            await service.start(
                self.broker, self.place.connection_of(f"effectmq {self.name}"), patience
            )
            self._open = opening.pop_all()
        self._running = service

    def _check_limits(self) -> None:
        if self.limits and self.journal is None:
            raise ConfigurationError(
                f"the limit {self.limits[0].name!r} needs a journal: it is kept in its database, "
                "where all workers see it. Give the worker one (journal= or EFFECTMQ_JOURNAL), or "
                "set no limit"
            )
        if self.shares and self.journal is None:
            raise ConfigurationError(
                f"the share of {self.shares[0].route!r} needs a journal: what waits for its turn "
                "is kept in its database. Give the worker one (journal= or EFFECTMQ_JOURNAL), or "
                "share nothing"
            )

    def _tell(self, health: Health) -> None:
        self._told = health

    @property
    def health(self) -> Health:
        """What the worker is doing, and what it waits for."""
        if self._running is not None and self._told.state == "ready":
            return self._running.health
        return self._told

    @property
    def counters(self) -> Counter[str]:
        """How often what happened, by name, over all routes and starts; a copy."""
        return self._numbers.total()

    def readings(self) -> Iterator[Reading]:
        """
        The metrics of this worker as they are now; ``broker.metrics.catalog`` defines each.

        An exporter reads them when it is asked. Nothing is counted for that alone.
        """
        yield Reading(catalog.WORKER, (self.name, version()), 1)
        yield Reading(catalog.CONSUMING, (), int(self.ready))
        yield from number_readings(self._numbers)
        yield from handler_readings((*self._handlers.values(), self._tools))
        if self._running is not None:
            yield from self._running.readings()
        else:
            yield from transport_readings("worker", None)

    async def problems(self, timeout_s: float = 2.0) -> dict[str, str]:
        """
        Ask everything that this worker needs, for a readiness probe.

        Args:
            timeout_s: How long journal and attachment store may take to answer, in seconds.

        Returns:
            What is wrong, by what it is wrong with: ``worker``, ``broker``, ``queues``,
            ``permissions``, ``handlers``, ``journal``, ``attachments``. Empty when all is well.
        """
        if self._running is None or self._told.state != "ready":
            told = self._told
            return {"worker": f"{told.state}: {told.detail}" if told.detail else told.state}
        return await self._running.problems(timeout_s)

    @property
    def lag_s(self) -> float:
        """How late the event loop is, in seconds; 0 while the worker is stopped."""
        return self._running.lag_s if self._running is not None else 0.0

    @property
    def paused(self) -> dict[str, str]:
        """The routes that somebody paused, each with who and why; the worker is ready, though."""
        return self._running.paused if self._running is not None else {}

    @property
    def ready(self) -> bool:
        """Whether it takes effects at the moment; for a readiness probe."""
        return self.health.state == "ready"

    async def stop(self, grace_s: float | None = None) -> None:
        """
        Stop consuming, let running effects finish, and disconnect.

        Args:
            grace_s: How long they may take; what is unfinished then goes to another worker.
        """
        running, self._running = self._running, None
        if running is None:
            return
        self._told = Health("stopping")
        try:
            async with self._open:
                await running.stop(self.settings.shutdown_grace_s if grace_s is None else grace_s)
        finally:
            self._told = Health("stopped")
            self._taken = None

    async def __aenter__(self) -> Self:
        """Start with everything registered."""
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop gracefully."""
        await self.stop()

    async def run(self, routes: Iterable[str] | None = None) -> None:
        """
        Work until SIGINT or SIGTERM, then stop gracefully; a second signal stops at once.

        It also ends when somebody drains the worker (``effectmq workers drain``), after its last
        effect.

        Raises:
            WorkerStuckError: When too many handlers could not be stopped.
            BrokerError: When the broker cannot be used at the start.
        """
        loop = asyncio.get_running_loop()
        chosen = tuple(routes or ())
        # For ``asyncio.to_thread`` in user code; plain functions run in the worker's threads.
        loop.set_default_executor(
            ThreadPoolExecutor(self.settings.slots(chosen or self.routes), "effectmq to_thread")
        )
        with stop_signals(lambda line: logger.warning("%s", line)) as signals:
            # The start may wait for a broker or a journal, and a signal must end that wait.
            await _first(self.start(chosen), signals.graceful.wait())
            running = self._running
            if running is None:
                return
            stuck = running.stuck
            try:
                await _first(signals.graceful.wait(), stuck.wait(), running.drained.wait())
                await _first(self.stop(), signals.immediate.wait())
            finally:
                # When this task itself was cancelled: no task may stay behind.
                await self.stop(0.0)
            if stuck.is_set():
                raise WorkerStuckError(
                    f"{self.settings.max_abandoned} handlers ran over their time limit and could "
                    "not be stopped; replace this process, and look for what blocks"
                )


async def _first(*waiting: Coroutine[object, object, object]) -> None:
    """Wait for one of them; the others are cancelled, and have ended when this returns."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _shown(name: str) -> str:
    """
    A name as everybody is told it, so that it is one name everywhere: it may come from the
    environment, with bytes that are no text.
    """
    return printable(name, 10 * _MOST_NAME)[:_MOST_NAME]


def _one_limit(own: dict[str, object], whole: dict[str, object]) -> int:
    """
    Leave a body's limit where somebody chose one: a client with the same place sends that much.

    Whole values set all of their fields, but a default among them must not hide the limit that
    another one was given, and that of a connection may be below the worker's.

    Args:
        own: The worker's settings.
        whole: Those of its place.

    Returns:
        The limit of the connection.
    """
    default = TransportSettings().max_body_bytes
    wide = whole.pop("max_body_bytes", default)
    if own.get("max_body_bytes") == default:
        del own["max_body_bytes"]
    if not isinstance(wide, int):
        return default
    if wide > default:
        whole["max_body_bytes"] = wide
    return wide
