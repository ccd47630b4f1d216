"""
A worker for all eight effect kinds, small enough to read in one go.

::

    effectmq run examples/envelopes.jsonl --worker examples.worker:app
    effectmq worker examples.worker:app --broker amqp://localhost

The tools are what a real worker looks like. The other kinds are honest demonstrations, see
``examples/demonstrations.py``: their outcomes are valid and say what is missing. ``sleep`` needs
no handler.
"""

from __future__ import annotations

import asyncio

from effectmq import ToolCallError, ToolContext, Worker
from effectmq.protocol import (
    Err,
    Ok,
    RuntimeEffectCommandCheckpoint,
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
    RuntimeEffectCommandProcess,
    RuntimeEffectCommandSyncExecutionSurface,
    RuntimeEffectOutcomeCheckpoint,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeProcess,
    RuntimeEffectOutcomeSyncExecutionSurface,
)
from effectmq.protocol.wire.execution import CheckpointDelivery, ExecutionSurfaceSync
from effectmq.protocol.wire.tool_definitions import ToolRetryPolicyIdempotent, ToolRetryPolicySafe
from examples.demonstrations import Processes, answer, calculate

app = Worker()
processes = Processes()


# Tools: typed functions. Arguments are validated before a function sees them. -------------------


@app.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.tool(
    retry=ToolRetryPolicyIdempotent(max_attempts=3, base_delay_ms=200, max_delay_ms=2_000),
    time_limit_s=5,
)
async def echo(value: str, count: int = 1) -> dict[str, str]:
    """Give the value back, taking its time: 50 ms for each count."""
    await asyncio.sleep(0.05 * count)
    return {"echo": value}


@app.tool(retry=ToolRetryPolicySafe(max_attempts=4, base_delay_ms=100, max_delay_ms=1_000))
async def fetch(path: str, context: ToolContext) -> dict[str, str | int]:
    """Pretend to fetch a page from a server that is down twice, and up the third time."""
    if context.attempt < 3:
        raise ToolCallError(
            "the server answered 503 Service Unavailable",
            code="http_503",
            class_="external",
            retry=True,
        )
    # The host hears of it with the outcome.
    context.emit("Page", "web.page", "fetched", {"path": path})
    return {"path": path, "status": 200, "attempts": context.attempt}


# The other kinds: a function takes the typed command and returns the outcome of its kind. -------


@app.handler("llm_call")
async def llm_call(command: RuntimeEffectCommandLlmCall) -> RuntimeEffectOutcomeLlmCall:
    """Answer from the request alone; the same request always gets the same answer."""
    return RuntimeEffectOutcomeLlmCall(result=Ok(answer(command.request)), text_streamed=False)


@app.handler("direct")
async def direct(command: RuntimeEffectCommandDirect) -> RuntimeEffectOutcomeDirect:
    """The same, outside of a conversation."""
    return RuntimeEffectOutcomeDirect(result=Ok(answer(command.request)))


@app.handler("exec_code", time_limit_s=5)
async def exec_code(command: RuntimeEffectCommandExecCode) -> RuntimeEffectOutcomeExecCode:
    """Assignments, arithmetic and print; anything else is an error in the answer."""
    return RuntimeEffectOutcomeExecCode(result=Ok(calculate(command.code)))


@app.handler("checkpoint")
async def checkpoint(command: RuntimeEffectCommandCheckpoint) -> RuntimeEffectOutcomeCheckpoint:
    """Nothing ever comes in for the sessions of this worker."""
    delivery = CheckpointDelivery(messages=[], transient_messages=[], turn_causes=[])
    return RuntimeEffectOutcomeCheckpoint(result=Ok(delivery))


@app.handler("sync_execution_surface")
async def sync_execution_surface(
    command: RuntimeEffectCommandSyncExecutionSurface,
) -> RuntimeEffectOutcomeSyncExecutionSurface:
    """Tell the model which tools there are, when it asks."""
    if not command.update_machine_config:
        return RuntimeEffectOutcomeSyncExecutionSurface(result=Ok(None))
    if not app.tools:
        return RuntimeEffectOutcomeSyncExecutionSurface(result=Err("there are no tools"))
    specs = [tool.spec() for tool in app.tools.values()]
    surface = ExecutionSurfaceSync(system_prompt="You can use tools.", tool_specs=specs)
    return RuntimeEffectOutcomeSyncExecutionSurface(result=Ok(surface))


@app.handler("process")
async def process(command: RuntimeEffectCommandProcess) -> RuntimeEffectOutcomeProcess:
    """Keep processes in memory: start, list, cancel and await."""
    return RuntimeEffectOutcomeProcess(result=processes.carry_out(command.command))
