"""
Which texts of a result only spell its structured data again. Pure.

MCP asks servers that answer with structured data to send the same as text, for clients that know
only texts. Libraries do it in their own ways: the data as JSON, a text that was wrapped into
``result`` as itself, and a list that was wrapped as one text for each of its items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from pydantic_core import from_json

__all__ = ["own_texts"]

#: What libraries wrap a value into that is no object.
_WRAPPED = "result"


def own_texts(texts: Sequence[str], structured: object) -> list[bool]:
    """
    Which texts say something of their own.

    Args:
        texts: Of one result, in order.
        structured: The structured data of the same result.
    """
    wholes = [structured]
    if isinstance(structured, dict) and _WRAPPED in structured:
        wholes.append(cast("dict[str, object]", structured)[_WRAPPED])
    own = [bool(text.strip()) and not any(_spells(text, one) for one in wholes) for text in texts]
    spelling = [text for text, says in zip(texts, own, strict=True) if says]
    if any(_item_by_item(spelling, one) for one in wholes):
        return [False] * len(texts)
    return own


def _item_by_item(texts: Sequence[str], items: object) -> bool:
    if not isinstance(items, list):
        return False
    flat = list(_leaves(cast("list[object]", items)))
    return len(flat) == len(texts) and all(map(_spells, texts, flat))


def _leaves(items: list[object]) -> Iterator[object]:
    """The items, and those of lists within, as libraries flatten them; lists have few levels."""
    for item in items:
        if isinstance(item, list):
            yield from _leaves(cast("list[object]", item))
        elif item is not None:
            yield item


def _spells(text: str, value: object) -> bool:
    if isinstance(value, str) and text == value:
        return True
    try:
        return _equal(from_json(text, allow_inf_nan=False), value)
    except ValueError:
        return False


def _equal(one: object, other: object) -> bool:
    """Whether two values are the same as JSON: a number is no truth value, as Python has it."""
    if isinstance(one, dict) and isinstance(other, dict):
        mine, theirs = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return mine.keys() == theirs.keys() and all(
            _equal(value, theirs[name]) for name, value in mine.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        left, right = cast("list[object]", one), cast("list[object]", other)
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
