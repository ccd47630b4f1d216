"""
All eight effect kinds on one worker, with one line.

::

    worker ──▶ llm_call, direct        models out of a table
           ──▶ tool_call, sleep        the worker's own
           ──▶ exec_code               Monty or CPython, when asked for
           ──▶ process                 registry and runner
           ──▶ checkpoint              session inbox and hooks
           ──▶ sync_execution_surface  the worker's tools and prompt

What processes, code sessions and inboxes know is kept in the journal's database. Tools that code or
processes call are effects of their own: they are submitted by a client of the worker's, recorded,
and carried out by whichever worker has the tool. A worker that is started for some kinds only opens
only what these need.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from effectmq.broker.client.client import EffectClient
from effectmq.broker.store.database import open_database
from effectmq.broker.store.database.absent import AbsentDatabase
from effectmq.broker.store.database.port import Database
from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.broker.store.sessions import SessionInbox
from effectmq.consumers.processes import (
    ProcessHandler,
    ProcessRunner,
    ProcessRunnerSettings,
    Program,
    RunningProcess,
    tools_as_effects,
)
from effectmq.consumers.sessions import (
    CheckpointHandler,
    CheckpointHook,
    PromptProvider,
    SurfaceHandler,
)
from effectmq.protocol.errors import TransportClosedError
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from effectmq.wiring import Worker

if TYPE_CHECKING:
    from effectmq.consumers.code.handler import CodeHandler
    from effectmq.consumers.code.settings import CodeSettings

__all__ = ["Boundary", "BoundaryCalls", "whole_boundary"]

#: What keeps something in the database, and what submits effects of its own.
_KEPT = frozenset(("checkpoint", "exec_code", "process"))
_CALLING = frozenset(("exec_code", "process"))


def whole_boundary(
    worker: Worker,
    *,
    models: Mapping[str, Any] | None = None,
    prompt: PromptProvider | str = "",
    hooks: tuple[CheckpointHook, ...] = (),
    code: CodeSettings | None = None,
    session_turn: Program | None = None,
    lashlang_process: Program | None = None,
    processes: ProcessRunnerSettings | None = None,
    tools_use_inbox: bool = False,
) -> Boundary:
    """
    Let a worker carry out every effect kind.

    Args:
        worker: Not started yet; tools may be registered before and after.
        models: The table of language models, see ``Worker.models``; without one, ``llm_call`` and
            ``direct`` are left to other workers.
        prompt: The system prompt of surfaces, or what gives it.
        hooks: What checkpoints ask besides the inbox.
        code: Turns ``exec_code`` on, with these limits; the backend Monty needs the extra ``code``.
        session_turn: Runs ``session_turn`` processes.
        lashlang_process: Runs ``lashlang_process`` processes.
        processes: Times and limits of the process runner.
        tools_use_inbox: The worker's tools look at the parts, so ``tool_call`` opens them too.

    Returns:
        The parts, to put messages into the inbox or to look at processes.

    Raises:
        ConfigurationError: When a kind has a handler already, or a setting cannot be used.
        MissingExtraError: When an extra is needed and not installed.
    """
    boundary = Boundary(worker, hooks)
    runner = ProcessRunner(
        boundary.registry,
        run_tool=boundary.run_tool,
        session_turn=session_turn,
        lashlang_process=lashlang_process,
        settings=processes,
    )
    worker.use(boundary, kinds=_KEPT | {"tool_call"} if tools_use_inbox else _KEPT)
    worker.use(boundary.calls, kinds=_CALLING)
    if worker.replay != "strict":
        # Who only replays runs nothing, and processes are run by whoever has a runner.
        worker.use(runner, kinds=("process",))
    if models is not None:
        worker.models(models)
    if code is not None:
        worker.add(boundary.code_handler(code))
    worker.add(ProcessHandler(boundary.registry, poke=runner.poke))
    worker.add(boundary.checkpoints)
    worker.add(SurfaceHandler(lambda: worker.tools, prompt))
    return boundary


class BoundaryCalls:
    """
    The client that submits what code and processes ask for; opened and closed with the worker.

    Args:
        worker: Broker, namespace, journal and attachment store are the worker's.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._client: EffectClient | None = None

    async def __aenter__(self) -> Self:
        """
        Connect.

        Raises:
            BrokerError: When the broker cannot be used.
            DatabaseError: When the journal cannot be used.
        """
        # With an identity of its own, also where EFFECTMQ_IDENTITY names that of a producer.
        client = EffectClient(place=self._worker.place, attachments=self._worker.attachments)
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
            TransportClosedError: When no worker runs that takes code or processes.
        """
        if self._client is None:
            raise TransportClosedError(
                "the worker of this boundary does not run, or takes neither exec_code nor process "
                "effects; nothing can be submitted for it"
            )
        return self._client


class Boundary:
    """
    What the handlers share; opened and closed with the worker.

    Attributes:
        database: The journal's, opened once more.
        inbox: What waits for sessions.
        registry: The processes.
        checkpoints: Where hooks can be added.
        calls: Submits what code and processes ask for.
    """

    def __init__(self, worker: Worker, hooks: tuple[CheckpointHook, ...]) -> None:
        self._worker = worker
        self.database = _database(worker.place.journal)
        self.inbox = SessionInbox(self.database)
        self.registry = ProcessRegistry(self.database, on_wake=self.inbox.deliver_wake)
        self.checkpoints = CheckpointHandler(self.inbox, hooks)
        self.calls = BoundaryCalls(worker)
        self._stack = AsyncExitStack()

    def adopt(self, namespace: str) -> None:
        """Belong to the namespace of the worker."""
        self.database.adopt(namespace)

    async def __aenter__(self) -> Self:
        """
        Open the database, and what is kept in it.

        Raises:
            ConfigurationError: When the worker has no journal.
            DatabaseError: When the database cannot be used.
        """
        async with AsyncExitStack() as stack:
            for part in (self.database, self.inbox, self.registry):
                await stack.enter_async_context(part)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close everything."""
        await self._stack.aclose()

    async def run_tool(self, call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        """Run a tool on behalf of a process, as an effect; programs may use it too."""
        return await tools_as_effects(self.calls.client, lane_of=self.lane_of)(call, process)

    def lane_of(self, tool: str) -> str | None:
        """The lane that calls of a tool take, as far as this worker knows the tool."""
        found = self._worker.tools.get(tool)
        return found.lane or None if found is not None else None

    def code_handler(self, settings: CodeSettings) -> CodeHandler:
        """The handler of ``exec_code``."""
        # Only who runs code needs the interpreter.
        from effectmq.consumers.code.functions import signatures
        from effectmq.consumers.code.handler import CodeHandler

        async def execute(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
            command, lane = envelope.command, None
            if isinstance(command, RuntimeEffectCommandToolCall):
                lane = self.lane_of(command.call.tool_name)
            return await self.calls.client.execute(
                envelope, timeout=settings.wait_limit_s, lane=lane
            )

        return CodeHandler(
            settings,
            database=self.database,
            tools=lambda: signatures(self._worker.tools),
            execute=execute,
            images=self._worker.attachments,
        )


def _database(journal: str | None) -> Database:
    """The journal's, opened once more; a worker without one may take kinds that keep nothing."""
    if journal is not None:
        return open_database(journal)
    return AbsentDatabase(
        "processes, code sessions and inboxes are kept in the journal's database and this worker "
        "has no journal; name one with journal= or EFFECTMQ_JOURNAL"
    )
