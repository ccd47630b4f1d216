"""A body that came without a content type is recognised by how it begins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from effectmq.protocol.encoding.codec import decode_tree, encode_tree
from effectmq.protocol.encoding.content_types import JSON, MSGPACK, recognised
from effectmq.protocol.errors import MalformedError
from tests.protocol.strategies import json_values

CONTAINERS = json_values.filter(lambda tree: isinstance(tree, (dict, list)))


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@given(tree=CONTAINERS)
def test_what_either_encoder_writes_is_recognised(content_type: str, tree: Any) -> None:
    """Messages are maps and lists, of any length."""
    assert recognised(encode_tree(tree, content_type)) == content_type


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_the_length_of_a_list_does_not_matter(content_type: str, length: int) -> None:
    """MessagePack begins short and long lists in three ways."""
    assert recognised(encode_tree([0] * length, content_type)) == content_type


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n"])
def test_json_may_begin_with_white_space(space: str) -> None:
    assert recognised(f"{space}{{}}".encode()) == JSON


def test_a_byte_order_mark_is_told_by_the_reader_of_json() -> None:
    """The sentence says what to leave out, which that of MessagePack would not."""
    body = b'\xef\xbb\xbf{"a":1}'
    with pytest.raises(MalformedError, match="byte order mark"):
        decode_tree(body, recognised(body))


def test_nothing_at_all_is_messagepack() -> None:
    assert recognised(b"") == MSGPACK
