"""
Values between code and its host: to JSON, and from tool outputs. Pure.

A value that is small in the interpreter may be endless here, because an object can be in it a
million times, or contain itself. So every walk through a value counts on the way.
"""

from __future__ import annotations

from effectmq.protocol.encoding.narrowing import is_dict, is_sequence
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.tool_value import encode_tool_value
from effectmq.protocol.wire.tools import (
    ToolCallOutcomeCancelled,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolFailureClass,
)

__all__ = ["CodeError", "UnsendableError", "answer_of", "to_json"]

_MAX_DEPTH = 100
_MAX_INT = 2**64 - 1
_MIN_INT = -(2**63)

#: The exception that a tool's failure raises in the code.
_EXCEPTIONS: dict[ToolFailureClass, str] = {
    "invalid_request": "ValueError",
    "permission_denied": "PermissionError",
    "timeout": "TimeoutError",
    "resource_limit": "MemoryError",
}


class CodeError(Exception):
    """
    An exception to raise inside the code, at the call that waits.

    Args:
        exception: A built-in exception of Python by name.
        message: Its message.
    """

    def __init__(self, exception: str, message: str) -> None:
        self.exception = exception
        self.message = message
        super().__init__(f"{exception}: {message}")


class UnsendableError(Exception):
    """A value that has no JSON form, or is too large; says what was found."""


def to_json(value: object, limit_bytes: int) -> object:
    """
    A value from code as JSON.

    Tuples become lists; sets and bytes have no JSON form.

    Args:
        value: Any value of the interpreter.
        limit_bytes: About how large its JSON may be.

    Raises:
        UnsendableError: When it has no JSON form, or is over the limit.
    """
    return _Json(limit_bytes).of(value, _MAX_DEPTH)


class _Json:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = self._left = limit_bytes

    # One branch for each type of JSON; this runs for every value that crosses.
    def of(self, value: object, room: int) -> object:  # noqa: C901
        if room <= 0:
            raise UnsendableError(f"it is nested more than {_MAX_DEPTH} levels deep")
        if isinstance(value, str):
            self._take(len(value) + 2)
            if not value.isascii():
                self._check_unicode(value)
            return value
        self._take(2)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if not _MIN_INT <= value <= _MAX_INT:
                raise UnsendableError("it holds a whole number of more than 64 bits")
            return value
        if isinstance(value, float):
            if value - value != 0.0:
                raise UnsendableError(f"it holds {value!r}, which JSON does not have")
            return value
        if is_sequence(value):
            return [self.of(item, room - 1) for item in value]
        if is_dict(value):
            return {self._name(name): self.of(item, room - 1) for name, item in value.items()}
        raise UnsendableError(f"it holds a {type(value).__name__}, which JSON does not have")

    def _name(self, name: object) -> str:
        if not isinstance(name, str):
            raise UnsendableError(f"it holds a {type(name).__name__} as a key, expected text")
        self.of(name, 1)
        return name

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise UnsendableError(f"it is over the limit of {self._limit_bytes} bytes")

    def _check_unicode(self, text: str) -> None:
        try:
            self._take(len(text.encode()) - len(text))
        except UnicodeEncodeError:
            raise UnsendableError("it holds half of a surrogate pair, which is no text") from None


def answer_of(tool: str, output: ToolCallOutput) -> object:
    """
    The value of a tool's output for the code that called it.

    Attachments are dictionaries, as on the wire, which can be passed on to another tool.

    Raises:
        CodeError: When the tool failed or was cancelled.
    """
    outcome = output.outcome
    if isinstance(outcome, ToolCallOutcomeFailure):
        failure = outcome.payload
        raise CodeError(
            _EXCEPTIONS.get(failure.class_, "RuntimeError"),
            f"{tool} failed ({failure.code}): {failure.message}",
        )
    if isinstance(outcome, ToolCallOutcomeCancelled):
        raise CodeError("RuntimeError", f"{tool} was cancelled: {outcome.payload.message}")
    try:
        return encode_tool_value(outcome.payload)
    except MalformedError as problem:
        raise CodeError("RuntimeError", f"the result of {tool} cannot be read: {problem}") from None
