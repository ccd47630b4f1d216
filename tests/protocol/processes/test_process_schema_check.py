"""The check of payloads, with the exact details of the contract."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.encoding.rust_text import debug_text
from effectmq.protocol.processes.schema_check import payload_problem
from tests.protocol.strategies import json_values


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        # type
        ({"type": "integer"}, 1.0, "arguments: expected integer, got 1.0"),
        ({"type": "integer"}, True, "arguments: expected integer, got true"),
        ({"type": "number"}, "1", 'arguments: expected number, got "1"'),
        ({"type": "boolean"}, 1, "arguments: expected boolean, got 1"),
        ({"type": "null"}, False, "arguments: expected null, got false"),
        ({"type": "object"}, [1], "arguments: expected object, got [1]"),
        ({"type": ["string", "null"]}, 1, "arguments: expected string or null, got 1"),
        # enum: exact equality
        ({"enum": [1, "a"]}, 1.0, 'arguments: expected one of 1, "a", got 1.0'),
        ({"enum": [1]}, True, "arguments: expected one of 1, got true"),
        ({"enum": [[1]]}, [1.0], "arguments: expected one of [1], got [1.0]"),
        ({"enum": [{"a": 1}]}, {"b": 1}, 'arguments: expected one of {"a":1}, got {"b":1}'),
        # bounds
        (
            {"type": "integer", "minimum": 2, "maximum": 3},
            4,
            "arguments: expected integer >= 2 <= 3, got 4",
        ),
        ({"minimum": 2.5}, 2, "arguments: expected >= 2.5, got 2"),
        ({"maxLength": 1}, "ab", 'arguments: expected length <= 1, got "ab"'),
        ({"minLength": 2}, "🙂", 'arguments: expected length >= 2, got "🙂"'),
        ({"maxItems": 1}, [1, 2], "arguments: expected items <= 1, got 2 items"),
        (
            {"type": "array", "minItems": 1, "items": {}},
            [],
            "arguments: expected array items >= 1, got 0 items",
        ),
        # paths
        (
            {"properties": {"a": {"properties": {"b": {"items": {"type": "string"}}}}}},
            {"a": {"b": ["x", 1]}},
            "a.b[1]: expected string, got 1",
        ),
        ({"items": {"items": {"type": "null"}}}, [[None, 0]], "[0][1]: expected null, got 0"),
        # members
        ({"required": ["b", "a"]}, {}, "b: required property missing"),
        ({"properties": {}}, {"x": 1}, "x: unexpected property"),
        ({"properties": {}, "additionalProperties": False}, {"x": 1}, "x: unexpected property"),
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            {"a": 1, "x": 2},
            "x: expected null, got 2",
        ),
        # the first failure wins
        (
            {"properties": {"b": {"type": "null"}, "a": {"type": "null"}}, "required": ["c"]},
            {"a": 1, "b": 1, "c": 1},
            "a: expected null, got 1",
        ),
        # branches
        (
            {"anyOf": [{"type": "null"}, {"minimum": 3}]},
            2,
            "arguments: expected matching schema, got 2",
        ),
        (
            {"oneOf": [{"type": "null"}], "type": "string"},
            2,
            "arguments: expected string, got 2",
        ),
        ({"anyOf": []}, 1, "arguments: expected matching schema, got 1"),
        # quoting
        ({"type": "null"}, "a\n\"\\'\x00\x7f", "arguments: expected null, got "
         '"a\\n\\"\\\\\'\\0\\u{7f}"'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_value(schema: Any, value: Any, problem: str) -> None:
    """Word for word."""
    assert payload_problem(schema, value) == problem


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, {"anything": [1]}),
        (True, 1),
        ("no schema", 1),
        ({"type": "unheard of"}, 1),
        ({"type": 7}, 1),
        ({"type": "number"}, 1),
        ({"enum": [{"b": 1, "a": [True, 0.0]}]}, {"a": [True, -0.0], "b": 1}),
        ({"enum": "no list"}, 1),
        ({"maximum": "no number", "minimum": True}, 1),
        ({"maximum": 1}, "not a number"),
        ({"maxLength": -1, "minLength": 1.5}, "x"),
        ({"maxLength": 1}, "🙂"),
        ({"maxItems": 0}, "no list"),
        ({"required": "no list"}, {}),
        ({"required": [1, None]}, {}),
        ({"required": ["x"]}, "no object"),
        # Without properties nothing is unexpected, whatever additionalProperties says.
        ({"additionalProperties": False}, {"x": 1}),
        ({"properties": {"a": {}}, "additionalProperties": True}, {"x": 1}),
        ({"properties": {}}, {"__session_id__": "s"}),
        ({"properties": {}, "additionalProperties": {"type": "null"}}, {"__session_id__": "s"}),
        # A branch that fits hides everything beside it.
        ({"anyOf": [{}], "type": "string", "enum": []}, 1),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1),
        # anyOf is asked for first, and when it is no list, nothing is.
        ({"anyOf": None, "oneOf": []}, 1),
    ],
)
def test_what_fits(schema: Any, value: Any) -> None:
    """Keywords of the wrong type count as absent."""
    assert payload_problem(schema, value) is None


@given(json_values.map(canonical_value), json_values.map(canonical_value))
def test_any_schema_can_be_asked_about_any_value(schema: Any, value: Any) -> None:
    """Schemas come from strangers, too; and the value is always one of itself."""
    problem = payload_problem(schema, value)
    assert problem is None or ": " in problem
    assert payload_problem({"enum": [value]}, value) is None
    assert payload_problem({"anyOf": [{"enum": []}, {"enum": [value]}]}, value) is None


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain é 🙂 '", '"plain é 🙂 \'"'),
        ("\t\r\n", '"\\t\\r\\n"'),
        ("\u2028\u200b\xa0", '"\\u{2028}\\u{200b}\\u{a0}"'),
        # A mark that combines with what stands before it.
        ("e\u0301", '"e\\u{301}"'),
    ],
)
def test_text_is_quoted_as_rust_does(text: str, quoted: str) -> None:
    """``{:?}`` of a str."""
    assert debug_text(text) == quoted
