"""
The handler of ``tool_call``: look the tool up, run it, decide about another try.

The retry rule is the wire format's own (``ToolRetryPolicy``), not the pipeline's: only failures
whose disposition is ``safe`` are tried again, and after the last attempt the failure is an outcome
with disposition ``exhausted``. Nothing that a tool does parks its effect.
"""

from __future__ import annotations

import asyncio
import time
from difflib import get_close_matches

from effectmq.broker.journal.records import OnUncertain
from effectmq.consumers.handler import EffectContext, TryAgain
from effectmq.consumers.retry import NO_RETRY, RetryPolicy, tool_retry_wait_ms
from effectmq.consumers.tool_outputs import (
    completed,
    exhausted,
    failure,
    failure_from,
    output_from,
)
from effectmq.consumers.tools import BadArgumentsError, Tool
from effectmq.protocol.errors import ConfigurationError, RejectEffectError
from effectmq.protocol.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tool_definitions import ToolRetryPolicyNever
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolRetryDispositionSafe,
)

__all__ = ["ToolHandler"]


class ToolHandler:
    """Runs ``tool_call`` effects with the registered tools."""

    kind = "tool_call"

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        #: Only for what goes wrong around a tool; a tool's own failures are outcomes, and whether
        #: it runs again is for its own policy to say.
        self.retry: RetryPolicy = NO_RETRY

    def add(self, tool: Tool) -> None:
        """
        Register a tool.

        Raises:
            ConfigurationError: When its name is taken.
        """
        if tool.name in self.tools:
            raise ConfigurationError(
                f"there is a tool {tool.name!r} already; give one of the two another name: "
                "@app.tool(name=...)"
            )
        self.tools[tool.name] = tool

    def limit_s(self, request: Request) -> float | None:
        """The limit of the tool that is called."""
        tool = self.tools.get(_call(request).tool_name)
        return tool.time_limit_s if tool else None

    def on_uncertain(self, request: Request) -> OnUncertain:
        """What the tool that is called says."""
        tool = self.tools.get(_call(request).tool_name)
        return tool.on_uncertain if tool else "retry"

    async def run(
        self, request: Request, context: EffectContext
    ) -> RuntimeEffectOutcomeToolCall | TryAgain:
        """One attempt at one call."""
        call = _call(request)
        started = time.monotonic()
        tool = self.tools.get(call.tool_name)
        if tool is None:
            return completed(call, self._unavailable(call.tool_name), 0)
        try:
            output = output_from(await tool.invoke(call.args, context))
        except BadArgumentsError as problem:
            output = failure(
                "invalid_request",
                "invalid_tool_args",
                f"invalid arguments for tool {call.tool_name}: {problem}",
                source="runtime",
            )
        except asyncio.CancelledError as problem:
            if _being_cancelled():
                raise
            # Something that the tool waited for was cancelled, and not the tool.
            output = failure_from(problem, repeatable=_repeatable(tool))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as problem:
            # ``sys.exit`` and groups of exceptions included.
            output = failure_from(problem, repeatable=_repeatable(tool))
        duration_ms = round((time.monotonic() - started) * 1_000)
        return self._judge(request, tool, output, duration_ms)

    def timed_out(
        self, request: Request, limit_s: float
    ) -> RuntimeEffectOutcomeToolCall | TryAgain:
        """A tool that ran over its limit failed with class ``timeout``."""
        call = _call(request)
        tool = self.tools.get(call.tool_name)
        output = failure(
            "timeout",
            "timeout",
            f"the tool did not finish within {limit_s:g} s",
            source="runtime",
            retry=ToolRetryDispositionSafe() if tool and _repeatable(tool) else None,
        )
        duration_ms = round(limit_s * 1_000)
        if tool is None:
            return completed(call, output, duration_ms)
        return self._judge(request, tool, output, duration_ms)

    def _judge(
        self, request: Request, tool: Tool, output: ToolCallOutput, duration_ms: int
    ) -> RuntimeEffectOutcomeToolCall | TryAgain:
        """An outcome, or another try when failure and policy both allow it."""
        call = _call(request)
        outcome = output.outcome
        if isinstance(outcome, ToolCallOutcomeFailure) and _repeatable(tool):
            disposition = outcome.payload.retry
            if isinstance(disposition, ToolRetryDispositionSafe):
                wait_ms = tool_retry_wait_ms(
                    tool.retry_policy,
                    attempt=request.attempt,
                    after_ms=disposition.after_ms,
                    has_call_id=bool(call.call_id),
                )
                if wait_ms is not None:
                    problem = f"{outcome.payload.code}: {printable(outcome.payload.message)}"
                    return TryAgain(wait_ms, problem, promised=disposition.after_ms is not None)
                output = exhausted(output, request.attempt)
        return completed(call, output, duration_ms)

    def _unavailable(self, name: str) -> ToolCallOutput:
        near = get_close_matches(name, self.tools, n=1)
        known = ", ".join(sorted(self.tools)) or "none"
        hint = f" Did you mean {near[0]}?" if near else ""
        return failure(
            "unavailable",
            "tool_unavailable",
            f"no tool {printable(name, 100)!r} is registered with this worker.{hint} "
            f"Registered: {printable(known, 500)}",
            source="runtime",
        )


def _repeatable(tool: Tool) -> bool:
    return not isinstance(tool.retry_policy, ToolRetryPolicyNever)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _call(request: Request) -> PreparedToolCall:
    command = request.envelope.command
    if not isinstance(command, RuntimeEffectCommandToolCall):
        raise RejectEffectError(
            "runtime_effect_local_executor_mismatch",
            f"the tool executor cannot execute {command.type} command",
        )
    return command.call
