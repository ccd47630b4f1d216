"""
Reading JSON text by the rules of serde_json.

Python's own parser does the work; hooks and checks add the missing rules. One difference is on
purpose: decimals are rounded correctly, where serde_json may be wrong by one unit in the last
place. A producer hashes the value in its memory and prints it with the shortest digits, so correct
rounding returns the value that was hashed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from effectmq.protocol.encoding.narrowing import is_array, is_object
from effectmq.protocol.encoding.opaque import MAX_DEPTH, MAX_INT, MIN_INT, JsonValue, Repeated
from effectmq.protocol.errors import MalformedError

__all__ = ["Members", "parse_json"]


class _BadNumberError(Exception):
    """A number token that JSON or an f64 cannot hold."""


#: The members of a struct that serde reads, each with its own members when it is such a struct.
#: Other members are skipped without being read.
Members: TypeAlias = "Mapping[str, Members | None]"


def parse_json(
    data: bytes | bytearray | str, *, max_depth: int = MAX_DEPTH, members: Members | None = None
) -> JsonValue:
    """
    Parse one JSON document.

    A member that an object names more than once becomes a ``Repeated``: typed readers refuse it,
    opaque values and maps take the last one, and unknown members are ignored.

    Args:
        data: The document; bytes must be UTF-8 without a byte order mark.
        max_depth: How many containers may be open at once.
        members: For a known struct, the members that are read. In skipped members, half a surrogate
            pair that a repeated member replaces does not matter.

    Raises:
        MalformedError: When it is not JSON, or is JSON that serde_json refuses.
    """
    text = _text(data)
    if text.startswith("\ufeff"):
        raise MalformedError(
            "", "not JSON: it begins with a byte order mark; leave out the first three bytes"
        )
    _refuse_depth(text, max_depth)
    may_skip = members is not None and _holds_half_pair(text)
    if not may_skip:
        _refuse_half_pairs(text)
    try:
        tree: JsonValue = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedError(
            "", f"not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except _BadNumberError as error:
        raise MalformedError("", f"not JSON: {_number_problem(text, str(error))}") from None
    except RecursionError:
        raise MalformedError("", "not JSON that can be read here: too deeply nested") from None
    if may_skip:
        _refuse_half_pairs_read(tree, members)
    return tree


def _text(data: bytes | bytearray | str) -> str:
    try:
        if isinstance(data, str):
            if not data.isascii():
                data.encode()
            return data
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("", f"not UTF-8: a bad byte at offset {error.start}") from None
    except UnicodeEncodeError as error:
        raise MalformedError(
            "", f"not Unicode text: half a surrogate pair at offset {error.start}"
        ) from None


#: Possessive, and an unclosed string counts to the end: linear for any arrangement of quotes.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKET = re.compile(r"[^\[\]{}]++")


def _refuse_depth(text: str, max_depth: int) -> None:
    # Before parsing, because the parser itself is recursive.
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for bracket in _NOT_BRACKET.sub("", _STRING.sub("", text)):
        if bracket in "[{":
            depth += 1
            if depth > max_depth:
                raise MalformedError("", f"not JSON: more than {max_depth} levels of nesting")
        else:
            depth -= 1


def _integer(token: str) -> int | float:
    # 19 characters always fit; Python refuses to convert more than 4300 digits.
    if len(token) <= 20:
        value = int(token)
        if value == 0 and token[0] == "-":
            return -0.0
        if MIN_INT <= value <= MAX_INT:
            return value
    return _decimal(token)


def _decimal(token: str) -> float:
    value = float(token)
    if value - value != 0.0:
        raise _BadNumberError(token)
    return value


def _constant(token: str) -> NoReturn:
    raise _BadNumberError(token)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        given: dict[str, list[Any]] = {}
        for name, value in pairs:
            given.setdefault(name, []).append(value)
        for name, values in given.items():
            if len(values) > 1:
                members[name] = Repeated(values.pop(), values)
    return members


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
)


def _number_problem(text: str, token: str) -> str:
    at = text.find(token)
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    shown = token if len(token) <= 40 else f"{token[:37]}..."
    return f"the number {shown} is out of range or no number at line {line} column {column}"


_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

#: Text with complete escapes: pairs of surrogates, or other escapes.
_WHOLE_ESCAPES = re.compile(
    r"(?:[^\\]++"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\(?!u[dD][89a-fA-F])(?:.|\Z))*+",
    re.DOTALL,
)


def _holds_half_pair(text: str) -> bool:
    # Only an escape can bring half a surrogate pair past the UTF-8 check. The text is searched, not
    # the tree: serde also reads the strings that a later member replaces.
    if _SURROGATE_ESCAPE.search(text) is None:
        return False
    whole = _WHOLE_ESCAPES.match(text)
    return whole is not None and whole.end() < len(text)


def _refuse_half_pairs(text: str) -> None:
    if _holds_half_pair(text):
        raise MalformedError("", _HALF_PAIR)


def _refuse_half_pairs_read(tree: JsonValue, members: Members | None) -> None:
    # Skipped values have no members that are read, so all of them are checked except replaced ones.
    pending: list[tuple[object, Members | None, bool]] = [(tree, members, True)]
    while pending:
        value, known, read = pending.pop()
        if isinstance(value, str):
            if _SURROGATE.search(value):
                raise MalformedError("", _HALF_PAIR)
        elif is_object(value):
            for name, member in value.items():
                pending.append((name, None, True))
                if known is None or name in known:
                    pending.append((member, known[name] if known else None, read))
                else:
                    pending.append((member, None, False))
        elif is_array(value):
            pending.extend((item, None, read) for item in value)
        elif isinstance(value, Repeated):
            given = (*value.earlier, value.last) if read else (value.last,)
            pending.extend((item, known, read) for item in given)


_HALF_PAIR = "not JSON: a string holds half a surrogate pair, written as an escape"
_SURROGATE = re.compile("[\ud800-\udfff]")
