"""Long texts and large bodies take shorter ways; their bytes, trees and refusals are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding import codec
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import (
    JSON,
    MSGPACK,
    Limits,
    decode_tree,
    encode_plain,
    encode_tree,
)
from effectmq.protocol.encoding.opaque import MAX_DEPTH, MAX_INT, MIN_INT, Refused, ordered
from effectmq.protocol.encoding.serde.model import canonical_bytes, to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.protocol.encoding.test_codec import BOTH
from tests.protocol.strategies import json_trees

#: What is written, read or escaped in a way of its own.
_AWKWARD = (
    *map(chr, range(0x20)), *'"\\/', "\x7f", "\x80", "é", "\u2028", "\u2029", "\ufeff", "\uffff",
    "🙂", "NaN", "Infinity", "-Infinity", ":NaN,", "\\u0041", "\xcb\x7f", "\u0700\u0740",
)  # fmt: skip

_LIMITS = Limits(max_body_bytes=8 * 1024 * 1024)


def _long(piece: str, length: int, at: int) -> str:
    """A text of this length with the piece inside."""
    return "x" * at + piece + "x" * (length - at)


_long_texts = st.builds(
    _long,
    st.sampled_from(_AWKWARD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from([2_047, 4_095, 4_096, 4_097, 70_000, 130_000]),
    st.integers(0, 70_000),
)
_large_trees = json_trees(_long_texts | st.text(max_size=3, alphabet="ab\u0100"), width=4, leaves=8)


@pytest.mark.parametrize("piece", _AWKWARD)
@pytest.mark.parametrize("length", [1, 4_096, 70_000])
def test_what_is_awkward_is_written_the_same_wherever_it_stands(piece: str, length: int) -> None:
    """At the ends of a text, in the middle, and beside the block sizes of a vectorised writer."""
    for at in {0, 1, 7, 15, 16, 31, 32, 33, 63, 64, length // 2, length} & {*range(length + 1)}:
        text = _long(piece, length, at)
        written = json.dumps(text, ensure_ascii=False).encode()
        assert canonical_json(text) == canonical_json(text, finite=True) == written
        assert encode_plain(text, JSON) == written
        assert decode_tree(written, JSON, _LIMITS) == text
        body = encode_plain(text, MSGPACK)
        assert body == encode_tree(text, MSGPACK)
        assert decode_tree(body, MSGPACK, _LIMITS) == text


@BOTH
@given(tree=_large_trees)
@settings(max_examples=60, deadline=None)
def test_a_large_tree_is_encoded_and_decoded_like_a_small_one(content_type: str, tree: Any) -> None:
    """The same bytes by both ways of encoding, and the same tree from them."""
    body = encode_plain(tree, content_type)
    assert body == encode_tree(tree, content_type)
    assert repr(decode_tree(body, content_type, _LIMITS)) == repr(tree)


@pytest.mark.parametrize("half", ["\ud800"])
@pytest.mark.parametrize("at", [0, 4_096, 70_000])
@BOTH
def test_half_a_pair_is_found_in_a_long_text(content_type: str, at: int, half: str) -> None:
    """With the same sentence and place as in a short one."""
    with pytest.raises(MalformedError) as caught:
        encode_plain({"a": [_long(half, 70_000, at)]}, content_type)
    assert str(caught.value) == "a[0]: the text holds half a surrogate pair, expected Unicode text"


@BOTH
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 2**64])
def test_what_is_no_number_is_found_behind_a_long_text(content_type: str, number: Any) -> None:
    """The cheap look at bytes is for small bodies; large ones are looked at by value."""
    with pytest.raises(MalformedError) as caught:
        encode_plain({"a": "\xcb\x7f" * 70_000, "n": [number]}, content_type)
    assert caught.value.path == "n[0]"


def test_numbers_that_are_known_to_be_finite_are_not_looked_at() -> None:
    """The text is the same; the look costs more than writing it."""
    call = PreparedToolCall(call_id="c", tool_name="t", args={"text": "NaN" * 1_000, "n": 1.5})
    assert canonical_bytes(call, finite=True) == canonical_bytes(call)
    tree = to_tree(call)
    assert canonical_json(tree, finite=True) == canonical_json(tree) == canonical_bytes(call)


# What lists claim ------------------------------------------------------------------------------

_HEADS = (
    b"\xdc\x07\xff",
    b"\xdc\x08\x01",
    b"\xdd\x00\x00\x08\x01",
    b"\xdc\xff\xff",
    b"\x91",
    b"\x93",
)
_OTHERS = (b"\xc0", b"\x01", b"\x81\xa1k", b"\xa2\xdc\xdd", b"\xd9\x03abc", b"\xcb" + bytes(8))


@given(
    parts=st.lists(st.sampled_from((*_HEADS, *_OTHERS)), max_size=30).map(b"".join),
    tail=st.sampled_from([0, 10, 2_049, 5_000]),
)
@settings(max_examples=300, deadline=None)
def test_a_body_of_long_lists_is_judged_as_without_the_first_and_careful_try(
    parts: bytes, tail: int
) -> None:
    """Read or refused alike, with the same sentence."""
    body = parts + b"\xc0" * tail

    def said() -> str:
        try:
            return repr(decode_tree(body, MSGPACK))
        except MalformedError as refused:
            return str(refused)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_HARMLESS_LIST", 2**31)
        expected = said()
    assert said() == expected


@pytest.mark.parametrize("count", [2_047, 2_048, 2_049, 65_535, 65_536, 99_998])
def test_a_list_of_any_length_within_the_limit_is_read(count: int) -> None:
    """Short enough for the first try, and longer; alone and in another."""
    for tree in ([1] * count, [["\u0700\u0740"] * 10, [None] * (count - 12)]):
        assert decode_tree(encode_tree(tree, MSGPACK), MSGPACK, _LIMITS) == tree


# Opaque values ---------------------------------------------------------------------------------


def _by_definition(value: Any, room: int) -> Any:
    """``ordered`` in the plainest words, for values of exactly the plain types."""
    if isinstance(value, list | tuple):
        room = _entered(room)
        return [_by_definition(item, room) for item in value]
    if isinstance(value, dict):
        room = _entered(room)
        return {str(key): _by_definition(value[key], room) for key in sorted(value)}
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("half a pair") from None
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise Refused("not finite")
    elif isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            raise Refused("out of range")
    elif value is not None:
        raise Refused("no JSON")
    return value


def _entered(room: int) -> int:
    if room <= 0:
        raise Refused("too deep")
    return room - 1


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) - 2, -(2**63) + 2)
    | st.integers(2**64 - 3, 2**64 + 3)
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["é", "\ud800", b"x", 1j]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from(["b", "a", "é", "\uffff", "🙂"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(value=_anything, room=st.sampled_from([1, 2, 3, MAX_DEPTH]))
@settings(max_examples=500, deadline=None)
def test_an_opaque_value_is_ordered_as_defined(value: Any, room: int) -> None:
    """The loops that look at scalars themselves refuse and keep the same ones."""

    def said(order: Callable[[Any, int], Any]) -> str:
        try:
            return repr(order(value, room))
        except Refused:
            return "refused"

    assert said(ordered) == said(_by_definition)
