"""
Tools called by their functions.

A worker announces its functions here, so that a turn in the same program finds the tool's name and
lane, and the parameters that a call gives.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pydantic_core import PydanticSerializationError, to_jsonable_python

from effectmq.protocol.encoding.narrowing import is_object, is_sequence, is_set
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.text import describe, printable

__all__ = ["FunctionTool", "arguments_of", "named_call", "remember_tool", "tool_of"]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """
    A tool that is a function, as a turn needs to know it.

    Attributes:
        name: The name of the tool.
        lane: The lane of its calls; empty for the common one.
        context_names: The parameters that the worker fills.
        reader: Makes the function that turns a value into the function's result type; raises
            ``ConfigurationError`` when no value can be of that type.
    """

    name: str
    lane: str
    context_names: Sequence[str]
    reader: Callable[[], Callable[[object], Any]]


#: Held weakly, because a function that is gone cannot be called.
_known: WeakKeyDictionary[object, list[FunctionTool]] = WeakKeyDictionary()


def remember_tool(function: object, tool: FunctionTool) -> None:
    """Note that a function is registered as a tool; one that cannot be a key is left out."""
    try:
        known = _known.setdefault(function, [])
    except TypeError:
        return
    # One for each name, however many workers have it.
    known[:] = [one for one in known if (one.name, one.lane) != (tool.name, tool.lane)] + [tool]


def tool_of(function: object) -> FunctionTool:
    """
    The tool of a function.

    Raises:
        ConfigurationError: When there is none in this program, or two with different names or
            lanes.
    """
    try:
        found = _known.get(function, [])
    except TypeError:
        found = []
    name = printable(str(getattr(function, "__qualname__", type(function).__name__)), 100)
    if not found:
        raise ConfigurationError(
            f"{name} is not registered as a tool in this program; decorate it with @app.tool, or "
            "name the tool: turn.tool_call('name', {…}, call_id='…')"
        )
    if len({(one.name, one.lane) for one in found}) > 1:
        names = ", ".join(sorted({one.name for one in found}))
        raise ConfigurationError(
            f"{name} is registered as several tools ({names}); name one of them: "
            "turn.tool_call('name', {…}, call_id='…')"
        )
    return found[-1]


def named_call(
    function: Callable[..., object], args: Any, kwargs: Mapping[str, Any]
) -> tuple[FunctionTool, dict[str, Any], Callable[[object], Any]]:
    """
    The tool of a function, the arguments of a call by name, and what reads its value.

    Raises:
        ConfigurationError: When it is no tool of this program, or no value can be of its type.
        MalformedError: When an argument has no JSON form.
        TypeError: When the arguments do not fit the signature.
    """
    tool = tool_of(function)
    read = tool.reader()
    return tool, arguments_of(tool, function, args, kwargs), read


def arguments_of(
    tool: FunctionTool, function: Callable[..., object], args: Any, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    The arguments of a call by name, as plain data.

    Args:
        tool: The tool of the function.
        function: The function.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        TypeError: When they do not fit the signature, in Python's words.
        MalformedError: When one of them has no JSON form.
    """
    told = inspect.signature(function)
    given = [one for name, one in told.parameters.items() if name not in tool.context_names]
    try:
        bound = told.replace(parameters=given).bind(*args, **kwargs)
    except TypeError as problem:
        raise TypeError(f"tool {tool.name!r}: {problem}") from None
    return {name: _plain(name, value) for name, value in bound.arguments.items()}


def _plain(name: str, value: object) -> Any:
    if is_set(value):
        # The order of a set is random, and the same call must be the same effect in every program.
        return sorted((_plain(name, one) for one in value), key=json.dumps)
    if is_object(value) and all(isinstance(key, str) for key in list[object](value)):
        return {key: _plain(f"{name}.{key}", one) for key, one in value.items()}
    if is_sequence(value):
        return [_plain(f"{name}[{place}]", one) for place, one in enumerate(value)]
    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, UnicodeDecodeError):
        kind = type(value).__name__
        raise MalformedError(
            name, f"found a Python {kind}, which has no JSON form; give plain data or a model"
        ) from None
    except Exception as problem:
        # Users' own serializers may raise anything.
        raise MalformedError(name, f"cannot be written as JSON ({describe(problem)})") from None
