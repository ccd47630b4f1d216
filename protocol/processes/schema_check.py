"""
The check of an event's payload against the schema of its type.

A small subset of JSON Schema with its own details: the first failure counts, ``anyOf`` hides every
keyword beside it, and members that ``properties`` does not name are refused unless
``additionalProperties`` says otherwise. Keywords of the wrong type count as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.rust_text import debug_text

__all__ = ["payload_problem"]

#: A member that hosts add to arguments; it is always allowed.
_INTERNAL = "__session_id__"

_Object = dict[str, JsonValue]


def payload_problem(schema: JsonValue, value: JsonValue) -> str | None:
    """
    Describe the first thing that is wrong with a value.

    Args:
        schema: Canonical opaque JSON; anything but an object allows everything.
        value: Canonical opaque JSON.

    Returns:
        The detail in the words of the contract, or ``None`` when the value fits.
    """
    return next(_problems("", schema, value), None)


def _problems(path: str, schema: JsonValue, value: JsonValue) -> Iterator[str]:
    """The failures in the order of the contract; only the first is used."""
    if not isinstance(schema, dict):
        return
    branches: JsonValue = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(branches, list):
        if not any(next(_problems(path, one, value), None) is None for one in branches):
            yield _expected(path, schema, _shown(value))
        return
    allowed: JsonValue = schema.get("enum")
    if isinstance(allowed, list) and not any(_same(one, value) for one in allowed):
        names = ", ".join(_shown(one) for one in allowed)
        yield f"{_name(path)}: expected one of {names}, got {_shown(value)}"
    if "type" in schema and not _is_of(schema["type"], value):
        yield _expected(path, schema, _shown(value))
    if _out_of_bounds(schema, value):
        yield _expected(path, schema, _shown(value))
    if isinstance(value, list):
        yield from _item_problems(path, schema, value)
    if isinstance(value, dict):
        yield from _member_problems(path, schema, value)


def _out_of_bounds(schema: _Object, value: JsonValue) -> bool:
    if isinstance(value, str):
        most, least = _count(schema, "maxLength"), _count(schema, "minLength")
        length = len(value)
        return (most is not None and length > most) or (least is not None and length < least)
    number = _number(value)
    if number is None:
        return False
    highest, lowest = _number(schema.get("maximum")), _number(schema.get("minimum"))
    return (highest is not None and number > highest) or (lowest is not None and number < lowest)


def _item_problems(path: str, schema: _Object, items: list[JsonValue]) -> Iterator[str]:
    most, least = _count(schema, "maxItems"), _count(schema, "minItems")
    if (most is not None and len(items) > most) or (least is not None and len(items) < least):
        yield _expected(path, schema, f"{len(items)} items")
    if "items" in schema:
        for index, item in enumerate(items):
            yield from _problems(f"{path}[{index}]", schema["items"], item)


def _member_problems(path: str, schema: _Object, members: _Object) -> Iterator[str]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in members:
            yield f"{_joined(path, name)}: required property missing"
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name in sorted(properties):
        if name in members:
            yield from _problems(_joined(path, name), properties[name], members[name])
    others = [name for name in sorted(members) if name not in properties and name != _INTERNAL]
    additional = schema.get("additionalProperties")
    for name in [] if additional is True else others:
        if isinstance(additional, dict):
            yield from _problems(_joined(path, name), additional, members[name])
        else:
            yield f"{_joined(path, name)}: unexpected property"


def _is_of(type_: JsonValue, value: JsonValue) -> bool:
    if isinstance(type_, str):
        check = _TYPES.get(type_)
        return check is None or check(value)
    if isinstance(type_, list):
        return any(_is_of(one, value) for one in type_ if isinstance(one, str))
    return True


#: A type that is not listed allows everything.
_TYPES: dict[str, Callable[[JsonValue], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int,
    "number": lambda value: _number(value) is not None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _same(one: JsonValue, other: JsonValue) -> bool:
    """Equality of JSON: true is not 1, and 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_same(*pair) for pair in pairs)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other


def _number(value: JsonValue) -> float | None:
    """The value as an f64, in which bounds are compared."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _count(schema: _Object, keyword: str) -> int | None:
    value = schema.get(keyword)
    return value if type(value) is int and value >= 0 else None


# Texts


def _expected(path: str, schema: _Object, got: str) -> str:
    return f"{_name(path)}: expected {_description(schema)}, got {got}"


#: The keywords that a description names, in this order, and their texts.
_BOUNDS = {
    "minimum": ">=",
    "maximum": "<=",
    "minLength": "length >=",
    "maxLength": "length <=",
    "minItems": "items >=",
    "maxItems": "items <=",
}


def _description(schema: _Object) -> str:
    parts: list[str] = []
    if "type" in schema:
        parts.append(_type_name(schema["type"]))
    elif "anyOf" in schema or "oneOf" in schema:
        parts.append("matching schema")
    parts += [f"{sign} {_shown(schema[key])}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join(parts) or "valid value"


def _type_name(type_: JsonValue) -> str:
    if isinstance(type_, str):
        return type_
    if isinstance(type_, list):
        return " or ".join(one for one in type_ if isinstance(one, str))
    return "valid value"


def _shown(value: JsonValue) -> str:
    return debug_text(value) if isinstance(value, str) else canonical_json(value).decode()


def _name(path: str) -> str:
    return path or "arguments"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
