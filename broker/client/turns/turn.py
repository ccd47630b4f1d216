"""
Build the envelopes of a runtime for the effects of a turn.

Every effect gets the invocation and the replay key of the wire format, section 4, so that the same
program run again asks for the same effects. A turn counts its effects from 1 in the order in which
its methods are *called*; a program that starts several at once must start them in the same order
every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from effectmq.broker.client.turns.executing import Outcome, Running, execute_as
from effectmq.broker.client.turns.functions import arguments_of, tool_of
from effectmq.broker.client.turns.options import (
    CallOptions,
    Execute,
    StreamOptions,
    ToolOptions,
    WaitOptions,
)
from effectmq.broker.place import refuse_unknown
from effectmq.protocol.errors import (
    ConfigurationError,
    MalformedError,
    PayloadTooLargeError,
)
from effectmq.protocol.identity import invocations
from effectmq.protocol.text import printable
from effectmq.protocol.tool_calls.from_model import ModelToolCall, calls_from_model, too_much
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandCheckpoint,
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandExecCode,
    RuntimeEffectCommandLlmCall,
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
    RuntimeEffectOutcomeCheckpoint,
    RuntimeEffectOutcomeDirect,
    RuntimeEffectOutcomeExecCode,
    RuntimeEffectOutcomeLlmCall,
    RuntimeEffectOutcomeSleep,
    RuntimeEffectOutcomeSyncExecutionSurface,
    RuntimeEffectOutcomeToolCall,
)
from effectmq.protocol.wire.tools import PreparedToolCall

__all__ = ["Calls", "Execute", "ToolCall", "Turn"]

P = ParamSpec("P")
R = TypeVar("R")


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
        The call in the form of an envelope.

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

    Its methods are not coroutine functions but return coroutines: the call takes the number.
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
        The envelopes of a batch of calls, which together take one number.

        Raises:
            ConfigurationError: When two of them have the same id, because they would be one effect.
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
        **options: Unpack[StreamOptions],
    ) -> Running[RuntimeEffectOutcomeToolCall]:
        """
        Call one tool; see ``Client.execute`` for the errors.

        Args:
            tool_name: The tool.
            args: Its arguments by name.
            call_id: The call's id, given by the model.
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``: see ``StreamOptions``.
        """
        _check_options("tool_call", options, StreamOptions)
        (envelope,) = self.tool_envelopes([ToolCall(tool_name, args, call_id)])
        return execute_as(self._execute, RuntimeEffectOutcomeToolCall, envelope, options)

    @overload
    def call(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Running[R]: ...
    @overload
    def call(self, tool: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Running[R]: ...
    def call(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Running[Any]:
        """
        Call a tool by its function, which is registered in this program; returns its value.

        Its name and lane are those of the registration; arguments and result have the types of its
        signature. ``with_options`` sets how long to wait.

        Args:
            tool: The decorated function; the worker may run in another program.
            args: The positional arguments.
            kwargs: The keyword arguments.

        Raises:
            OutcomeFailedError: When the tool failed.
            MalformedError: When an argument has no JSON form, or the value is not of the function's
                return type.
            ConfigurationError: When it is not a tool, or its return type has a special form as a
                value (an attachment for instance).
            TypeError: When the arguments do not fit the signature.
        """
        return self.with_options().call(tool, *args, **kwargs)

    def with_options(self, **options: Unpack[ToolOptions]) -> Calls:
        """
        Set the options of the next ``call``: ``turn.with_options(timeout=90).call(add, a=1, b=2)``.

        Args:
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``, ``call_id``: see
                ``ToolOptions``.
        """
        _check_options("with_options", options, ToolOptions)
        return Calls(self, options)

    def tool_call_from_model(
        self,
        part: ModelToolCall,
        *,
        tools: Iterable[LlmToolSpec] | None = None,
        lane: str | None = None,
        **options: Unpack[WaitOptions],
    ) -> Running[RuntimeEffectOutcomeToolCall]:
        """
        Call the tool that a model asks for, whatever arguments it wrote.

        Text that is not an object of arguments, arguments that are too large, and a tool that was
        not offered are outcomes with a failure that the model can read, like those of a tool; no
        worker is asked then.

        Args:
            part: The call from the response of the model.
            tools: The tools that were offered; ``None`` leaves this check to the worker.
            lane: The lane of the tool, when it has one.
            options: ``timeout`` and ``deadline_s``: see ``WaitOptions``.

        Raises:
            ConfigurationError: When it is not a call of a model, or these are not tools.
        """
        lanes = {part.tool_name: lane} if lane else None
        return _only(self.tool_calls_from_model([part], tools=tools, lanes=lanes, **options))

    def tool_calls_from_model(
        self,
        parts: Sequence[ModelToolCall],
        *,
        tools: Iterable[LlmToolSpec] | None = None,
        lanes: Mapping[str, str] | None = None,
        **options: Unpack[WaitOptions],
    ) -> Coroutine[Any, Any, list[RuntimeEffectOutcomeToolCall]]:
        """
        Call all tools that one answer of a model asks for, in parallel, as one batch.

        Args:
            parts: The calls from the response of the model.
            tools: The tools that were offered; ``None`` leaves this check to the worker.
            lanes: The lanes of the tools that have one, by name.
            options: ``timeout`` and ``deadline_s``: see ``WaitOptions``.

        Returns:
            The outcomes in the order of the calls; see ``tool_call_from_model``.

        Raises:
            ConfigurationError: When these are not calls of a model, or not tools.
            MalformedError: When these are not lanes.
        """
        _check_options("tool_calls_from_model", options, WaitOptions)
        _check(lanes or {}, Mapping, "lanes", "a dict of lanes by the names of their tools")
        calls = calls_from_model(parts, tools)
        # Taken in any case, so that the numbers after it are always the same.
        batch = self.invocation("tool_call") if calls else None
        return self._side_by_side(batch, calls, lanes or {}, options)

    async def _side_by_side(
        self,
        batch: RuntimeInvocation | None,
        calls: Sequence[PreparedToolCall | RuntimeEffectOutcomeToolCall],
        lanes: Mapping[str, str],
        options: WaitOptions,
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
            how: CallOptions = {**options, "lane": lanes.get(call.tool_name)}
            try:
                return await execute_as(self._execute, RuntimeEffectOutcomeToolCall, envelope, how)
            except (MalformedError, PayloadTooLargeError) as problem:
                failed = too_much(call, problem)
                if failed is None:
                    raise
                return failed

        tasks = [asyncio.ensure_future(carried_out(call)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def llm_call(
        self, request: LlmRequestSpec, **options: Unpack[StreamOptions]
    ) -> Running[RuntimeEffectOutcomeLlmCall]:
        """Ask the turn's model; with ``on_chunk`` its text arrives while it answers."""
        _check_options("llm_call", options, StreamOptions)
        command = RuntimeEffectCommandLlmCall(request=request)
        return self._run(RuntimeEffectOutcomeLlmCall, command, options)

    def exec_code(
        self, code: str, **options: Unpack[StreamOptions]
    ) -> Running[RuntimeEffectOutcomeExecCode]:
        """Run a block of code; with ``on_chunk`` its printed text arrives while it runs."""
        _check_options("exec_code", options, StreamOptions)
        command = RuntimeEffectCommandExecCode(code=code)
        return self._run(RuntimeEffectOutcomeExecCode, command, options)

    def checkpoint(
        self, checkpoint: CheckpointKind, **options: Unpack[CallOptions]
    ) -> Running[RuntimeEffectOutcomeCheckpoint]:
        """Take what has arrived for the session."""
        _check_options("checkpoint", options, CallOptions)
        command = RuntimeEffectCommandCheckpoint(checkpoint=checkpoint)
        return self._run(RuntimeEffectOutcomeCheckpoint, command, options)

    def sync_execution_surface(
        self, *, update_machine_config: bool, **options: Unpack[CallOptions]
    ) -> Running[RuntimeEffectOutcomeSyncExecutionSurface]:
        """Ask for the present system prompt and tools."""
        _check_options("sync_execution_surface", options, CallOptions)
        command = RuntimeEffectCommandSyncExecutionSurface(
            update_machine_config=update_machine_config
        )
        return self._run(RuntimeEffectOutcomeSyncExecutionSurface, command, options)

    def sleep(
        self, duration_ms: int, **options: Unpack[WaitOptions]
    ) -> Running[RuntimeEffectOutcomeSleep]:
        """Wait for ``duration_ms`` milliseconds; no worker is held meanwhile."""
        _check_options("sleep", options, WaitOptions)
        command = RuntimeEffectCommandSleep(duration_ms=duration_ms)
        return self._run(RuntimeEffectOutcomeSleep, command, options)

    async def direct(
        self,
        request: LlmRequestSpec,
        *,
        usage_source: str,
        replay_key: str | None = None,
        cause: CausalRef | None = None,
        **options: Unpack[StreamOptions],
    ) -> RuntimeEffectOutcomeDirect:
        """
        Ask a model outside of the turn's own conversation.

        Args:
            request: The request. Without a ``replay_key`` its content is its identity: two equal
                requests with the same source and cause are one effect.
            usage_source: The name under which its tokens are counted.
            replay_key: Distinguishes two equal requests.
            cause: The cause.
            options: ``timeout``, ``deadline_s``, ``lane``, ``on_chunk``: see ``StreamOptions``.

        Raises:
            MalformedError: When it is not a request.
        """
        _check_options("direct", options, StreamOptions)
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
        envelope = RuntimeEffectEnvelope(invocation=invocation, command=command)
        return await execute_as(self._execute, RuntimeEffectOutcomeDirect, envelope, options)

    def _run(
        self, expected: type[Outcome], command: RuntimeEffectCommand, options: WaitOptions
    ) -> Running[Outcome]:
        envelope = RuntimeEffectEnvelope(invocation=self.invocation(command.type), command=command)
        return execute_as(self._execute, expected, envelope, options)


def _check_options(method: str, options: WaitOptions, known: Any) -> None:
    """Refuse misspelt options before a number is taken."""
    refuse_unknown(f"turn.{method}", options, known.__optional_keys__)


def _check(value: object, kind: type[object], name: str, expected: str) -> None:
    if not isinstance(value, kind):
        raise MalformedError(name, f"found a Python {type(value).__name__}, expected {expected}")


async def _only(
    outcomes: Coroutine[Any, Any, list[RuntimeEffectOutcomeToolCall]],
) -> RuntimeEffectOutcomeToolCall:
    (outcome,) = await outcomes
    return outcome


@dataclass(frozen=True, slots=True)
class Calls:
    """
    Calls of tools by their functions, with options; made by ``Turn.with_options``.

    Attributes:
        turn: The turn of the effects.
        options: The options of the calls.
    """

    turn: Turn
    options: ToolOptions

    @overload
    def call(
        self, tool: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Running[R]: ...
    @overload
    def call(self, tool: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Running[R]: ...
    def call(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Running[Any]:
        """Call a tool by its function; see ``Turn.call``."""
        known = tool_of(tool)
        read = known.reader()
        arguments = arguments_of(known, tool, args, kwargs)
        options: ToolOptions = {"call_id": known.name, "lane": known.lane or None, **self.options}
        return _value(self.turn.tool_call(known.name, arguments, **options), read)


async def _value(
    called: Running[RuntimeEffectOutcomeToolCall], read: Callable[[object], Any]
) -> Any:
    return read((await called).value)
