"""
Typed Python functions as tools.

The signature is the contract: its type hints become the input schema, and the arguments of a call
are validated by pydantic before the function sees them. Nothing here raises for a bad call; a tool
failure is an outcome, and the model that asked gets to read it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticUndefined

from effectmq.broker.journal.records import OnUncertain
from effectmq.consumers.handler import (
    EffectContext,
    HandlerFunction,
    call,
    check_on_uncertain,
    check_time_limit,
)
from effectmq.consumers.tool_results import (
    Attachment,
    FailTurn,
    FinishTurn,
    SwitchAgentFrame,
    ToolReturn,
)
from effectmq.consumers.tools import BadArgumentsError, Tool, is_tool_name
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import describe, printable
from effectmq.protocol.wire.attachments import AttachmentRef
from effectmq.protocol.wire.tool_definitions import ToolRetryPolicy, ToolRetryPolicyNever
from effectmq.protocol.wire.tools import ToolCallOutput

__all__ = ["TypedFunction", "tool_from"]

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
        function: What runs; in a thread when it is not ``async``.
        arguments: The signature as a pydantic model.
        context_name: The parameter that wants the context, or empty.
    """

    function: HandlerFunction
    arguments: type[BaseModel]
    context_name: str

    async def __call__(self, args: object, context: EffectContext) -> object:
        """Validate the arguments and call the function."""
        keywords = self._validated(args)
        if self.context_name:
            keywords[self.context_name] = context
        return await call(self.function, (), keywords)

    def _validated(self, args: object) -> dict[str, Any]:
        if not isinstance(args, Mapping):
            raise BadArgumentsError(
                [f"found {type(args).__name__}, expected an object of named arguments"]
            )
        try:
            model = self.arguments.model_validate(args)
        except ValidationError as error:
            raise BadArgumentsError(
                [
                    f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                ]
            ) from None
        # Attribute by attribute, not model_dump: nested models reach the function as models.
        fields = self.arguments.model_fields
        return {str(fields[name].alias): getattr(model, name) for name in model.model_fields_set}


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
        function: With type hints; ``*args`` and ``**kwargs`` cannot be described to a model.
        name: The tool's name; the function's own by default.
        retry: When a failure is tried again; never by default.
        time_limit_s: How long one attempt may run, in seconds.
        on_uncertain: What to do when a worker died while it ran: ``retry``, or ``park`` for a tool
            that must never run twice.
        lane: The lane of ``tool_call`` that its calls take; the common one by default.

    Raises:
        ConfigurationError: When the signature cannot be a tool's, or the time limit is none.
    """
    tool_name = name or str(getattr(function, "__name__", ""))
    check_time_limit(f"tool {tool_name!r}", time_limit_s)
    check_on_uncertain(f"tool {tool_name!r}", on_uncertain)
    fields: dict[str, Any] = {}
    context_name = ""
    hints = _hints(tool_name, function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            raise ConfigurationError(
                f"tool {tool_name!r}: the parameter {parameter} cannot be given by name; expected "
                "parameters with a name and a type hint"
            )
        hint = hints.get(parameter.name, Any)
        if isinstance(hint, type) and issubclass(hint, EffectContext):
            context_name = parameter.name
            continue
        default = PydanticUndefined if parameter.default is parameter.empty else parameter.default
        # The parameter's name is an alias only: pydantic has names of its own ("schema", "_x",
        # "model_config") that a field cannot have, and a parameter can.
        fields[f"p{len(fields)}"] = (hint, Field(default, alias=parameter.name))
    arguments = _arguments(tool_name, fields)
    return Tool(
        name=tool_name,
        description=(inspect.getdoc(function) or "").partition("\n\n")[0],
        input_schema=arguments.model_json_schema(),
        body=TypedFunction(function, arguments, context_name),
        retry_policy=retry or ToolRetryPolicyNever(),
        time_limit_s=time_limit_s,
        on_uncertain=on_uncertain,
        lane=lane or "",
        output_schema=_output_schema(hints.get("return", Any)),
    )


def _output_schema(hint: Any) -> dict[str, Any]:
    """What a function says that it returns; empty when it says nothing that JSON could say."""
    if hint is Any or _is_special(hint):
        return {}
    try:
        return TypeAdapter(hint).json_schema(mode="serialization")
    except Exception:
        # A hint for people. Unlike a parameter's it is no promise, so it need not be understood.
        return {}


def _is_special(hint: Any) -> bool:
    """Whether a value of the type is on the wire in a form of its own."""
    return hint in _SPECIAL or any(map(_is_special, get_args(hint)))


def _hints(name: str, function: HandlerFunction) -> dict[str, Any]:
    # Hints are where the code is: not on a partial, nor on an object that can be called.
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except Exception as problem:
        raise ConfigurationError(
            f"tool {name!r}: a type hint cannot be resolved ({describe(problem)}); import the type "
            "where the function is defined, outside of 'if TYPE_CHECKING'"
        ) from None


def _arguments(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    if not is_tool_name(name):
        raise ConfigurationError(
            f"the tool's name is {printable(name)!r}; expected letters, digits, _ - and ."
        )
    try:
        return create_model(
            name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
        )
    except Exception as problem:
        raise ConfigurationError(
            f"tool {name!r}: its signature cannot be validated ({printable(str(problem))}); use "
            "types that pydantic knows"
        ) from None
