"""Plain data of exactly the plain types: copied in canonical order, or kept when it is in it."""

from __future__ import annotations

from typing import Any

from effectmq.protocol.encoding.opaque import MAX_DEPTH, MAX_INT, MIN_INT
from effectmq.protocol.exact.shapes import NotExact, is_unicode
from effectmq.protocol.wire.tool_value import RESERVED_KEY

__all__ = ["is_settled", "plain_copy"]


def plain_copy(value: Any, room: int = MAX_DEPTH) -> Any:
    """
    A value as ``opaque.canonical_value`` returns it: fresh containers, every object in order.

    Args:
        value: Any value.
        room: How many more levels of containers are allowed.

    Raises:
        NotExact: When something in it is not of exactly a plain type, or is no JSON, or uses the
            reserved key of tool values.
    """
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is str:
        if value.isascii() or is_unicode(value):
            return value
    elif value is None or kind is bool:
        return value
    elif kind is int:
        if MIN_INT <= value <= MAX_INT:
            return value
    elif kind is dict:
        return _copied_object(value, room)
    elif kind is list or kind is tuple:
        return _copied_array(value, room)
    # NaN for the infinities and for NaN itself, and cheaper than a call.
    elif kind is float and value - value == 0.0:
        return value
    raise NotExact


# The two loops look at scalars themselves: a call for each would take longer than the work.
def _copied_object(value: dict[Any, Any], room: int) -> dict[str, Any]:
    if room <= 0 or RESERVED_KEY in value:
        raise NotExact
    try:
        names = sorted(value)
    except TypeError:
        raise NotExact from None
    room -= 1
    copy: dict[str, Any] = {}
    for name in names:
        if type(name) is not str or not (name.isascii() or is_unicode(name)):
            raise NotExact
        item = value[name]
        kind = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            copy[name] = item if item.isascii() else plain_copy(item)
        elif kind is dict:
            copy[name] = _copied_object(item, room)
        elif kind is list:
            copy[name] = _copied_array(item, room)
        elif (kind is int and MIN_INT <= item <= MAX_INT) or kind is bool:
            copy[name] = item
        else:
            copy[name] = plain_copy(item, room)
    return copy


def _copied_array(value: list[Any] | tuple[Any, ...], room: int) -> list[Any]:
    if room <= 0:
        raise NotExact
    room -= 1
    copy: list[Any] = []
    for item in value:
        kind = type(item)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            copy.append(item if item.isascii() else plain_copy(item))
        elif kind is dict:
            copy.append(_copied_object(item, room))
        elif kind is list:
            copy.append(_copied_array(item, room))
        elif (kind is int and MIN_INT <= item <= MAX_INT) or (kind is float and item - item == 0.0):
            copy.append(item)
        else:
            copy.append(plain_copy(item, room))
    return copy


def is_settled(tree: Any) -> bool:
    """
    Whether every object in a tree is in canonical order, and none has the reserved key.

    Args:
        tree: From ``codec.decode_tree``, which has checked everything else.
    """
    if type(tree) not in _CONTAINERS:
        return True
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        kind = type(node)  # pyright: ignore[reportUnknownVariableType]
        if kind is dict:
            if RESERVED_KEY in node or [*node] != sorted(node):
                return False
            node = node.values()
        for item in node:
            if type(item) in _CONTAINERS:
                pending.append(item)
    return True


_CONTAINERS = frozenset((dict, list))
