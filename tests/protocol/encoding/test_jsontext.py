"""Reading JSON text by serde_json's rules."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.opaque import Repeated, canonical_value
from effectmq.protocol.errors import MalformedError
from tests.protocol.strategies import json_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 1.8446744073709552e19),
        ("-9223372036854775808", -9223372036854775808),
        ("-9223372036854775809", -9.223372036854776e18),
        ("1" + "0" * 300, 1e300),
        ("1.0", 1.0),
        ("1E5", 100000.0),
        ("0.9452706955539223", 0.9452706955539223),
        ('"\\ud83d\\ude42"', "🙂"),
        ('"\\u0000"', "\x00"),
        (' {"a" : [ 1 , null ] } ', {"a": [1, None]}),
        (b'"\xc3\xa9"', "é"),
        (bytearray(b"true"), True),
    ],
)
def test_tokens_become_what_serde_makes_of_them(text: str | bytes, value: Any) -> None:
    """Integers that do not fit become floats; decimals are rounded correctly."""
    found = parse_json(text)
    assert found == value
    assert type(found) is type(value)


def test_minus_zero_is_a_float() -> None:
    """``-0`` keeps its sign, which an integer cannot."""
    found = parse_json("-0")
    assert isinstance(found, float)
    assert math.copysign(1, found) == -1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nul",
        "1 2",
        "[1,]",
        "01",
        "+1",
        "1.",
        ".5",
        "-",
        "1e400",
        "-1e400",
        "9" * 400,
        "9" * 5000,
        "NaN",
        "Infinity",
        "-Infinity",
        "'a'",
        '"\t"',
        '"\\x"',
        '"\\u12"',
        '"open',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '{"\\ud800":1}',
        '{"a":[{"b":"\\udfff"}]}',
        '{"a":"\\ud800","a":1}',
        '{"a":{"\\uD800x":1},"a":1}',
        '"\\\\\\ud800"',
        '"\\ud83d\\u0041"',
        '"\\ud83d\\ud83d\\ude42"',
        '"\\uDE42\\uD83D\\uDE42"',
        '"\\ud83d',
        "{1:2}",
        '{"a"}',
        "\ufeff1",
        b"\xef\xbb\xbf1",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        '"\ud800"',
    ],
)
def test_what_is_no_json_is_refused_in_a_sentence(text: str | bytes) -> None:
    """Every refusal is ours, says what is wrong, and does not repeat the document."""
    with pytest.raises(MalformedError) as caught:
        parse_json(text)
    assert str(caught.value).startswith("not ")
    assert len(str(caught.value)) < 200


def test_a_refusal_names_line_and_column() -> None:
    """Somebody has to find the spot."""
    with pytest.raises(MalformedError, match="line 2 column 3"):
        parse_json('{\n  x"a":1}')
    with pytest.raises(MalformedError, match="line 2 column 7"):
        parse_json('{\n  "a":1e999}')


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"b":'])
def test_depth_is_bounded_before_anything_is_built(opening: str) -> None:
    """A document a hundred thousand levels deep is malformed, not a crash."""
    with pytest.raises(MalformedError, match="nesting"):
        parse_json(opening * 100_000)


def test_127_levels_are_read_and_128_are_not() -> None:
    """The limit is serde_json's, to the level; brackets in strings do not count."""
    brackets = json.dumps("[{" * 500 + '"' + "\\")
    deep = "[" * 126 + '{"k":' + brackets + "}" + "]" * 126
    assert parse_json(deep)
    assert parse_json(f"[{','.join(['[]'] * 1000)}]")
    with pytest.raises(MalformedError, match="127 levels"):
        parse_json(f"[{deep}]")
    with pytest.raises(MalformedError, match="1 levels"):
        parse_json("[[]]", max_depth=1)


def test_a_limit_that_was_raised_too_far_does_not_crash_the_parser() -> None:
    """Past what the interpreter can nest, the answer is the same error."""
    with pytest.raises(MalformedError, match="too deeply nested"):
        parse_json("[" * 100_000 + "]" * 100_000, max_depth=1_000_000)


def test_quotes_cannot_make_the_depth_check_slow() -> None:
    """An unterminated string full of escaped quotes is looked at once."""
    with pytest.raises(MalformedError):
        parse_json("[" * 128 + '"' + '\\"' * 500_000)


def test_a_repeated_member_is_marked_with_its_last_value() -> None:
    """Only the reader of the field knows what to make of it."""
    found = parse_json('{"a":1,"b":2,"a":{"c":1,"c":2},"a":3}')
    assert isinstance(found, dict)
    assert isinstance(found["a"], Repeated)
    assert found["b"] == 2
    assert canonical_value(found) == {"a": 3, "b": 2}
    assert "3" not in repr(found["a"])


@given(json_values)
def test_canonical_json_is_read_back_as_what_was_written(value: Any) -> None:
    """Writing and reading are inverse, down to the bytes."""
    data = canonical_json(canonical_value(value))
    assert canonical_json(parse_json(data)) == data
