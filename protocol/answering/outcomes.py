"""
The outcome of a handed-out effect: made of an answer, of a refusal, or of a deadline that passed.

It needs the envelope only, and not the code of the handler. A tool call gets an outcome in each of
these cases; an effect of another kind gets a controller error instead of a failure.
"""

from __future__ import annotations

from typing import NamedTuple

from effectmq.protocol.answering.fitting import misfit
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree
from effectmq.protocol.errors import AnswerMisfitError, MalformedError
from effectmq.protocol.text import describe, printable
from effectmq.protocol.tool_calls.completed import completed, failure
from effectmq.protocol.wire.envelope import RuntimeEffectCommandToolCall, RuntimeEffectEnvelope
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome
from effectmq.protocol.wire.tools import (
    PreparedToolCall,
    ToolCallOutcomeSuccess,
    ToolCallOutput,
    ToolFailureClass,
)

__all__ = ["REFUSED_CODE", "UNANSWERED_CODE", "Ending", "answered", "refused", "unanswered"]

#: The code of an effect that whoever answers has refused, unless they gave another.
REFUSED_CODE = "effectmq_answer_refused"
#: The code of an effect that nobody answered in time.
UNANSWERED_CODE = "effectmq_unanswered"

_MAX_CODE = 200


class Ending(NamedTuple):
    """
    How an effect ended, as the journal records it.

    Attributes:
        outcome_json: The outcome, canonical JSON; empty for a controller error.
        error_json: The controller error, or code and message of an outcome that is a failure; empty
            for a success.
    """

    outcome_json: str
    error_json: str


def answered(envelope: RuntimeEffectEnvelope, schema: object, value: object) -> Ending:
    """
    The end of an effect that was answered with a value.

    Args:
        envelope: The effect.
        schema: The JSON Schema of what its tool returns; an empty one allows everything.
        value: Of a tool call, what the tool would have returned; of another kind, its outcome as
            plain data.

    Raises:
        AnswerMisfitError: When the value does not fit.
    """
    try:
        plain = canonical_value(value)
    except MalformedError as problem:
        raise AnswerMisfitError(f"the value cannot be sent: {describe(problem)}") from None
    command = envelope.command
    if not isinstance(command, RuntimeEffectCommandToolCall):
        return _outcome(command.type, plain)
    found = misfit(schema, plain)
    if found:
        raise AnswerMisfitError(
            f"{found}; expected what the tool {printable(command.call.tool_name, 100)} returns"
        )
    output = ToolCallOutput(outcome=ToolCallOutcomeSuccess(payload=plain))
    return _of_tool(command.call, output)


def refused(envelope: RuntimeEffectEnvelope, message: str, code: str = "") -> Ending:
    """
    The end of an effect that was refused.

    Args:
        envelope: The effect.
        message: Why, for its caller.
        code: For programs; ``REFUSED_CODE`` by default.
    """
    return _failed(envelope, code or REFUSED_CODE, message, "permission_denied")


def unanswered(envelope: RuntimeEffectEnvelope, waited_s: float) -> Ending:
    """The end of an effect that nobody answered until its deadline, after so many seconds."""
    return _failed(
        envelope,
        UNANSWERED_CODE,
        f"it was handed out to be answered, and nobody answered within {waited_s:g} s",
        "timeout",
    )


def _outcome(kind: str, tree: object) -> Ending:
    try:
        outcome: RuntimeEffectOutcome = from_tree(RuntimeEffectOutcome, tree)
    except MalformedError as problem:
        raise AnswerMisfitError(
            f"the value is no outcome of {kind}: {describe(problem)}; expected its outcome as "
            "docs/schema/outcome.json has it, with the member type"
        ) from None
    if outcome.type != kind:
        raise AnswerMisfitError(
            f"the value is an outcome of {outcome.type}; expected one of {kind}"
        )
    return _ending(outcome)


def _failed(
    envelope: RuntimeEffectEnvelope, code: str, message: str, class_: ToolFailureClass
) -> Ending:
    code, message = printable(code, _MAX_CODE), printable(message)
    command = envelope.command
    if isinstance(command, RuntimeEffectCommandToolCall):
        return _of_tool(command.call, failure(class_, code, message, source="runtime"))
    return Ending("", _error_json(code, message))


def _of_tool(call: PreparedToolCall, output: ToolCallOutput) -> Ending:
    # No time is told, so that the same answer, given twice, is the same outcome.
    return _ending(completed(call, output, 0))


def _ending(outcome: RuntimeEffectOutcome) -> Ending:
    failed = outcome.failure
    error = "" if failed is None else _error_json(failed.code, failed.message)
    return Ending(canonical_bytes(outcome).decode(), error)


def _error_json(code: str, message: str) -> str:
    error = {"code": printable(code, _MAX_CODE), "message": printable(message)}
    return canonical_json(error).decode()
