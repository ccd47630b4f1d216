"""
What a function takes, read off its signature: the arguments that a model gives, and the context.

One pydantic model is the only source: what its schema requires is what its validation demands. A
signature that cannot be a tool's is refused here, with the parameter and what to do.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, to_json

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.tools.registry import BadArgumentsError
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.text import describe, printable

__all__ = ["Quiet", "Signature", "documentation", "result_hint", "signature_of"]

_UNNAMED = (
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
    inspect.Parameter.POSITIONAL_ONLY,
)


class Quiet(GenerateJsonSchema):
    """Schemas as they go on the wire: a default that has no JSON form is left out, and silently."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def encode_default(self, dft: Any) -> Any:
        """The default as JSON; NaN and the like are none."""
        encoded = super().encode_default(dft)
        try:
            return canonical_value(encoded)
        except MalformedError as problem:
            raise PydanticSerializationError(problem.problem) from None


@dataclass(frozen=True, slots=True)
class Signature:
    """
    The parameters of a function.

    Attributes:
        arguments: Those that a call gives, as a pydantic model.
        names: The parameter of each of its fields.
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
        What to call the function with.

        Args:
            args: The arguments as they came, plain JSON data.
            context: Of the call.

        Raises:
            BadArgumentsError: When they do not fit.
        """
        if not is_object(args):
            raise BadArgumentsError(
                [f"found {type(args).__name__}, expected an object of named arguments"]
            )
        model = self._validated(args)
        # Attribute by attribute, not model_dump: nested models reach the function as models.
        given = {
            parameter: getattr(model, field)
            for field, parameter in self.names.items()
            if field in model.model_fields_set or field in self.filled
        }
        return given | dict.fromkeys(self.context_names, context)

    def _validated(self, args: object) -> BaseModel:
        try:
            # As JSON, which it is: strict models take dates and enums from JSON text only.
            return self.arguments.model_validate_json(to_json(args))
        except ValidationError as error:
            raise BadArgumentsError(
                [
                    f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                ]
            ) from None
        except (PydanticSerializationError, RecursionError, ValueError) as problem:
            raise BadArgumentsError(
                [f"arguments: they are no JSON ({describe(problem)})"]
            ) from None


def signature_of(tool: str, function: object) -> Signature:
    """
    Read a signature.

    Args:
        tool: The tool's name, for sentences.
        function: What is called.

    Raises:
        ConfigurationError: When a call could not give what the function takes.
    """
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    filled: set[str] = set()
    contexts: list[str] = []
    hints = _hints(tool, function)
    for parameter in _parameters(tool, function):
        hint = hints.get(parameter.name, Any)
        if _is_context(tool, parameter.name, hint):
            contexts.append(parameter.name)
            continue
        if _mentions(hint, _is_self):
            _refuse(
                tool,
                f"the parameter {parameter.name!r} is hinted Self, which only a class body knows",
                "name the class",
            )
        field = _field_name(parameter.name, len(fields))
        names[field] = parameter.name
        default = parameter.default
        told = hint if field == parameter.name else _aliased(hint, parameter.name)
        fields[field] = Annotated[told, _NOTHING] if default is parameter.empty else (told, default)
        if default is parameter.empty or isinstance(default, FieldInfo | dataclasses.Field):
            filled.add(field)
    arguments = _model(tool, fields, names)
    filled |= {name for name, info in arguments.model_fields.items() if info.validate_default}
    schema = _schema(tool, arguments, names)
    return Signature(arguments, names, frozenset(filled), tuple(contexts), schema)


#: Metadata that says nothing: so any hint can be given to pydantic without a default.
_NOTHING = object()


# What is called ------------------------------------------------------------------------------


def _target(function: object) -> Any:
    """Where hints and text are: not on a partial, nor on an object that can be called."""
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, staticmethod):
        target = target.__func__
    if inspect.isclass(target):
        return target.__init__
    return target if inspect.isroutine(target) else type(target).__call__


def documentation(function: object) -> str:
    """The whole docstring of what is called; empty when it has none."""
    target = _target(function)
    owner: Any = function
    while isinstance(owner, functools.partial):
        owner = owner.func
    text = inspect.getdoc(owner if inspect.isclass(owner) else target)
    if not text and not inspect.isroutine(owner):
        text = inspect.getdoc(_class_of(owner))
    return (text or "").strip()


def _class_of(called: object) -> object:
    return called if inspect.isclass(called) else type(called)


def _parameters(tool: str, function: Any) -> list[inspect.Parameter]:
    if isinstance(function, classmethod):
        _refuse(tool, "it is a classmethod object", "register it after its class: Class.method")
    if _is_generator(function):
        _refuse(
            tool,
            "it is a generator, and a call has one result",
            "return a list, or send pieces with context.stream",
        )
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as problem:
        _refuse(tool, f"its signature cannot be read ({describe(problem)})", "wrap it in a def")
    fixed = _fixed(function)
    for parameter in found:
        if parameter.kind in _UNNAMED:
            _refuse(
                tool,
                f"the parameter {parameter} cannot be given by name",
                "expected parameters with a name and a type hint (a decorator without "
                "functools.wraps hides them)",
            )
    if found and found[0].name in ("self", "cls") and _is_unbound(function, found[0]):
        _refuse(
            tool,
            f"its first parameter is {found[0].name!r}, and nobody gives that",
            "register the method of an object: app.tool(instance.method)",
        )
    return [parameter for parameter in found if parameter.name not in fixed]


def _is_generator(function: object) -> bool:
    target = _target(function)
    return inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)


def _fixed(function: object) -> set[str]:
    """What a partial has given already, secrets perhaps: that is no business of the model's."""
    fixed: set[str] = set()
    while isinstance(function, functools.partial):
        fixed |= set(function.keywords)
        function = function.func
    return fixed


def _is_unbound(function: object, first: inspect.Parameter) -> bool:
    """Whether it stands in the body of a class, and is a plain function all the same."""
    if first.annotation is not first.empty or isinstance(function, staticmethod):
        return False
    owner = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


# Hints ---------------------------------------------------------------------------------------


def _hints(tool: str, function: object) -> dict[str, Any]:
    target = _target(function)
    annotations = _annotations(function, target)
    annotations.pop("return", None)
    try:
        return _resolved(target, annotations)
    except Exception as problem:
        raise ConfigurationError(
            f"tool {tool!r}: a type hint cannot be resolved ({describe(problem)}); import the type "
            "where the function is defined, outside of 'if TYPE_CHECKING', and when it is defined "
            "inside of a function, register the tool there, too"
        ) from None


def result_hint(function: object) -> Any:
    """What a function says that it returns; ``Any`` when it does not say it understandably."""
    target = _target(function)
    if inspect.isclass(function):
        return function
    try:
        annotations = _annotations(function, target)
        wanted = {"return": annotations["return"]} if "return" in annotations else {}
        return _resolved(target, wanted).get("return", Any)
    except Exception:
        # A hint for people. Unlike a parameter's it is no promise, so it need not be understood.
        return Any


def _annotations(function: Any, target: Any) -> dict[str, Any]:
    """Those of the signature as it is told, which a decorator may have changed."""
    own: dict[str, Any] = dict(getattr(target, "__annotations__", None) or {})
    if getattr(inspect.unwrap(target), "__signature__", None) is None:
        return own
    try:
        told = inspect.signature(function)
    except (TypeError, ValueError):
        return own
    found = {
        name: one.annotation
        for name, one in told.parameters.items()
        if one.annotation is not one.empty
    }
    if told.return_annotation is not told.empty:
        found["return"] = told.return_annotation
    return found


def _resolved(target: Any, annotations: dict[str, Any]) -> dict[str, Any]:
    inner = inspect.unwrap(target)
    module: dict[str, Any] = getattr(inner, "__globals__", {})
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        return get_type_hints(holder, module, {}, include_extras=True)
    except NameError:
        return get_type_hints(holder, module, _local_names(inner), include_extras=True)


def _local_names(function: Any) -> dict[str, Any]:
    """What the function's own code could name: its closure, and the functions that it stands in."""
    found: dict[str, Any] = {one.__name__: one for one in getattr(function, "__type_params__", ())}
    code = getattr(function, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), function.__closure__ or (), strict=False
    ):
        if not _is_empty(cell):
            found[name] = cell.cell_contents
    qualified = str(getattr(function, "__qualname__", ""))
    frame: types.FrameType | None = inspect.currentframe()
    while frame is not None:
        encloses = qualified.startswith(f"{frame.f_code.co_qualname}.")
        if encloses and frame.f_globals is function.__globals__:
            found = {**frame.f_locals, **found}
        frame = frame.f_back
    return found


def _is_empty(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _is_context(tool: str, name: str, hint: Any) -> bool:
    """Whether a parameter wants the context, in whatever way it says so."""
    kinds = [one for one in _alternatives(hint) if one is not type(None)]
    contexts = [one for one in kinds if _is_context_class(one)]
    if not contexts:
        if _mentions(hint, _is_context_class):
            _refuse(
                tool,
                f"the parameter {name!r} holds a context inside of something else ({hint})",
                "ask for it by itself: context: ToolContext",
            )
        return False
    if len(contexts) < len(kinds):
        _refuse(
            tool,
            f"the parameter {name!r} may be the context or an argument ({hint})",
            "expected one of the two; the only thing beside it may be None",
        )
    if not all(issubclass(ToolContext, one) for one in contexts):
        _refuse(
            tool,
            f"the parameter {name!r} wants a context of a class of its own ({hint})",
            "expected ToolContext or EffectContext, which is what a call has",
        )
    return True


def _is_context_class(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, EffectContext)


def _is_class_hint(hint: Any) -> bool:
    return hint is type or get_origin(hint) is type


def _is_self(hint: Any) -> bool:
    return getattr(hint, "_name", None) == "Self" and get_origin(hint) is None


def _mentions(hint: Any, wanted: Callable[[Any], bool]) -> bool:
    return wanted(hint) or any(_mentions(part, wanted) for part in get_args(hint))


def _alternatives(hint: Any) -> list[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        return _alternatives(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return [one for part in get_args(hint) for one in _alternatives(part)]
    if type(hint).__name__ == "TypeAliasType":
        return _alternatives(hint.__value__)
    if isinstance(hint, TypeVar) and hint.__bound__ is not None:
        return _alternatives(hint.__bound__)
    supertype = getattr(hint, "__supertype__", None)
    return [hint] if supertype is None else _alternatives(supertype)


# The model -------------------------------------------------------------------------------------


def _field_name(parameter: str, number: int) -> str:
    """Its own name where pydantic allows it: factories and validators look at each other's."""
    if parameter.startswith(("_", "model_")) or hasattr(BaseModel, parameter):
        return f"argument_{number}__{parameter.strip('_')}"
    return parameter


def _aliased(hint: Any, name: str) -> Any:
    """The hint with a name to be given by, unless it has one: what stands further back wins."""
    plain, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return Annotated[plain, Field(alias=name), *metadata]


def _model(tool: str, fields: dict[str, Any], names: Mapping[str, str]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    try:
        model = create_model(tool, __config__=config, **fields)
        if not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=True)
    except Exception as problem:
        raise ConfigurationError(
            f"tool {tool!r}: its signature cannot be validated ({printable(str(problem))}); use "
            "types that pydantic knows"
        ) from None
    lost = sorted(set(names).difference(model.model_fields))
    if lost:
        _refuse(
            tool,
            f"the parameter {names[lost[0]]!r} has a type hint that is none of an argument's",
            "expected a type that pydantic validates, without ClassVar, Final or InitVar",
        )
    _check_aliases(tool, model, names)
    return model


def _check_aliases(tool: str, model: type[BaseModel], names: Mapping[str, str]) -> None:
    """Each argument has one name, and no two the same one."""
    taken: dict[str, str] = {}
    for field, info in model.model_fields.items():
        alias = info.validation_alias or field
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        for choice in choices:
            if not isinstance(choice, str):
                _refuse(
                    tool,
                    f"the parameter {names[field]!r} is looked for at a path inside of others",
                    "expected an alias that is a name; take the whole object as a parameter",
                )
            if choice in taken:
                _refuse(
                    tool,
                    f"the parameters {taken[choice]!r} and {names[field]!r} are both given as "
                    f"{choice!r}",
                    "give one of them another alias",
                )
            taken[choice] = names[field]


def _schema(tool: str, model: type[BaseModel], names: Mapping[str, str]) -> dict[str, Any]:
    for field, info in model.model_fields.items():
        if _mentions(info.annotation, _is_class_hint):
            _refuse(
                tool,
                f"the parameter {names[field]!r} is to be a class, which no JSON is",
                "take its name",
            )
    try:
        schema = model.model_json_schema(schema_generator=Quiet)
        canonical_value(schema)
    except MalformedError as problem:
        _refuse(tool, f"its schema is no JSON ({problem})", "use bounds and examples that are")
    except Exception as problem:
        raise ConfigurationError(
            f"tool {tool!r}: no JSON Schema describes its signature ({printable(str(problem))}); "
            "use types that have a JSON form"
        ) from None
    return schema


def _refuse(tool: str, found: str, do: str) -> NoReturn:
    raise ConfigurationError(f"tool {tool!r}: {found}; {do}")
