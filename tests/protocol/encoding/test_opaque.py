"""Opaque JSON: order, ranges, refusals."""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given

from effectmq.protocol.encoding.opaque import Repeated, canonical_value, path_text
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.wire.tools import PreparedToolCall
from tests.protocol.strategies import json_values


class _Word(StrEnum):
    YES = "yes"


class _Number(IntEnum):
    ONE = 1


class _Pair(NamedTuple):
    left: int
    right: str


class _Ratio(float):
    pass


def test_objects_are_sorted_at_every_depth_by_code_point() -> None:
    """U+FFFF comes before U+10000, as in UTF-8 and unlike in UTF-16."""
    value = {"b": [{"z": 1, "\U00010000": 1, "\uffff": 1}], "a": {"y": 1, "x": 1}}
    found: Any = canonical_value(value)
    assert list(found) == ["a", "b"]
    assert list(found["a"]) == ["x", "y"]
    assert list(found["b"][0]) == ["z", "\uffff", "\U00010000"]


def test_relatives_of_plain_types_become_plain() -> None:
    """Enums, named tuples and ordered dicts are taken for the data that they are."""
    value = [_Word.YES, _Number.ONE, _Pair(1, "r"), OrderedDict(b=1, a=(2,)), _Ratio(1.5)]
    found: Any = canonical_value(value)
    assert found == ["yes", 1, [1, "r"], {"a": [2], "b": 1}, 1.5]
    assert [type(item) for item in found] == [str, int, list, dict, float]
    assert canonical_value({_Word.YES: 1}) == {"yes": 1}
    assert canonical_value({"é": 1}) == {"é": 1}


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (2**64, "", "integer outside"),
        ([-(2**63) - 1], "[0]", "integer outside"),
        ({"a": [float("nan")]}, "a[0]", "finite"),
        ({"a": {1}}, "a", "Python set"),
        (b"bytes", "", "Python bytes"),
        ({1: 2}, "1", "named by a Python int"),
        ({1: 2, "a": 3}, "", "not named by strings"),
        ({"a": {"\udfff": 1}}, "a.\\udfff", "surrogate"),
        (["é\ud800"], "[0]", "surrogate"),
    ],
)
def test_what_is_no_json_is_refused_with_its_path(value: Any, path: str, problem: str) -> None:
    """A path leads to the spot and a sentence says what is there."""
    with pytest.raises(MalformedError, match=problem) as caught:
        canonical_value(value)
    assert caught.value.path == path


def test_nesting_is_bounded() -> None:
    """127 levels pass, one more does not, and a value inside itself ends the same way."""
    deep: Any = 1
    for _ in range(127):
        deep = [deep]
    assert canonical_value(deep) == deep
    with pytest.raises(MalformedError, match="127 levels"):
        canonical_value([deep])
    with pytest.raises(MalformedError, match="127 levels"):
        canonical_value({"a": deep})
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(MalformedError, match="127 levels"):
        canonical_value(endless)


def test_a_field_is_canonical_when_it_is_read_and_when_it_is_written() -> None:
    """A dict inside a frozen model can still be changed, so writing does not trust reading."""
    args = {"b": 1, "a": [1]}
    call = PreparedToolCall(call_id="c", tool_name="t", args=args)
    assert list(call.args) == ["a", "b"]
    assert call.args["a"] is not args["a"]
    call.args["0"] = (1,)
    assert list(to_tree(call)["args"].items()) == [("0", [1]), ("a", [1]), ("b", 1)]
    with pytest.raises(MalformedError, match="finite") as caught:
        PreparedToolCall(call_id="c", tool_name="t", args={"a": [float("nan")]})
    assert caught.value.path == "args.a[0]"
    call.args["a"].append(float("inf"))
    with pytest.raises(MalformedError, match=r"at a\[1\]"):
        to_tree(call)


def test_a_repeated_field_is_refused_and_a_repeated_member_inside_is_not() -> None:
    """Inside opaque JSON the last value wins; a struct field may be given once."""
    call: dict[str, Any] = {"call_id": "c", "tool_name": "t"}
    assert PreparedToolCall(**call, args=[{"a": Repeated(1)}]).args == [{"a": 1}]
    with pytest.raises(MalformedError, match="more than once") as caught:
        PreparedToolCall(**call, args=Repeated(1))
    assert caught.value.path == "args"


@given(json_values)
def test_a_canonical_value_is_left_as_it_is(value: Any) -> None:
    """Bringing a value into order twice is bringing it into order once."""
    once = canonical_value(value)
    assert canonical_value(once) == once == value


def test_paths_are_written_as_people_write_them_and_stay_short() -> None:
    """Foreign member names are cut, and so is the whole path."""
    assert path_text(("a", "b", 0, 1, "c")) == "a.b[0][1].c"
    assert path_text((0, "a")) == "[0].a"
    assert path_text(("x" * 100,)) == "x" * 57 + "..."
    assert len(path_text(("abc",) * 1000)) < 310
