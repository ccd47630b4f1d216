"""
The parts that the kinds of one worker share: the journal's database, inbox, processes, client.

::

    exec_code   ──▶ database, client
    process     ──▶ database, inbox (for wakes), registry, client
    checkpoint  ──▶ database, inbox

Each part exists once, for all its users, and is open while the worker takes a kind that needs it.
Tools that code or processes call are effects: the client submits them, they are recorded, and any
worker that has the tool carries them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.absent import AbsentDatabase
from effectmq.broker.store.database.belonging import Adoptable
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions import SessionInbox
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.processes.runner import ProcessRunner
from effectmq.consumers.processes.running import RunningProcess
from effectmq.consumers.processes.tool_effects import tools_as_effects
from effectmq.consumers.sessions import CheckpointHandler, CheckpointHook
from effectmq.consumers.tools.registry import Tool
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import TransportClosedError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput

if TYPE_CHECKING:
    from effectmq.consumers.code.handler import CodeHandler
    from effectmq.consumers.code.settings import CodeSettings

__all__ = ["OwnClient", "Parts", "ProcessParts", "SessionParts"]


@dataclass(frozen=True, slots=True)
class SessionParts:
    """
    The result of ``worker.sessions``.

    Attributes:
        inbox: The inbox of sessions; open while the worker takes a kind that uses it.
        checkpoints: The handler, to which hooks can be added.
    """

    inbox: SessionInbox
    checkpoints: CheckpointHandler

    def hook(self, function: CheckpointHook) -> CheckpointHook:
        """Add a hook of checkpoints; for use as a decorator."""
        return self.checkpoints.hook(function)


@dataclass(frozen=True, slots=True)
class ProcessParts:
    """
    The result of ``worker.processes``.

    Attributes:
        registry: The processes; open while the worker takes a kind that uses it.
        runner: Runs them, unless the worker only replays.
    """

    registry: ProcessRegistry
    runner: ProcessRunner
    _parts: Parts

    async def run_tool(self, call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        """
        Run a tool for a process, as an effect; for programs that call tools.

        Raises:
            TransportClosedError: When the worker is not running, or takes no ``process`` effects.
            EffectTimeoutError: When there was no outcome within a day.
            EffectFailedError: When the call was parked or cancelled.
        """
        return await self._parts.run_tool(call, process)


class OwnClient:
    """
    The client that submits the effects of code and processes; opened and closed with the worker.

    Args:
        worker: Gives broker, namespace, journal and attachment store.
    """

    def __init__(self, worker: EffectWorker) -> None:
        self._worker = worker
        self._client: EffectClient | None = None

    async def __aenter__(self) -> Self:
        """
        Connect.

        Raises:
            BrokerError: When the broker cannot be used.
            DatabaseError: When the journal cannot be used.
        """
        # With its own identity, also when EFFECTMQ_IDENTITY names that of a producer.
        client = EffectClient(place=self._worker.place, attachments=self._worker.attachments)
        client.tracing = self._worker.tracing
        self._client = await client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__()

    @property
    def client(self) -> EffectClient:
        """
        The client.

        Raises:
            TransportClosedError: When no worker with code or processes is running.
        """
        if self._client is None:
            raise TransportClosedError(
                "this worker is not running, or takes neither exec_code nor process effects, so "
                "nothing can be submitted for it; start it for one of these kinds"
            )
        return self._client


class Parts:
    """
    The parts of one worker.

    Args:
        worker: The worker; nothing is opened before it starts.

    Attributes:
        database: A separate connection to the journal's database.
        inbox: The inbox of sessions.
        registry: The processes; their wakes go into the inbox.
        calls: The client.
    """

    def __init__(self, worker: EffectWorker) -> None:
        self._worker = worker
        self.database = _database(worker.place.journal)
        self.inbox = SessionInbox(self.database)
        self.registry = ProcessRegistry(self.database, on_wake=self.inbox.deliver_wake)
        self.calls = OwnClient(worker)
        self._tool_workers: list[EffectWorker] = []
        # In this order: each needs the ones before it.
        self._shared = {
            name: _Shared(part)
            for name, part in (
                ("database", self.database),
                ("inbox", self.inbox),
                ("registry", self.registry),
                ("calls", self.calls),
            )
        }

    def open_for(self, kinds: Iterable[str], *names: str) -> None:
        """
        Open parts, and the database below them, when the worker takes one of these kinds.

        Raises:
            ConfigurationError: When the worker runs already.
        """
        wanted = frozenset(kinds)
        for name, part in self._shared.items():
            if name == "database" or name in names:
                self._worker.use(part, kinds=wanted)

    def tools(self, others: Iterable[EffectWorker]) -> Mapping[str, Tool]:
        """The tools of the worker, followed by those of other workers."""
        found: dict[str, Tool] = {}
        for worker in (self._worker, *others):
            found = {**worker.tools, **found}
        return found

    def know_tools_of(self, others: Iterable[EffectWorker]) -> None:
        """Let calls of the tools of other workers take the lanes that they have there."""
        self._tool_workers += others

    def lane_of(self, tool: str) -> str | None:
        """The lane of calls of a tool; ``None`` when this worker does not know the tool."""
        found = self.tools(self._tool_workers).get(tool)
        return found.lane or None if found is not None else None

    async def run_tool(self, call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        """Run a tool for a process, as an effect."""
        return await tools_as_effects(self.calls.client, lane_of=self.lane_of)(call, process)

    def code_handler(
        self,
        settings: CodeSettings,
        others: Iterable[EffectWorker] = (),
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> CodeHandler:
        """
        The handler of ``exec_code``, with the tools of this worker and of others.

        Raises:
            MissingExtraError: When Monty is the backend and is not installed.
        """
        # Only a worker that runs code needs the interpreter.
        from effectmq.consumers.code.functions import signatures
        from effectmq.consumers.code.handler import CodeHandler

        async def execute(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
            command, lane = envelope.command, None
            if isinstance(command, RuntimeEffectCommandToolCall):
                lane = self.lane_of(command.call.tool_name)
            return await self.calls.client.execute(
                envelope, timeout=settings.wait_limit_s, lane=lane
            )

        known = tuple(others)
        return CodeHandler(
            settings,
            database=self.database,
            tools=lambda: signatures(self.tools(known)),
            execute=execute,
            images=self._worker.attachments,
            retry=retry,
        )


class _Shared:
    """A part with several users: opened by the first one, closed by the last one."""

    def __init__(self, part: AbstractAsyncContextManager[object]) -> None:
        self._part = part
        self._users = 0

    def adopt(self, namespace: str) -> None:
        if isinstance(self._part, Adoptable):
            self._part.adopt(namespace)

    async def __aenter__(self) -> Self:
        if not self._users:
            await self._part.__aenter__()
        self._users += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._users -= 1
        if not self._users:
            await self._part.__aexit__(None, None, None)


def _database(journal: str | None) -> Database:
    """The journal's database; one that refuses to open without a journal."""
    if journal is not None:
        return open_database(journal)
    return AbsentDatabase(
        "processes, code sessions and inboxes are kept in the journal's database and this worker "
        "has no journal; name one with journal= or EFFECTMQ_JOURNAL"
    )
