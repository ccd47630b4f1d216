"""
Bytes to plain JSON trees and back, when the bytes may be hostile.

A body is one JSON tree as MessagePack or as JSON text. Anything else, or a body over a limit, is a
`MalformedError` with the path inside the value, and never another error: every exception of the
libraries means the same here.

MessagePack is read by its C library, then checked. Three things are special:

- The library allocates what a list header claims before it reads the items, and builds everything
  before we can count it. So it is first told to accept only lists so short that no claims add up to
  much. A body of more bytes than there may be elements, or with a longer list, is weighed first, by
  a linear scan of its headers that builds nothing.
- It lets the last of two equal keys win. A repeated key cannot survive a round trip, so
  ``packb(tree) == body`` proves that there is none, much faster than looking at each map. Foreign
  encoders may write longer forms of numbers and lengths, which is legal; for these, each map is
  looked at.
- It cannot say where a fault is. Once a body is refused, a second and slow reader finds the place.

JSON text is read by pydantic-core, which knows fewer rules than ``jsontext``, and printed again.
When this gives the same bytes, nothing in them was lost or read in another way. What is written in
another form, or is refused, goes to ``jsontext``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import islice
from math import isfinite
from typing import Any, Final, NamedTuple, NoReturn, cast

import msgpack  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from effectmq.protocol.encoding.canonical import canonical_json, tree_of
from effectmq.protocol.encoding.content_types import JSON, MSGPACK
from effectmq.protocol.encoding.jsontext import Members, parse_json
from effectmq.protocol.encoding.limits import (
    DEFAULT_LIMITS,
    GIVEN_TWICE,
    HARD_MAX_BODY_BYTES,
    NOT_FINITE,
    Limits,
    count_elements,
    find_fault,
    is_sound,
    printable,
    safe_path,
    too_deep,
    too_many,
)
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.errors import MalformedError

__all__ = [
    "HARD_MAX_BODY_BYTES",
    "JSON",
    "MSGPACK",
    "Limits",
    "assumed_tree",
    "decode_tree",
    "encode_plain",
    "encode_tree",
    "parse_within",
]

# The library has no annotations.
_packb = cast("Callable[[object], bytes]", msgpack.packb)  # pyright: ignore[reportUnknownMemberType]
_unpackb = cast("Callable[..., Any]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]
_UNPACKING: type[Exception] = msgpack.UnpackException

#: What the libraries raise on bad input. UnicodeError, msgpack's StackError, ExtraData and
#: FormatError are kinds of ValueError; its OutOfData is not.
_REFUSALS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    MemoryError,
    _UNPACKING,
)

#: Up to this size in bytes, a look at each byte is quicker than one at each value.
_SMALL_BODY = 4096

#: How many slots of 8 bytes all open lists together may claim before the body is weighed.
_MOST_CLAIMED_SLOTS = 2 * 1024 * 1024

#: How many lists the library keeps open at a time; a body with one level more is refused. A list
#: that is complete has as many bytes in the body as it has claimed slots, or more.
_MOST_OPEN_LISTS = 1024
#: So lists of this length never claim too much, whatever the body is.
_HARMLESS_LIST = _MOST_CLAIMED_SLOTS // _MOST_OPEN_LISTS

#: Up to this size JSON text is built before its elements are counted: no text needs more than 25
#: bytes for each of its own.
_HARMLESS_TEXT = 1024 * 1024

#: A string, or a character that comes before an element. Possessive, and content with a string that
#: runs to the end: linear however the quotes are arranged.
_JSON_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[,:\[{]', re.DOTALL)

#: Where a match of ``_JSON_MARK`` begins.
_JSON_MARKS = b'",:[{'

# The meaning of the first byte of a MessagePack value, in the words of an error.
_SCALAR: Final = "null, a bool or an integer"
_FLOAT: Final = "a float"
_TEXT: Final = "text"
_LIST: Final = "a list"
_MAP: Final = "a map"
_BINARY: Final = "binary data"
_EXTENSION: Final = "a MessagePack extension type"
_UNUSED: Final = "the byte 0xc1"

#: Types that JSON does not have, with what to do about them.
_FOREIGN: Final = {
    _BINARY: "expected JSON data; send text, or a list of integers from 0 to 255",
    _EXTENSION: "expected JSON data; send a time as text or as an integer",
    _UNUSED: "which MessagePack does not use; the body was damaged or is something else",
}


class _Form(NamedTuple):
    """How to continue after the first byte of a MessagePack value."""

    family: str
    #: The bytes that follow, or the entries of a list or map, when the first byte tells.
    number: int = 0
    #: Otherwise the width in bytes of the field that tells; else 0.
    width: int = 0


def _forms() -> list[_Form]:
    forms = [_Form(_SCALAR)] * 256
    for low in range(16):
        forms[0x80 | low] = _Form(_MAP, low)
        forms[0x90 | low] = _Form(_LIST, low)
    for low in range(32):
        forms[0xA0 | low] = _Form(_TEXT, low)
    forms[0xC1] = _Form(_UNUSED)
    forms[0xCA:0xCC] = _Form(_FLOAT, 4), _Form(_FLOAT, 8)
    for power in range(4):
        forms[0xCC + power] = forms[0xD0 + power] = _Form(_SCALAR, 2**power)
    forms[0xD4:0xD9] = [_Form(_EXTENSION)] * 5
    for power in range(3):
        forms[0xC4 + power] = _Form(_BINARY)
        forms[0xC7 + power] = _Form(_EXTENSION)
        forms[0xD9 + power] = _Form(_TEXT, width=2**power)
    for power in range(2):
        forms[0xDC + power] = _Form(_LIST, width=2 << power)
        forms[0xDE + power] = _Form(_MAP, width=2 << power)
    return forms


_FORMS: Final = _forms()

#: The whole length of a scalar or a short text, by its first byte; 0 for everything else.
_STEPS: Final = [
    1 + form.number if form.width == 0 and form.family in (_SCALAR, _FLOAT, _TEXT) else 0
    for form in _FORMS
]

#: First bytes of values that are always valid, or easily checked: float64 (0xcb).
_PLAIN: Final = bytes([0xCB, *(b for b in range(256) if _FORMS[b].family in (_SCALAR, _TEXT))])
_OPENING: Final = bytes(b for b in range(256) if _FORMS[b].family in (_LIST, _MAP))


def encode_tree(tree: JsonValue, content_type: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """
    Encode a JSON tree. Whatever this returns, `decode_tree` reads back as the same tree.

    Args:
        tree: The value, of plain types only; the order of keys is kept.
        content_type: `MSGPACK` or `JSON` (canonical, see ``protocol.canonical``).
        limits: The depth and number of elements to stay within; the size is checked on publishing.

    Raises:
        MalformedError: The value is not a JSON tree or is over a limit, or the content type is
            unknown.
    """
    _require_known(content_type)
    encode = _packb if content_type == MSGPACK else canonical_json
    try:
        if is_sound(tree, limits):
            return encode(tree)
    except (*_REFUSALS, MalformedError):
        pass
    raise find_fault(tree, limits) or MalformedError("", f"cannot be encoded as {content_type}")


def encode_plain(tree: JsonValue, content_type: str, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """
    Encode a JSON tree whose types are known to be exactly the plain ones.

    Bytes and refusals are those of `encode_tree`. A tree from a model or a parser needs no check of
    the type of each value; the remaining checks use the bytes of a small body.

    Args:
        tree: From ``model.to_tree`` or ``decode_tree``, or made of such trees and text.
        content_type: `MSGPACK` or `JSON`.
        limits: The depth and number of elements to stay within.

    Raises:
        MalformedError: As `encode_tree`.
    """
    if content_type == MSGPACK:
        try:
            body = _packb(tree)
        except _REFUSALS:
            pass  # encode_tree says why
        else:
            if _is_surely_sound(body, limits) or is_sound(tree, limits):
                return body
    return encode_tree(tree, content_type, limits)


def decode_tree(body: bytes, content_type: str, limits: Limits = DEFAULT_LIMITS) -> JsonValue:
    """
    Decode a body that may be hostile.

    Text passes unchanged: no Unicode normalisation, and NUL is a character like any other.

    Args:
        body: The received bytes.
        content_type: The content type that came with them, `MSGPACK` or `JSON`.
        limits: The limits of the body.

    Raises:
        MalformedError: The body is not one JSON tree within the limits, or the content type is
            unknown.
    """
    _refuse_size(body, limits)
    if content_type == MSGPACK:
        return _decode_msgpack(body, limits)
    _require_known(content_type)
    return _decode_json(body, limits)


def _require_known(content_type: str) -> None:
    if content_type not in (MSGPACK, JSON):
        raise MalformedError(
            "",
            f"the content type is {printable(content_type)!r}, expected {MSGPACK} or {JSON}, "
            "written exactly so",
        )


def parse_within(
    document: str | bytes, limits: Limits, members: Members | None = None
) -> JsonValue:
    """
    Parse JSON text that need not be a body: a member may be given more than once.

    Args:
        document: The text.
        limits: The limits of the document.
        members: As for ``jsontext.parse_json``.

    Raises:
        MalformedError: It is not JSON, or is over a limit.
    """
    try:
        body = document.encode() if isinstance(document, str) else document
    except UnicodeEncodeError:
        body = b""  # The parser says where.
    _refuse_size(body, limits)
    if _could_be_many(body, limits.max_elements):
        raise MalformedError("", too_many(limits))
    tree = parse_json(document, max_depth=limits.max_depth, members=members)
    if count_elements(tree) > limits.max_elements:
        raise MalformedError("", too_many(limits))
    return tree


def _refuse_size(body: bytes, limits: Limits) -> None:
    if len(body) > limits.max_body_bytes:
        raise MalformedError(
            "",
            f"the body is {len(body)} bytes and the limit is {limits.max_body_bytes}; keep large "
            "data outside the effect and pass a reference, or raise the limit",
        )


def assumed_tree(body: bytes, limits: Limits) -> JsonValue:
    """
    The tree of JSON text that is assumed to be as this package writes it.

    It is the tree of the body, and the only one, when it prints as the same bytes. That is for the
    caller to find out, who may have to print it anyway.

    Args:
        body: Bytes that may be hostile.
        limits: The limits of the body; a tree is within them.

    Returns:
        ``None`` when the text has another form, or is ``null``; ``decode_tree`` knows which.
    """
    many = len(body) > _HARMLESS_TEXT and _could_be_many(body, limits.max_elements)
    if many or len(body) > limits.max_body_bytes:
        return None
    try:
        tree = tree_of(body)
    except _REFUSALS:
        return None
    return tree if is_sound(tree, limits) else None


def _decode_json(body: bytes, limits: Limits) -> JsonValue:
    tree = assumed_tree(body, limits)
    if tree is not None and canonical_json(tree, finite=True) == body:
        return tree
    try:
        if _could_be_many(body, limits.max_elements):
            raise MalformedError("", too_many(limits))
        tree = parse_json(body, max_depth=limits.max_depth)
        if is_sound(tree, limits):
            return tree
    except _REFUSALS as error:
        raise _unreadable(JSON, error) from None
    raise find_fault(tree, limits) or _unreadable(JSON)


def _unreadable(content_type: str, error: BaseException | None = None) -> MalformedError:
    """The error when the place of the fault was not found."""
    why = f": {type(error).__name__}" if error else ""
    return MalformedError("", f"cannot be read as {content_type}{why}")


def _could_be_many(body: bytes, most: int) -> bool:
    """Whether JSON text surely has more elements than allowed, before anything is built."""
    # An element brings at most three marks: the one before it, its own string or its own bracket.
    if len(body) <= 3 * most:
        return False
    # Far cheaper than finding the strings; in a long text, few characters are marks at all.
    if len(body) - len(body.translate(None, _JSON_MARKS)) <= 3 * most:
        return False
    return next(islice(_JSON_MARK.finditer(body), 3 * most, None), None) is not None


def _decode_msgpack(body: bytes, limits: Limits) -> JsonValue:
    try:
        tree = _unpacked(body, limits.max_elements)
        if _is_surely_sound(body, limits) or is_sound(tree, limits):
            if _packb(tree) != body:
                _unpackb(body, object_pairs_hook=_refuse_repeated_key)
            return tree
    except _REFUSALS:
        pass
    try:
        _Reader(body, limits).refuse()
    except _REFUSALS as error:
        raise _unreadable(MSGPACK, error) from None


def _unpacked(body: bytes, most: int) -> JsonValue:
    """
    Build what a body holds, unless that would need much memory.

    Raises:
        Exception: One of ``_REFUSALS``.
    """
    size = len(body)
    longest = size if size < most else most
    if size <= most:
        # As many elements as bytes are allowed, so only the claims of lists can be too much.
        try:
            return _unpacked_within(body, longest, min(longest, _HARMLESS_LIST))
        except ValueError:
            if longest <= _HARMLESS_LIST or (0xDC not in body and 0xDD not in body):
                raise
        lists = min(body.count(b"\xdc") + body.count(b"\xdd"), _MOST_OPEN_LISTS)
        if longest * lists <= _MOST_CLAIMED_SLOTS:
            return _unpacked_within(body, longest, longest)
    if not _is_worth_decoding(body, most):
        raise ValueError("too much")
    return _unpacked_within(body, longest, longest)


def _unpacked_within(body: bytes, longest_map: int, longest_list: int) -> JsonValue:
    # With a maximum of 0, only empty binary and extension types pass, and the check of the tree
    # finds these.
    tree: JsonValue = _unpackb(
        body,
        max_str_len=len(body),
        max_array_len=longest_list,
        max_map_len=longest_map,
        max_bin_len=0,
        max_ext_len=0,
    )
    return tree


def _is_surely_sound(body: bytes, limits: Limits) -> bool:
    """Check the bytes of a small body only, in a fifth of the time that the tree would take."""
    if len(body) > _SMALL_BODY or len(body) > limits.max_elements:
        return False
    # Bytes of text can only raise a false suspicion. Where no float32, binary or extension type can
    # begin there is none, and the depth is at most the number of lists and maps.
    rest = body.translate(None, _PLAIN)
    if len(rest) > limits.max_depth or rest.translate(None, _OPENING):
        return False
    # NaN and the infinities are the floats whose exponent is all ones. One byte is found quicker.
    return 0xCB not in body or (b"\xcb\x7f" not in body and b"\xcb\xff" not in body)


def _refuse_repeated_key(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key is repeated")


def _is_worth_decoding(body: bytes, most: int) -> bool:
    """Weigh a body: whether its headers claim no more elements than there may be."""
    size = len(body)
    at, seen, claimed = 0, 0, 1
    while seen < claimed <= most and at < size:
        seen += 1
        first = body[at]
        step = _STEPS[first]
        if step:
            at += step
            continue
        family, number, width = _FORMS[first]
        at += 1 + width
        if width:
            number = int.from_bytes(body[at - width : at], "big")
        if family is _TEXT:
            at += number
        elif family is _LIST:
            claimed += number
        elif family is _MAP:
            claimed += 2 * number
        else:
            return False
    return claimed <= most


class _Reader:
    """The slow reader of a refused body: it finds the first fault and its place."""

    def __init__(self, body: bytes, limits: Limits) -> None:
        self._body = body
        self._limits = limits
        self._at = 0
        self._elements = 1
        self._steps: list[str | int] = []

    def refuse(self) -> NoReturn:
        """Raise MalformedError for the first fault, in the order of the bytes."""
        if not self._body:
            self._fail("the body is empty, expected one MessagePack value")
        self._value()
        rest = len(self._body) - self._at
        if rest:
            self._fail(f"{rest} bytes follow after the end of the value; send one value per body")
        self._fail(f"cannot be read as {MSGPACK}")

    def _fail(self, problem: str) -> NoReturn:
        raise MalformedError(safe_path(self._steps), problem)

    def _value(self) -> None:
        family, number = self._header()
        if family is _SCALAR:
            self._take(number)
        elif family is _LIST:
            self._enter(number)
            self._items(number)
        elif family is _MAP:
            self._enter(2 * number)
            self._members(number)
        elif family is _TEXT:
            self._text(self._take(number), "the text")
        else:
            (value,) = struct.unpack(">f" if number == 4 else ">d", self._take(number))
            if not isfinite(value):
                self._fail(NOT_FINITE)

    def _items(self, count: int) -> None:
        self._steps.append(0)
        index = self._pass_plain(count)
        while index < count:
            self._steps[-1] = index
            self._value()
            index += 1
            index += self._pass_plain(count - index)
        self._steps.pop()

    def _pass_plain(self, most: int) -> int:
        """Skip the next items that are surely valid; returns how many: a long list has many."""
        body, at, size = self._body, self._at, len(self._body)
        passed = 0
        while passed < most and at < size:
            first = body[at]
            end = at + _STEPS[first]
            if end == at or end > size or _FORMS[first].family is _FLOAT:
                break
            if _FORMS[first].family is _TEXT and not body[at + 1 : end].isascii():
                break
            at = end
            passed += 1
        self._at = at
        return passed

    def _members(self, count: int) -> None:
        seen: set[str] = set()
        for _ in range(count):
            family, number = self._header()
            if family is not _TEXT:
                self._fail(f"found a key that is {family}, expected text")
            key = self._text(self._take(number), "a key")
            self._steps.append(key)
            if key in seen:
                self._fail(GIVEN_TWICE)
            seen.add(key)
            self._value()
            self._steps.pop()

    def _header(self) -> tuple[str, int]:
        if self._at >= len(self._body):
            self._take(1)
        family, number, width = _FORMS[self._body[self._at]]
        self._at += 1
        if width:
            number = int.from_bytes(self._take(width), "big")
        elif family in _FOREIGN:
            self._fail(f"found {family}, {_FOREIGN[family]}")
        return family, number

    def _take(self, count: int) -> bytes:
        start = self._at
        self._at += count
        if self._at > len(self._body):
            self._fail(
                f"the body ends too early: {count} bytes should follow here and "
                f"{len(self._body) - start} do; it was cut off, or is something else"
            )
        return self._body[start : self._at]

    def _enter(self, elements: int) -> None:
        self._elements += elements
        if len(self._steps) >= self._limits.max_depth:
            self._fail(too_deep(self._limits))
        if self._elements > self._limits.max_elements:
            self._fail(too_many(self._limits))

    def _text(self, data: bytes, what: str) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            self._fail(f"{what} is not UTF-8: a bad byte at its offset {error.start}")
