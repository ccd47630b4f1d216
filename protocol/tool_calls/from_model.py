"""
From the tool calls of a model to calls that a turn can run. Pure.

A model writes its arguments as text, and not every text is an object of arguments: it may be cut
off, an array, or two objects in a row. That is the model's mistake and not an error of the program.
So it becomes an outcome, like the failure of a tool, which the model can read under the id of its
call. Something that is not a call of a model is the caller's mistake, and an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Never

from pydantic import BaseModel

from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.errors import ConfigurationError, MalformedError, PayloadTooLargeError
from effectmq.protocol.text import printable
from effectmq.protocol.tool_calls.to_model import model_tool_return
from effectmq.protocol.wire.llm_request import LlmContentBlockToolCall, LlmToolSpec
from effectmq.protocol.wire.llm_response import LlmOutputPartToolCall
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeToolCall
from effectmq.protocol.wire.tools import (
    CompletedToolCall,
    PreparedToolCall,
    ToolCallOutcomeFailure,
    ToolCallOutput,
    ToolFailure,
    ToolFailureClass,
    ToolRetryDispositionNever,
)

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["ModelToolCall", "arguments_from_model", "calls_from_model", "too_much"]

#: A tool call of a model, from a response or from the conversation.
ModelToolCall = LlmOutputPartToolCall | LlmContentBlockToolCall

#: A body has 64 levels, and the arguments are a few levels deeper in the outcome than in the call.
_MAX_DEPTH = 56
#: Python's own limit depends on Python; no number of the wire has as many digits.
_MOST_DIGITS = 400
_ARGUMENTS = "command.call.args"
_EXPECTED = "expected one JSON object with the arguments by name"


def arguments_from_model(part: ModelToolCall) -> dict[str, Any]:
    """
    The arguments of a tool call that a model asks for.

    Args:
        part: The call; an empty text, and ``null``, mean no arguments.

    Raises:
        MalformedError: When they are not an object, or cannot be sent; a sentence for the model.
        ConfigurationError: When the part is not a call of a model.
    """
    return _read(_checked(part))[1]


def calls_from_model(
    parts: Iterable[ModelToolCall], tools: Iterable[LlmToolSpec] | None = None
) -> list[PreparedToolCall | RuntimeEffectOutcomeToolCall]:
    """
    Check the calls of one answer.

    Args:
        parts: The calls.
        tools: The tools that were offered; a call of another one has failed. ``None`` leaves this
            check to the worker.

    Returns:
        For each call either the call, ready to be run, or its outcome, when it has failed already.

    Raises:
        ConfigurationError: When they are not calls of a model, or not tools.
    """
    offered = None if tools is None else [_name(tool) for tool in _all(tools, "tools")]
    seen: set[str] = set()
    found: list[PreparedToolCall | RuntimeEffectOutcomeToolCall] = []
    for part in map(_checked, _all(parts, "parts")):
        if part.call_id in seen:
            id_ = f"the id {printable(part.call_id, 100)!r}" if part.call_id else "no id either"
            message = f"another call of this answer has {id_}; expected a different id for each"
            found.append(_failed(part, "invalid_request", "duplicate_call_id", message))
        else:
            found.append(_prepared(part, offered))
        seen.add(part.call_id)
    return found


def _prepared(
    part: ModelToolCall, offered: list[str] | None
) -> PreparedToolCall | RuntimeEffectOutcomeToolCall:
    if offered is not None and part.tool_name not in offered:
        return _failed(part, "unavailable", "tool_unavailable", _no_such_tool(part, offered))
    try:
        return _read(part)[0]
    except MalformedError as problem:
        name = printable(part.tool_name, 100)
        message = f"invalid arguments for tool {name}: {printable(str(problem), 500)}"
        return _failed(part, "invalid_request", "invalid_tool_args", message)


def _no_such_tool(part: ModelToolCall, offered: list[str]) -> str:
    near = get_close_matches(part.tool_name, offered, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    known = ", ".join(offered) or "none"
    return (
        f"no tool {printable(part.tool_name, 100)!r} is on offer.{hint} "
        f"On offer: {printable(known, 500)}"
    )


def too_much(
    call: PreparedToolCall, problem: MalformedError | PayloadTooLargeError
) -> RuntimeEffectOutcomeToolCall | None:
    """
    The outcome of a call that could not be sent because of the model's arguments.

    Args:
        call: The call.
        problem: Why no envelope could be made of it, or why it may not be sent.

    Returns:
        ``None`` when the arguments are not the problem.
    """
    if isinstance(problem, MalformedError):
        if not problem.path.startswith(_ARGUMENTS):
            return None
        found = f"found {printable(problem.problem, 300)}"
    elif problem.what == "the envelope":
        found = (
            f"found a call of {problem.size_bytes} bytes, expected at most {problem.limit_bytes}; "
            "give less, or a name for data that is kept elsewhere"
        )
    else:
        return None
    message = f"invalid arguments for tool {printable(call.tool_name, 100)}: {found}"
    return _failed(call, "invalid_request", "invalid_tool_args", message)


def _failed(
    part: ModelToolCall | PreparedToolCall, class_: ToolFailureClass, code: str, message: str
) -> RuntimeEffectOutcomeToolCall:
    failure = ToolFailure(
        class_=class_,
        code=code,
        message=message,
        source="runtime",
        retry=ToolRetryDispositionNever(),
    )
    output = ToolCallOutput(outcome=ToolCallOutcomeFailure(payload=failure))
    result = CompletedToolCall(
        call_id=part.call_id,
        tool_name=part.tool_name,
        args=part.args if isinstance(part, PreparedToolCall) else part.input_json,
        output=output,
        model_return=model_tool_return(part.call_id, part.tool_name, output),
        duration_ms=0,
        replay=part.replay,
    )
    return RuntimeEffectOutcomeToolCall(result=result, host_events=[])


# The caller's arguments ------------------------------------------------------------------------


def _all(given: object, name: str) -> Iterable[object]:
    kind = type(given).__name__
    if not _is_iterable(given) or isinstance(given, str | Mapping | BaseModel):
        raise ConfigurationError(f"{name} is a Python {kind}; expected a list {_LISTS[name]}")
    return given


_LISTS = {
    "parts": "of the parts of a response that are tool calls (for one call there is "
    "tool_call_from_model)",
    "tools": "of the tools of the request: [app.tools['name'].spec()]",
}


def _is_iterable(value: object) -> TypeIs[Iterable[object]]:
    return isinstance(value, Iterable)


def _checked(part: object) -> ModelToolCall:
    if not isinstance(part, ModelToolCall):
        raise ConfigurationError(
            f"found a Python {type(part).__name__} among the calls of a model, expected an "
            "LlmOutputPartToolCall or an LlmContentBlockToolCall; take the parts of the response "
            "whose type is tool_call"
        )
    return part


def _name(tool: object) -> str:
    name = getattr(tool, "name", None)
    if not isinstance(name, str):
        raise ConfigurationError(
            f"found {printable(repr(tool), 100)} among the tools on offer, expected an "
            "LlmToolSpec: app.tools['name'].spec()"
        )
    return name


# The text --------------------------------------------------------------------------------------


def _read(part: ModelToolCall) -> tuple[PreparedToolCall, dict[str, Any]]:
    """
    The call, and its arguments.

    Raises:
        MalformedError: When they are not arguments.
    """
    text = part.input_json.strip()
    # Models write nothing, or null, when there are no arguments.
    value: object = _value(text) if text not in ("", "null") else {}
    if not is_object(value):
        raise MalformedError("", f"found {_kind(value)}, {_EXPECTED}")
    if _deeper(value, _MAX_DEPTH):
        raise MalformedError(
            "", f"found more than {_MAX_DEPTH} levels of arrays and objects, {_EXPECTED}"
        )
    call = PreparedToolCall(
        call_id=part.call_id, tool_name=part.tool_name, args=value, replay=part.replay
    )
    return call, value


def _value(text: str) -> object:
    try:
        found: tuple[object, int] = _DECODER.raw_decode(text)
    except RecursionError:
        raise MalformedError("", f"found JSON that is nested too deeply, {_EXPECTED}") from None
    except ValueError as problem:
        raise MalformedError(
            "",
            f"found text that is not JSON ({printable(str(problem), 100)}): "
            f"{printable(text, 100)}; {_EXPECTED}",
        ) from None
    value, end = found
    rest = text[end:].strip()
    if not rest:
        return value
    try:
        _DECODER.raw_decode(rest)
        what = "several JSON values in a row"
        more = "; make one call for each"
    except (ValueError, RecursionError):
        what, more = f"more text after a JSON value: {printable(rest, 100)}", ""
    raise MalformedError("", f"found {what}, {_EXPECTED}{more}")


def _no_number(word: str) -> Never:
    raise ValueError(f"{word} is no number of JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise MalformedError("", f"found a number of {len(digits)} digits, {_EXPECTED}")
    return int(digits)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; refuses two values for one name, because it is unknown which one is meant."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(
            "",
            f"found the name {printable(twice, 100)!r} twice in one object, {_EXPECTED}, each once",
        )
    return members


_DECODER = json.JSONDecoder(
    parse_constant=_no_number, parse_int=_whole_number, object_pairs_hook=_members
)


def _deeper(value: object, levels: int) -> bool:
    """Whether a value has more levels; does not go through all of them."""
    layer: list[object] = [value]
    for _ in range(levels + 1):
        below: list[object] = []
        for one in layer:
            if is_object(one):
                below += one.values()
            elif is_array(one):
                below += one
        if not below:
            return False
        layer = below
    return any(isinstance(one, dict | list) for one in layer)


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bool):
        return str(json.dumps(value))
    return "a number"
