"""Pieces of an outcome: there and back, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.protocol.encoding.codec import JSON, MSGPACK, encode_tree
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.chunk import CHUNK_TYPE, Chunk, chunk_message, read_chunk
from effectmq.protocol.messages.message import Message

CHUNK = Chunk("1", "s:t:0:0:llm_call:1", "ab" * 32, 2, 7, "Gr\u00fc\u00dfe")


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_a_chunk_comes_back_as_it_was_sent(content_type: str) -> None:
    """Both encodings carry every field."""
    message = chunk_message(CHUNK, content_type)
    assert message.type == CHUNK_TYPE
    assert read_chunk(message) == CHUNK
    assert read_chunk(replace(message, content_type="")) == CHUNK


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ([], ""),
        ({}, "effect_id"),
        ({"effect_id": "1", "replay_key": 2}, "replay_key"),
        ({"effect_id": "1", "replay_key": "k", "hash": "h", "attempt": True}, "attempt"),
        (
            {"effect_id": "1", "replay_key": "k", "hash": "h", "attempt": 1, "number": -1},
            "number",
        ),
    ],
)
def test_what_is_not_a_chunk_is_refused_with_its_place(tree: object, path: str) -> None:
    """Anybody who may write to the default exchange can send this."""
    message = Message(body=encode_tree(tree, MSGPACK), type=CHUNK_TYPE)
    with pytest.raises(MalformedError) as refused:
        read_chunk(message)
    assert refused.value.path == path
