"""
Build the envelopes of a runtime for operations on background processes.

Unlike those of a turn they are not numbered: each id is derived from the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from effectmq.broker.client.turns.executing import execute_as
from effectmq.broker.client.turns.options import (
    CallOptions,
    Execute,
)
from effectmq.broker.place import refuse_unknown
from effectmq.protocol.errors import (
    WrongOutcomeError,
)
from effectmq.protocol.identity import invocations
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandProcess,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import (
    RuntimeInvocation,
)
from effectmq.protocol.wire.outcome import (
    RuntimeEffectOutcomeProcess,
    wrong_process_outcome,
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

__all__ = ["ProcessScope"]


class ProcessScope:
    """Operations on background processes; made by ``Client.process_scope``."""

    def __init__(
        self, execute: Execute, session_id: str, parent: RuntimeInvocation | None = None
    ) -> None:
        self.session_id = session_id
        self.parent = parent
        self._execute = execute

    def envelope(self, command: ProcessCommand) -> RuntimeEffectEnvelope:
        """The envelope of one operation; its id is derived from the operation."""
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
        **options: Unpack[CallOptions],
    ) -> RuntimeEffectOutcomeProcess:
        """
        Register and start a process.

        Args:
            registration: The process.
            grant: The scope that gets a handle to it.
            context: The invocation that starts it, and the scope that gets its wakes.
            options: ``timeout``, ``deadline_s``, ``lane``: see ``CallOptions``.
        """
        command = ProcessCommandStart(
            registration=registration,
            grant=grant,
            execution_context=context or ProcessExecutionContext(),
        )
        return await self._run(command, options)

    async def list(
        self,
        owner_scope: Owner | None = None,
        *,
        mode: ProcessListMode = "live",
        **options: Unpack[CallOptions],
    ) -> RuntimeEffectOutcomeProcess:
        """List the processes of a scope; the live ones of the session's own by default."""
        scope = owner_scope or Owner(session_id=self.session_id)
        return await self._run(ProcessCommandList(owner_scope=scope, mode=mode), options)

    async def transfer(
        self,
        from_scope: Owner,
        to_scope: Owner,
        process_ids: Sequence[str],
        **options: Unpack[CallOptions],
    ) -> RuntimeEffectOutcomeProcess:
        """Move handles from one scope to another."""
        command = ProcessCommandTransfer(
            from_scope=from_scope, to_scope=to_scope, process_ids=[*process_ids]
        )
        return await self._run(command, options)

    async def wait(
        self, process_id: str, **options: Unpack[CallOptions]
    ) -> RuntimeEffectOutcomeProcess:
        """Await a process's terminal output (the operation ``await``)."""
        return await self._run(ProcessCommandAwait(process_id=process_id), options)

    async def cancel(
        self,
        process_id: str,
        reason: str | None = None,
        **options: Unpack[CallOptions],
    ) -> RuntimeEffectOutcomeProcess:
        """Ask a process to stop."""
        return await self._run(ProcessCommandCancel(process_id=process_id, reason=reason), options)

    async def signal(
        self,
        process_id: str,
        signal_id: str,
        request: ProcessEventAppendRequest,
        **options: Unpack[CallOptions],
    ) -> RuntimeEffectOutcomeProcess:
        """Append an event to a process."""
        command = ProcessCommandSignal(process_id=process_id, signal_id=signal_id, request=request)
        return await self._run(command, options)

    async def delete_session(
        self, session_id: str | None = None, **options: Unpack[CallOptions]
    ) -> RuntimeEffectOutcomeProcess:
        """Remove the handles of a session; this one by default."""
        command = ProcessCommandDeleteSession(session_id=session_id or self.session_id)
        return await self._run(command, options)

    async def _run(
        self, command: ProcessCommand, options: CallOptions
    ) -> RuntimeEffectOutcomeProcess:
        refuse_unknown(f"process_scope.{command.op}", options, CallOptions.__optional_keys__)
        envelope = self.envelope(command)
        outcome = await execute_as(self._execute, RuntimeEffectOutcomeProcess, envelope, options)
        if outcome.result.op != command.op:
            raise WrongOutcomeError(*wrong_process_outcome(command.op))
        return outcome
