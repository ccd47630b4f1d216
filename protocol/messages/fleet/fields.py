"""Members of a message of a stranger: each is checked, and of bounded size."""

from __future__ import annotations

from effectmq.protocol.encoding.codec import JSON, Limits, decode_tree
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.text import printable

__all__ = [
    "JSON",
    "MOST_NAMES",
    "exact",
    "flag",
    "name",
    "names",
    "number",
    "object_of",
    "text",
    "whole",
]

#: Names in one list, and characters of one name and of one sentence.
MOST_NAMES = 1_000
_MOST_NAME = 255
_MOST_TEXT = 1_000
#: Of the body of such a message.
_MOST_BYTES = 512 * 1024
_MOST_WHOLE = 2**53


def object_of(message: Message) -> dict[str, object]:
    """
    The members of the object in a body.

    Raises:
        MalformedError: When there is none, or it is too large.
    """
    content_type = message.content_type or recognised(message.body)
    tree = decode_tree(message.body, content_type, Limits(max_body_bytes=_MOST_BYTES))
    if not is_object(tree):
        raise MalformedError("", "expected an object")
    return tree


def text(members: dict[str, object], key: str, most: int = _MOST_TEXT) -> str:
    """
    A text that can be shown, cut to a length; empty when it is missing.

    Raises:
        MalformedError: When it is something else.
    """
    value = members.get(key, "")
    if not isinstance(value, str):
        raise MalformedError(key, "expected text")
    return printable(value, most) if value else ""


def exact(members: dict[str, object], key: str, most: int) -> str:
    """
    A text as it is, of at most so many characters; empty when it is missing.

    Raises:
        MalformedError: When it is something else, or too long.
    """
    value = members.get(key, "")
    if not isinstance(value, str) or len(value) > most:
        raise MalformedError(key, f"expected text of at most {most} characters")
    return value


def name(members: dict[str, object], key: str) -> str:
    """
    A name, as it is.

    Raises:
        MalformedError: When it is no text, or is over the limit.
    """
    return _name(members.get(key, ""), key)


def _name(value: object, key: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_NAME:
        raise MalformedError(key, f"expected a name of at most {_MOST_NAME} characters")
    return value


def names(members: dict[str, object], key: str, most: int = MOST_NAMES) -> tuple[str, ...]:
    """
    A list of at most so many names, each once; empty when it is missing.

    Raises:
        MalformedError: When it is something else, or too long.
    """
    value = members.get(key, [])
    if not is_array(value) or len(value) > most:
        raise MalformedError(key, f"expected a list of at most {most} names")
    return tuple(dict.fromkeys(_name(each, key) for each in value))


def whole(members: dict[str, object], key: str, most: int = _MOST_WHOLE) -> int:
    """
    A whole number from 0; 0 when it is missing.

    Raises:
        MalformedError: When it is something else.
    """
    value = members.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise MalformedError(key, f"expected a whole number from 0 to {most}")
    return value


def number(members: dict[str, object], key: str) -> float:
    """
    A number from 0; 0 when it is missing.

    Raises:
        MalformedError: When it is something else.
    """
    value = members.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise MalformedError(key, "expected a number from 0")
    return float(value)


def flag(members: dict[str, object], key: str) -> bool:
    """
    Yes or no; no when it is missing.

    Raises:
        MalformedError: When it is something else.
    """
    value = members.get(key, False)
    if not isinstance(value, bool):
        raise MalformedError(key, "expected true or false")
    return value
