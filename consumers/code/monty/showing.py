"""
The last value of a block as text, as Python shows it. Pure.

A value that is small in the interpreter may be endless here, because an object can be in it a
million times, or contain itself. So this writes until the text is long enough, and calls ``repr``
only on values that cannot contain others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from types import EllipsisType
from typing import cast

from effectmq.protocol.encoding.narrowing import is_array, is_dict, is_sequence, is_set

__all__ = ["shown"]

_MAX_DEPTH = 100
#: Python refuses to write longer whole numbers, because that takes long.
_MAX_INT_BITS = 10_000
_PLAIN = (
    bool,
    int,
    float,
    complex,
    type(None),
    EllipsisType,
    date,
    time,
    timedelta,
    Decimal,
    PurePath,
    range,
    type,
)


def shown(value: object, limit_chars: int) -> str:
    """
    A value as Python would show it; only the beginning of a long one.

    Args:
        value: Any value of the interpreter.
        limit_chars: How many characters are enough.
    """
    return _text(value, _MAX_DEPTH, limit_chars)


def _text(value: object, room: int, limit: int) -> str:
    pieces: list[str] = []
    left = limit
    for piece in _pieces(value, room, limit):
        pieces.append(piece)
        left -= len(piece)
        if left <= 0:
            break
    return "".join(pieces)[:limit]


def _pieces(value: object, room: int, limit: int) -> Iterator[str]:
    if isinstance(value, str | bytes):
        yield repr(value[:limit])
    elif isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        yield f"<int of {value.bit_length()} bits>"
    elif isinstance(value, _PLAIN):
        yield repr(value)
    elif room <= 0:
        yield "..."
    else:
        yield from _container(value, room, limit)


def _container(value: object, room: int, limit: int) -> Iterator[str]:
    if is_dict(value):
        yield from _members(value, room, limit)
    elif is_array(value):
        yield from _items(value, "[", "]", room, limit)
    elif is_sequence(value):
        yield from _items(value, "(", ",)" if len(value) == 1 else ")", room, limit)
    elif is_set(value):
        yield _set(value, room, limit)
    elif isinstance(value, deque):
        yield from _items(cast("deque[object]", value), "deque([", "])", room, limit)
    elif isinstance(value, BaseException):
        yield from _items(value.args, f"{type(value).__name__}(", ")", room, limit)
    else:
        yield from _instance(value, room, limit)


def _items(items: Iterable[object], start: str, end: str, room: int, limit: int) -> Iterator[str]:
    yield start
    for number, item in enumerate(items):
        if number:
            yield ", "
        yield from _pieces(item, room - 1, limit)
    yield end


def _members(members: dict[object, object], room: int, limit: int) -> Iterator[str]:
    yield "{"
    for number, (name, item) in enumerate(members.items()):
        if number:
            yield ", "
        yield from _pieces(name, room - 1, limit)
        yield ": "
        yield from _pieces(item, room - 1, limit)
    yield "}"


def _set(items: set[object] | frozenset[object], room: int, limit: int) -> str:
    # Sorted: the order of a set differs from process to process, and a block that is run again
    # should show the same.
    texts: list[str] = []
    left = limit
    for item in items:
        texts.append(_text(item, room - 1, left))
        left -= len(texts[-1])
        if left <= 0:
            break
    text = f"{{{', '.join(sorted(texts))}}}" if items else ""
    if isinstance(items, frozenset):
        return f"frozenset({text})"
    return text or "set()"


def _instance(value: object, room: int, limit: int) -> Iterator[str]:
    """An object of a class of the code; only its name and attributes have left the interpreter."""
    name = getattr(value, "name", None)
    attributes = getattr(value, "attributes", None)
    if not isinstance(name, str) or not is_dict(attributes):
        yield f"<{type(value).__name__}>"
        return
    yield f"{name}("
    for number, (key, item) in enumerate(attributes.items()):
        if number:
            yield ", "
        yield f"{key}="
        yield from _pieces(item, room - 1, limit)
    yield ")"
