"""JSON that a schema of pydantic's asks for, as a strategy; only what such schemas use."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["json_for"]

#: All that its schema says of a ``Decimal``; not every text is one.
_DECIMAL = [{"type": "number"}, {"type": "string"}]
_FORMATS: dict[str, st.SearchStrategy[Any]] = {
    "date": st.dates().map(str),
    "date-time": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    "time": st.times().map(str),
    "duration": st.sampled_from(["PT1S", "P1D", "PT3H"]),
    "uuid": st.uuids().map(str),
    "binary": st.text("abc", max_size=5),
    "path": st.text("ab/.", max_size=5),
    "regex": st.sampled_from(["a", "[a-z]+", "(a|b)"]),
}


def json_for(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """
    A strategy for values of a schema.

    Args:
        schema: With its own ``$defs``.
    """
    return _value(schema, schema.get("$defs", {}))


def _value(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: _value(defs[name], defs))
    if schema.get("anyOf") == _DECIMAL:
        return st.decimals(-1000, 1000, places=2).map(str)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return st.one_of([_value(one, defs) for one in schema[word]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _typed(schema, defs)


def _typed(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", -(2**31)), schema.get("maximum", 2**31))
        case "number":
            return st.floats(-1e6, 1e6) if "format" not in schema else st.just(1.5)
        case "string":
            return _text(schema)
        case "array":
            return _array(schema, defs)
        case "object":
            return _object(schema, defs)
        case _:
            return st.none() | st.integers(-9, 9) | st.text("ab", max_size=3)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "format" in schema:
        return _FORMATS[schema["format"]]
    return st.text("abcé", min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 9))


def _array(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(_value(one, defs) for one in schema["prefixItems"])).map(list)
    least, most = schema.get("minItems", 0), schema.get("maxItems", 99)
    unique = bool(schema.get("uniqueItems"))
    items = _value(schema.get("items", {}), defs)
    # By their text: JSON values cannot be hashed.
    by = repr if unique else None
    return st.lists(items, min_size=least, max_size=max(least, min(least + 2, most)), unique_by=by)


def _names(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _FORMATS.get(schema.get("format", ""), st.integers(0, 99).map(str))


def _object(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema and schema.get("additionalProperties") is not False:
        values = schema.get("additionalProperties", {})
        keys = _names(schema.get("propertyNames", {}))
        return st.dictionaries(keys, _value(values if values is not True else {}, defs), max_size=2)
    required = set(schema.get("required", ()))
    members = {name: _value(one, defs) for name, one in schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: value for name, value in members.items() if name in required},
        optional={name: value for name, value in members.items() if name not in required},
    )
