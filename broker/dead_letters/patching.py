"""
Changing envelopes by JSON Patch (RFC 6902).

A patch comes from a person or over the network, so what it may do is bounded. ``copy`` doubles what
it copies, and thirty of them would make a few bytes fill any memory. So each source is measured
before it is copied, and the copies together may only have so many values and so much text. At the
end the whole result is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import jsonpatch

from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.text import printable

__all__ = ["Patch"]

_MAX_OPERATIONS = 1_000
_MAX_VALUES = 200_000
#: Characters in texts and names. A copied text takes no memory before it is written as JSON.
_MAX_TEXT = 64 * 1024 * 1024
_MAX_DEPTH = 128
_OPERATIONS = ("add", "copy", "move", "remove", "replace", "test")
#: What an operation has beside its path.
_NEEDS = {
    "add": ("value",),
    "replace": ("value",),
    "test": ("value",),
    "copy": ("from",),
    "move": ("from",),
}
#: What can make a document larger or deeper.
_GROWING = ("copy", "move", "add", "replace")
_MAX_SHOWN = 200


class Patch:
    """
    A list of operations, checked as far as it can be without a document.

    Args:
        operations: Objects with ``op``, ``path`` and what else the operation needs.

    Raises:
        MalformedError: When one of them is no operation.
    """

    def __init__(self, operations: Sequence[object]) -> None:
        if not operations:
            raise MalformedError("", "the patch has no operations, so there is nothing to change")
        if len(operations) > _MAX_OPERATIONS:
            raise MalformedError(
                "",
                f"the patch has {len(operations)} operations; expected at most {_MAX_OPERATIONS}",
            )
        self._operations = [_operation(place, each) for place, each in enumerate(operations)]

    @classmethod
    def parse(cls, document: bytes | str) -> Patch:
        """
        Read a patch: a JSON array of operations.

        Raises:
            MalformedError: When it is none; says where.
        """
        tree = parse_json(document)
        if not is_array(tree):
            raise MalformedError(
                "",
                "a patch is a JSON array of operations, such as "
                '[{"op": "replace", "path": "/command/call/args/amount", "value": 5}]',
            )
        return cls(tree)

    @property
    def operations(self) -> list[Mapping[str, Any]]:
        """The operations, as JSON data."""
        return list(self._operations)

    def applied(self, tree: JsonValue) -> JsonValue:
        """
        A document with the changes; the one that is given stays as it is.

        Raises:
            MalformedError: When an operation does not apply; names it, and says why.
        """
        changed: JsonValue = deepcopy(tree)
        copied = _Size(0, 0)
        for place, operation in enumerate(self._operations):
            try:
                if operation["op"] == "copy":
                    source: object = jsonpatch.JsonPointer(operation["from"]).resolve(changed)
                    copied = _together(copied, _size(source))
                    if not copied.is_bounded:
                        raise _not_applied(place, operation, f"the copies have {_TOO_LARGE}")
                changed = jsonpatch.apply_patch(changed, [operation], in_place=True)
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as problem:
                raise _not_applied(place, operation, str(problem)) from None
            except (TypeError, ValueError, KeyError, IndexError, RecursionError) as problem:
                # What the library does not foresee of a document that has another shape.
                raise _not_applied(place, operation, f"it does not fit: {problem}") from None
        grows = any(operation["op"] in _GROWING for operation in self._operations)
        if grows and not _size(changed).is_bounded:
            raise MalformedError("", f"the result has {_TOO_LARGE}")
        return changed


def _operation(place: int, given: object) -> Mapping[str, Any]:
    if not is_object(given):
        raise MalformedError(f"[{place}]", "found no object, expected an operation")
    if given.get("op") not in _OPERATIONS:
        raise MalformedError(
            f"[{place}].op",
            f"found {printable(repr(given.get('op')), _MAX_SHOWN)}, expected one of "
            f"{', '.join(_OPERATIONS)}",
        )
    for name in _NEEDS.get(str(given["op"]), ()):
        if name not in given:
            raise MalformedError(f"[{place}]", f"the operation {given['op']!r} needs {name!r}")
    try:
        jsonpatch.JsonPatch([given])
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as problem:
        raise MalformedError(f"[{place}]", printable(str(problem), _MAX_SHOWN)) from None
    return given


def _not_applied(place: int, operation: Mapping[str, Any], why: str) -> MalformedError:
    name = f"{operation['op']} {printable(str(operation.get('path')), _MAX_SHOWN)}"
    return MalformedError(f"[{place}]", f"{name}: {printable(why, _MAX_SHOWN)}")


_TOO_LARGE = (
    f"more than {_MAX_VALUES} values or {_MAX_TEXT} characters, or is nested deeper than "
    f"{_MAX_DEPTH}; change less at a time"
)


class _Size(NamedTuple):
    """How much a document has."""

    values: int
    text: int

    @property
    def is_bounded(self) -> bool:
        return self.values <= _MAX_VALUES and self.text <= _MAX_TEXT


_ENDLESS = _Size(_MAX_VALUES + 1, 0)


def _together(one: _Size, other: _Size) -> _Size:
    return _Size(one.values + other.values, one.text + other.text)


def _size(tree: object) -> _Size:
    """The size of a document; of one that is nested too deep, a size that is not bounded."""
    values = text = 0
    level: list[object] = [tree]
    for _ in range(_MAX_DEPTH):
        values += len(level)
        below: list[object] = []
        for value in level:
            if isinstance(value, str):
                text += len(value)
            elif is_object(value):
                text += sum(map(len, value))
                below.extend(value.values())
            elif is_array(value):
                below.extend(value)
        if not below:
            return _Size(values, text)
        level = below
    return _ENDLESS
