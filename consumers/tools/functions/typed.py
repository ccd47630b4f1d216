"""
Typed Python functions as tools.

The signature is the contract: its type hints become the input schema, and pydantic validates the
arguments of a call before the function gets them. A bad call raises nothing here: a failure of a
tool is an outcome, which the model can read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import reduce
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter

from effectmq.broker.store.journal.records import OnUncertain
from effectmq.consumers.answering import WaitForAnswer
from effectmq.consumers.handler import (
    EffectContext,
    HandlerFunction,
    call,
    check_on_uncertain,
    check_time_limit,
    is_async,
)
from effectmq.consumers.tools.functions.callables import called, documentation
from effectmq.consumers.tools.functions.hints import result_hint
from effectmq.consumers.tools.functions.schemas import Quiet
from effectmq.consumers.tools.functions.signatures import (
    Signature,
    is_data_class,
    schema_of_class,
    signature_of,
    validated,
)
from effectmq.consumers.tools.registry import Tool, ToolBody, check_choices, is_tool_name
from effectmq.consumers.tools.results.pieces import gathered
from effectmq.consumers.tools.results.special import (
    Attachment,
    FailTurn,
    FinishTurn,
    SwitchAgentFrame,
    ToolReturn,
)
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tool_retry import ToolRetryPolicy, ToolRetryPolicyNever
from effectmq.protocol.wire.tools import ToolCallOutput

__all__ = ["TypedFunction", "is_special", "tool_from", "without_answers"]

_SPECIAL = (
    Attachment,
    AttachmentRef,
    FailTurn,
    FinishTurn,
    SwitchAgentFrame,
    ToolCallOutput,
    ToolReturn,
)


@dataclass(frozen=True, slots=True)
class TypedFunction:
    """
    The body of a tool that is a Python function.

    Attributes:
        function: The function; it runs in a thread when it is not ``async``.
        signature: Its parameters.
        in_loop: The same function when it is ``async``.
    """

    function: HandlerFunction
    signature: Signature
    in_loop: Callable[..., Awaitable[object]] | None = None

    async def __call__(self, args: object, context: EffectContext) -> object:
        """Validate the arguments, call the function, and collect its pieces if it gives some."""
        keywords = self.signature.keywords(args, context)
        if self.in_loop is not None:
            result = await self.in_loop(**keywords)
        else:
            result = await call(self.function, (), keywords)
        # The class is not checked, because this runs for each call.
        if hasattr(result, "__next__") or hasattr(result, "__anext__"):
            return await gathered(result)
        return result


@dataclass(frozen=True, slots=True)
class TypedData:
    """
    The body of a tool that is a pydantic model or a dataclass: its instance is the result.

    Attributes:
        adapter: Makes an instance.
    """

    adapter: TypeAdapter[Any]

    async def __call__(self, args: object, context: EffectContext) -> object:
        """Validate the arguments; the instance is the result."""
        return validated(args, self.adapter.validate_json)


def tool_from(
    function: HandlerFunction,
    *,
    name: str | None = None,
    retry: ToolRetryPolicy | None = None,
    time_limit_s: float | None = None,
    on_uncertain: OnUncertain = "retry",
    lane: str | None = None,
) -> Tool:
    """
    Make a tool of a function.

    Args:
        function: A function with type hints; a model cannot be told of ``*args`` and ``**kwargs``.
        name: The tool's name; the function's own by default.
        retry: When a failure is tried again; never by default.
        time_limit_s: How long one attempt may run, in seconds.
        on_uncertain: What to do when a worker died while it ran: ``retry``, or ``park`` for a tool
            that must never run twice.
        lane: The lane of ``tool_call`` that its calls take; the common one by default.

    Raises:
        ConfigurationError: When the signature cannot be a tool's, or another argument has a wrong
            type or value.
    """
    tool_name = _name(function, name)
    check_time_limit(f"tool {tool_name!r}", time_limit_s)
    check_on_uncertain(f"tool {tool_name!r}", on_uncertain)
    check_choices(f"tool {tool_name!r}", retry or ToolRetryPolicyNever(), lane or "")
    body, input_schema = _body(tool_name, function)
    return Tool(
        name=tool_name,
        description=documentation(function),
        input_schema=input_schema,
        body=body,
        retry_policy=retry or ToolRetryPolicyNever(),
        time_limit_s=time_limit_s,
        on_uncertain=on_uncertain,
        lane=lane or "",
        output_schema=_output_schema(result_hint(function)),
    )


def _name(function: object, given: object) -> str:
    if isinstance(function, str):
        shown = printable(repr(function), 100)
        raise ConfigurationError(
            f"found the text {shown} where a function is expected; to name a tool write "
            f"@app.tool(name={shown})"
        )
    name = given or getattr(function, "__name__", "")
    if not given and not callable(function) and not name:
        raise ConfigurationError(
            f"found a Python {type(function).__name__} where a function is expected; make the tool "
            "of a function"
        )
    if not isinstance(name, str) or not is_tool_name(name):
        raise ConfigurationError(
            f"the tool's name is {printable(repr(name), 300)}; expected letters, digits, _ - and "
            "., set it with name= when the function has none"
        )
    return name


def _body(tool: str, function: HandlerFunction) -> tuple[ToolBody, dict[str, Any]]:
    try:
        if is_data_class(function):
            adapter, schema = schema_of_class(tool, function)
            return TypedData(adapter), schema
        runs = called(function)
        signature = signature_of(tool, runs)
        in_loop = runs if is_async(runs) else None
        return TypedFunction(runs, signature, in_loop), signature.input_schema
    except ConfigurationError:
        raise
    except Exception as problem:
        # An object may raise anything when its attributes are read.
        raise ConfigurationError(
            f"tool {tool!r}: its parameters cannot be read ({describe(problem)}); wrap it in a "
            "def with names and type hints"
        ) from None


def _output_schema(hint: Any) -> dict[str, Any]:
    """The schema of a function's result; empty when its hint has none in JSON."""
    try:
        hint = without_answers(hint)
        if hint is Any or is_special(hint):
            return {}
        schema = TypeAdapter(hint).json_schema(mode="serialization", schema_generator=Quiet)
        canonical_value(schema)
        return schema
    except Exception:
        # A hint for people. Unlike a parameter's hint it need not be understood.
        return {}


def without_answers(hint: Any) -> Any:
    """What a tool returns in the end, where its hint also says that it may hand its effect out."""
    if hint is WaitForAnswer:
        return Any
    if get_origin(hint) not in (Union, UnionType):
        return hint
    rest: list[Any] = [member for member in get_args(hint) if member is not WaitForAnswer]
    return reduce(lambda one, other: one | other, rest) if rest else Any


def is_special(hint: Any) -> bool:
    """Whether values of the type have a special form on the wire."""
    return hint in _SPECIAL or any(map(is_special, get_args(hint)))
