"""Selecting from payloads: pointers, constants, templates; texts and truth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effectmq.protocol.encoding.opaque import canonical_value
from effectmq.protocol.errors import ProcessRegistryError
from effectmq.protocol.processes.selectors import (
    MAX_TEMPLATE_CHARACTERS,
    is_truthy,
    select,
    text_of,
)
from effectmq.protocol.wire.process_event_types import (
    ProcessValueSelectorConst,
    ProcessValueSelectorPointer,
    ProcessValueSelectorPresent,
    ProcessValueSelectorTemplate,
)
from tests.protocol.strategies import json_values

PAYLOAD: Any = {
    "": "empty",
    "a/b": 1,
    "m~n": 2,
    "~1": 3,
    "list": ["zero", ["one"], None],
    "null": None,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", PAYLOAD),
        ("/", "empty"),
        ("/a~1b", 1),
        ("/m~0n", 2),
        ("/~01", 3),
        ("/list/0", "zero"),
        ("/list/1/0", "one"),
        ("/list/2", None),
        ("/null", None),
    ],
)
def test_a_pointer_selects_what_it_names(pointer: str, value: object) -> None:
    """RFC 6901, and null is a value like another."""
    assert select(ProcessValueSelectorPointer(value=pointer), PAYLOAD) == value
    assert select(ProcessValueSelectorPresent(value=pointer), PAYLOAD) is True


@pytest.mark.parametrize(
    "pointer",
    [
        *("a", "/b", "/list/3", "/list/-", "/list/+1", "/list/01", "/list/٣", "/null/x"),
        *("/list/0/0", f"/list/{'9' * 5_000}"),
    ],
)
def test_a_pointer_that_names_nothing_fails(pointer: str) -> None:
    """Only asking whether it is present does not."""
    assert select(ProcessValueSelectorPresent(value=pointer), PAYLOAD) is False
    with pytest.raises(ProcessRegistryError) as caught:
        select(ProcessValueSelectorPointer(value=pointer), PAYLOAD)
    assert caught.value.text == f"payload pointer `{pointer}` did not match"


def test_payload_and_constants_are_selected_as_they_are() -> None:
    """Whatever they are."""
    assert select("payload", PAYLOAD) is PAYLOAD
    assert select(ProcessValueSelectorConst(value=[1.0]), PAYLOAD) == [1.0]


def test_a_template_is_filled_field_by_field_in_the_order_of_their_names() -> None:
    """What went in may bring the placeholder of a later field, not of an earlier one."""
    template = ProcessValueSelectorTemplate(
        template="{b} {a} {missing} {a}",
        fields={
            "b": ProcessValueSelectorConst(value="[{a}]"),
            "a": ProcessValueSelectorConst(value="<{b}>"),
        },
    )
    assert select(template, None) == "[{a}] <[{a}]> {missing} <[{a}]>"


def test_a_template_may_hold_anything_and_not_everything() -> None:
    """A payload of a few kilobytes cannot ask for gigabytes."""
    fields = {
        name: ProcessValueSelectorConst(value=f"{{{after}}}" * 1_000)
        for name, after in (("a", "b"), ("b", "c"), ("c", "d"))
    }
    template = ProcessValueSelectorTemplate(template="{a}", fields=fields)
    with pytest.raises(ProcessRegistryError, match="template grows over"):
        select(template, None)
    longest = ProcessValueSelectorTemplate(
        template="{a}",
        fields={"a": ProcessValueSelectorConst(value="x" * (MAX_TEMPLATE_CHARACTERS - 3))},
    )
    assert len(str(select(longest, None))) == MAX_TEMPLATE_CHARACTERS - 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        (True, "true"),
        (1.0, "1.0"),
        ({"b": [1, "x"], "a": None}, '{"a":null,"b":[1,"x"]}'),
    ],
)
def test_the_text_of_a_value_is_the_string_or_its_json(value: object, text: str) -> None:
    """Compact and sorted."""
    assert text_of(canonical_value(value)) == text


@given(json_values.map(canonical_value))
def test_the_text_of_what_is_no_string_reads_back_as_the_value(value: Any) -> None:
    """So nothing is lost in it."""
    if not isinstance(value, str):
        assert json.loads(text_of(value)) == value


@pytest.mark.parametrize("value", [True, 0, 0.0, -1, "x", [None], {"": None}])
def test_these_are_true(value: Any) -> None:
    """Every number is."""
    assert is_truthy(value)


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_these_are_false(value: Any) -> None:
    """What is empty is."""
    assert not is_truthy(value)


@given(st.lists(st.text(max_size=3), max_size=4))
def test_a_pointer_made_of_names_leads_to_what_is_under_them(names: list[str]) -> None:
    """Whatever is in the names."""
    value: Any = "found"
    for name in reversed(names):
        value = {name: value}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    assert select(ProcessValueSelectorPointer(value=pointer), value) == "found"
