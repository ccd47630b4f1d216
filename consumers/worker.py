"""
The worker: handlers to register, and how it is started and stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Self, TypeVar, Unpack, overload

from effectmq.broker.client.turns.functions import remember_tool
from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading
from effectmq.broker.place import (
    Place,
    Said,
    first_said,
    refuse_unknown,
    settings_from,
    unfolded,
    values_of,
)
from effectmq.broker.store.attachments import open_attachments
from effectmq.broker.store.database.belonging import Adoptable
from effectmq.broker.store.journal.choice import ReplayMode, open_journal
from effectmq.broker.store.journal.records import OnUncertain
from effectmq.broker.transports.settings import TransportSettings
from effectmq.broker.version import version
from effectmq.consumers.arguments import WorkerArguments
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy, policy_of_tool
from effectmq.consumers.handler import Handler, HandlerFunction, function_handler
from effectmq.consumers.metrics.collecting import handler_readings, number_readings
from effectmq.consumers.metrics.numbers import WorkerNumbers
from effectmq.consumers.runtime.health import Health, Patience
from effectmq.consumers.runtime.shutdown import stop_signals
from effectmq.consumers.service import Service
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.sleep import SleepHandler
from effectmq.consumers.tools.functions.reading_back import function_tool
from effectmq.consumers.tools.functions.typed import tool_from
from effectmq.consumers.tools.handler import ToolHandler
from effectmq.consumers.tools.registry import Tool
from effectmq.protocol.errors import ConfigurationError, EffectmqError
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.topology import (
    TopologySettings,
)
from effectmq.protocol.wire.tool_definitions import ToolRetryPolicy

__all__ = ["EffectWorker", "WorkerStuckError"]

logger = logging.getLogger("effectmq.worker")

#: Kinds that must know the tools even where no tool is run.
_TELL_TOOLS = {"sync_execution_surface", "exec_code"}

F = TypeVar("F", bound=HandlerFunction)


class WorkerStuckError(EffectmqError):
    """Too many handlers could not be stopped; the process should be replaced."""


class EffectWorker:
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
        refuse_unknown("Worker", arguments, WorkerArguments.__optional_keys__)
        whole = unfolded(place=place, topology=topology, transport=transport)
        widest = whole.pop("max_body_bytes", None)
        own = {} if settings is None else values_of(settings)
        said = self._resolve(first_said({"broker": broker}, arguments, own, whole))
        self.name = str(said.get("name") or f"{socket.gethostname()}-{os.getpid()}")
        self.http = str(said.get("http") or "")
        self.settings = settings_from(WorkerSettings, said)
        # What the worker accepts it must be able to delay, to park and to answer.
        wide = widest if isinstance(widest, int) else TransportSettings().max_body_bytes
        cap = max(wide, self.settings.max_body_bytes)
        self.place = Place.of({**said, "max_body_bytes": cap})
        store = self.place.attachments
        self._opened_attachments = isinstance(store, str)
        self.attachments = open_attachments(store) if isinstance(store, str) else store
        self._numbers = WorkerNumbers()
        self._tools = ToolHandler(self.attachments)
        self._handlers: dict[str, Handler] = {"sleep": SleepHandler()}
        self._running: Service | None = None
        self._told = Health("stopped")
        self._resources: list[tuple[AbstractAsyncContextManager[object], frozenset[str]]] = []
        self._open = AsyncExitStack()
        self._completed()

    def _completed(self) -> None:
        """It is made; the front door adds what it was asked for."""

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

    # Registration ------------------------------------------------------------------------------

    @property
    def tools(self) -> dict[str, Tool]:
        """The registered tools by name; those of MCP servers only while the worker runs."""
        return self._tools.tools

    @property
    def mcp_servers(self) -> tuple[str, ...]:
        """The MCP servers whose tools it has, each as a phrase for people."""
        return tuple(str(source) for source in self._tools.sources)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that this worker has handlers for."""
        return tuple(self._handlers)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes that it consumes by default: its kinds, and the lanes of its tools."""
        return (*self._handlers, *self._tools.routes)

    @property
    def longest_time_limit_s(self) -> float:
        """The longest that one attempt of anything registered here may run, in seconds."""
        tools = self._tools
        registered = (*self._handlers.values(), *tools.tools.values(), *tools.sources)
        limits = (getattr(one, "time_limit_s", None) for one in registered)
        return max(limit or self.settings.time_limit_s for limit in limits)

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | ToolRetryPolicy | None = None,
        time_limit_s: float | None = None,
        on_uncertain: OnUncertain = "retry",
        lane: str | None = None,
    ) -> Callable[[F], F]: ...

    def tool(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | ToolRetryPolicy | None = None,
        time_limit_s: float | None = None,
        on_uncertain: OnUncertain = "retry",
        lane: str | None = None,
    ) -> F | Callable[[F], F]:
        """
        Register a typed function as a tool; the function itself is left as it is.

        Args:
            function: When used without parentheses.
            name: What calls name it; the function's own name by default.
            retry: When a failure is tried again; never by default.
            time_limit_s: How long one attempt may run, in seconds.
            on_uncertain: With a journal, what to do when a worker died while it ran: ``retry``, or
                ``park`` for a tool that must never run twice.
            lane: The lane of ``tool_call`` that its calls take, for a tool that scales by itself.

        Raises:
            ConfigurationError: When the signature cannot be a tool's, or the name is taken.
        """
        what = "a tool" if name is None else f"tool {name!r}"
        policy = policy_of_tool(what, retry, stacklevel=2)

        def register(target: F) -> F:
            tool = tool_from(
                target,
                name=name,
                retry=policy,
                time_limit_s=time_limit_s,
                on_uncertain=on_uncertain,
                lane=lane,
            )
            self._tool_handler().add(tool)
            self._handlers["tool_call"] = self._tools
            remember_tool(target, function_tool(tool, target))
            return target

        return register if function is None else register(function)

    def _tool_handler(self) -> ToolHandler:
        if self._handlers.get("tool_call", self._tools) is not self._tools:
            raise ConfigurationError(
                "tool_call effects have a handler already, which would hide every tool; "
                "register tools or a handler"
            )
        return self._tools

    def mcp(
        self,
        server: str | Sequence[str],
        *,
        prefix: str = "",
        only: Collection[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry: RetryPolicy | ToolRetryPolicy | None = None,
        time_limit_s: float | None = None,
        connect_timeout_s: float = 15.0,
        on_uncertain: OnUncertain = "retry",
        lane: str | None = None,
    ) -> None:
        """
        Register the tools of an MCP server; the worker connects when it starts.

        Args:
            server: A command and its arguments, for a server that the worker starts and talks to
                over stdin and stdout; or the ``http://…`` address of one that runs already.
            prefix: What the names of its tools begin with here, for instance ``files.``.
            only: The names (without prefix) of the tools to take; all by default.
            env: Variables for a command, beside a few harmless ones of the worker's.
            cwd: The folder in which to start a command.
            headers: HTTP headers for an address, for instance ``Authorization``.
            retry: When a failure is tried again; never by default.
            time_limit_s: How long one attempt may run, in seconds.
            connect_timeout_s: How long the server may take to start and to tell its tools.
            on_uncertain: With a journal, what to do when a worker died while a tool ran.
            lane: The lane of ``tool_call`` that calls of its tools take.

        Raises:
            MissingExtraError: When the extra ``mcp`` is not installed.
            ConfigurationError: When an argument cannot be used.
        """
        # Not at the top: the MCP library is an extra, and slow to load for those without servers.
        from effectmq.consumers.tools.mcp import McpServer, McpTools

        self._tool_handler().sources.append(
            McpTools(
                McpServer.of(
                    server,
                    prefix=prefix,
                    only=None if only is None else frozenset(only),
                    env=dict(env or {}),
                    cwd=cwd,
                    headers=dict(headers or {}),
                    retry_policy=policy_of_tool("an MCP server", retry),
                    time_limit_s=time_limit_s,
                    connect_timeout_s=connect_timeout_s,
                    on_uncertain=on_uncertain,
                    lane=lane or "",
                )
            )
        )
        self._handlers["tool_call"] = self._tools

    def handler(
        self,
        kind: str,
        *,
        retry: RetryPolicy = DEFAULT_RETRY,
        time_limit_s: float | None = None,
        on_uncertain: OnUncertain = "retry",
    ) -> Callable[[F], F]:
        """
        Register a function for a kind.

        It takes the typed command, and an ``EffectContext`` when it has a second parameter, and
        returns the outcome of the kind.

        Args:
            kind: One of the eight effect kinds.
            retry: What to do when it raises.
            time_limit_s: How long one attempt may run, in seconds.
            on_uncertain: With a journal, what to do when a worker died while it ran: ``retry``, or
                ``park`` for an effect that must never run twice.

        Raises:
            ConfigurationError: When the kind does not exist or has a handler already.
        """

        def register(target: F) -> F:
            self.add(function_handler(kind, target, retry, time_limit_s, on_uncertain))
            return target

        return register

    def add(self, handler: Handler) -> None:
        """
        Register a handler object for its kind: one that comes with effectmq, or one of yours.

        One that is an asynchronous context manager as well is entered after the resources of the
        worker (``use``) when the worker takes its kind, and left before them.

        Raises:
            ConfigurationError: When the kind does not exist or has a handler already.
        """
        kind = handler.kind
        if kind not in EFFECT_KINDS:
            raise ConfigurationError(
                f"there is no effect kind {kind!r}; expected one of {', '.join(EFFECT_KINDS)}"
            )
        if kind in self._handlers:
            raise ConfigurationError(f"{kind} effects have a handler already; register one only")
        self._handlers[kind] = handler

    def use(
        self, resource: AbstractAsyncContextManager[object], *, kinds: Iterable[str] = EFFECT_KINDS
    ) -> None:
        """
        Open something when the worker starts, and close it when the worker stops.

        For what handlers need while they run: a session inbox, a process registry, a process
        runner. Resources are entered in the order in which they were given, before the first effect
        is taken, and left in the opposite order.

        Args:
            resource: What to open and to close.
            kinds: Only when the worker takes effects of one of these kinds.

        Raises:
            ConfigurationError: When the worker runs already, or a kind does not exist.
        """
        if self._running is not None:
            raise ConfigurationError("the worker runs already; call use() before it starts")
        wanted = frozenset(kinds)
        unknown = sorted(wanted.difference(EFFECT_KINDS))
        if unknown:
            raise ConfigurationError(
                f"there is no effect kind {unknown[0]!r}; expected some of "
                f"{', '.join(EFFECT_KINDS)}"
            )
        self._resources.append((resource, wanted))

    # Running -----------------------------------------------------------------------------------

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
        if self._running is not None:
            raise ConfigurationError("the worker has been started already")
        self._told = Health("starting")
        try:
            await self._start(routes)
        finally:
            self._told = Health("ready" if self._running is not None else "stopped")

    async def _start(self, routes: Iterable[str] | None) -> None:
        chosen = tuple(dict.fromkeys(routes or self.routes))
        for route in chosen:
            if kind_of(route) not in self._handlers:
                raise ConfigurationError(
                    f"this worker has no handler for {route!r}; it has "
                    f"{', '.join(self._handlers)}. Register one with "
                    f"@app.handler({kind_of(route)!r}) or choose another --kind"
                )
        handlers = {route: self._handlers[kind_of(route)] for route in chosen}
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

        Raises:
            WorkerStuckError: When too many handlers could not be stopped.
            BrokerError: When the broker cannot be used at the start.
        """
        loop = asyncio.get_running_loop()
        chosen = tuple(routes or self.routes)
        # For ``asyncio.to_thread`` in user code; plain functions run in the worker's threads.
        loop.set_default_executor(
            ThreadPoolExecutor(self.settings.slots(chosen), "effectmq to_thread")
        )
        with stop_signals(lambda line: logger.warning("%s", line)) as signals:
            # The start may wait for a broker or a journal, and a signal must end that wait.
            await _first(self.start(chosen), signals.graceful.wait())
            running = self._running
            if running is None:
                return
            stuck = running.stuck
            try:
                await _first(signals.graceful.wait(), stuck.wait())
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
