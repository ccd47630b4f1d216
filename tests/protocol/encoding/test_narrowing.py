"""What stands in a tree of plain data."""

from __future__ import annotations

import pytest

from effectmq.protocol.encoding.narrowing import (
    is_array,
    is_dict,
    is_object,
    items_of,
    members_of,
)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", b"bytes", (1, 2)])
def test_what_is_no_container_has_neither_members_nor_items(value: object) -> None:
    assert not is_object(value)
    assert not is_array(value)
    assert not is_dict(value)
    assert members_of(value) == {}
    assert items_of(value) == []


def test_a_container_is_given_back_itself_and_not_a_copy() -> None:
    members: object = {"a": 1}
    items: object = [1]
    assert is_object(members)
    assert is_dict(members)
    assert members_of(members) is members
    assert is_array(items)
    assert items_of(items) is items
