"""
Tools called by the functions that they are made of.

Whoever registers a function as a tool says so here, so that a turn in the same program finds the
tool's name and lane, and what of its signature a call gives.
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

__all__ = ["FunctionTool", "arguments_of", "remember_tool", "tool_of"]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """
    What is known of a tool that is a function.

    Attributes:
        name: What a call names.
        lane: The lane of ``tool_call`` that its calls take; empty for the common one.
        context_names: The parameters that the worker fills.
        reader: Makes what gives the function's own type of result of a value; raises
            ``ConfigurationError`` when no value can be that.
    """

    name: str
    lane: str
    context_names: Sequence[str]
    reader: Callable[[], Callable[[object], Any]]


#: Held weakly, as a function that is gone cannot be called.
_known: WeakKeyDictionary[object, list[FunctionTool]] = WeakKeyDictionary()


def remember_tool(function: object, tool: FunctionTool) -> None:
    """Note that a function is registered as a tool; what cannot be a key is not called by it."""
    try:
        known = _known.setdefault(function, [])
    except TypeError:
        return
    # One for each name, however many workers have it.
    known[:] = [one for one in known if (one.name, one.lane) != (tool.name, tool.lane)] + [tool]


def tool_of(function: object) -> FunctionTool:
    """
    The tool that a function is.

    Raises:
        ConfigurationError: When it is none here, or two of different names or lanes.
    """
    try:
        found = _known.get(function, [])
    except TypeError:
        found = []
    name = printable(str(getattr(function, "__qualname__", type(function).__name__)), 100)
    if not found:
        raise ConfigurationError(
            f"{name} is no tool that is registered in this program; decorate it with @app.tool, or "
            "name the tool: turn.tool_call('name', {…}, call_id='…')"
        )
    if len({(one.name, one.lane) for one in found}) > 1:
        names = ", ".join(sorted({one.name for one in found}))
        raise ConfigurationError(
            f"{name} is registered as several tools ({names}); say which one: "
            "turn.tool_call('name', {…}, call_id='…')"
        )
    return found[-1]


def arguments_of(
    tool: FunctionTool, function: Callable[..., object], args: Any, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    The arguments of a call by name, as plain data.

    Args:
        tool: What the function is registered as.
        function: What is called.
        args: What is given by place.
        kwargs: What is given by name.

    Raises:
        TypeError: When they do not fit the signature, as Python says it.
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
        # Their order is by chance, and the same call must be the same effect in every program.
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
        # Serializers of users' own may raise anything.
        raise MalformedError(name, f"cannot be written as JSON ({describe(problem)})") from None
