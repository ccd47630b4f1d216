"""
Type checks for trees of plain data, which type checkers understand as well.

``isinstance(value, dict)`` says nothing about the content, and a strict checker would need a claim
after every such line. The claim is made once, here: data parsed from JSON or MessagePack has text
as its keys. Nothing is claimed about deeper values; each is an ``object`` until it is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # In the standard library from 3.13 on; only type checkers need it.
    from typing import TypeGuard

    from typing_extensions import TypeIs

__all__ = [
    "is_array",
    "is_dict",
    "is_just_dict",
    "is_just_list",
    "is_object",
    "is_sequence",
    "is_set",
    "items_of",
    "members_of",
    "objects_of",
]


def is_object(value: object) -> TypeIs[dict[str, object]]:
    """Whether a parsed value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeIs[list[object]]:
    """Whether a parsed value is a JSON array, or any value is a list."""
    return isinstance(value, list)


def is_dict(value: object) -> TypeIs[dict[object, object]]:
    """Whether a value that a program made is a dict; its keys may be anything."""
    return isinstance(value, dict)


def is_just_dict(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a value is a dict, and not of a derived class."""
    return type(value) is dict


def is_just_list(value: object) -> TypeGuard[list[object]]:
    """Whether a value is a list, and not of a derived class."""
    return type(value) is list


def is_sequence(value: object) -> TypeIs[list[object] | tuple[object, ...]]:
    """Whether a value of a program becomes a JSON array: a list or a tuple."""
    return isinstance(value, list | tuple)


def is_set(value: object) -> TypeIs[set[object] | frozenset[object]]:
    """Whether a value of a program is a set or a frozenset."""
    return isinstance(value, set | frozenset)


def members_of(value: object) -> dict[str, object]:
    """Return the members of a JSON object; none when it is something else."""
    return value if is_object(value) else {}


def items_of(value: object) -> list[object]:
    """Return the items of a JSON array; none when it is something else."""
    return value if is_array(value) else []


def objects_of(value: object) -> list[dict[str, object]]:
    """Return the objects among the items of a JSON array; none when it is something else."""
    return [item for item in items_of(value) if is_object(item)]
