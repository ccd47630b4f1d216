"""
From what a tool function returned or raised to its ``tool_call`` outcome on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from pydantic_core import PydanticSerializationError

from effectmq.consumers.tools.results.plain_data import NotPlainError, member_names, plain
from effectmq.consumers.tools.results.references import references_in, with_references
from effectmq.consumers.tools.results.special import (
    Control,
    FailTurn,
    FinishTurn,
    SwitchAgentFrame,
    ToolReturn,
)
from effectmq.protocol.encoding.narrowing import is_array, is_dict, is_object, is_sequence
from effectmq.protocol.errors import MalformedError, ToolCallError
from effectmq.protocol.exact.plain import plain_copy
from effectmq.protocol.exact.shapes import NotExact
from effectmq.protocol.exact.tools import WrittenOutcome, written_failure, written_success
from effectmq.protocol.text import describe
from effectmq.protocol.tool_calls.completed import completed, failure
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolControl,
    ToolControlFail,
    ToolControlFinish,
    ToolControlSwitchAgentFrame,
    ToolFailure,
    ToolFailureClass,
    ToolFailureSource,
    ToolHostEventEffectOutcome,
    ToolRetryDisposition,
    ToolRetryDispositionExhausted,
    ToolRetryDispositionNever,
    ToolRetryDispositionSafe,
)

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = [
    "PlainOutput",
    "completed",
    "exhausted",
    "failed",
    "failure",
    "failure_from",
    "output_from",
    "plain_output",
    "succeeded",
    "without_result",
]

#: By exact type: a member of a ``StrEnum`` becomes text only through its value.
_KEPT = frozenset((str, int, float, bool, type(None), AttachmentRef))
_UNSENDABLE = (
    MalformedError,
    OverflowError,
    PydanticSerializationError,
    RecursionError,
    TypeError,
    ValueError,
)
_WHOLE = (ToolReturn, FinishTurn, FailTurn, SwitchAgentFrame, ToolCallOutput)
_MAX_U32 = 2**32 - 1


def output_from(result: object) -> ToolCallOutput:
    """
    The output of a function that returned.

    A ``ToolCallOutput`` stays as it is, and a request to the session becomes a control. Everything
    else becomes a tool value: plain data, pydantic models, dataclasses, dates and the like as JSON,
    attachments as references.
    """
    if isinstance(result, ToolCallOutput):
        return result
    try:
        if isinstance(result, ToolReturn):
            _check_control(result.control)
            control = None if result.control is None else _control(result.control)
            return ToolCallOutput(outcome=_success(result.value), control=control)
        if isinstance(result, FinishTurn | FailTurn | SwitchAgentFrame):
            return _by_itself(_control(result))
        return ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=_lifted(result)))
    except _UNSENDABLE as problem:
        return _unsendable("returned", problem)


class PlainOutput(NamedTuple):
    """The output of a function that returned plain data: the value alone, as the wire has it."""

    value: object


def plain_output(result: object) -> PlainOutput | None:
    """
    The output of a function that returned plain data of exactly the plain types, as most do.

    Returns:
        A copy, so that later changes by the function do not reach the outcome; ``None`` for
        anything else, which ``output_from`` takes.
    """
    try:
        return PlainOutput(plain_copy(result))
    except (NotExact, RecursionError):
        return None


def _success(value: object) -> ToolCallOutcomeSuccess:
    return ToolCallOutcomeSuccess(payload=_lifted(value))


def _control(asked: Control) -> ToolControl:
    match asked:
        case SwitchAgentFrame():
            return ToolControlSwitchAgentFrame(
                frame_id=asked.frame_id,
                initial_nodes=[plain(node) for node in _nodes(asked.initial_nodes)],
                task=asked.task,
            )
        case FinishTurn():
            return ToolControlFinish(value=_lifted(asked.value))
        case FailTurn():
            problem = ToolCallError(
                asked.message, code=asked.code, class_=asked.class_, raw=asked.raw
            )
            return ToolControlFail(failure=_failure_of(problem))


def _check_control(asked: object) -> None:
    if asked is not None and not isinstance(asked, Control):
        raise NotPlainError(
            f"found a Python {type(asked).__name__} as the control of a ToolReturn, expected a "
            "FinishTurn, a FailTurn or a SwitchAgentFrame"
        )


def _nodes(nodes: object) -> Iterable[object]:
    if isinstance(nodes, str) or not _is_iterable(nodes):
        raise NotPlainError(
            f"found a Python {type(nodes).__name__} as the initial nodes of a frame, expected a "
            "list of plain data"
        )
    return nodes


def _is_iterable(value: object) -> TypeIs[Iterable[object]]:
    return isinstance(value, Iterable)


def _by_itself(control: ToolControl) -> ToolCallOutput:
    """The output of a tool that returns only a request: the request is also its result."""
    match control:
        case ToolControlFail():
            outcome = ToolCallOutcomeFailure(payload=control.failure)
            return ToolCallOutput(outcome=outcome, control=control)
        case ToolControlFinish():
            return ToolCallOutput(outcome=_success(control.value), control=control)
        case ToolControlSwitchAgentFrame():
            return ToolCallOutput(outcome=_success(None), control=control)


@dataclass(frozen=True, slots=True)
class _Lift:
    """Keeps attachments as they are while everything around them becomes JSON."""

    def __call__(self, value: object) -> object:
        if type(value) in _KEPT:
            return value
        if is_dict(value):
            return dict(zip(member_names(value), map(self, value.values()), strict=True))
        if is_sequence(value):
            return [self(item) for item in value]
        if isinstance(value, _WHOLE):
            # As data it would ask nothing of the session, and nobody would notice.
            raise NotPlainError(
                f"found a {type(value).__name__} inside a result; return it by itself"
            )
        found = plain(value)
        if is_object(found) or is_array(found):
            references = references_in(value)
            return with_references(found, references) if references else found
        return found


_lifted = _Lift()


def failure_from(error: BaseException, *, repeatable: bool) -> ToolCallOutput:
    """
    The output of a function that raised.

    Args:
        error: The exception. A ``ToolCallError`` says itself whether another attempt may help.
        repeatable: Whether the tool has a retry policy, and so allows another attempt after any
            plain exception.
    """
    if not isinstance(error, ToolCallError):
        retry = ToolRetryDispositionSafe() if repeatable else None
        return failure("execution", "tool_error", describe(error), retry=retry)
    try:
        return ToolCallOutput(outcome=ToolCallOutcomeFailure(payload=_failure_of(error)))
    except _UNSENDABLE as problem:
        return _unsendable("failed with", problem)


def _unsendable(did: str, problem: Exception) -> ToolCallOutput:
    return failure(
        "internal",
        "invalid_tool_result",
        f"the tool {did} something that cannot be sent: {describe(problem)}",
        source="runtime",
    )


def _milliseconds(seconds: float | None) -> int | None:
    # Never earlier than it was asked for, and not later for the last bit of a float.
    return None if seconds is None else math.ceil(round(seconds * 1_000, 6))


def _failure_of(error: ToolCallError) -> ToolFailure:
    disposition: ToolRetryDisposition = ToolRetryDispositionNever()
    if error.retry:
        disposition = ToolRetryDispositionSafe(after_ms=_milliseconds(error.after_s))
    # Choices of the tool's author: the model refuses those that the wire does not have.
    return ToolFailure(
        class_=cast("ToolFailureClass", error.class_),
        code=error.code,
        message=error.message,
        source=cast("ToolFailureSource", error.source),
        retry=disposition,
        raw=None if error.raw is None else _lifted(error.raw),
    )


def exhausted(output: ToolCallOutput, attempts: int) -> ToolCallOutput:
    """The failure after the last attempt; its disposition says how many attempts there were."""
    outcome = output.outcome
    if not isinstance(outcome, ToolCallOutcomeFailure):
        return output
    if not isinstance(outcome.payload.retry, ToolRetryDispositionSafe):
        return output
    spent = outcome.payload.model_copy(
        update={"retry": ToolRetryDispositionExhausted(attempts=min(attempts, _MAX_U32))}
    )
    return output.model_copy(update={"outcome": outcome.model_copy(update={"payload": spent})})


def succeeded(
    call: PreparedToolCall,
    plain: PlainOutput,
    duration_ms: int,
    host_events: Sequence[ToolHostEventEffectOutcome],
) -> WrittenOutcome | RuntimeEffectOutcomeToolCall:
    """
    The outcome of a call that returned plain data.

    Args:
        call: The call.
        plain: What it returned; the outcome takes its containers.
        duration_ms: How long it took.
        host_events: The events for the host.
    """
    if not host_events:
        written = written_success(call, plain.value, duration_ms)
        if written is not None:
            return written
    output = ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=plain.value))
    return completed(call, output, duration_ms, host_events)


def failed(
    call: PreparedToolCall,
    output: ToolCallOutput,
    duration_ms: int,
    host_events: Sequence[ToolHostEventEffectOutcome],
) -> WrittenOutcome | RuntimeEffectOutcomeToolCall:
    """What ``completed`` says of a call that failed."""
    written = None if host_events else written_failure(call, output, duration_ms)
    return written or completed(call, output, duration_ms, host_events)


def without_result(
    outcome: RuntimeEffectOutcomeToolCall, problem: str
) -> tuple[RuntimeEffectOutcomeToolCall, ...]:
    """
    Smaller outcomes for a call whose outcome cannot be sent: with its host events, then without
    them, then without the arguments, which may be too large.

    Args:
        outcome: The outcome that cannot be sent.
        problem: Why it cannot be sent.
    """
    call = outcome.result
    output = failure("resource_limit", "tool_result_too_large", problem, source="runtime")
    whole = completed(call, output, call.duration_ms, outcome.host_events)
    result = whole.result
    bare = result.model_copy(update={"args": None})
    return (
        whole,
        RuntimeEffectOutcomeToolCall(result=result),
        RuntimeEffectOutcomeToolCall(result=bare),
    )
