"""Patches that would fill the memory, or take for ever, or go deeper than Python can."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.broker.dead_letters.patching import Patch
from effectmq.protocol.errors import MalformedError


def _doublings(source: str, times: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(times):
        target = f"/n{number}"
        made.append({"op": "add", "path": target, "value": {}})
        made += [{"op": "copy", "from": source, "path": f"{target}/{side}"} for side in "ab"]
        source = target
    return made


@pytest.mark.parametrize(
    ("document", "source"),
    [({"a": "x" * 1_000_000}, "/a"), ({"a": {"x" * 1_000_000: None}}, "/a"), ({"a": 1}, "/a")],
    ids=["text", "names", "values"],
)
def test_what_doubles_thirty_times_is_refused_before_it_is_large(
    document: Any, source: str
) -> None:
    """A copied text takes no room before it is written, and then it takes all there is."""
    with pytest.raises(MalformedError, match=r"copies have more than 200000 .*change less"):
        Patch(_doublings(source, 30)).applied(document)


def test_copies_of_something_large_are_counted_together() -> None:
    """Also when each replaces the one before, because making them takes time."""
    again = [{"op": "copy", "from": "/a", "path": "/b"}] * 1_000
    with pytest.raises(MalformedError, match=r"^\[2\]"):
        Patch(again).applied({"a": [0] * 90_000})


def test_what_is_nested_ever_deeper_is_refused() -> None:
    """One operation after the other, each with a level more."""
    deeper = [{"op": "add", "path": "/a" * number, "value": {"a": {}}} for number in range(1, 300)]
    with pytest.raises(MalformedError, match=r"the result has more than .* nested deeper than 128"):
        Patch(deeper).applied({})
    with pytest.raises(MalformedError, match="the copies have"):
        Patch([*deeper, {"op": "copy", "from": "/a", "path": "/b"}]).applied({})


def test_a_small_copy_is_a_copy() -> None:
    """And what is given stays as it is."""
    document: Any = {"a": [1, {"b": "c"}]}
    changed = Patch(
        [
            {"op": "copy", "from": "/a", "path": "/d"},
            {"op": "replace", "path": "/d/1/b", "value": "e"},
        ]
    ).applied(document)
    assert changed == {"a": [1, {"b": "c"}], "d": [1, {"b": "e"}]}
    assert document == {"a": [1, {"b": "c"}]}


@pytest.mark.parametrize("pointer", ["/nothing", "/a/9", "/a/b", "x", "/a/-"])
def test_a_copy_of_nothing_is_a_sentence(pointer: str) -> None:
    """Whatever the pointer is."""
    with pytest.raises(MalformedError):
        Patch([{"op": "copy", "from": pointer, "path": "/z"}]).applied({"a": [1]})
