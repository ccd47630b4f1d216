"""
JSON Schema of the wire types, as they are written.

Pydantic knows the structs. The shapes that serde adds are described here: names, externally tagged
enums, ``Result``, flattened structs, opaque JSON. The schemas describe the canonical spelling. A
worker also reads a tag by its index, or ``{"name": null}`` for a name; this is left out, because
nobody should write it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.narrowing import is_array, is_object

__all__ = ["DIALECT", "schema_of"]

#: The version of JSON Schema.
DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Keywords that pydantic adds and no reader needs.
_NOISE = frozenset({"title", "default"})


def schema_of(type_: Any) -> JsonSchemaValue:
    """
    The JSON Schema of a wire type, with its component types under ``$defs``.

    Args:
        type_: A wire class or the alias of an enum.
    """
    made = TypeAdapter[Any](type_).json_schema(schema_generator=_Generator)
    definitions: dict[str, JsonSchemaValue] = made.get("$defs", {})
    for schema in (made, *definitions.values()):
        _require_tags(schema)
    plain: JsonSchemaValue = _without_noise(made)
    return plain


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with the shapes of serde."""

    def function_plain_schema(self, schema: cs.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """
        Opaque JSON and tool values; other types that only a function reads are described below.
        """
        return {}

    def union_schema(self, schema: cs.UnionSchema) -> JsonSchemaValue:
        """An enum of plain names, or pydantic's own union."""
        if schema.get("custom_error_type") != "unit_variant":
            return super().union_schema(schema)
        first = schema["choices"][0]
        return self.generate_inner(first[0] if isinstance(first, tuple) else first)

    def tagged_union_schema(self, schema: cs.TaggedUnionSchema) -> JsonSchemaValue:
        """An externally tagged enum or a ``Result``, or pydantic's own tagged union."""
        if isinstance(schema["discriminator"], str):
            return super().tagged_union_schema(schema)
        choices = schema["choices"].items()
        return {"oneOf": [self._variant(str(name), choice) for name, choice in choices]}

    def _variant(self, name: str, choice: Any) -> JsonSchemaValue:
        if choice["type"] == "function-plain":
            return {"const": name}
        inner = choice
        if inner["type"] == "function-after":
            inner = inner["schema"]
        if inner["type"] == "function-before":
            # The value is unwrapped before it is read, so the schema adds the wrapping here.
            return _only_member(name, self.generate_inner(inner["schema"]))
        # The field of a newtype variant carries the name.
        return self.generate_inner(inner)

    def model_schema(self, schema: cs.ModelSchema) -> JsonSchemaValue:
        """A struct; one object must satisfy all of its flattened parts."""
        model: type[BaseModel] = schema["cls"]
        made = super().model_schema(schema)
        summary = (inspect.getdoc(model) or "").partition("\n\n")[0]
        if summary:
            made["description"] = " ".join(summary.split())
        parts: tuple[str, ...] = getattr(model, "wire_parts", ())
        if not parts:
            return made
        members: dict[str, JsonSchemaValue] = made["properties"]
        rest = {name: member for name, member in members.items() if name not in parts}
        return {
            **made,
            "properties": rest,
            "required": [name for name in made.get("required", ()) if name not in parts],
            "allOf": [members[name] for name in parts],
        }


def _only_member(name: str, schema: JsonSchemaValue) -> JsonSchemaValue:
    return {
        "type": "object",
        "properties": {name: schema},
        "required": [name],
        "additionalProperties": False,
    }


def _require_tags(schema: JsonSchemaValue) -> None:
    """
    Require tags: Python code may leave one out, because the class implies it; a document may not.
    """
    members: Mapping[str, JsonSchemaValue] = schema.get("properties", {})
    tags = [name for name, member in members.items() if "const" in member and "default" in member]
    required: list[str] = schema.get("required", [])
    if tags:
        schema["required"] = [name for name in members if name in tags or name in required]


def _without_noise(schema: Any, *, names: bool = False) -> Any:
    """
    Leave out keywords without information.

    Args:
        schema: A schema or a part of one.
        names: Whether it is a map whose keys are names of members, not keywords.
    """
    if is_array(schema):
        return [_without_noise(item) for item in schema]
    if not is_object(schema):
        return schema
    return {
        name: _without_noise(member, names=not names and name in ("properties", "$defs"))
        for name, member in schema.items()
        if names or (name not in _NOISE and (name, member) != ("minLength", 0))
    }
