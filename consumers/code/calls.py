"""
The tool calls and sleeps of a block, each as an effect.

Each gets a number in the order in which the code asks, whatever is ready first. Its identity is
made of the block's identity and this number. So a block that is run again asks for byte-identical
envelopes, and a client with a journal answers those that have been carried out before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from effectmq.consumers.code.data.values import CodeError, UnsendableError, answer_of, to_json
from effectmq.consumers.code.engine import BlockStoppedError
from effectmq.consumers.code.faults import over_calls, over_sleeps
from effectmq.consumers.code.functions import Function
from effectmq.consumers.code.settings import CodeSettings
from effectmq.consumers.tools.results.outputs import failure, output_from
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import EffectFailedError, EffectMismatchError, RejectEffectError
from effectmq.protocol.identity import invocations
from effectmq.protocol.identity.validation import wrong_outcome
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommand,
    RuntimeEffectCommandSleep,
    RuntimeEffectCommandToolCall,
    RuntimeEffectEnvelope,
)
from effectmq.protocol.wire.invocation import RuntimeInvocation
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    CompletedToolCall,
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolCallRecord,
)

__all__ = ["CodeCalls", "Execute"]

#: Carries an effect out and returns its outcome, as ``EffectClient.execute`` does.
Execute = Callable[[RuntimeEffectEnvelope], Awaitable[RuntimeEffectOutcome]]

_LONGEST_SLEEP_S = 366 * 86_400.0


class CodeCalls:
    """
    The effects of one block.

    Args:
        invocation: That of the block, which is the parent of its effects.
        block_hash: The hash of the block's envelope, which makes the call ids unique.
        execute: Carries out an effect; ``None`` when effects cannot be carried out here.
        settings: The limits.
    """

    def __init__(
        self,
        invocation: RuntimeInvocation,
        block_hash: str,
        execute: Execute | None,
        settings: CodeSettings,
    ) -> None:
        self._made: dict[int, CompletedToolCall] = {}
        self._under_way: list[asyncio.Task[tuple[object, ToolCallOutput]]] = []
        self._places = asyncio.Semaphore(settings.parallel_calls)
        self._invocation = invocation
        self._prefix = f"code-{block_hash[:16]}"
        self._execute = execute
        self._settings = settings
        self._calls = 0
        self._sleeps = 0

    async def call(
        self, function: Function, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[object, ToolCallOutput]:
        """
        Call a tool.

        Returns:
            The value for the code, and the whole output.

        Raises:
            CodeError: When the arguments cannot be sent, or the call failed.
            BlockStoppedError: When the block makes more calls than its limit.
            RejectEffectError: When the block, run again, asks for something else than before.
        """
        number, arguments = self._numbered(function, args, kwargs)
        return await self._carried_out(function, number, arguments)

    def begin(
        self, function: Function, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Awaitable[tuple[object, ToolCallOutput]]:
        """
        Begin a tool call, whose result is awaited later; it gets its number now.

        Raises:
            CodeError: When the arguments cannot be sent.
            BlockStoppedError: When the block makes more calls than its limit.
        """
        number, arguments = self._numbered(function, args, kwargs)
        task = asyncio.ensure_future(self._carried_out(function, number, arguments))
        self._under_way.append(task)
        # An error that the code does not await is not raised, as with any task.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def finish(self) -> None:
        """
        Wait for the calls that the code has begun and not awaited: they are recorded as well.

        Raises:
            Exception: The error of the first call whose error fails the attempt.
        """
        for task in self._under_way:
            with suppress(CodeError):
                await task

    async def stop(self) -> None:
        """Cancel the calls under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    @property
    def records(self) -> list[ToolCallRecord]:
        """The calls, in the order in which the code made them."""
        found: list[ToolCallRecord] = []
        room_bytes = self._settings.records_bytes
        for _, result in sorted(self._made.items()):
            record, size_bytes = _record(result, room_bytes)
            room_bytes -= size_bytes
            found.append(record)
        return found

    def _numbered(
        self, function: Function, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[int, object]:
        arguments = self._arguments(function, args, kwargs)
        if self._calls >= self._settings.max_tool_calls:
            raise BlockStoppedError(over_calls(self._settings))
        self._calls += 1
        return self._calls, arguments

    async def _carried_out(
        self, function: Function, number: int, arguments: object
    ) -> tuple[object, ToolCallOutput]:
        call = PreparedToolCall(
            call_id=f"{self._prefix}-{number}", tool_name=function.tool, args=arguments
        )
        invocation = invocations.tool_call(self._invocation, call.call_id)
        async with self._places:
            outcome = await self._carry_out(invocation, RuntimeEffectCommandToolCall(call=call))
        if not isinstance(outcome, RuntimeEffectOutcomeToolCall):
            raise RejectEffectError(*wrong_outcome("tool_call", outcome.type))
        self._made[number] = outcome.result
        return answer_of(function.tool, outcome.result.output), outcome.result.output

    async def sleep(self, duration_s: float) -> int:
        """
        Sleep, as an effect; a sleep of 0 s is none.

        Returns:
            The length of the sleep, in milliseconds.

        Raises:
            CodeError: When the length is not allowed, or the sleep was cancelled.
            BlockStoppedError: When the block sleeps more often than its limit.
        """
        if not 0 <= duration_s <= _LONGEST_SLEEP_S:
            raise CodeError(
                "ValueError", f"cannot sleep for {duration_s} s; expected 0 s to a year"
            )
        duration_ms = round(duration_s * 1_000)
        if duration_ms == 0:
            return 0
        if self._sleeps >= self._settings.max_sleeps:
            raise BlockStoppedError(over_sleeps(self._settings))
        invocation = invocations.language_sleep("foreground", self._sleeps, parent=self._invocation)
        self._sleeps += 1
        await self._carry_out(invocation, RuntimeEffectCommandSleep(duration_ms=duration_ms))
        return duration_ms

    def _arguments(
        self, function: Function, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        try:
            return to_json(function.bind(args, kwargs), self._settings.argument_bytes)
        except UnsendableError as problem:
            raise CodeError(
                "TypeError", f"the arguments of {function.name}() cannot be sent: {problem}"
            ) from None

    async def _carry_out(
        self, invocation: RuntimeInvocation, command: RuntimeEffectCommand
    ) -> RuntimeEffectOutcome:
        if self._execute is None:
            raise CodeError("RuntimeError", f"a {command.type} is not available in this session")
        envelope = RuntimeEffectEnvelope(invocation=invocation, command=command)
        try:
            return await self._execute(envelope)
        except EffectMismatchError as problem:
            raise RejectEffectError(
                "effectmq_code_diverged",
                "the block was run again and asked for something else than the first time "
                f"({printable(problem.message, 300)}); a block must do the same when its tools "
                "answer the same: look for other things that it depends on",
            ) from None
        except EffectFailedError as problem:
            # Recorded, so it is the same when the block is run again. Other errors (no answer in
            # time, no broker) are not recorded, and fail the attempt.
            raise CodeError(
                "RuntimeError", f"{problem.code}: {printable(problem.message)}"
            ) from None


def _record(result: CompletedToolCall, room_bytes: int) -> tuple[ToolCallRecord, int]:
    """
    The record of a call in the block's outcome, and how many bytes of the limit it takes.

    When the limit has no room for all of it, the record is short and takes none.
    """
    record = ToolCallRecord(
        call_id=result.call_id,
        tool=result.tool_name,
        args=result.args,
        output=result.output,
        duration_ms=result.duration_ms,
    )
    size_bytes = len(canonical_json(to_tree(record)))
    if size_bytes <= room_bytes:
        return record, size_bytes
    left_out = {"args": None, "output": _left_out(result.output, size_bytes)}
    return record.model_copy(update=left_out), 0


def _left_out(output: ToolCallOutput, size_bytes: int) -> ToolCallOutput:
    note = f"(a call of {size_bytes} bytes, left out here)"
    if isinstance(output.outcome, ToolCallOutcomeFailure):
        failed = output.outcome.payload
        return failure(
            failed.class_,
            printable(failed.code, 100),
            f"{printable(failed.message, 200)} {note}",
            source=failed.source,
            retry=failed.retry,
        )
    return output_from(note)
