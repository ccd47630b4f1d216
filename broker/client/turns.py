"""
Build envelopes the way a runtime does: turns and process operations.

Every effect gets the invocation and the replay key of the wire format, section 4, so the same
program run again asks for the same effects. A turn counts its effects from 1 in the order in
which its methods are *called*; a program that starts several at once must start them in the same
order every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from effectmq.protocol.errors import ConfigurationError, MalformedError, PayloadTooLargeError
from effectmq.protocol.identity import invocations
from effectmq.protocol.text import printable
from effectmq.protocol.tool_calls.from_model import ModelToolCall, calls_from_model, too_much
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandCheckpoint,
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectCommandProcess,
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandSyncExecutionSurface,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.execution import CheckpointKind
from effectmq.protocol.wire.invocation import (
    CausalRef,
    RuntimeEffectKind,
    RuntimeInvocation,
)
from effectmq.protocol.wire.llm_request import LlmRequestSpec, LlmToolSpec
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcome,
    RuntimeEffectOutcomeToolCall,
)
from effectmq.protocol.wire.process_commands import (
    ProcessCommand,
    ProcessCommandAwait,
    ProcessCommandCancel,
    ProcessCommandDeleteSession,
    ProcessCommandList,
    ProcessCommandSignal,
    ProcessCommandStart,
    ProcessCommandTransfer,
)
from effectmq.protocol.wire.process_events import ProcessEventAppendRequest
from effectmq.protocol.wire.process_registration import ProcessRegistration
from effectmq.protocol.wire.process_registration import ProcessScope as Owner
from effectmq.protocol.wire.processes import (
    ProcessExecutionContext,
    ProcessListMode,
    ProcessStartGrant,
)
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = ["Execute", "ProcessScope", "ToolCall", "Turn"]

_DEFAULT_TIMEOUT_S = 30.0

#: An effect whose number is taken, to be awaited or made a task of.
Running = Coroutine[Any, Any, RuntimeEffectOutcome]


class Execute(Protocol):
    """``EffectClient.execute``."""

    async def __call__(
        self, envelope: RuntimeEffectEnvelope, *, lane: str | None = None, timeout: float | None
    ) -> RuntimeEffectOutcome:
        """Submit an envelope and wait for its outcome."""
        ...


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    One call of a batch.

    Attributes:
        tool_name: The tool.
        args: Its arguments by name.
        call_id: The call's id, given by the model; unique in the batch.
    """

    tool_name: str
    args: Mapping[str, Any]
    call_id: str

    def prepared(self) -> PreparedToolCall:
        """
        The call as an envelope carries it.

        Raises:
            MalformedError: When the arguments, the name or the id cannot be sent.
        """
        _check(self.args, Mapping, "args", "a dict of arguments by name")
        return PreparedToolCall(
            call_id=self.call_id, tool_name=self.tool_name, args=dict(self.args)
        )


class Turn:
    """
    The effects of one turn; made by ``Client.turn``.

    Its methods are no coroutine functions but give coroutines: the number is taken by the call.
    """

    def __init__(
        self,
        execute: Execute,
        session_id: str,
        turn_id: str,
        turn_index: int = 0,
        protocol_iteration: int = 0,
    ) -> None:
        self.session_id = session_id
        self.turn_id = turn_id
        self.turn_index = turn_index
        self.protocol_iteration = protocol_iteration
        self._execute = execute
        self._count = 0

    def invocation(self, kind: RuntimeEffectKind) -> RuntimeInvocation:
        """The invocation of the turn's next effect; takes the next number."""
        self._count += 1
        return invocations.turn_effect(
            kind,
            str(self._count),
            session_id=self.session_id,
            turn_id=self.turn_id,
            turn_index=self.turn_index,
            protocol_iteration=self.protocol_iteration,
        )

    def tool_envelopes(self, calls: Sequence[ToolCall]) -> list[RuntimeEffectEnvelope]:
        """
        The envelopes of a batch of calls, which takes one number together.

        Raises:
            ConfigurationError: When two of them have one id, for they would be one effect.
            MalformedError: When one of them cannot be sent.
        """
        prepared = [call.prepared() for call in calls]
        ids = [call.call_id for call in prepared]
        for id_ in ids:
            if ids.count(id_) > 1:
                raise ConfigurationError(
                    f"two calls of a batch have the id {printable(id_, 100)!r}; give each its own"
                )
        batch = self.invocation("tool_call")
        return [
            RuntimeEffectEnvelope(
                invocation=invocations.tool_call(batch, call.call_id),
                command=RuntimeEffectCommandToolCall(call=call),
            )
            for call in prepared
        ]

    def tool_call(
        self,
        tool_name: str,
        args: Mapping[str, Any],
        *,
        call_id: str,
        lane: str | None = None,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> Running:
        """
        Call one tool; see ``Client.execute`` for timeout and errors.

        Args:
            tool_name: The tool.
            args: Its arguments by name.
            call_id: The call's id, given by the model.
            lane: The lane of the tool, when it has one.
            timeout: How long to wait for the outcome, in seconds; None for no limit.
        """
        (envelope,) = self.tool_envelopes([ToolCall(tool_name, args, call_id)])
        return self._execute(envelope, lane=lane, timeout=timeout)

    def tool_call_from_model(
        self,
        part: ModelToolCall,
        *,
        tools: Iterable[LlmToolSpec] | None = None,
        lane: str | None = None,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> Coroutine[Any, Any, RuntimeEffectOutcomeToolCall]:
        """
        Call the tool that a model asks for, whatever it wrote as arguments.

        Text that is no object of arguments, arguments that are too large to be sent, and a tool
        that was not on offer, are outcomes with a failure for the model to read, like those of a
        tool; no worker is asked then.

        Args:
            part: The call, out of the response of the model.
            tools: Those that were on offer; ``None`` leaves it to the worker to know them.
            lane: The lane of the tool, when it has one.
            timeout: How long to wait for the outcome, in seconds; None for no limit.

        Raises:
            ConfigurationError: When that is no call of a model, or these are no tools.
        """
        lanes = {part.tool_name: lane} if lane else None
        return _only(self.tool_calls_from_model([part], tools=tools, lanes=lanes, timeout=timeout))

    def tool_calls_from_model(
        self,
        parts: Sequence[ModelToolCall],
        *,
        tools: Iterable[LlmToolSpec] | None = None,
        lanes: Mapping[str, str] | None = None,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> Coroutine[Any, Any, list[RuntimeEffectOutcomeToolCall]]:
        """
        Call all tools that one answer of a model asks for, side by side, as one batch.

        Args:
            parts: The calls, out of the response of the model.
            tools: Those that were on offer; ``None`` leaves it to the worker to know them.
            lanes: The lanes of the tools that have one, by name.
            timeout: How long to wait for the outcomes, in seconds.

        Returns:
            The outcomes in the order of the calls; see ``tool_call_from_model``.

        Raises:
            ConfigurationError: When these are no calls of a model, or no tools.
            MalformedError: When these are no lanes.
        """
        _check(lanes or {}, Mapping, "lanes", "a dict of lanes by the names of their tools")
        calls = calls_from_model(parts, tools)
        # Taken whatever the calls are like, so that the numbers after it are the same ones.
        batch = self.invocation("tool_call") if calls else None
        return self._side_by_side(batch, calls, lanes or {}, timeout)

    async def _side_by_side(
        self,
        batch: RuntimeInvocation | None,
        calls: Sequence[PreparedToolCall | RuntimeEffectOutcomeToolCall],
        lanes: Mapping[str, str],
        timeout: float | None,
    ) -> list[RuntimeEffectOutcomeToolCall]:
        async def carried_out(
            call: PreparedToolCall | RuntimeEffectOutcomeToolCall,
        ) -> RuntimeEffectOutcomeToolCall:
            if isinstance(call, RuntimeEffectOutcomeToolCall):
                return call
            assert batch is not None
            envelope = RuntimeEffectEnvelope(
                invocation=invocations.tool_call(batch, call.call_id),
                command=RuntimeEffectCommandToolCall(call=call),
            )
            lane = lanes.get(call.tool_name)
            try:
                outcome = await self._execute(envelope, lane=lane, timeout=timeout)
            except (MalformedError, PayloadTooLargeError) as problem:
                failed = too_much(call, problem)
                if failed is None:
                    raise
                return failed
            assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
            return outcome

        tasks = [asyncio.ensure_future(carried_out(call)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def llm_call(
        self, request: LlmRequestSpec, *, timeout: float | None = _DEFAULT_TIMEOUT_S
    ) -> Running:
        """Ask the turn's model."""
        return self._run("llm_call", RuntimeEffectCommandLlmCall(request=request), timeout)

    def exec_code(self, code: str, *, timeout: float | None = _DEFAULT_TIMEOUT_S) -> Running:
        """Run a block of code."""
        return self._run("exec_code", RuntimeEffectCommandExecCode(code=code), timeout)

    def checkpoint(
        self, checkpoint: CheckpointKind, *, timeout: float | None = _DEFAULT_TIMEOUT_S
    ) -> Running:
        """Take what has come in for the session."""
        command = RuntimeEffectCommandCheckpoint(checkpoint=checkpoint)
        return self._run("checkpoint", command, timeout)

    def sync_execution_surface(
        self, *, update_machine_config: bool, timeout: float | None = _DEFAULT_TIMEOUT_S
    ) -> Running:
        """Ask for system prompt and tools anew."""
        command = RuntimeEffectCommandSyncExecutionSurface(
            update_machine_config=update_machine_config
        )
        return self._run("sync_execution_surface", command, timeout)

    def sleep(self, duration_ms: int, *, timeout: float | None = _DEFAULT_TIMEOUT_S) -> Running:
        """Wait for ``duration_ms`` milliseconds without holding anything."""
        return self._run("sleep", RuntimeEffectCommandSleep(duration_ms=duration_ms), timeout)

    async def direct(
        self,
        request: LlmRequestSpec,
        *,
        usage_source: str,
        replay_key: str | None = None,
        cause: CausalRef | None = None,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> RuntimeEffectOutcome:
        """
        Ask a model outside of the turn's own conversation.

        Args:
            request: What to ask. Without a ``replay_key`` its content is its identity: asked
                twice with the same source and cause, it is one effect.
            usage_source: Under which name its tokens are booked.
            replay_key: Tells two equal requests apart.
            cause: On whose behalf.
            timeout: Seconds for everything together; None for no limit.

        Raises:
            MalformedError: When that is no request.
        """
        _check(request, LlmRequestSpec, "request", "an LlmRequestSpec")
        invocation = invocations.direct(
            request,
            usage_source,
            session_id=self.session_id,
            turn_id=self.turn_id,
            replay_key=replay_key,
            cause=cause,
        )
        command = RuntimeEffectCommandDirect(request=request, usage_source=usage_source)
        return await self._execute(
            RuntimeEffectEnvelope(invocation=invocation, command=command), timeout=timeout
        )

    def _run(
        self, kind: RuntimeEffectKind, command: RuntimeEffectCommand, timeout: float | None
    ) -> Running:
        envelope = RuntimeEffectEnvelope(invocation=self.invocation(kind), command=command)
        return self._execute(envelope, timeout=timeout)


def _check(value: object, kind: type[object], name: str, expected: str) -> None:
    if not isinstance(value, kind):
        raise MalformedError(name, f"found a Python {type(value).__name__}, expected {expected}")


async def _only(
    outcomes: Coroutine[Any, Any, list[RuntimeEffectOutcomeToolCall]],
) -> RuntimeEffectOutcomeToolCall:
    (outcome,) = await outcomes
    return outcome


class ProcessScope:
    """Operations on background processes; made by ``Client.process_scope``."""

    def __init__(
        self, execute: Execute, session_id: str, parent: RuntimeInvocation | None = None
    ) -> None:
        self.session_id = session_id
        self.parent = parent
        self._execute = execute

    def envelope(self, command: ProcessCommand) -> RuntimeEffectEnvelope:
        """The envelope of one operation; its id is derived from what it does."""
        return RuntimeEffectEnvelope(
            invocation=invocations.process_op(
                command, session_id=self.session_id, parent=self.parent
            ),
            command=RuntimeEffectCommandProcess(command=command),
        )

    async def start(
        self,
        registration: ProcessRegistration,
        *,
        grant: ProcessStartGrant | None = None,
        context: ProcessExecutionContext | None = None,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> RuntimeEffectOutcome:
        """
        Register and start a process.

        Args:
            registration: The process.
            grant: Who gets a handle to it.
            context: What it takes along: the invocation that starts it, and who its wakes go to.
            timeout: How long to wait, in seconds; None for no limit.
        """
        command = ProcessCommandStart(
            registration=registration,
            grant=grant,
            execution_context=context or ProcessExecutionContext(),
        )
        return await self._run(command, timeout)

    async def list(
        self,
        owner_scope: Owner | None = None,
        *,
        mode: ProcessListMode = "live",
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> RuntimeEffectOutcome:
        """List the processes of a scope; the live ones of the session's own by default."""
        scope = owner_scope or Owner(session_id=self.session_id)
        return await self._run(ProcessCommandList(owner_scope=scope, mode=mode), timeout)

    async def transfer(
        self,
        from_scope: Owner,
        to_scope: Owner,
        process_ids: Sequence[str],
        *,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> RuntimeEffectOutcome:
        """Move handles from one scope to another."""
        command = ProcessCommandTransfer(
            from_scope=from_scope, to_scope=to_scope, process_ids=[*process_ids]
        )
        return await self._run(command, timeout)

    async def wait(
        self, process_id: str, *, timeout: float | None = _DEFAULT_TIMEOUT_S
    ) -> RuntimeEffectOutcome:
        """Await a process's terminal output (the operation ``await``)."""
        return await self._run(ProcessCommandAwait(process_id=process_id), timeout)

    async def cancel(
        self,
        process_id: str,
        reason: str | None = None,
        *,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> RuntimeEffectOutcome:
        """Ask a process to stop."""
        return await self._run(ProcessCommandCancel(process_id=process_id, reason=reason), timeout)

    async def signal(
        self,
        process_id: str,
        signal_id: str,
        request: ProcessEventAppendRequest,
        *,
        timeout: float | None = _DEFAULT_TIMEOUT_S,
    ) -> RuntimeEffectOutcome:
        """Append an event to a process."""
        command = ProcessCommandSignal(process_id=process_id, signal_id=signal_id, request=request)
        return await self._run(command, timeout)

    async def delete_session(
        self, session_id: str | None = None, *, timeout: float | None = _DEFAULT_TIMEOUT_S
    ) -> RuntimeEffectOutcome:
        """Give up the handles of a session; this one by default."""
        command = ProcessCommandDeleteSession(session_id=session_id or self.session_id)
        return await self._run(command, timeout)

    async def _run(self, command: ProcessCommand, timeout: float | None) -> RuntimeEffectOutcome:
        return await self._execute(self.envelope(command), timeout=timeout)
