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
and carried out by whichever worker has the tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from effectmq.broker.databases.late import LateDatabase
from effectmq.broker.processes.registry import ProcessRegistry
from effectmq.broker.sessions import SessionInbox
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
from effectmq.protocol.errors import ConfigurationError, TransportClosedError
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput
from effectmq.wiring import Client, Worker

if TYPE_CHECKING:
    from effectmq.consumers.code.settings import CodeSettings

__all__ = ["Boundary", "whole_boundary"]


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
) -> Boundary:
    """
    Let a worker carry out every effect kind.

    Args:
        worker: Not started yet; tools may be registered before and after.
        models: The table of language models, see ``Worker.models``; without one, ``llm_call`` and
            ``direct`` are left to other workers.
        prompt: The system prompt of surfaces, or what gives it.
        hooks: What checkpoints ask besides the inbox.
        code: Turns ``exec_code`` on, with these limits; needs the extra ``code``.
        session_turn: Runs ``session_turn`` processes.
        lashlang_process: Runs ``lashlang_process`` processes.
        processes: Times and limits of the process runner.

    Returns:
        The parts, to put messages into the inbox or to look at processes.

    Raises:
        ConfigurationError: When a kind has a handler already, or a setting cannot be used.
        MissingExtraError: When an extra is needed and not installed.
    """
    boundary = Boundary(worker, hooks)
    worker.use(boundary)
    if models is not None:
        worker.models(models)
    if code is not None:
        worker.add(boundary.code_handler(code))
    worker.add(
        _Processes(
            boundary.registry,
            ProcessRunner(
                boundary.registry,
                run_tool=boundary.run_tool,
                session_turn=session_turn,
                lashlang_process=lashlang_process,
                settings=processes,
            ),
        )
    )
    worker.add(boundary.checkpoints)
    worker.add(SurfaceHandler(lambda: worker.tools, prompt))
    return boundary


class Boundary:
    """
    What the handlers share; opened and closed with the worker.

    Attributes:
        database: The journal's, opened once more.
        inbox: What waits for sessions.
        registry: The processes.
        checkpoints: Where hooks can be added.
    """

    def __init__(self, worker: Worker, hooks: tuple[CheckpointHook, ...]) -> None:
        self._worker = worker
        self.database = LateDatabase(self._address)
        self.inbox = SessionInbox(self.database)
        self.registry = ProcessRegistry(self.database, on_wake=self.inbox.deliver_wake)
        self.checkpoints = CheckpointHandler(self.inbox, hooks)
        self._client: Client | None = None
        self._stack = AsyncExitStack()

    def _address(self) -> str:
        # Asked for when the worker starts: the command line may have changed it.
        if self._worker.journal is None:
            raise ConfigurationError(
                "processes, code sessions and inboxes are kept in the journal's database and this "
                "worker has no journal; name one with journal= or EFFECTMQ_JOURNAL"
            )
        return self._worker.journal

    async def __aenter__(self) -> Self:
        """
        Open everything.

        Raises:
            ConfigurationError: When the worker has no journal.
            DatabaseError: When the database cannot be used.
            BrokerError: When the broker cannot be used.
        """
        worker = self._worker
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.database)
            await stack.enter_async_context(self.inbox)
            await stack.enter_async_context(self.registry)
            client = Client(
                worker.broker,
                namespace=worker.topology.namespace,
                journal=worker.journal,
                attachments=worker.attachments,
            )
            self._client = await stack.enter_async_context(client)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close everything."""
        await self._stack.aclose()
        self._client = None

    @property
    def client(self) -> Client:
        """
        The client that submits what code and processes ask for.

        Raises:
            TransportClosedError: When the worker does not run.
        """
        if self._client is None:
            raise TransportClosedError("the worker of this boundary does not run")
        return self._client

    async def run_tool(self, call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        """Run the tool of a process, as an effect."""
        return await tools_as_effects(self.client)(call, process)

    def code_handler(self, settings: CodeSettings) -> Any:
        """The handler of ``exec_code``."""
        # Only who runs code needs the interpreter.
        from effectmq.consumers.code.functions import signatures
        from effectmq.consumers.code.handler import CodeHandler

        async def execute(envelope: RuntimeEffectEnvelope) -> RuntimeEffectOutcome:
            return await self.client.execute(envelope, timeout=settings.wait_limit_s)

        return CodeHandler(
            settings,
            database=self.database,
            tools=lambda: signatures(self._worker.tools),
            execute=execute,
            images=self._worker.attachments,
        )


class _Processes(ProcessHandler):
    """The handler, with a runner beside it for as long as its kind is consumed."""

    def __init__(self, registry: ProcessRegistry, runner: ProcessRunner) -> None:
        super().__init__(registry, poke=runner.poke)
        self._runner = runner

    async def __aenter__(self) -> Self:
        """Begin to run processes."""
        await self._runner.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop running processes; what has not ended goes to another runner."""
        await self._runner.__aexit__(None, None, None)
