"""
JSON Schemas for the wire, in agreement with what validation accepts.

Where pydantic describes something that it would refuse, the description is corrected: names of
members are text, whatever the keys of a dict are. A part that no value fits is a
``NeverValidError``.
text, whatever the keys of a dict are. What nothing at all would fit is a ``NeverValidError``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import (
    CoreSchema,
    PydanticOmit,
    PydanticSerializationError,
    SchemaValidator,
    ValidationError,
    core_schema,
    to_json,
)

from effectmq.consumers.tools.results.plain_data import member_names
from effectmq.protocol.encoding.narrowing import is_array, members_of
from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.text import printable

__all__ = ["NeverValidError", "Quiet", "odd_bound"]

#: Types of keys that no text can become.
_NO_NAMES = {"none", "list", "tuple", "named-tuple", "set", "frozenset", "dict", "typed-dict",
             "model", "dataclass", "call"}  # fmt: skip

_DO = (
    "take values that are text, numbers, true, false or null; of an enum that is neither str nor "
    "int take the whole enum, not a Literal of its members"
)


class NeverValidError(PydanticInvalidForJsonSchema):
    """
    A part of a schema that no value fits; as one of several choices it is left out.

    Args:
        found: What it accepts, as a phrase.
        do: What to write instead.
    """

    def __init__(self, found: str, do: str) -> None:
        self.found = found
        self.do = do
        super().__init__(found)


class Quiet(GenerateJsonSchema):
    """Makes schemas for the wire; a default without a JSON form is silently left out."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    _known: Mapping[str, CoreSchema] = MappingProxyType({})

    def encode_default(self, dft: Any) -> Any:
        """The default as JSON; NaN and infinity have none."""
        encoded = super().encode_default(dft)
        try:
            return canonical_value(encoded)
        except MalformedError as problem:
            raise PydanticSerializationError(problem.problem) from None

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """The values that can be given as JSON."""
        if self.mode != "validation":
            return super().literal_schema(schema)
        return super().literal_schema({**schema, "expected": _taken(schema, schema["expected"])})

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        """The members that can be given as JSON."""
        if self.mode != "validation":
            return super().enum_schema(schema)
        return super().enum_schema({**schema, "members": _taken(schema, schema["members"])})

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """The choices whose tag can be given as JSON."""
        tags = [tag for tag in schema["choices"] if self.mode != "validation" or _is_plain(tag)]
        if not tags:
            shown = _shown(list(schema["choices"]))
            raise NeverValidError(
                f"a union told apart by one of {shown}, which no JSON becomes", _DO
            )
        choices = {tag: schema["choices"][tag] for tag in tags}
        return super().tagged_union_schema({**schema, "choices": choices})

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave a part that no value fits out, when it has a default."""
        try:
            return super().default_schema(schema)
        except NeverValidError:
            raise PydanticOmit from None

    def definitions_schema(self, schema: core_schema.DefinitionsSchema) -> JsonSchemaValue:
        """Resolve the references, which the names of an object may use."""
        known = {one.get("ref", ""): one for one in schema["definitions"]}
        self._known = {**self._known, **known}
        return super().definitions_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """An object whose names are text."""
        return self._named(super().dict_schema(schema), schema.get("keys_schema"))

    def ordered_dict_schema(self, schema: core_schema.OrderedDictSchema) -> JsonSchemaValue:
        """An object whose names are text."""
        return self._named(super().ordered_dict_schema(schema), schema.get("keys_schema"))

    def counter_schema(self, schema: core_schema.CounterSchema) -> JsonSchemaValue:
        """An object whose names are text."""
        return self._named(super().counter_schema(schema), schema.get("keys_schema"))

    def _named(self, found: JsonSchemaValue, keys: CoreSchema | None) -> JsonSchemaValue:
        if keys is None:
            return found
        if keys["type"] == "definition-ref":
            keys = self._known.get(keys["schema_ref"], keys)
        if self.mode == "validation" and keys["type"] in _NO_NAMES:
            # Older releases of pydantic have no special type for a NamedTuple.
            kind = keys["type"].replace("call", "named-tuple")
            raise NeverValidError(
                f"an object with names of the type {kind}, where JSON has text",
                "take a list of pairs",
            )
        names = self._names(keys)
        if names is not None:
            found["propertyNames"] = {"enum": names}
        return found

    def _names(self, keys: CoreSchema) -> list[str] | None:
        """The names that a dict may have, if they can be listed."""
        if keys["type"] == "enum":
            values: Sequence[object] = keys["members"]
        elif keys["type"] == "literal":
            values = keys["expected"]
        else:
            return None
        names = member_names(dict.fromkeys(values))
        if self.mode != "validation":
            return names
        taker = SchemaValidator(core_schema.dict_schema(keys))
        names = [name for name in names if _takes(taker, {name: None})]
        if not names:
            raise NeverValidError(
                f"an object with names among {_shown(values)}, where JSON has text",
                "take text as the keys (str, or an enum of text), or int",
            )
        return names


def _taken(schema: CoreSchema, values: Sequence[Any]) -> list[Any]:
    """The values that validation accepts in their JSON form."""
    taker = SchemaValidator(schema)
    found = [value for value in values if _takes(taker, _value(value))]
    if values and not found:
        raise NeverValidError(
            f"one of {_shown(values)}, which no JSON becomes",
            _DO,
        )
    return found


def _takes(taker: SchemaValidator, value: object) -> bool:
    try:
        taker.validate_json(to_json(value))
    except (ValidationError, PydanticSerializationError):
        return False
    return True


def _is_plain(tag: object) -> bool:
    return isinstance(tag, str | int) or tag is None


def _value(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _shown(values: Sequence[object]) -> str:
    return printable(", ".join(map(repr, values)), 200)


# Bounds --------------------------------------------------------------------------------------

_COMPARED = ("gt", "ge", "lt", "le", "multiple_of")
_COUNTED = ("min_length", "max_length", "minLength", "maxLength")
#: What pydantic writes for a bound that the type does not have, and tries at each call.
_ODD = {
    "string": _COMPARED,
    "array": _COMPARED,
    "object": _COMPARED,
    "null": _COMPARED + _COUNTED,
    "integer": _COUNTED,
    "number": _COUNTED,
    "boolean": _COUNTED,
}


def odd_bound(schema: object) -> str:
    """A bound in a JSON Schema that no value of its type can be compared with; empty for none."""
    if is_array(schema):
        found: list[str] = [odd_bound(one) for one in schema]
        return next(filter(None, found), "")
    members = members_of(schema)
    if not members:
        return ""
    kind = members.get("type")
    # A text with a format is a date, a UUID or the like, and may well be compared.
    if isinstance(kind, str) and "format" not in members:
        for name in _ODD.get(kind, ()):
            if isinstance(members.get(name), int | float):
                return f"the bound {name}={members[name]} for the type {kind}"
    return odd_bound(list(members.values()))
