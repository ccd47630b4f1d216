"""What a value must be exactly for the shortcut; of anything else the models say what it is."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

from effectmq.protocol.encoding.serde.model import WireModel

__all__ = ["MAX_COUNT", "NotExact", "Shapes", "fields", "is_unicode", "members", "shapes"]

#: The lists of members that an object may have, each in wire order.
Shapes = frozenset[tuple[str, ...]]

#: Integers of the wire have 64 bits, without a sign where they count.
MAX_COUNT: Final = 2**64 - 1


class NotExact(Exception):
    """Something has not exactly the shape that was looked for. Never leaves this room."""


def shapes(*names: str) -> Shapes:
    """
    The lists of members that a struct may have.

    Args:
        names: All of its members in wire order; one that may be missing ends with ``?``.
    """
    choices = [((name[:-1],), ()) if name.endswith("?") else ((name,),) for name in names]
    return frozenset(
        tuple(name for part in chosen for name in part) for chosen in product(*choices)
    )


def members(value: Any, known: Shapes) -> dict[str, Any]:
    """
    The members of an object.

    Raises:
        NotExact: When it is no object, or its members are others, or in another order.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict and tuple(value) in known:
        found: dict[str, Any] = value
        return found
    raise NotExact


def fields(model: Any, of: type[WireModel], names: tuple[str, ...]) -> dict[str, Any]:
    """
    The fields of a model: its own dict, to be read only.

    Args:
        model: The model; somebody may have changed it.
        of: The class that it must be of, and not a derived one.
        names: The fields of that class in their order.

    Raises:
        NotExact: When it is of another class, or has other fields, or in another order.
    """
    kind = type(model)  # pyright: ignore[reportUnknownVariableType]
    if kind is of:
        found: dict[str, Any] = model.__dict__
        if tuple(found) == names:
            return found
    raise NotExact


def is_unicode(value: Any) -> bool:
    """Whether a value is text, and without halves of surrogate pairs."""
    if type(value) is not str:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
