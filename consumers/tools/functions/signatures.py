"""
The parameters of a function: the arguments that a model gives, and the context.

One pydantic model is the only source: its schema requires what its validation requires. A signature
that cannot be a tool's is refused here, with the parameter and what to do.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.functions.callables import parameters, refuse
from effectmq.consumers.tools.functions.hints import check_hint, hints, is_context
from effectmq.consumers.tools.functions.schemas import NeverValidError, Quiet, odd_bound
from effectmq.consumers.tools.registry import BadArgumentsError
from effectmq.consumers.tools.results.plain_data import is_iterator
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.text import describe, printable

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["Signature", "is_data_class", "schema_of_class", "signature_of", "validated"]

#: How many problems of one call's arguments are told; the rest is counted.
_MOST_TOLD = 20
_MOST_LETTERS = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Signature:
    """
    The parameters of a function.

    Attributes:
        arguments: The parameters that a call gives, as a pydantic model.
        names: The parameter of each field.
        filled: Fields whose defaults pydantic knows and the function does not.
        context_names: The parameters that get the context.
        input_schema: The arguments as JSON Schema.
    """

    arguments: type[BaseModel]
    names: Mapping[str, str]
    filled: frozenset[str]
    context_names: tuple[str, ...]
    input_schema: dict[str, Any]

    def keywords(self, args: object, context: EffectContext) -> dict[str, Any]:
        """
        The keyword arguments for the function.

        Args:
            args: The arguments of the call, plain JSON data.
            context: The context of the call.

        Raises:
            BadArgumentsError: When they do not fit.
        """
        model = validated(args, self.arguments.model_validate_json)
        # Attribute by attribute, not model_dump: nested models reach the function as models.
        told = model.model_fields_set
        given: dict[str, object] = {}
        for field, parameter in self.names.items():
            if field in told or field in self.filled:
                value = getattr(model, field)
                # The class is not checked, because this runs for each argument of each call.
                given[parameter] = _whole(parameter, value) if hasattr(value, "__next__") else value
        for name in self.context_names:
            given[name] = context
        return given


def _whole(name: str, value: object) -> object:
    """Read an ``Iterable`` whole: it is validated while it is read, and its problems are told."""
    if not is_iterator(value):
        return value
    try:
        return iter(list(value))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise BadArgumentsError([f"{name}.{told}" for told in _told(problems)]) from None


# Validation ----------------------------------------------------------------------------------


def validated(args: object, validate: Callable[[bytes], T]) -> T:
    """
    The arguments of a call, validated.

    Args:
        args: The arguments of the call, plain JSON data.
        validate: Takes them as JSON text, because strict models accept dates and enums from JSON
            text only.

    Raises:
        BadArgumentsError: When they do not fit.
    """
    given = args
    if not isinstance(args, dict):
        raise BadArgumentsError(
            [f"found {type(args).__name__}, expected an object of named arguments"]
        )
    try:
        json = to_json(given)
    except (PydanticSerializationError, RecursionError, ValueError) as problem:
        raise BadArgumentsError([f"arguments: they are not JSON ({describe(problem)})"]) from None
    try:
        return validate(json)
    except ValidationError as error:
        raise BadArgumentsError(
            _told(error.errors(include_url=False, include_input=False))
        ) from None
    except Exception as problem:
        # Users' own validators may raise anything.
        raise BadArgumentsError(
            [f"arguments: they cannot be validated ({describe(problem)})"]
        ) from None


def _told(problems: Sequence[ErrorDetails]) -> list[str]:
    found = [
        f"{printable('.'.join(map(str, problem['loc'])), _MOST_LETTERS) or 'arguments'}: "
        f"{printable(problem['msg'], _MOST_LETTERS)}"
        for problem in problems[:_MOST_TOLD]
    ]
    if len(problems) > _MOST_TOLD:
        found.append(f"and {len(problems) - _MOST_TOLD} more")
    return found


# From a function -----------------------------------------------------------------------------


def signature_of(tool: str, function: object) -> Signature:
    """
    Read a signature.

    Args:
        tool: The tool's name, for errors.
        function: The function.

    Raises:
        ConfigurationError: When a call could not give the function's parameters.
    """
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    filled: set[str] = set()
    contexts: list[str] = []
    found = parameters(tool, function)
    known = hints(tool, function)
    for parameter in found:
        hint = known.get(parameter.name, Any)
        if is_context(tool, parameter.name, hint):
            contexts.append(parameter.name)
            continue
        check_hint(tool, parameter.name, hint)
        field = _field_name(parameter.name, len(fields))
        names[field] = parameter.name
        default = parameter.default
        told = hint if field == parameter.name else _aliased(hint, parameter.name)
        fields[field] = Annotated[told, _NOTHING] if default is parameter.empty else (told, default)
        if default is parameter.empty or isinstance(default, FieldInfo | dataclasses.Field):
            filled.add(field)
    arguments = _model(tool, fields, names)
    filled |= {name for name, info in arguments.model_fields.items() if info.validate_default}
    schema = _schema(tool, arguments, fields, names)
    return Signature(arguments, names, frozenset(filled), tuple(contexts), schema)


#: Metadata without a meaning, so that any hint can be given to pydantic without a default.
_NOTHING = object()


def _field_name(parameter: str, number: int) -> str:
    """Its own name where pydantic allows it: factories and validators use each other's names."""
    if parameter.startswith(("_", "model_")) or hasattr(BaseModel, parameter):
        return f"argument_{number}__{parameter.strip('_')}"
    return parameter


def _aliased(hint: Any, name: str) -> Any:
    """The hint with an alias, unless it has one: the last metadata wins."""
    plain, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return Annotated[plain, Field(alias=name), *metadata]


def _model(tool: str, fields: dict[str, Any], names: Mapping[str, str]) -> type[BaseModel]:
    try:
        model = _created(tool, fields)
    except Exception as problem:
        refuse(
            tool,
            f"{_whose(fields, names)} cannot be validated ({_shortly(problem)})",
            "use types that pydantic knows and that have a JSON form",
        )
    lost = sorted(set(names).difference(model.model_fields))
    if lost:
        refuse(
            tool,
            f"the parameter {names[lost[0]]!r} has a type hint that is not for an argument",
            "expected a type that pydantic validates, without ClassVar, Final or InitVar",
        )
    _check_aliases(tool, model, names)
    return model


def _created(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    model = create_model(name, __config__=config, **fields)
    if not model.__pydantic_complete__:
        model.model_rebuild(raise_errors=True)
    return model


def _whose(fields: dict[str, Any], names: Mapping[str, str]) -> str:
    """The first parameter that alone has no schema, as a phrase."""
    for name, definition in fields.items():
        try:
            _created("one", {name: definition}).model_json_schema(schema_generator=Quiet)
        except Exception:
            return f"the parameter {names[name]!r}"
    return "its signature"


def _shortly(problem: BaseException) -> str:
    """The text of pydantic without its advice, which is for authors of models."""
    text = str(problem).partition(". Set `")[0].partition("\n\n")[0].rpartition("SchemaError: ")[2]
    text = text.replace("Unable to generate pydantic-core schema for", "pydantic does not know")
    return printable(" ".join(text.split()), _MOST_LETTERS)


def _check_aliases(tool: str, model: type[BaseModel], names: Mapping[str, str]) -> None:
    """Check that each argument has one name, and no two have the same."""
    taken: dict[str, str] = {}
    for field, info in model.model_fields.items():
        alias = info.validation_alias or field
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        for choice in choices:
            if not isinstance(choice, str):
                refuse(
                    tool,
                    f"the parameter {names[field]!r} has an alias that is a path into others",
                    "expected an alias that is a name; take the whole object as a parameter",
                )
            if choice in taken:
                refuse(
                    tool,
                    f"the parameters {taken[choice]!r} and {names[field]!r} are both given as "
                    f"{choice!r}",
                    "give one of them another alias",
                )
            taken[choice] = names[field]


def _schema(
    tool: str, model: type[BaseModel], fields: dict[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(schema_generator=Quiet)
        canonical_value(schema)
    except NeverValidError as problem:
        refuse(tool, f"{_whose(fields, names)} takes {problem.found}", problem.do)
    except MalformedError as problem:
        refuse(tool, f"its schema is not JSON ({problem})", "use bounds and examples that are")
    except Exception as problem:
        refuse(
            tool,
            f"no JSON Schema describes {_whose(fields, names)} ({_shortly(problem)})",
            "use types that have a JSON form",
        )
    return _sound(tool, schema)


def _sound(tool: str, schema: dict[str, Any]) -> dict[str, Any]:
    odd = odd_bound(schema)
    if odd:
        refuse(tool, f"its schema has {odd}", "give a bound only to what can be compared with it")
    return schema


# From a data class ---------------------------------------------------------------------------


def is_data_class(function: object) -> TypeIs[type[Any]]:
    """Whether it is a pydantic model or a dataclass, whose fields are arguments."""
    if not inspect.isclass(function):
        return False
    return issubclass(function, BaseModel) or dataclasses.is_dataclass(function)


def schema_of_class(tool: str, kind: type[Any]) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """
    The validator of a pydantic model or a dataclass, and its fields as JSON Schema.

    Raises:
        ConfigurationError: When its fields cannot be arguments.
    """
    if kind is BaseModel or issubclass(kind, RootModel):
        refuse(tool, "it is a model without named fields", "register a model that has some")
    try:
        adapter = TypeAdapter[Any](kind)
        schema = adapter.json_schema(schema_generator=Quiet)
        canonical_value(schema)
    except Exception as problem:
        raise ConfigurationError(
            f"tool {tool!r}: its fields cannot be arguments ({_shortly(problem)}); use types that "
            "pydantic knows and that have a JSON form"
        ) from None
    if "$ref" in schema:
        # It contains itself; a model is still told of an object.
        name = str(schema.pop("$ref")).rpartition("/")[2]
        schema = {**schema["$defs"][name], **schema}
    return adapter, _sound(tool, schema)
