"""
The handler of ``process``: seven operations on the registry.

``await`` holds no slot for long. It looks, waits a moment because many processes are quick, and
otherwise asks to be called again. That call waits on a delay level of the broker, where it costs
nothing and is not lost. The longer the wait so far, the rarer the looks, so that the answer is late
only by a fraction of that wait.

An operation on a process that is not registered waits in the same way, for a stated time: the start
may be delayed, and the answer "there is none" would be recorded for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tenacity import stop_after_attempt

from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.consumers.decisions.retry import IN_PLACE_LIMIT_MS, RetryPolicy
from effectmq.consumers.handler import EffectContext, RepeatableHandler, TryAgain, cannot_execute
from effectmq.protocol.errors import ProcessRegistryError, RejectEffectError, UnknownProcessError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.numbers import former_milliseconds, milliseconds_of
from effectmq.protocol.wire.envelope import RuntimeEffectCommandProcess
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeProcess
from effectmq.protocol.wire.process_commands import (
    ProcessCommand,
    ProcessCommandAwait,
    ProcessCommandCancel,
    ProcessCommandDeleteSession,
    ProcessCommandList,
    ProcessCommandSignal,
    ProcessCommandStart,
    ProcessCommandTransfer,
    ProcessEffectOutcome,
    ProcessEffectOutcomeAwait,
    ProcessEffectOutcomeCancel,
    ProcessEffectOutcomeDeleteSession,
    ProcessEffectOutcomeList,
    ProcessEffectOutcomeSignal,
    ProcessEffectOutcomeStart,
    ProcessEffectOutcomeTransfer,
)
from effectmq.protocol.wire.process_events import ProcessAwaitOutput

__all__ = ["ProcessHandler"]

#: The reason of the cancel requests that deleting a session sends.
_SESSION_DELETED = "session deleted"
#: A little too long to be waited for in place.
_FIRST_WAIT_S = (IN_PLACE_LIMIT_MS + 1) / 1_000
_LONGEST_WAIT_S = 30.0
#: Looks are at least this far apart, also when a deadline is near.
_SHORTEST_WAIT_MS = 50
_LINGER_S = 0.2
_START_WAIT_S = 10.0

#: The only error to retry is a database out of reach: then nothing of the operation was kept.
_RETRY = RetryPolicy(stop=stop_after_attempt(10))


class ProcessHandler(RepeatableHandler):
    """
    Carries out ``process`` effects; register it with ``worker.add``.

    Args:
        registry: The processes.
        poke: Called after a start, so that the process runs at once: ``ProcessRunner.poke``.
            Without it, a runner finds the process at its next sweep.
        linger_s: How long a new ``await`` waits in its slot, in seconds.
        first_wait_s: The wait before the next look, in seconds; more than one, or it would hold
            the slot.
        longest_wait_s: The longest wait between two looks, in seconds.
        start_wait_s: How long an ``await``, ``cancel`` or ``signal`` waits for a process that is
            not registered, in seconds, before it is refused.
        first_wait_ms: ``first_wait_s`` in milliseconds; deprecated.
        longest_wait_ms: ``longest_wait_s`` in milliseconds; deprecated.

    Raises:
        ConfigurationError: When a wait is negative, or longer than 100 years.
    """

    kind = "process"
    retry: RetryPolicy = _RETRY

    def __init__(
        self,
        registry: ProcessRegistry,
        *,
        poke: Callable[[], None] | None = None,
        linger_s: float = _LINGER_S,
        first_wait_s: float = _FIRST_WAIT_S,
        longest_wait_s: float = _LONGEST_WAIT_S,
        start_wait_s: float = _START_WAIT_S,
        first_wait_ms: int | None = None,
        longest_wait_ms: int | None = None,
    ) -> None:
        self._registry = registry
        self._poke = poke
        self._linger_s = linger_s
        self._first_wait_ms = milliseconds_of("first_wait_s", first_wait_s)
        self._longest_wait_ms = milliseconds_of("longest_wait_s", longest_wait_s)
        if first_wait_ms is not None:
            self._first_wait_ms = former_milliseconds(
                "ProcessHandler", "first_wait_s", first_wait_ms
            )
        if longest_wait_ms is not None:
            self._longest_wait_ms = former_milliseconds(
                "ProcessHandler", "longest_wait_s", longest_wait_ms
            )
        self._start_wait_s = start_wait_s

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeProcess | TryAgain:
        """
        Carry out one operation.

        Raises:
            RejectEffectError: When the registry refuses it, with code ``plugin``.
            DatabaseUnavailableError: When the registry's database cannot be used.
        """
        command = request.envelope.command
        if not isinstance(command, RuntimeEffectCommandProcess):
            raise cannot_execute("the process", command)
        try:
            result = await self._execute(command.command, request)
        except UnknownProcessError as problem:
            if _now_ms() - request.first_seen_ms >= self._start_wait_s * 1_000:
                raise RejectEffectError("plugin", problem.display) from None
            return self._again(request, f"{problem.text}, whose start may be on its way")
        except ProcessRegistryError as problem:
            raise RejectEffectError("plugin", problem.display) from None
        return (
            result if isinstance(result, TryAgain) else RuntimeEffectOutcomeProcess(result=result)
        )

    async def _execute(
        self, command: ProcessCommand, request: Request
    ) -> ProcessEffectOutcome | TryAgain:
        registry = self._registry
        match command:
            case ProcessCommandStart():
                return await self._start(command)
            case ProcessCommandList():
                entries = await registry.list_handles(command.owner_scope, command.mode)
                return ProcessEffectOutcomeList(entries=entries)
            case ProcessCommandTransfer():
                await registry.transfer_handles(
                    command.from_scope, command.to_scope, command.process_ids
                )
                return ProcessEffectOutcomeTransfer()
            case ProcessCommandDeleteSession():
                report = await registry.delete_session(
                    command.session_id, cancel_reason=_SESSION_DELETED
                )
                return ProcessEffectOutcomeDeleteSession(report=report)
            case ProcessCommandAwait():
                return await self._await(command.process_id, request)
            case ProcessCommandCancel():
                record = await registry.request_cancel(command.process_id, command.reason)
                return ProcessEffectOutcomeCancel(record=record)
            case ProcessCommandSignal():
                appended = await registry.append_event(command.process_id, command.request)
                return ProcessEffectOutcomeSignal(event=appended.event)

    async def _start(self, command: ProcessCommandStart) -> ProcessEffectOutcomeStart:
        record = await self._registry.start(
            command.registration, command.grant, command.execution_context
        )
        if self._poke is not None:
            self._poke()
        return ProcessEffectOutcomeStart(record=record)

    async def _await(
        self, process_id: str, request: Request
    ) -> ProcessEffectOutcomeAwait | TryAgain:
        waited_ms = _now_ms() - request.first_seen_ms
        lingers = waited_ms < self._first_wait_ms
        output = await self._look(process_id, lingers=lingers)
        if output is not None:
            return ProcessEffectOutcomeAwait(output=output)
        return self._again(request, f"process {process_id} has not ended")

    def _again(self, request: Request, why: str) -> TryAgain:
        waited_ms = _now_ms() - request.first_seen_ms
        wait_ms = min(max(waited_ms // 4, self._first_wait_ms), self._longest_wait_ms)
        if request.deadline_ms:
            # With a deadline, the last look is shortly before it.
            left_ms = request.deadline_ms - _now_ms()
            wait_ms = max(min(wait_ms, left_ms // 2), _SHORTEST_WAIT_MS)
        return TryAgain(wait_ms, why, counts=False)

    async def _look(self, process_id: str, *, lingers: bool) -> ProcessAwaitOutput | None:
        if not lingers or not self._linger_s:
            return await self._registry.output(process_id)
        try:
            async with asyncio.timeout(self._linger_s):
                return await self._registry.await_process(process_id)
        except TimeoutError:
            return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
