"""
The handler of ``exec_code``: runs a block of code with the variables of its session.

A worker has it only when it is added: ``worker.add(CodeHandler(...))``. A failing block is an
outcome, with an error that the model can read. Only errors around the block (its process died, the
database cannot be reached, a tool did not answer in time) fail the attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from effectmq.broker.store.database.belonging import Belonging
from effectmq.broker.store.database.port import Database
from effectmq.consumers.code.block import Block
from effectmq.consumers.code.calls import CodeCalls, Execute
from effectmq.consumers.code.data.images import Images, ImageStore
from effectmq.consumers.code.engine import Engine, Program, Ran, StateUnreadableError
from effectmq.consumers.code.faults import over_state, stopped
from effectmq.consumers.code.functions import Function, Signatures, functions_of, usable
from effectmq.consumers.code.lacking import function_abilities, lacking
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.code.state.database_sessions import DatabaseSessions
from effectmq.consumers.code.state.sessions import MemorySessions, Sessions, Start
from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.handler import (
    EffectContext,
    Lack,
    NotHere,
    RepeatableHandler,
    cannot_execute,
    with_tried,
)
from effectmq.protocol.encoding.serde.model import Err, Ok
from effectmq.protocol.messages.request import Request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode

__all__ = ["CodeHandler"]

logger = logging.getLogger("effectmq.code")


def _no_tools() -> Signatures:
    return {}


class CodeHandler(RepeatableHandler):
    """
    Runs ``exec_code`` effects. Its worker starts and stops it.

    Args:
        settings: The limits.
        database: An open database for the variables of sessions; without one, this worker keeps
            them in memory.
        tools: The parameters of the tools that code may call, by name; read anew for each block.
            For the tools of a worker: ``lambda: signatures(app.tools)``.
        execute: Carries out the calls, each of which is an effect; without it there are no tools
            and no sleeps.
        images: Keeps images; without it, small ones are sent in the outcome.
        retry: What to do with an attempt that failed.
        engine: Interprets the code, in place of the backend in the settings.

    Raises:
        MissingExtraError: When Monty is the backend and is not installed.
    """

    kind = "exec_code"

    def __init__(
        self,
        settings: CodeSettings | None = None,
        *,
        database: Database | None = None,
        tools: Callable[[], Signatures] = _no_tools,
        execute: Execute | None = None,
        images: ImageStore | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        engine: Engine | None = None,
    ) -> None:
        self.settings = settings or CodeSettings()
        self.retry = retry
        self.time_limit_s = self.settings.wait_limit_s
        self._tools = tools
        self._told: set[str] = set()
        self._execute = execute
        self._images = images
        self._engine = engine or _engine(self.settings)
        kept = self.settings.kept_states
        self._belonging = Belonging(None)
        self.sessions: Sessions = (
            DatabaseSessions(database, kept) if database is not None else MemorySessions(kept)
        )

    def adopt(self, namespace: str) -> None:
        """
        Use the variables of one namespace; the worker calls this before it enters the handler.

        Raises:
            ConfigurationError: When a worker of another namespace uses the handler and the
                variables are in memory, where sessions have no namespace.
        """
        if isinstance(self.sessions, MemorySessions):
            self._belonging.adopt(namespace, "of code variables in memory")

    async def __aenter__(self) -> CodeHandler:
        """
        Make the tables, and start the processes of the interpreter.

        Raises:
            ConfigurationError: When code cannot be run here, or a tool cannot be called from it.
            DatabaseError: When the database cannot be used.
        """
        if self._execute is not None:
            functions_of(self._tools())
        await self.sessions.open()
        await self._engine.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the processes."""
        await self._engine.__aexit__()

    def limit_s(self, request: Request) -> float | None:
        """How long an attempt may take, waits included, in seconds."""
        return self.time_limit_s

    @property
    def abilities(self) -> dict[str, str]:
        """The abilities: the engine whose variables it reads, and the functions of its code."""
        return {_variables_of(self._engine.name): "1", **function_abilities(self._functions())}

    def lacks(self, request: Request) -> list[Lack]:
        """Functions that the block calls and that another worker may have."""
        command = request.envelope.command
        if self._execute is None or not isinstance(command, RuntimeEffectCommandExecCode):
            return []
        return lacking(command.code, self._functions())

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeExecCode | NotHere:
        """Make one attempt at one block."""
        session_id = context.invocation.scope.session_id
        start = await self.sessions.start(session_id, request.hash)
        began = time.monotonic()
        block = self._block(request, session_id)
        # The seed of a new session's random numbers is its name.
        program = Program(_code(request), start.state, session_id)
        try:
            ran = await self._engine.run(program, block.host)
            await block.calls.finish()
        except StateUnreadableError as problem:
            return self._unreadable(start, problem)
        finally:
            await block.calls.stop()
        ran = self._within(ran)
        await self._keep(session_id, request.hash, start, ran)
        duration_ms = round((time.monotonic() - began) * 1_000)
        return RuntimeEffectOutcomeExecCode(result=Ok(ok=block.response(ran, duration_ms)))

    def _unreadable(self, start: Start, problem: StateUnreadableError) -> NotHere:
        """Send the block to a worker whose interpreter can read the variables."""
        needs = _variables_of(start.engine)
        sentence = _unreadable(start, self._engine.name, problem)
        return NotHere(
            needs=needs,
            version=self.abilities.get(needs, ""),
            problem=sentence,
            otherwise=lambda tried: RuntimeEffectOutcomeExecCode(
                result=Err(err=with_tried(sentence, tried))
            ),
        )

    def _block(self, request: Request, session_id: str) -> Block:
        settings, effect_hash = self.settings, request.hash
        return Block(
            self._functions(),
            CodeCalls(request.envelope.invocation, effect_hash, self._execute, settings),
            Images(self._images, settings),
            partial(self.sessions.started_ms, session_id, effect_hash),
            settings,
        )

    def _functions(self) -> Mapping[str, Function]:
        """The functions of a block. Tools added after the start may not fit; they are left out."""
        if self._execute is None:
            return {}
        found, problems = usable(self._tools())
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                logger.warning("%s; it is left out", problem, extra={"action": "tool_not_in_code"})
        return found

    def _within(self, ran: Ran) -> Ran:
        """The result, or an error in place of it when the state is too large to keep."""
        size_bytes = len(ran.state or b"")
        if size_bytes <= self.settings.state_bytes:
            return ran
        return Ran(ran.printed, error=stopped(over_state(size_bytes, self.settings)))

    async def _keep(self, session_id: str, effect_hash: str, start: Start, ran: Ran) -> None:
        state, engine = ran.state, self._engine.name
        if state is None:
            # The block counts nevertheless: no later block may be run before it.
            state, engine = start.state, start.engine
        await self.sessions.keep(session_id, effect_hash, start, state, engine)


def _engine(settings: CodeSettings) -> Engine:
    # Each backend is imported only where it is used, and no worker needs both.
    if settings.backend == "cpython":
        from effectmq.consumers.code.cpython.engine import CPythonEngine

        return CPythonEngine(settings)
    from effectmq.consumers.code.monty.engine import MontyEngine

    return MontyEngine(settings)


def _code(request: Request) -> str:
    command = request.envelope.command
    if not isinstance(command, RuntimeEffectCommandExecCode):
        raise cannot_execute("the code", command)
    return command.code


def _variables_of(engine: str) -> str:
    return f"code variables of {engine}"


def _unreadable(start: Start, engine: str, problem: StateUnreadableError) -> str:
    return (
        f"the session's variables were kept by {start.engine} and cannot be read by {engine}: "
        f"{problem}; run workers of one version, or begin a new session"
    )
