"""
The tools of processes as effects: each call goes to a worker that has the tool.

The replay key of a call is made of the process and the call. So a process that another runner
starts again after a crash asks for the same effect, and with a journal it gets the recorded answer
instead of a second execution.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.processes.running import RunningProcess
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import (
    CausalRefProcess,
    RuntimeInvocation,
    RuntimeReplay,
    RuntimeScope,
    RuntimeSubjectEffect,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.process_registration import ProcessScope
from effectmq.protocol.wire.scopes import EffectScopeProcess
from effectmq.protocol.wire.tools import PreparedToolCall, ToolCallOutput

__all__ = ["process_tool_call", "tools_as_effects"]

_TIMEOUT_S = 86_400.0


def tools_as_effects(
    client: EffectClient,
    *,
    timeout_s: float = _TIMEOUT_S,
    lane_of: Callable[[str], str | None] = lambda tool: None,
) -> Callable[[PreparedToolCall, RunningProcess], Awaitable[ToolCallOutput]]:
    """
    Run the tools of processes as ``tool_call`` effects.

    Args:
        client: A connected client.
        timeout_s: How long to wait for one call; then the process fails, and the call goes on.
        lane_of: The lane of ``tool_call`` that calls of a tool take.
    """

    async def run_tool(call: PreparedToolCall, process: RunningProcess) -> ToolCallOutput:
        envelope = RuntimeEffectEnvelope(
            invocation=process_tool_call(
                process.record.provenance.owner_scope, process.record.id, call.call_id
            ),
            command=RuntimeEffectCommandToolCall(call=call),
        )
        outcome = await client.execute(
            envelope,
            timeout=timeout_s,
            scope=EffectScopeProcess(process_id=process.record.id),
            lane=lane_of(call.tool_name),
        )
        assert isinstance(outcome, RuntimeEffectOutcomeToolCall)
        return outcome.result.output

    return run_tool


def process_tool_call(owner: ProcessScope, process_id: str, call_id: str) -> RuntimeInvocation:
    """
    Invoke the tool of a process.

    Args:
        owner: The scope that owns the process.
        process_id: The process.
        call_id: The call.
    """
    name = f"process:{process_id}:tool:{call_id}"
    return RuntimeInvocation(
        scope=RuntimeScope(session_id=owner.session_id),
        subject=RuntimeSubjectEffect(effect_id=name, kind="tool_call"),
        caused_by=CausalRefProcess(process_id=process_id),
        replay=RuntimeReplay(key=f"{owner.session_id}:{name}"),
    )
