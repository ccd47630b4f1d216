"""Where two documents differ: found exactly, written safely, never with values."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.differences import (
    WHOLE,
    differences,
    differing_paths,
    mismatch_sentence,
)
from effectmq.protocol.encoding.opaque import canonical_value
from tests.protocol.strategies import json_values

_SECRET = "hunter2-swordfish"


@pytest.mark.parametrize(
    ("a", "b", "paths"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ("a.b",)),
        ({"m": [{"c": 1}, {"c": 2}]}, {"m": [{"c": 1}, {"c": 3}]}, ("m[1].c",)),
        ({"a": 1}, {"a": 1, "b": 2}, ("b",)),
        ({"a": 1, "b": 2}, {"a": 1}, ("b",)),
        ([1, 2], [1, 2, 3], ("[2]",)),
        ({"a": None}, {}, ("a",)),
        ({"a": {}}, {"a": []}, ("a",)),
        ({"args": {"a b": 1}}, {"args": {"a b": 2}}, ('args["a b"]',)),
        ({"": 1}, {"": 2}, ('[""]',)),
        ({'q"]x': 1}, {'q"]x': 2}, ('["q\\"]x"]',)),
        ({"n": 1}, {"n": 1.0}, ("n",)),
        ({"n": 1}, {"n": True}, ("n",)),
        ({"n": 0.0}, {"n": -0.0}, ("n",)),
        (1, 2, (WHOLE,)),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "x"}]}, ()),
    ],
)
def test_the_members_that_differ_are_named(a: object, b: object, paths: tuple[str, ...]) -> None:
    assert differing_paths(a, b) == paths


def test_each_difference_says_whether_it_was_added_removed_or_changed() -> None:
    found = list(differences({"a": 1, "b": 2, "c": 3}, {"b": 5, "c": 3, "d": 4}))
    assert [(one.path, one.change, one.before, one.after) for one in found] == [
        ("a", "removed", 1, None),
        ("b", "changed", 2, 5),
        ("d", "added", None, 4),
    ]


@given(json_values, json_values)
def test_documents_differ_exactly_when_their_canonical_forms_do(a: object, b: object) -> None:
    same = canonical_json(canonical_value(a)) == canonical_json(canonical_value(b))
    assert (not differing_paths(a, b)) == same


@given(st.lists(st.text(max_size=8) | st.integers(0, 3), max_size=12), json_values, json_values)
def test_what_differs_is_the_same_however_deep_it_is_buried(
    way: list[str | int], before: object, after: object
) -> None:
    a, b = _buried(way, before, "x"), _buried(way, after, "x")
    inside = list(differences(before, after))
    assert [one.change for one in differences(a, b)] == [one.change for one in inside]
    assert not differing_paths(a, copy.deepcopy(a))


def _buried(way: list[str | int], value: object, filler: str) -> object:
    for step in reversed(way):
        value = {step: value} if isinstance(step, str) else [*[filler] * step, value]
    return value


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_path_is_one_printable_line_of_bounded_length(key: str) -> None:
    (path,) = differing_paths({"a": {key: 1}}, {"a": {key: 2}})
    assert path.isprintable()
    assert len(path) <= 121


def test_a_deep_document_is_compared_without_recursion() -> None:
    a: object = 1
    b: object = 2
    for _ in range(50_000):
        a, b = [a], [b]
    (path,) = differing_paths(a, b)
    assert path.startswith("[0][0]")
    while isinstance(a, list):
        # Taken apart by hand: freeing such a tower all at once is recursive in C.
        (a,) = a


def test_no_more_paths_are_given_than_asked_for() -> None:
    a, b = {str(n): n for n in range(50)}, {str(n): -n - 1 for n in range(50)}
    assert len(differing_paths(a, b)) == 10
    assert len(differing_paths(a, b, most=3)) == 3


# The sentence -------------------------------------------------------------------------------------


def _sentence(recorded: str, asked: str) -> str:
    return mismatch_sentence("scope", "k", recorded, asked, "1" * 64, "2" * 64)


def test_the_sentence_names_key_scope_hashes_and_paths() -> None:
    recorded = '{"command":{"call":{"args":{"a":1,"b":2}}}}'
    asked = '{"command":{"call":{"args":{"a":1,"b":3}}}}'
    assert _sentence(recorded, asked) == (
        "replay key 'k' in scope 'scope' was reused with a different envelope hash "
        f"({'1' * 64} recorded, {'2' * 64} asked): they differ at command.call.args.b; "
        "give a different effect a replay key of its own"
    )


def test_the_sentence_has_no_values() -> None:
    recorded = json.dumps({"args": {"password": _SECRET, "list": [_SECRET], _SECRET[:3]: 1}})
    asked = json.dumps({"args": {"password": f"{_SECRET}!", "list": _SECRET, _SECRET[:3]: _SECRET}})
    said = _sentence(recorded, asked)
    assert _SECRET not in said
    assert "args.password, args.list, args.hun" in said


def test_the_sentence_counts_what_it_does_not_list() -> None:
    recorded, asked = json.dumps(list(range(100))), json.dumps(list(range(1, 101)))
    assert "[9] and 90 more; " in _sentence(recorded, asked)


@pytest.mark.parametrize(
    ("recorded", "asked", "part"),
    [
        ("", "{}", "the recorded envelope is not kept"),
        ("{", "{}", "one of them is not JSON"),
        ('{"a":1}', '{ "a": 1 }', "effectmq journal verify"),
    ],
)
def test_the_sentence_says_why_nothing_can_be_compared(
    recorded: str, asked: str, part: str
) -> None:
    assert part in _sentence(recorded, asked)
