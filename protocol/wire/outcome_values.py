"""
The result of an outcome, by one rule for all kinds. Pure.

``value`` is the result, and raises ``OutcomeFailedError`` when the outcome is a failure. ``failed``
tells whether it is one, and ``value_or`` returns a default in its place. Nothing of this is on the
wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from effectmq.protocol.encoding.serde.model import Err, Ok
from effectmq.protocol.errors import OutcomeFailedError
from effectmq.protocol.text import printable
from effectmq.protocol.wire.by_kind import ExecResponse
from effectmq.protocol.wire.llm_response import LlmCallError, LlmResponse
from effectmq.protocol.wire.tools import (
    CompletedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutcomeSuccess,
    ToolFailure,
)

__all__ = [
    "OutcomeFailure",
    "Valued",
    "block_value",
    "model_value",
    "result_value",
    "tool_failure",
    "tool_value",
]

V = TypeVar("V", covariant=True)
D = TypeVar("D")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutcomeFailure:
    """
    How an outcome failed, in the same words for all kinds.

    Attributes:
        what: What failed, as a phrase.
        class_: The class of the failure.
        code: For programs.
        message: For people.
    """

    what: str
    class_: str
    code: str
    message: str


class Valued(Generic[V]):
    """The base of all outcomes: each has a value or a failure."""

    __slots__ = ()

    def _given(self) -> Ok[V] | Err[OutcomeFailure]:
        raise NotImplementedError

    @property
    def failed(self) -> bool:
        """Whether the outcome is a failure, so that ``value`` raises."""
        return isinstance(self._given(), Err)

    @property
    def failure(self) -> OutcomeFailure | None:
        """How it failed: class, code and message; ``None`` when it did not."""
        given = self._given()
        return given.err if isinstance(given, Err) else None

    @property
    def value(self) -> V:
        """
        The result of the effect.

        Raises:
            OutcomeFailedError: When the outcome is a failure; with its class, code and message.
        """
        given = self._given()
        if isinstance(given, Ok):
            return given.ok
        failure = given.err
        raise OutcomeFailedError(failure.what, failure.class_, failure.code, failure.message)

    def value_or(self, default: D) -> V | D:
        """The result of the effect, or the default when the outcome is a failure."""
        given = self._given()
        return given.ok if isinstance(given, Ok) else default


def tool_value(call: CompletedToolCall) -> Ok[Any] | Err[OutcomeFailure]:
    """The payload of a tool, which is plain JSON data with ``AttachmentRef`` objects in it."""
    outcome = call.output.outcome
    if isinstance(outcome, ToolCallOutcomeSuccess):
        return Ok(outcome.payload)
    if isinstance(outcome, ToolCallOutcomeFailure):
        return Err(tool_failure(call.tool_name, outcome.payload))
    what = _tool(call.tool_name)
    return Err(OutcomeFailure(what, "cancelled", "cancelled", outcome.payload.message))


def tool_failure(tool_name: str, failure: ToolFailure) -> OutcomeFailure:
    """How a tool failed."""
    return OutcomeFailure(_tool(tool_name), failure.class_, failure.code, failure.message)


def _tool(name: str) -> str:
    return f"tool {printable(name, 100)!r}"


def model_value(result: Ok[LlmResponse] | Err[LlmCallError]) -> Ok[str] | Err[OutcomeFailure]:
    """The text of a model; empty when it only asked for tools."""
    if isinstance(result, Ok):
        return Ok(result.ok.full_text)
    error = result.err
    code = error.code or error.terminal_reason
    return Err(OutcomeFailure("the model", error.terminal_reason, code, error.message))


def block_value(result: Ok[ExecResponse] | Err[str]) -> Ok[Any] | Err[OutcomeFailure]:
    """
    The result of a block of code: the value of ``finish``, else its last value as Python shows it.

    The latter is the last observation, and so the printed text when there is no last value.
    """
    if isinstance(result, Err):
        return Err(OutcomeFailure("the block", "unavailable", "code_unavailable", result.err))
    response = result.ok
    if response.error is not None:
        return Err(OutcomeFailure("the block", "execution", "code_failed", response.error))
    if response.terminal_finish is None and response.observations:
        return Ok(response.observations[-1])
    return Ok(response.terminal_finish)


def result_value(what: str, code: str, result: Ok[T] | Err[str]) -> Ok[T] | Err[OutcomeFailure]:
    """
    The value of a result whose failure is a sentence.

    Args:
        what: What failed, as a phrase.
        code: The code of such a failure.
        result: The result.
    """
    if isinstance(result, Ok):
        return result
    return Err(OutcomeFailure(what, "execution", code, result.err))
