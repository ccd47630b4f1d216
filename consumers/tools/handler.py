"""
The handler of ``tool_call``: finds the tool, runs it, and decides about another attempt.

The retry rule is that of the wire format (``ToolRetryPolicy``), not of the pipeline: only failures
whose disposition is ``safe`` are tried again, and after the last attempt the failure is an outcome
with disposition ``exhausted``. A failing tool never parks its effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Protocol, Self

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Tally
from effectmq.broker.store.attachments.store import AttachmentStore
from effectmq.broker.store.journal.records import WhenDoubtful
from effectmq.consumers.answering import WaitForAnswer
from effectmq.consumers.decisions.retry import NO_RETRY, RetryPolicy, tool_retry_wait_ms
from effectmq.consumers.fleet.abilities import version_of
from effectmq.consumers.handler import (
    EffectContext,
    NotHere,
    RetrySleep,
    TryAgain,
    cannot_execute,
    with_tried,
)
from effectmq.consumers.logs.lines import note_raised
from effectmq.consumers.runtime.threads import waited_s
from effectmq.consumers.tools.context import HostEvent, ToolContext
from effectmq.consumers.tools.registry import BadArgumentsError, Tool
from effectmq.consumers.tools.results.outputs import (
    PlainOutput,
    completed,
    exhausted,
    failed,
    failure,
    failure_from,
    output_from,
    plain_output,
    succeeded,
)
from effectmq.consumers.tools.results.special import stored
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.errors import ConfigurationError, ToolCallError
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.identity import invocations
from effectmq.protocol.kinds import route_of
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolHostEventEffectOutcome,
    ToolRetryDispositionSafe,
)

__all__ = ["ToolHandler", "ToolSource"]


class ToolSource(Protocol):
    """A source of tools that are known only once the worker runs, for instance an MCP server."""

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Its tools by name; empty until it is entered."""
        ...

    @property
    def lane(self) -> str:
        """The lane of calls of its tools; empty for the common one."""
        ...

    @property
    def time_limit_s(self) -> float | None:
        """How long one attempt of any of its tools may run, in seconds."""
        ...

    async def __aenter__(self) -> Self:
        """Find out which tools it has."""
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Close what the tools need."""
        ...


class ToolHandler:
    """
    Runs ``tool_call`` effects with the registered tools.

    Args:
        attachments: The store for attachments that tools return.
    """

    kind = "tool_call"

    def __init__(self, attachments: AttachmentStore | None = None) -> None:
        self.attachments = attachments
        self.sources: list[ToolSource] = []
        #: For errors around a tool only. A tool's failures are outcomes, and its own policy decides
        #: whether it runs again.
        self.retry: RetryPolicy = NO_RETRY
        self._own: dict[str, Tool] = {}
        #: How often each tool succeeded and failed; an attempt that ran over its time failed.
        self.numbers = Tally(catalog.TOOL_CALLS)
        self._entered = AsyncExitStack()

    @property
    def tools(self) -> dict[str, Tool]:
        """All tools by name; of two with the same name, the one registered first."""
        found = dict(self._own)
        for source in self.sources:
            for name, tool in source.tools.items():
                found.setdefault(name, tool)
        return found

    @property
    def routes(self) -> tuple[str, ...]:
        """The lanes of the registered tools, as ``tool_call.lane``."""
        lanes = [tool.lane for tool in self._own.values()]
        lanes += [source.lane for source in self.sources]
        return tuple(route_of(self.kind, lane) for lane in dict.fromkeys(lanes) if lane)

    @property
    def abilities(self) -> dict[str, str]:
        """The abilities: its tools, each with the version of its arguments."""
        return {_needs(name): version_of(tool.input_schema) for name, tool in self.tools.items()}

    def find(self, name: str) -> Tool | None:
        """The tool of a name; ``None`` without one."""
        return self._own.get(name) or self._brought(name)

    def _brought(self, name: str) -> Tool | None:
        """The tool of a name, from the first source that has one."""
        return next((one.tools[name] for one in self.sources if name in one.tools), None)

    def _called(self, request: Request) -> tuple[PreparedToolCall, Tool | None]:
        """The call and its tool, which is looked for in the sources last."""
        command = request.envelope.command
        if not isinstance(command, RuntimeEffectCommandToolCall):
            raise cannot_execute("the tool", command)
        call = command.call
        return call, self._own.get(call.tool_name) or self._brought(call.tool_name)

    async def __aenter__(self) -> Self:
        """
        Enter all sources.

        Raises:
            ConfigurationError: When one cannot be used, or two tools have the same name.
        """
        async with AsyncExitStack() as entered:
            taken = set(self._own)
            for source in self.sources:
                await entered.enter_async_context(source)
                twice = sorted(taken & set(source.tools))
                if twice:
                    raise ConfigurationError(
                        f"{source} has a tool {twice[0]!r}, and that name is taken; give its "
                        "tools a prefix, or choose among them with only="
                    )
                taken |= set(source.tools)
            self._entered = entered.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Leave all sources."""
        await self._entered.aclose()

    def add(self, tool: Tool) -> None:
        """
        Register a tool.

        Raises:
            ConfigurationError: When its name is taken.
        """
        if tool.name in self._own:
            raise ConfigurationError(
                f"the name {tool.name!r} is taken by another tool; give one of the two another "
                "name: @app.tool(name=...)"
            )
        self._own[tool.name] = tool

    def limit_s(self, request: Request) -> float | None:
        """The time limit of the called tool, in seconds."""
        _, tool = self._called(request)
        return tool.time_limit_s if tool else None

    def on_uncertain(self, request: Request) -> WhenDoubtful:
        """The choice of the called tool."""
        _, tool = self._called(request)
        return tool.on_uncertain if tool else "undecided"

    async def run(
        self, request: Request, context: EffectContext
    ) -> WrittenOutcome | RuntimeEffectOutcomeToolCall | TryAgain | NotHere | WaitForAnswer:
        """Make one attempt at one call."""
        call, tool = self._called(request)
        started = time.monotonic()
        if tool is None:
            return NotHere(
                needs=_needs(call.tool_name),
                version="",
                problem=f"no tool {printable(call.tool_name, 100)!r} is registered with it",
                otherwise=lambda tried: completed(
                    call, self._unavailable(call.tool_name, tried), 0
                ),
            )
        told = ToolContext.of(context, call, self.attachments)
        try:
            output = await self._output(request, tool, told)
        except BadArgumentsError as problem:
            refusal = f"invalid arguments for tool {tool.name}: {problem}"
            return NotHere(
                needs=_needs(tool.name),
                version=version_of(tool.input_schema),
                problem=refusal,
                otherwise=lambda tried: completed(
                    call, _bad_arguments(with_tried(refusal, tried)), 0
                ),
            )
        duration_ms = round((time.monotonic() - started - waited_s()) * 1_000)
        if isinstance(output, PlainOutput):
            self.numbers.add(tool.name, "success")
            return succeeded(call, output, duration_ms, _events(told.host_events))
        if isinstance(output, WaitForAnswer):
            self.numbers.add(tool.name, "handed_out")
            return output
        if isinstance(output.outcome, ToolCallOutcomeFailure):
            self.numbers.add(tool.name, "failure")
            return self._failed(request, call, tool, output, duration_ms, told.host_events)
        self.numbers.add(tool.name, "success")
        return completed(call, output, duration_ms, _events(told.host_events))

    async def _output(
        self, request: Request, tool: Tool, context: ToolContext
    ) -> ToolCallOutput | PlainOutput | WaitForAnswer:
        """Run the tool; whatever it does is an output."""
        runs = _current_task()
        try:
            result = await tool.body(context.call.args, context)
            plain = plain_output(result)
            return plain if plain is not None else await self._output_of(tool, result)
        except BadArgumentsError:
            # The arguments are wrong for this worker's version of the tool; another may have
            # another.
            raise
        except ToolCallError as problem:
            note_raised(request, problem, _raiser(tool))
            await self._store_raw(problem)
            return failure_from(problem, repeatable=tool.repeatable)
        except asyncio.CancelledError as problem:
            if _being_cancelled():
                raise
            # Something that the tool waited for was cancelled, not the tool.
            note_raised(request, problem, _raiser(tool))
            return failure_from(problem, repeatable=tool.repeatable)
        except KeyboardInterrupt:
            raise
        except GeneratorExit as problem:
            if _current_task() is not runs or runs is None:
                # Nobody runs this any more; it is being thrown away.
                raise
            note_raised(request, problem, _raiser(tool))
            return failure_from(problem, repeatable=tool.repeatable)
        except BaseException as problem:
            # Also ``sys.exit`` and groups of exceptions.
            note_raised(request, problem, _raiser(tool))
            return failure_from(problem, repeatable=tool.repeatable)

    async def _output_of(self, tool: Tool, result: object) -> ToolCallOutput | WaitForAnswer:
        """The output of a tool that returned something else than plain data."""
        if isinstance(result, WaitForAnswer):
            return _asking(result, tool)
        return output_from(await stored(result, self.attachments, repeatable=tool.repeatable))

    async def _store_raw(self, error: ToolCallError) -> None:
        """
        Store the attachments of a failure; if that fails, the tool's failure is still the answer.
        """
        try:
            error.raw = await stored(error.raw, self.attachments, repeatable=False)
        except ToolCallError as problem:
            error.raw = None
            error.message += f" (its attachments are lost: {problem.message})"

    def timed_out(
        self, request: Request, limit_s: float
    ) -> WrittenOutcome | RuntimeEffectOutcomeToolCall | TryAgain:
        """A tool that ran over its limit failed with class ``timeout``."""
        call, tool = self._called(request)
        output = failure(
            "timeout",
            "timeout",
            f"the tool did not finish within {limit_s:g} s",
            source="runtime",
            retry=ToolRetryDispositionSafe() if tool and tool.repeatable else None,
        )
        duration_ms = round(limit_s * 1_000)
        if tool is None:
            return completed(call, output, duration_ms)
        self.numbers.add(tool.name, "failure")
        return self._failed(request, call, tool, output, duration_ms)

    def _failed(
        self,
        request: Request,
        call: PreparedToolCall,
        tool: Tool,
        output: ToolCallOutput,
        duration_ms: int,
        events: Sequence[HostEvent] = (),
    ) -> WrittenOutcome | RuntimeEffectOutcomeToolCall | TryAgain:
        """Another try when failure and policy both allow it; else the failure as the outcome."""
        outcome = output.outcome
        if isinstance(outcome, ToolCallOutcomeFailure) and tool.repeatable:
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
                    promised = disposition.after_ms is not None
                    sleep = _retry_sleep(request, call, wait_ms, duration_ms) if wait_ms else None
                    return TryAgain(wait_ms, problem, promised=promised, sleep=sleep)
                output = exhausted(output, request.attempt)
        return failed(call, output, duration_ms, _events(events))

    def _unavailable(self, name: str, tried: str) -> ToolCallOutput:
        from difflib import get_close_matches

        tools = self.tools
        near = get_close_matches(name, tools, n=1)
        known = ", ".join(sorted(tools)) or "none"
        hint = f" Did you mean {near[0]}?" if near else ""
        return failure(
            "unavailable",
            "tool_unavailable",
            with_tried(
                f"no tool {printable(name, 100)!r} is registered with this worker.{hint} "
                f"Registered: {printable(known, 500)}",
                tried,
            ),
            source="runtime",
        )


def _asking(asked: WaitForAnswer, tool: Tool) -> WaitForAnswer:
    """What is asked, with the type that the answer must have."""
    schema = tool.output_schema
    return replace(asked, schema_json=canonical_json(schema).decode()) if schema else asked


def _events(events: Sequence[HostEvent]) -> Sequence[ToolHostEventEffectOutcome]:
    return [event.outcome() for event in events] if events else ()


def _raiser(tool: Tool) -> str:
    return f"tool {printable(tool.name, 100)}"


def _needs(name: str) -> str:
    """The ability that a call needs."""
    return f"tool {name}"


def _bad_arguments(message: str) -> ToolCallOutput:
    return failure("invalid_request", "invalid_tool_args", message, source="runtime")


def _retry_sleep(
    request: Request, call: PreparedToolCall, wait_ms: int, duration_ms: int
) -> RetrySleep:
    """The pause before the next attempt, as the effect that the wire format defines."""
    invocation = invocations.tool_retry_sleep(
        call.tool_name, request.attempt, parent=request.envelope.invocation
    )
    command = RuntimeEffectCommandSleep(duration_ms=wait_ms)
    envelope = RuntimeEffectEnvelope(invocation=invocation, command=command)
    return RetrySleep(envelope, partial(_sleep_failed, call, duration_ms))


def _sleep_failed(
    call: PreparedToolCall, duration_ms: int, reason: str
) -> RuntimeEffectOutcomeToolCall:
    output = failure("internal", "tool_retry_sleep_failed", reason, source="runtime")
    return completed(call, output, duration_ms)


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        # No loop is running.
        return None


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
