"""
The readers of wire types: pydantic's own schemas, rewritten by the rules of serde.

What serde accepts depends on the place. Inside an internally tagged enum and inside a flattened
struct it buffers the data until it knows the variant, and its reader of buffered data accepts more
than its reader of text: a tag may be the index of its variant, and a single name may be an object
around nothing. Data that it reads through a JSON value has no repeated members any more. So each
type is read in up to two ways, and the place alone decides which: this is settled once, when the
reader is built, and costs nothing when it reads.

A reader stops at the first fault of a list or map. Only the members of one object are all checked,
so the number of faults, and so the time of a refusal, does not grow with the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, SchemaValidator
from pydantic_core import core_schema as cs

from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.encoding.serde.tagging import FORM, AdjacentlyTagged, Form

__all__ = ["reader"]

#: Core schemas are dicts with different keys for each type; here they are plain dicts.
_Schema = dict[str, Any]

_BY_FIRST_FAULT: Final = ("dict", "list")
_SUB_SCHEMAS: Final = ("schema", "items_schema", "keys_schema", "values_schema")


def reader(type_: Any) -> SchemaValidator:
    """
    Build the reader of a wire type; keep the result, because this takes milliseconds.

    Args:
        type_: A wire class or the alias of an enum.
    """
    # The validators that pydantic has built for the classes have other rules.
    return SchemaValidator(_Rewriter().whole(_core_schema(type_)), _use_prebuilt=False)


def _is_model(type_: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(type_, type) and issubclass(type_, BaseModel)


def _core_schema(type_: Any) -> Any:
    if _is_model(type_):
        type_.model_rebuild()
        return type_.__pydantic_core_schema__
    return TypeAdapter[Any](type_).core_schema


@dataclass(frozen=True, slots=True)
class _Place:
    """
    The facts about a place on which the reader of a schema depends.

    Attributes:
        buffered: Whether serde has buffered the data of this place.
        tag: For a variant whose tag may be its index: the member that names it; else empty.
        index: That index.
    """

    buffered: bool = False
    tag: str = ""
    index: int = 0


class _Rewriter:
    """Rewrites one schema; each of its definitions once for each sort of place."""

    def __init__(self) -> None:
        self._given: dict[str, _Schema] = {}
        self._made: dict[str, _Schema] = {}

    def whole(self, schema: _Schema) -> CoreSchema:
        """Rewrite the schema of a document."""
        inner = self._at(schema, _Place())
        return cs.definitions_schema(_core(inner), [_core(made) for made in self._made.values()])

    def _at(self, schema: _Schema, place: _Place) -> _Schema:
        kind = schema["type"]
        if kind == "definitions":
            self._given.update((given["ref"], given) for given in schema["definitions"])
            return self._at(schema["schema"], place)
        if kind == "definition-ref":
            return self._definition(self._given[schema["schema_ref"]], place)
        if "ref" in schema:
            return self._definition(schema, place)
        return self._rewritten(schema, place)

    def _definition(self, given: _Schema, place: _Place) -> _Schema:
        name = f"{given['ref']}|{place}"
        if name not in self._made:
            self._made[name] = {}  # A type may contain itself.
            bare = {key: value for key, value in given.items() if key != "ref"}
            self._made[name] = {**self._rewritten(bare, place), "ref": name}
        return dict(cs.definition_reference_schema(name))

    def _rewritten(self, schema: _Schema, place: _Place) -> _Schema:
        kind = schema["type"]
        metadata: _Schema = schema.get("metadata") or {}
        form: Form | None = metadata.get(FORM)
        if form is not None:
            schema = form.read_at(schema, buffered=place.buffered)
        if isinstance(form, AdjacentlyTagged):
            return {**schema, "schema": self._inner(schema["schema"], place)}
        if kind == "model":
            return self._model(schema, place)
        if kind == "model-fields":
            return {**schema, "fields": self._fields(schema["fields"], place)}
        if kind == "tagged-union" and isinstance(schema["discriminator"], str):
            return {**schema, "choices": self._variants(schema, place)}
        inner = self._inner(schema, place)
        if kind in _BY_FIRST_FAULT:
            inner["fail_fast"] = True
        return inner

    def _inner(self, schema: _Schema, place: _Place) -> _Schema:
        """Rewrite the inner schemas of a schema without a rule of its own."""
        copy = dict(schema)
        for key in _SUB_SCHEMAS:
            if isinstance(schema.get(key), dict):
                copy[key] = self._at(schema[key], place)
            elif isinstance(schema.get(key), list):
                copy[key] = [self._at(item, place) for item in schema[key]]
        choices: dict[Any, _Schema] | list[_Schema] | None = schema.get("choices")
        if isinstance(choices, dict):
            copy["choices"] = {name: self._at(choice, place) for name, choice in choices.items()}
        elif choices is not None:
            copy["choices"] = [self._at(choice, place) for choice in choices]
        return copy

    def _model(self, schema: _Schema, place: _Place) -> _Schema:
        if getattr(schema["cls"], "wire_parts", ()):
            place = _Place(buffered=True, tag=place.tag, index=place.index)
        elif getattr(schema["cls"], "wire_through_value", False):
            place = _Place()
        inner = self._inner(schema, place)
        if inner.get("config", {}).get("extra_fields_behavior") == "forbid":
            return _without_others(inner)
        return inner

    def _fields(self, fields: Mapping[str, _Schema], place: _Place) -> dict[str, _Schema]:
        inside = _Place(buffered=place.buffered)
        made = {name: self._inner(field, inside) for name, field in fields.items()}
        if place.tag:
            # The variant was chosen by its index, and keeps its name.
            field = made[place.tag]
            made[place.tag] = {**field, "schema": _by_index(field["schema"], place.index)}
        return made

    def _variants(self, union: _Schema, place: _Place) -> dict[str | int, _Schema]:
        """Rewrite the variants of an internally tagged enum."""
        choices: dict[str, _Schema] = union["choices"]
        made: dict[str | int, _Schema] = {}
        for index, (name, choice) in enumerate(choices.items()):
            tag: str = union["discriminator"] if place.buffered else ""
            made[name] = self._at(choice, _Place(buffered=True, tag=tag, index=index))
            if place.buffered:
                made[index] = made[name]
        return made


def _without_others(model: _Schema) -> _Schema:
    """Refuse the first unknown member of a strict struct; pydantic would list all of them."""
    known = _aliases(model["schema"])

    def read(value: Any) -> Any:
        if not is_object(value):
            return value
        if not value.keys() <= known:
            name = next(name for name in value if name not in known)
            unknown = InitErrorDetails(type="extra_forbidden", loc=(name,), input=None)
            raise ValidationError.from_exception_data(model["cls"].__name__, [unknown])
        return value

    config = {**model["config"], "extra_fields_behavior": "ignore"}
    return dict(cs.no_info_before_validator_function(read, _core({**model, "config": config})))


def _aliases(schema: _Schema) -> frozenset[str]:
    while schema["type"] != "model-fields":  # Validators of the whole model stand around them.
        schema = schema["schema"]
    fields: dict[str, _Schema] = schema["fields"]
    return frozenset(field.get("validation_alias", name) for name, field in fields.items())


def _by_index(schema: _Schema, index: int) -> _Schema:
    """Let the tag of a variant also be its index, which is read as its name."""
    if schema["type"] == "default":
        return {**schema, "schema": _by_index(schema["schema"], index)}
    (name,) = schema["expected"]
    number = cs.int_schema(strict=True, ge=index, le=index)
    by_index = cs.no_info_after_validator_function(lambda _: name, number)
    return dict(cs.union_schema([_core(schema), by_index], mode="left_to_right"))


def _core(schema: _Schema) -> CoreSchema:
    # There are some fifty kinds of schemas; each was rewritten into one of the same kind.
    return cast("CoreSchema", schema)
