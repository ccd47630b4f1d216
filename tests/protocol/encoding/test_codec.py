"""The codec on good terms: what goes in comes out, and what cannot go in is named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import (
    JSON,
    MSGPACK,
    Limits,
    decode_tree,
    encode_plain,
    encode_tree,
)
from effectmq.protocol.encoding.limits import (
    DEFAULT_LIMITS,
    HARD_MAX_BODY_BYTES,
    HARD_MAX_STORED_BODY_BYTES,
    is_sound,
    safe_path,
)
from effectmq.protocol.errors import ConfigurationError, MalformedError
from tests.protocol.strategies import json_trees

BOTH = pytest.mark.parametrize("content_type", [MSGPACK, JSON])

trees = json_trees(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40), width=6, leaves=40
)


class _Colour(StrEnum):
    RED = "red"


def nested(levels: int) -> list[Any]:
    """Lists inside lists, as many as asked for."""
    tree: list[Any] = []
    for _ in range(levels - 1):
        tree = [tree]
    return tree


def in_longest_form(tree: Any) -> bytes:
    """MessagePack as a wasteful but correct foreign encoder writes it."""
    if isinstance(tree, bool) or tree is None:
        return bytes(msgpack.packb(tree))
    if isinstance(tree, str):
        data = tree.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    if isinstance(tree, int):
        return (
            b"\xd3" + struct.pack(">q", tree) if tree < 2**63 else b"\xcf" + struct.pack(">Q", tree)
        )
    if isinstance(tree, float):
        return b"\xcb" + struct.pack(">d", tree)
    if isinstance(tree, list):
        return b"\xdd" + struct.pack(">I", len(tree)) + b"".join(map(in_longest_form, tree))
    members = [in_longest_form(key) + in_longest_form(value) for key, value in tree.items()]
    return b"\xdf" + struct.pack(">I", len(members)) + b"".join(members)


def refusal_of_encoding(
    tree: Any, content_type: str, limits: Limits = DEFAULT_LIMITS
) -> MalformedError:
    """The error that encoding this must give."""
    with pytest.raises(MalformedError) as caught:
        encode_tree(tree, content_type, limits)
    return caught.value


@BOTH
@given(tree=trees, depth=st.integers(1, 5), elements=st.sampled_from([3, 20, 100_000]))
@settings(max_examples=300, deadline=None)
def test_trees_that_are_known_to_be_plain_are_encoded_and_refused_alike(
    content_type: str, tree: Any, depth: int, elements: int
) -> None:
    """The look at the bytes finds what the look at each value finds."""
    limits = Limits(max_depth=depth, max_elements=elements)

    def said(encode: Callable[[Any, str, Limits], bytes]) -> bytes | str:
        try:
            return encode(tree, content_type, limits)
        except MalformedError as refusal:
            return str(refusal)

    assert said(encode_plain) == said(encode_tree)


@BOTH
@pytest.mark.parametrize(
    "tree",
    [
        float("nan"),
        [float("inf")],
        {"a": -float("inf")},
        2**64,
        [-(2**63) - 1],
        "\ud800",
        {"\udfff": 1},
    ],
)
def test_plain_types_with_values_that_json_does_not_have_are_refused(
    content_type: str, tree: Any
) -> None:
    """With the place and the words of the careful way."""
    expected = str(refusal_of_encoding(tree, content_type))
    with pytest.raises(MalformedError) as caught:
        encode_plain(tree, content_type)
    assert str(caught.value) == expected


@BOTH
@given(tree=trees)
@settings(max_examples=300, deadline=None)
def test_what_is_encoded_is_decoded_as_the_same_tree(content_type: str, tree: Any) -> None:
    """Types, order of keys and the sign of zero included, which only the repr compares."""
    assert repr(decode_tree(encode_tree(tree, content_type), content_type)) == repr(tree)


@BOTH
@given(tree=trees)
@settings(max_examples=300, deadline=None)
def test_a_second_encoding_gives_the_same_bytes(content_type: str, tree: Any) -> None:
    """Encoding is a function of the tree, so a body can be compared with a body."""
    body = encode_tree(tree, content_type)
    assert encode_tree(decode_tree(body, content_type), content_type) == body


@given(tree=trees)
@settings(max_examples=300, deadline=None)
def test_longer_forms_of_a_foreign_encoder_are_read(tree: Any) -> None:
    """MessagePack allows any width; only the value counts."""
    assert repr(decode_tree(in_longest_form(tree), MSGPACK)) == repr(tree)


def test_float32_is_read_as_the_number_that_it_is() -> None:
    """Foreign encoders send it; every float32 has an exact float64."""
    assert decode_tree(b"\x92\xca\x3f\x00\x00\x00\xca\xbe\x80\x00\x00", MSGPACK) == [0.5, -0.25]


def test_json_is_the_canonical_json() -> None:
    """One printer for bodies and hashes."""
    tree = {"b": 1, "a": [1e16, -0.0, "\u2028é"]}
    assert (
        encode_tree(tree, JSON)
        == canonical_json(tree)
        == '{"b":1,"a":[1e+16,-0.0,"\u2028é"]}'.encode()
    )


def test_msgpack_is_the_same_tree_with_keys_in_the_same_order() -> None:
    """Text as text, shortest integers, nothing sorted."""
    assert encode_tree({"b": 1, "a": "x"}, MSGPACK) == b"\x82\xa1b\x01\xa1a\xa1x"


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        -0.0,
        "a\x00b",
        "e\u0301",
        "\u00e9",
        "\u212b",
        "",
        2**64 - 1,
        -(2**63),
        5e-324,
        {"": 0},
        [],
        {},
    ],
)
def test_what_others_would_normalise_passes_unchanged(content_type: str, value: Any) -> None:
    """Minus zero, NUL, composed and decomposed text, the ends of the integers, the empty."""
    assert repr(decode_tree(encode_tree([value], content_type), content_type)) == repr([value])


@BOTH
@pytest.mark.parametrize(
    ("tree", "path", "problem"),
    [
        (float("nan"), "", "NaN or an infinity"),
        ({"a": [0, float("inf")]}, "a[1]", "NaN or an infinity"),
        ([float("-inf")], "[0]", "NaN or an infinity"),
        ({"n": 2**64}, "n", "integer outside"),
        ({"n": -(2**63) - 1}, "n", "integer outside"),
        ({"n": 10**6000}, "n", "integer outside"),
        ({"a": {"b": "x\ud800"}}, "a.b", "half a surrogate pair"),
        ({"a": {"b\udc00": 1}}, "a", r"'b\\udc00' holds half a surrogate pair"),
        ({"a": {1: 2}}, "a", "key of type int"),
        ({"a": {b"k": 2}}, "a", "key of type bytes"),
        ({"a": {None: 2}}, "a", "key of type NoneType"),
        ({"call": {"args": {"items": [0, 1, 2, b""]}}}, "call.args.items[3]", "bytes"),
        ([(1, 2)], "[0]", "tuple"),
        ([{1, 2}], "[0]", "set"),
        ([_Colour.RED], "[0]", "_Colour"),
        ([msgpack.ExtType(1, b"")], "[0]", "ExtType"),
        ([msgpack.Timestamp(0)], "[0]", "Timestamp"),
        ([object()], "[0]", "object"),
        (nested(65), "[0]" * 64, "deeper than 64 levels"),
        ([0] * 100_000, "", "limit of 100000 elements"),
    ],
)  # fmt: skip
def test_what_is_no_json_tree_is_not_encoded(
    content_type: str, tree: Any, path: str, problem: str
) -> None:
    """The error says where and what, for both encodings alike."""
    error = refusal_of_encoding(tree, content_type)
    assert error.path == path
    assert problem in error.problem


@BOTH
def test_a_tree_that_contains_itself_is_too_deep(content_type: str) -> None:
    """A loop is refused instead of followed."""
    loop: list[Any] = []
    loop.append(loop)
    assert "deeper than 64 levels" in refusal_of_encoding(loop, content_type).problem


@BOTH
def test_shared_parts_count_as_often_as_they_are_written(content_type: str) -> None:
    """Ten levels of ten references to the next would be ten thousand million elements."""
    tree: Any = "x"
    for _ in range(10):
        tree = [tree] * 10
    assert "limit of 100000 elements" in refusal_of_encoding(tree, content_type).problem


@BOTH
def test_the_depth_that_is_allowed_is_written_and_read(content_type: str) -> None:
    """64 lists inside one another pass, 65 do not, whichever side looks."""
    deepest = nested(64)
    body = encode_tree(deepest, content_type)
    assert decode_tree(body, content_type) == deepest
    one_more = encode_tree(nested(65), content_type, Limits(max_depth=65))
    with pytest.raises(MalformedError, match="64 levels"):
        decode_tree(one_more, content_type)
    assert decode_tree(one_more, content_type, Limits(max_depth=65)) == nested(65)


@BOTH
@pytest.mark.parametrize(
    ("tree", "elements"), [(0, 1), ([], 1), ([0, [0]], 4), ({"a": 1}, 3), ({"a": {"b": []}}, 5)]
)
def test_every_value_and_every_key_is_an_element(
    content_type: str, tree: Any, elements: int
) -> None:
    """The number of elements is allowed, one less is not."""
    body = encode_tree(tree, content_type, Limits(max_elements=elements))
    assert decode_tree(body, content_type, Limits(max_elements=elements)) == tree
    if elements > 1:
        with pytest.raises(MalformedError, match=f"limit of {elements - 1} elements"):
            decode_tree(body, content_type, Limits(max_elements=elements - 1))
        assert (
            "elements"
            in refusal_of_encoding(tree, content_type, Limits(max_elements=elements - 1)).problem
        )


@BOTH
def test_a_body_as_full_as_allowed_is_read(content_type: str) -> None:
    """100,000 elements with the list itself."""
    tree: list[Any] = [0.5] * 50_000 + [""] * 20_000 + [{}] * 29_999
    assert decode_tree(encode_tree(tree, content_type), content_type) == tree


@BOTH
def test_the_size_is_checked_before_anything_is_read(content_type: str) -> None:
    """One byte over the limit is refused by its size, though the bytes are no value at all."""
    with pytest.raises(
        MalformedError, match="the body is 101 bytes and the limit is 100"
    ) as caught:
        decode_tree(b"\xc1" * 101, content_type, Limits(max_body_bytes=100))
    assert caught.value.path == ""
    whole = encode_tree("x" * 97, content_type)
    assert decode_tree(whole, content_type, Limits(max_body_bytes=len(whole))) == "x" * 97


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=utf-8", "APPLICATION/JSON", "x" * 255],
)
def test_another_content_type_is_refused_with_those_that_are_spoken(content_type: str) -> None:
    """And it is quoted, shortened."""
    with pytest.raises(
        MalformedError, match="expected application/msgpack or application/json"
    ) as one:
        decode_tree(b"1", content_type)
    with pytest.raises(MalformedError, match="expected application/msgpack or application/json"):
        encode_tree(1, content_type)
    assert repr(content_type[:60])[:-1] in one.value.problem
    assert len(one.value.problem) < 250


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_body_bytes": HARD_MAX_STORED_BODY_BYTES + 1},
        {"max_body_bytes": 0},
        {"max_depth": 0},
        {"max_depth": 128},
        {"max_elements": 0},
        {"max_elements": HARD_MAX_BODY_BYTES + 1},
    ],
)
def test_a_limit_outside_its_range_is_a_configuration_error(wrong: dict[str, int]) -> None:
    """The error names the limit, what was found and the range."""
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigurationError, match=f"{name} is {value} and must be from 1 to"):
        Limits(**wrong)


def test_the_hard_limits_themselves_are_allowed() -> None:
    """8 MiB and 127 levels, the most that serde_json reads."""
    limits = Limits(max_body_bytes=HARD_MAX_BODY_BYTES, max_depth=127)
    for content_type in (MSGPACK, JSON):
        body = encode_tree(nested(127), content_type, limits)
        assert decode_tree(body, content_type, limits) == nested(127)
    text = "x" * (HARD_MAX_BODY_BYTES - 5)
    assert decode_tree(encode_tree(text, MSGPACK), MSGPACK, limits) == text


@given(
    value=trees | st.binary() | st.tuples(trees) | st.floats() | st.lists(st.binary(), max_size=3)
)
@settings(max_examples=300, deadline=None)
def test_the_fast_check_and_the_slow_one_agree(value: Any) -> None:
    """What the fast one passes can be encoded; what it refuses, the slow one can explain."""
    limits = Limits(max_depth=3, max_elements=30)
    if is_sound(value, limits):
        assert decode_tree(encode_tree(value, MSGPACK, limits), MSGPACK, limits) == value
    else:
        assert "cannot be encoded" not in refusal_of_encoding(value, MSGPACK, limits).problem


@given(steps=st.lists(st.text() | st.integers(0, 10**9), max_size=130))
@settings(max_examples=300, deadline=None)
def test_a_path_can_be_logged_whatever_the_keys_are(steps: list[str | int]) -> None:
    """Bounded, encodable, one line, no control characters."""
    path = safe_path(steps)
    assert len(path.encode()) <= 4 * 310
    assert path.isprintable()
