"""What a running process can use, and the functions that run one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

from effectmq.broker.store.processes.registry import ProcessRegistry
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.identity.digests import event_key
from effectmq.protocol.wire.invocation import RuntimeReplay
from effectmq.protocol.wire.process_events import (
    ProcessAwaitOutput,
    ProcessEventAppendRequest,
    ProcessEventAppendResult,
)
from effectmq.protocol.wire.processes import (
    ProcessExecutionContext,
    ProcessLease,
    ProcessRecord,
)
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput

__all__ = ["Program", "RunTool", "RunningProcess"]


class RunningProcess:
    """
    A process while it runs here.

    Args:
        registry: Where its events are appended.
        record: The process.
        context: The context of its start.
        lease: The right to run it.
    """

    def __init__(
        self,
        registry: ProcessRegistry,
        record: ProcessRecord,
        context: ProcessExecutionContext,
        lease: ProcessLease,
    ) -> None:
        self.record = record
        self.context = context
        self.lease = lease
        self._registry = registry
        self._ordinals = count()

    async def emit(self, event_type: str, payload: JsonValue) -> ProcessEventAppendResult:
        """
        Append an event; its wakes go to the session for which the process was started.

        Events are numbered in the order of these calls. A run that starts again must emit the same
        events in the same order: those that exist already are not appended again.

        Raises:
            ProcessRegistryError: When the event breaks a rule of its type, or differs from that of
                an earlier run.
            ProcessLeaseLostError: When another runner has the process by now; nothing was appended.
        """
        request = ProcessEventAppendRequest(
            event_type=event_type,
            payload=payload,
            replay=RuntimeReplay(key=event_key(self.record.id, next(self._ordinals))),
            wake_target_scope=self.context.wake_target_scope,
        )
        return await self._registry.append_event(self.record.id, request, lease=self.lease)


#: Runs the tool of a ``tool_call`` process, in a thread when it is not ``async``. An exception
#: becomes the failure of the process.
RunTool = Callable[[PreparedToolCall, RunningProcess], Awaitable[ToolCallOutput] | ToolCallOutput]

#: Runs a ``session_turn`` or a ``lashlang_process``. It is cancelled when the process is asked to
#: stop, and may end in its own way within the grace time; one that is not ``async`` runs in a
#: thread, which nothing stops: after the grace time it is left alone.
Program = Callable[[RunningProcess], Awaitable[ProcessAwaitOutput] | ProcessAwaitOutput]
