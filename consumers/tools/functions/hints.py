"""
The type hints of a function: resolved in the scope of the function, and checked.
"""

from __future__ import annotations

import enum
import inspect
import re
import types
from collections.abc import Callable
from typing import (
    Annotated,
    Any,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel

from effectmq.consumers.handler import EffectContext
from effectmq.consumers.tools.context import ToolContext
from effectmq.consumers.tools.functions.callables import refuse, target
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.text import describe, printable

__all__ = ["check_hint", "hints", "is_context", "result_hint"]


def hints(tool: str, function: object) -> dict[str, Any]:
    """
    The hints of all parameters that have one.

    Raises:
        ConfigurationError: When a hint names something that cannot be found.
    """
    try:
        found = target(function)
        annotations = _annotations(function, found)
        annotations.pop("return", None)
        return _resolved(found, annotations)
    except Exception as problem:
        raise ConfigurationError(
            f"tool {tool!r}: a type hint cannot be resolved ({describe(problem)}); import the type "
            "where the function is defined, outside of 'if TYPE_CHECKING', and when it is defined "
            "inside of a function, register the tool there, too"
        ) from None


def result_hint(function: object) -> Any:
    """The type that a function says it returns; ``Any`` when the hint cannot be understood."""
    if inspect.isclass(function):
        return function
    try:
        found = target(function)
        annotations = _annotations(function, found)
        wanted = {"return": annotations["return"]} if "return" in annotations else {}
        return _resolved(found, wanted).get("return", Any)
    except Exception:
        # A hint for people. Unlike a parameter's hint it need not be understood.
        return Any


def _annotations(function: Any, target: Any) -> dict[str, Any]:
    """The annotations of the signature that is told, which a decorator may have changed."""
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
    """The names that the function's code can use: its closure, and those of enclosing functions."""
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


# Checks --------------------------------------------------------------------------------------


def is_context(tool: str, name: str, hint: Any) -> bool:
    """Whether a parameter takes the context, in any of the ways to say so."""
    kinds = [one for one in _alternatives(hint) if one is not type(None)]
    contexts = [one for one in kinds if _is_context_class(one)]
    if not contexts:
        if _mentions(hint, _is_context_class):
            refuse(
                tool,
                f"the parameter {name!r} has a context inside another type ({hint})",
                "take the context by itself: context: ToolContext",
            )
        return False
    if len(contexts) < len(kinds):
        refuse(
            tool,
            f"the parameter {name!r} may be the context or an argument ({hint})",
            "expected one of the two, or the context and None",
        )
    if not all(issubclass(ToolContext, one) for one in contexts):
        refuse(
            tool,
            f"the parameter {name!r} takes a context of another class ({hint})",
            "expected ToolContext or EffectContext, which a call has",
        )
    return True


def _is_context_class(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, EffectContext)


def check_hint(tool: str, name: str, hint: Any) -> None:
    """
    Refuse a hint that no JSON value can satisfy.

    Raises:
        ConfigurationError: When it is one; names the parameter.
    """
    if hint.__class__ in _NO_TYPES:
        refuse(
            tool,
            f"the parameter {name!r} is hinted {printable(repr(hint), 100)}, which is not a type",
            "name a type, or describe it: Annotated[int, Field(description=...)]",
        )
    for unusable, found, do in _UNUSABLE:
        if _mentions(hint, unusable):
            shown = printable(str(hint), 100)
            refuse(tool, f"the parameter {name!r} {found} (its hint is {shown})", do)


def _is_class_hint(hint: Any) -> bool:
    return hint is type or get_origin(hint) is type


def _is_self(hint: Any) -> bool:
    return getattr(hint, "_name", None) == "Self" and get_origin(hint) is None


def _is_any_model(hint: Any) -> bool:
    return hint is BaseModel or (isinstance(hint, TypeVar) and hint.__bound__ is BaseModel)


def _is_any_enum(hint: Any) -> bool:
    return isinstance(hint, enum.EnumType) and not hint.__members__


def _is_pattern_of_bytes(hint: Any) -> bool:
    return get_origin(hint) is re.Pattern and get_args(hint) == (bytes,)


_NO_TYPES = frozenset(
    (int, float, bool, bytes, list, tuple, dict, set, types.ModuleType, types.EllipsisType)
)
_UNUSABLE: list[tuple[Callable[[Any], bool], str, str]] = [
    (_is_self, "is hinted Self, which only a class body knows", "name the class"),
    (_is_class_hint, "is a class, which JSON cannot hold", "take its name"),
    (_is_any_model, "is a BaseModel without fields", "name the model that is meant"),
    (_is_any_enum, "is an enum without members", "name the enum that is meant"),
    (_is_pattern_of_bytes, "is a pattern of bytes, which JSON cannot hold", "take a Pattern[str]"),
]


def _mentions(hint: Any, wanted: Callable[[Any], bool]) -> bool:
    parts = get_args(hint)
    if get_origin(hint) is Annotated:
        # What is inside these is not a hint, and may be anything.
        parts = parts[:1]
    return wanted(hint) or any(_mentions(part, wanted) for part in parts)


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
