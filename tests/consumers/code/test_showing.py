"""The last value as text."""

from __future__ import annotations

from collections import deque
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from effectmq.consumers.code.monty.showing import shown


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -5,
        1.5,
        "it's",
        b"\x00a",
        [1, [2, (3,)], ()],
        {"a": {1: None}},
        {"b"},
        set(),
        frozenset({1}),
        frozenset(),
        deque([1]),
        ValueError("x", 1),
        date(2020, 1, 1),
        range(3),
        ...,
    ],
)
def test_a_value_is_shown_as_python_shows_it(value: object) -> None:
    """The kinds that an interpreter gives."""
    assert shown(value, 1_000) == repr(value)


def test_sets_are_shown_in_one_order() -> None:
    """Theirs differs from process to process."""
    assert shown({"b", "a", "c"}, 100) == "{'a', 'b', 'c'}"


def test_an_object_is_shown_by_its_name_and_attributes() -> None:
    """Only they leave the interpreter."""
    point = SimpleNamespace(name="Point", attributes={"x": 1, "y": [2]})
    assert shown(point, 100) == "Point(x=1, y=[2])"
    assert shown(object(), 100) == "<object>"


def test_what_is_endless_is_cut() -> None:
    """Without writing it out first."""
    ten: Any = 0
    for _ in range(30):
        ten = [ten] * 10
    shared: Any = 0
    for _ in range(6):
        shared = (shared,) * 10
    itself: list[Any] = []
    itself.append(itself)
    assert len(shown(ten, 500)) == 500
    assert len(shown(itself, 150)) == 150
    assert shown(itself, 1_000).count("[") == 100
    assert len(shown({(number, shared) for number in range(10)}, 500)) == 500
    assert shown("x" * 10_000, 50) == "'" + "x" * 49
    assert shown(10**9_000, 100) == "<int of 29898 bits>"
