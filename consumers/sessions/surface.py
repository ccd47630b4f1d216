"""
The handler of ``sync_execution_surface``: the system prompt and the tools of the model.

The tools are those of this worker, so a worker of this kind must register the same tools as the
workers that run them: the same module, started with another ``--kind``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from effectmq.consumers.decisions.retry import DEFAULT_RETRY, RetryPolicy
from effectmq.consumers.handler import EffectContext, RepeatableHandler, call, cannot_execute
from effectmq.consumers.logs.lines import note_raised
from effectmq.consumers.tools.registry import Tool
from effectmq.protocol.encoding.serde.tagging import Err, Ok
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSyncExecutionSurface
from effectmq.protocol.wire.execution import ExecutionSurfaceSync
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSyncExecutionSurface

__all__ = ["PromptProvider", "SurfaceHandler"]

logger = logging.getLogger("effectmq.sessions")

#: Returns the system prompt of a session; a function that is not ``async`` runs in a thread.
PromptProvider = Callable[[EffectContext], Awaitable[str] | str]


class SurfaceHandler(RepeatableHandler):
    """
    Carries out ``sync_execution_surface`` effects; register it with ``worker.add``.

    Args:
        tools: The tools by name, asked for each time: ``lambda: worker.tools``.
        prompt: The system prompt, or a function that returns it.
        retry: What to do when an attempt runs over its time.
    """

    kind = "sync_execution_surface"

    def __init__(
        self,
        tools: Callable[[], Mapping[str, Tool]],
        prompt: PromptProvider | str = "",
        *,
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> None:
        self.retry = retry
        self._tools = tools
        self._prompt = prompt

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeSyncExecutionSurface:
        """
        The surface, or nothing when there is nothing to update.

        Raises:
            RejectEffectError: When the effect is of another kind.
        """
        command = request.envelope.command
        if not isinstance(command, RuntimeEffectCommandSyncExecutionSurface):
            raise cannot_execute("the surface", command)
        if not command.update_machine_config:
            return RuntimeEffectOutcomeSyncExecutionSurface(result=Ok(None))
        try:
            prompt = await self._system_prompt(context)
        except Exception as problem:
            note_raised(request, problem, "the prompt provider")
            return RuntimeEffectOutcomeSyncExecutionSurface(result=Err(describe(problem)))
        tools = [tool.spec() for _, tool in sorted(self._tools().items())]
        surface = ExecutionSurfaceSync(system_prompt=prompt, tool_specs=tools)
        return RuntimeEffectOutcomeSyncExecutionSurface(result=Ok(surface))

    async def _system_prompt(self, context: EffectContext) -> str:
        if isinstance(self._prompt, str):
            return self._prompt
        given = await call(self._prompt, (context,), {})
        if not isinstance(given, str):
            raise TypeError(f"the prompt provider returned {type(given).__name__}; expected text")
        return given
