"""
Whether a value fits the JSON Schema of what a tool returns.

These are the keywords that a type in Python becomes; others, such as ``format`` and ``pattern``,
allow everything. A member that an object's schema does not name is refused, because it is a mistake
of whoever answers: nobody would read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.text import printable

__all__ = ["misfit"]

#: How many references in a row are followed; more are a schema that refers to itself.
_MOST_REFERENCES = 32
_MOST_SHOWN = 100

_Schema = dict[str, Any]


def misfit(schema: object, value: object) -> str:
    """
    The first thing that is wrong with a value, as a sentence; empty when it fits.

    Args:
        schema: A JSON Schema; an empty one allows everything.
        value: Plain data.
    """
    try:
        return next(_Check(schema).problems("the value", schema, value), "")
    except RecursionError:
        return "the value cannot be checked: its schema refers to itself without an end"


class _Check:
    """
    One check, with the definitions of its schema.

    Args:
        root: The whole schema.
    """

    def __init__(self, root: object) -> None:
        found: object = root.get("$defs") if is_object(root) else None
        self._definitions: _Schema = found if is_object(found) else {}

    def problems(self, path: str, schema: object, value: object) -> Iterator[str]:
        """What is wrong at one place, and inside of it."""
        own = self._followed(schema)
        if own is False:
            yield f"{path} must not be there"
        if not is_object(own):
            return
        yield from self._alternatives(path, own, value)
        yield from _scalar_problems(path, own, value)
        if is_array(value):
            yield from self._items(path, own, value)
        elif is_object(value):
            yield from self._members(path, own, value)

    def _followed(self, schema: object) -> object:
        for _ in range(_MOST_REFERENCES):
            reference: object = schema.get("$ref") if is_object(schema) else None
            if not isinstance(reference, str):
                return schema
            schema = self._definitions.get(reference.removeprefix("#/$defs/"))
        return None

    def _alternatives(self, path: str, schema: _Schema, value: object) -> Iterator[str]:
        for one in _list(schema.get("allOf")):
            yield from self.problems(path, one, value)
        for keyword in ("anyOf", "oneOf"):
            branches = _list(schema.get(keyword))
            found = [next(self.problems(path, one, value), "") for one in branches]
            if found and all(found):
                yield _nearest(found)

    def _items(self, path: str, schema: _Schema, items: list[object]) -> Iterator[str]:
        least, most = schema.get("minItems"), schema.get("maxItems")
        if isinstance(least, int) and len(items) < least:
            yield f"{path} has {len(items)} items, expected at least {least}"
        if isinstance(most, int) and len(items) > most:
            yield f"{path} has {len(items)} items, expected at most {most}"
        first = _list(schema.get("prefixItems"))
        rest = schema.get("items", True)
        for place, item in enumerate(items):
            expected = first[place] if place < len(first) else rest
            yield from self.problems(f"{path}[{place}]", expected, item)

    def _members(self, path: str, schema: _Schema, members: _Schema) -> Iterator[str]:
        for name in _list(schema.get("required")):
            if name not in members:
                yield f"{path} lacks the member {printable(repr(name), _MOST_SHOWN)}"
        named: object = schema.get("properties")
        known: _Schema = named if is_object(named) else {}
        # A schema that names nothing is that of any object.
        rest: object = schema.get("additionalProperties", not is_object(named))
        for name, value in members.items():
            place = f"{path}.{printable(name, _MOST_SHOWN)}"
            if name in known:
                yield from self.problems(place, known[name], value)
            elif rest is False:
                yield f"{place} is a member that the type does not have"
            else:
                yield from self.problems(place, rest, value)


def _scalar_problems(path: str, schema: _Schema, value: object) -> Iterator[str]:
    wanted = schema.get("type")
    kinds = [wanted] if isinstance(wanted, str) else _list(wanted)
    if kinds and not any(_is_of(kind, value) for kind in kinds):
        yield f"{path} is {_shown(value)}, expected {' or '.join(map(str, kinds))}"
    allowed = [schema["const"]] if "const" in schema else _list(schema.get("enum"))
    if allowed and not any(_same(one, value) for one in allowed):
        yield f"{path} is {_shown(value)}, expected {' or '.join(map(_shown, allowed))}"
    if isinstance(value, str):
        yield from _bounds(path, "characters", len(value), schema, _LENGTHS)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _bounds(path, "", value, schema, _RANGES)


_Bounds = dict[str, tuple[str, Callable[[float, float], bool]]]
_LENGTHS: _Bounds = {
    "minLength": ("at least", lambda found, bound: found >= bound),
    "maxLength": ("at most", lambda found, bound: found <= bound),
}
_RANGES: _Bounds = {
    "minimum": ("at least", lambda found, bound: found >= bound),
    "maximum": ("at most", lambda found, bound: found <= bound),
    "exclusiveMinimum": ("more than", lambda found, bound: found > bound),
    "exclusiveMaximum": ("less than", lambda found, bound: found < bound),
}


def _bounds(path: str, unit: str, found: float, schema: _Schema, bounds: _Bounds) -> Iterator[str]:
    for keyword, (words, holds) in bounds.items():
        bound: object = schema.get(keyword)
        if isinstance(bound, int | float) and not holds(found, bound):
            yield f"{path} is {f'{found} {unit}'.strip()}, expected {words} {bound}"


def _nearest(found: list[str]) -> str:
    """The problem of the branch that was meant: of the one that fits the deepest."""
    return max(found, key=lambda problem: len(problem.partition(" ")[0].split(".")))


def _is_of(kind: object, value: object) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and _is_whole(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return is_array(value)
        case "object":
            return is_object(value)
        case _:
            return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) or (
        isinstance(value, float) and math.isfinite(value) and value.is_integer()
    )


def _same(one: object, other: object) -> bool:
    """Equality of JSON: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _list(found: object) -> list[Any]:
    return found if is_array(found) else []


def _shown(value: object) -> str:
    if is_object(value):
        return "an object"
    return "a list" if is_array(value) else printable(repr(value), _MOST_SHOWN)
