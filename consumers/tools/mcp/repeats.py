"""
Finds the texts of a result that only repeat its structured data. Pure.

MCP asks servers with structured data to send the same data as text, for clients that read only
texts. Libraries do this in different ways: the data as JSON, a text that was wrapped into
``result`` as itself, and a wrapped list as one text for each item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic_core import from_json

from effectmq.protocol.encoding.narrowing import is_array, is_object

__all__ = ["own_texts"]

#: The member into which libraries wrap a value that is no object.
_WRAPPED = "result"


def own_texts(texts: Sequence[str], structured: object) -> list[bool]:
    """
    Which texts are more than a repetition.

    Args:
        texts: The texts of one result, in order.
        structured: The structured data of the same result.
    """
    wholes: list[object] = [structured]
    if is_object(structured) and _WRAPPED in structured:
        wholes.append(structured[_WRAPPED])
    own = [bool(text.strip()) and not any(_spells(text, one) for one in wholes) for text in texts]
    spelling = [text for text, says in zip(texts, own, strict=True) if says]
    if any(_item_by_item(spelling, one) for one in wholes):
        return [False] * len(texts)
    return own


def _item_by_item(texts: Sequence[str], items: object) -> bool:
    if not is_array(items):
        return False
    flat = list(_leaves(items))
    return len(flat) == len(texts) and all(map(_spells, texts, flat))


def _leaves(items: list[object]) -> Iterator[object]:
    """The items, and those of lists inside, as libraries flatten them; lists have few levels."""
    for item in items:
        if is_array(item):
            yield from _leaves(item)
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
    """Whether two values are equal as JSON, where a number is no truth value."""
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(
            _equal(value, other[name]) for name, value in one.items()
        )
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
