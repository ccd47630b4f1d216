"""
What users' code gives, as plain JSON data: pydantic's rules of its JSON mode, and nothing lost.

Names of members become text as pydantic has it: numbers, dates, enums, UUIDs, ``True``, ``None``.
Two names that become the same text are refused, where a dict would keep the last one in silence.
"""

from __future__ import annotations

import json

from pydantic_core import to_json, to_jsonable_python

__all__ = ["member_names", "plain"]


def plain(value: object) -> object:
    """
    A value as plain JSON data.

    Raises:
        ValueError: When it has no JSON form, or two members of an object would have one name.
    """
    found: object = to_jsonable_python(value)
    if type(found) in (dict, list):
        # In text they stand side by side still; what wrote the tree has dropped one.
        json.loads(to_json(value), object_pairs_hook=_all_different)
    return found


def member_names(members: dict[object, object]) -> list[str]:
    """
    The names of a dict's members as text, in its order.

    Raises:
        ValueError: When one has no such form, or two have the same.
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
        # The text of it: what a ``StrEnum`` shows is its business.
        return str.__str__(key)
    members: dict[str, None] = to_jsonable_python({key: None})
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
