"""JSON text that prints as itself is read a shorter way: the same trees, and the same refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effectmq.protocol.encoding import codec
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.codec import JSON, Limits, assumed_tree, decode_tree
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS
from effectmq.protocol.errors import MalformedError
from tests.protocol.strategies import json_values

_SMALL = Limits(max_body_bytes=4096, max_depth=4, max_elements=40)

#: Text that pydantic-core's reader takes and serde_json's rules read otherwise, or refuse.
_OTHERWISE = (
    "-0", "[-0]", "1E5", "1e5", "100000.00", "18446744073709551616", "-9223372036854775809",
    "9" * 400, "1e400", "-1e400", "NaN", "[Infinity]", "-Infinity", '{"a":1,"a":2}',
    '{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '"\\u0041"', '"\\/"', '"\\ud83d\\ude42"',
    '"\\ud800"', '{"a":"\\ud800","a":1}', " 1", "1 ", "[1, 2]", "{}\n", "\ufeff1", "", "null",
    "[" * 5 + "]" * 5, "[" * 300 + "]" * 300, "0.30000000000000004", "0.3000000000000000444",
    "1.7976931348623157e+308", "1.7976931348623159e+308", "5e-324", "2e-324", "1e23", "1e+23",
    "9007199254740993", "9007199254740993.0", "0.1e1", "[1,]", "01", '"\x7f"', '"\t"',
)  # fmt: skip


def told(body: bytes, limits: Limits, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    """What is read or refused; with a patch, without the shorter way."""
    if monkeypatch is not None:
        monkeypatch.setattr(codec, "assumed_tree", lambda *_: None)
    try:
        return repr(decode_tree(body, JSON, limits))
    except MalformedError as refused:
        return f"refused: {refused}"


def both(body: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
    """Both ways say the same."""
    with pytest.MonkeyPatch.context() as patch:
        expected = told(body, limits, patch)
    assert told(body, limits) == expected


@pytest.mark.parametrize("text", _OTHERWISE)
def test_what_prints_otherwise_is_left_to_the_rules(text: str) -> None:
    """Alone, and as a member."""
    both(text.encode())
    both(f'{{"a":{text}}}'.encode())
    both(text.encode(), _SMALL)


@given(tree=json_values)
def test_what_is_printed_here_is_read_as_what_was_printed(tree: Any) -> None:
    """And does not need the longer way, unless it is null."""
    body = canonical_json(tree)
    both(body)
    both(body, _SMALL)
    assert repr(assumed_tree(body, DEFAULT_LIMITS)) == repr(tree)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=400)
def test_a_number_keeps_every_bit(value: float) -> None:
    """Whatever digits it is written with."""
    for text in (canonical_json(value).decode(), repr(value), f"{value:.20e}", f"{value:.17g}"):
        both(text.encode())
    assert repr(assumed_tree(canonical_json(value), DEFAULT_LIMITS)) == repr(value)


@given(
    text=st.lists(
        st.sampled_from([*'[]{}:,"\\ 01-.e', "null", "true", '"a"', '"b":', "\\u", "d800", "NaN"]),
        max_size=12,
    ).map("".join)
)
@settings(max_examples=400)
def test_any_text_is_judged_alike(text: str) -> None:
    """Mostly refusals."""
    both(text.encode())


@given(tree=json_values)
def test_other_ways_of_writing_a_tree_are_read_alike(tree: Any) -> None:
    """As other languages print: with spaces, or all escaped."""
    both(json.dumps(tree).encode())
    both(json.dumps(tree, ensure_ascii=False, indent=1).encode())


@pytest.mark.parametrize("count", [19, 20, 39, 40])
def test_elements_are_counted_on_the_shorter_way_too(count: int) -> None:
    """To the exact number."""
    both(canonical_json([0] * count), _SMALL)
    both(canonical_json({str(number): 0 for number in range(count // 2)}), _SMALL)


@pytest.mark.parametrize("elements", [100_000, 100_001])
def test_a_large_text_of_many_elements_is_judged_alike(elements: int) -> None:
    """Long texts full of marks are one element each; many short ones are many."""
    limits = Limits(max_body_bytes=4 * 1024 * 1024)
    rest: list[Any] = [0] * (elements - 3)
    both(canonical_json([rest, ',:[{"' * 60_000]), limits)
    both(canonical_json([',:[{"' * 300_000, "," * 500_000]), limits)
