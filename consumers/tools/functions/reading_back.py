"""
A tool's value as the result type of its function, for callers that call the tool by its function.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from effectmq.broker.client.turns.tool_calls.functions import FunctionTool
from effectmq.consumers.tools.functions.hints import result_hint
from effectmq.consumers.tools.functions.typed import TypedFunction, is_special
from effectmq.consumers.tools.registry import Tool
from effectmq.protocol.encoding.serde.problems import malformed
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.text import describe

__all__ = ["function_tool"]

#: Return types whose pieces a worker collects, so that the value has another type.
_PIECEWISE = (AsyncIterator, Awaitable, Iterator)


def function_tool(tool: Tool, function: object) -> FunctionTool:
    """What a turn needs to know of a function that is registered as a tool."""
    body = tool.body
    return FunctionTool(
        name=tool.name,
        lane=tool.lane,
        context_names=body.signature.context_names if isinstance(body, TypedFunction) else (),
        reader=_Reader(tool.name, result_hint(function)).reader,
    )


@dataclass(frozen=True)
class _Reader:
    """
    Reads the values of one tool.

    Attributes:
        tool: The name of the tool.
        hint: The return type of its function.
    """

    tool: str
    hint: Any

    def reader(self) -> Callable[[object], Any]:
        """The function that reads a value; made at its first use."""
        return self._as_it_is if self._adapter is None else self._read

    @cached_property
    def _adapter(self) -> TypeAdapter[Any] | None:
        hint = self.hint
        if hint is Any:
            return None
        origin = get_origin(hint) or hint
        try:
            piecewise = isinstance(origin, type) and issubclass(origin, _PIECEWISE)
            if not piecewise and not is_special(hint):
                return TypeAdapter(hint)
            found = f"it returns {getattr(hint, '__name__', hint)}, but its value has another type"
        except Exception as problem:
            found = f"its return type cannot be read from JSON ({describe(problem)})"
        raise ConfigurationError(
            f"tool {self.tool!r} cannot be called by its function: {found}; call it by name: "
            f"(await turn.tool_call({self.tool!r}, {{…}}, call_id='…')).value"
        )

    def _as_it_is(self, value: object) -> Any:
        return value

    def _read(self, value: object) -> Any:
        assert self._adapter is not None
        try:
            # As JSON: strict models take dates and enums from JSON text only.
            return self._adapter.validate_json(to_json(value))
        except ValidationError as error:
            problem = malformed(error, value)
            raise MalformedError(
                problem.path,
                f"tool {self.tool!r} returned a value that is not of its function's return type: "
                f"{problem.problem}",
            ) from None
