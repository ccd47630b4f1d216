"""What the reference shows otherwise than the source has it: constructors and marks of blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

__all__ = ["LiteralBlocks", "WireModels"]

_BASE = "effectmq.protocol.encoding.serde.model.WireModel"
#: Before an indented block in a docstring; Markdown needs no mark there.
_MARK = re.compile(r"^::$|(?<=\S):(?=:$)", re.MULTILINE)
_SELF = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)


class LiteralBlocks(griffe.Extension):
    """Takes the marks before the blocks of docstrings away."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called when everything has been loaded, for every object."""
        if obj.docstring:
            obj.docstring.value = _MARK.sub("", obj.docstring.value)


class WireModels(griffe.Extension):
    """Gives each wire type the constructor that type checkers see: fields, not ``**data``."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called when everything has been loaded, for every class."""
        if any(each.path == _BASE for each in cls.mro()):
            fields = {field.name: field for owner in _owners(cls) for field in _fields(owner)}
            parameters = griffe.Parameters(_SELF, *fields.values())
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def _owners(cls: griffe.Class) -> Iterator[griffe.Class]:
    """The classes that a wire type has its fields from, the furthest one first."""
    for each in reversed(cls.mro()):
        if each.path != _BASE:
            yield each
    yield cls


def _fields(cls: griffe.Class) -> Iterator[griffe.Parameter]:
    """The fields of a class as arguments, those with a default marked as such."""
    for member in cls.attributes.values():
        is_field = "instance-attribute" in member.labels and member.annotation is not None
        if is_field and not member.name.startswith("_"):
            yield griffe.Parameter(
                member.name,
                annotation=member.annotation,
                kind=griffe.ParameterKind.keyword_only,
                default=_default(member),
            )


def _default(field: griffe.Attribute) -> str | griffe.Expr | None:
    """The default as a reader of a signature knows it; ``None`` where there is none."""
    value = field.value
    if not (isinstance(value, griffe.ExprCall) and value.canonical_name == "Field"):
        return value
    for argument in value.arguments:
        if isinstance(argument, griffe.ExprKeyword) and argument.name.startswith("default"):
            return "..." if argument.name == "default_factory" else argument.value
    return None
