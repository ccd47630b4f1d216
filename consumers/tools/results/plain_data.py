"""
Values of users' code as plain JSON data, by the rules of pydantic's JSON mode and without loss.

Names of members become text as in pydantic: numbers, dates, enums, UUIDs, ``True``, ``None``. Two
names that become the same text are refused, where a dict would silently keep the last one.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json, to_jsonable_python

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["NotPlainError", "is_iterator", "member_names", "plain"]


class NotPlainError(ValueError):
    """A value without a JSON form; the message says what to do."""


def plain(value: object) -> object:
    """
    A value as plain JSON data.

    Raises:
        ValueError: When it has no JSON form, or two members of an object would have the same name.
    """
    if hasattr(value, "__next__") and is_iterator(value):
        # It may be endless, and do work for each piece.
        raise NotPlainError(f"found an iterator ({_kind(value)}), expected a list; write list(...)")
    found = _jsonable(value)
    if type(found) in (dict, list):
        # The JSON text still has both members; the parsed data would have lost one.
        json.loads(to_json(value, fallback=_unknown), object_pairs_hook=_all_different)
    return found


def _jsonable(value: object) -> Any:
    try:
        return to_jsonable_python(value, fallback=_unknown)
    except UnicodeDecodeError:
        raise NotPlainError(
            "found bytes that are not UTF-8 text; return an Attachment, or base64 text"
        ) from None


def is_iterator(value: object) -> TypeIs[Iterator[object]]:
    """Whether a value gives its items one by one."""
    return isinstance(value, Iterator)


def _unknown(value: object) -> str:
    """Handle a value whose class pydantic does not know."""
    if isinstance(value, PurePath):
        return str(value)
    if inspect.iscoroutine(value):
        # It will never run, and Python would warn about that.
        value.close()
        raise NotPlainError("found a coroutine, expected its result; await it")
    raise NotPlainError(
        f"found a Python {_kind(value)}, which has no JSON form; return plain data, a pydantic "
        "model or a dataclass"
    )


def _kind(value: object) -> str:
    return type(value).__name__


def member_names(members: Mapping[Any, object]) -> list[str]:
    """
    The names of a dict's members as text, in order.

    Raises:
        ValueError: When a name has no text form, or two have the same.
    """
    names = [_name(key) for key in members]
    taken: dict[str, object] = {}
    for name, key in zip(names, members, strict=True):
        if name in taken:
            raise ValueError(
                f"the names {taken[name]!r} and {key!r} of one object both become {name!r} in "
                "JSON; give them names that differ as text"
            )
        taken[name] = key
    return names


def _name(key: object) -> str:
    if isinstance(key, str):
        # Its exact text: a ``StrEnum`` may print something else.
        return str.__str__(key)
    members: dict[str, None] = _jsonable({key: None})
    (name,) = members
    return name


def _all_different(members: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise ValueError(
                f"two names of one object both become {name!r} in JSON; give them names that "
                "differ as text"
            )
        seen.add(name)
