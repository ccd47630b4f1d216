"""Plain data, as it is copied and as it is kept."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.exact.plain import is_settled, plain_copy
from effectmq.protocol.exact.shapes import NotExact
from effectmq.protocol.wire.attachments import AttachmentRef, MediaTypeImage
from effectmq.protocol.wire.tool_value import RESERVED_KEY, decode_tool_value, encode_tool_value
from tests.protocol.strategies import json_values


class Colour(StrEnum):
    RED = "red"


Pair = namedtuple("Pair", "a b")

PICTURE = AttachmentRef(id="a" * 64, media_type=MediaTypeImage(type="png"), byte_len=1)


def holds_the_key(value: object) -> bool:
    """Whether a value has the reserved key at any depth."""
    return RESERVED_KEY in repr(value)


@given(value=json_values)
@settings(max_examples=60, deadline=None)
def test_plain_data_is_copied_as_the_models_take_it(value: Any) -> None:
    """In canonical order, and as the encoded form of a tool value."""
    try:
        copy = plain_copy(value)
    except NotExact:
        assert holds_the_key(value)
        return
    assert repr(copy) == repr(canonical_value(value)) == repr(encode_tool_value(value))


@given(value=json_values)
@settings(max_examples=60, deadline=None)
def test_a_settled_tree_is_what_the_models_would_make_of_it(value: Any) -> None:
    """So it may be kept as it is."""
    if is_settled(value):
        assert repr(decode_tool_value(value)) == repr(canonical_value(value)) == repr(value)
    else:
        assert holds_the_key(value) or repr(canonical_value(value)) != repr(value)


def test_a_copy_shares_no_container() -> None:
    """A tool may change what it returned."""
    inner: list[Any] = [{"b": 1, "a": ()}]
    copy = plain_copy({"z": inner, "y": "é"})
    inner[0]["b"] = 2
    inner.append(3)
    assert copy == {"y": "é", "z": [{"a": [], "b": 1}]}


def nested(depth: int) -> Any:
    """A list in a list, and so on."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> Any:
    """A list that contains itself."""
    value: list[Any] = []
    value.append({"a": value})
    return value


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        {Colour.RED: 1},
        OrderedDict(a=1),
        Pair(1, 2),
        PICTURE,
        [PICTURE],
        {"a": {RESERVED_KEY: 1}},
        {1: 2},
        {"a": 1, 2: 3},
        {"\ud800": 1},
        ["\udfff"],
        "\ud800",
        2**64,
        -(2**63) - 1,
        float("nan"),
        [float("-inf")],
        b"bytes",
        {1, 2},
        object(),
        nested(128),
        endless(),
        iter([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_exactly_plain_is_left_to_the_models(value: Any) -> None:
    """They convert it, or refuse it with a sentence."""
    with pytest.raises(NotExact):
        plain_copy(value)


@pytest.mark.parametrize(
    "value", [2**64 - 1, -(2**63), -0.0, True, None, "", "\x00🙂", nested(127)]
)
def test_the_bounds_of_plain_data_are_those_of_opaque_json(value: Any) -> None:
    """Neither more nor less."""
    assert repr(plain_copy(value)) == repr(canonical_value(value))


@pytest.mark.parametrize(
    "tree",
    [{"b": 1, "a": 2}, [{"b": 1, "a": 2}], {"x": {RESERVED_KEY: 1}}, {"x": [[{"z": 1, "y": []}]]}],
)
def test_a_tree_in_another_order_is_not_settled(tree: Any) -> None:
    """At any depth."""
    assert not is_settled(tree)


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=5))
@settings(max_examples=30, deadline=None)
def test_an_object_in_the_order_of_its_names_is_settled(tree: dict[str, int]) -> None:
    """By code point."""
    assert is_settled(dict(sorted(tree.items())))
