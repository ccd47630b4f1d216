"""Pieces of an outcome: there and back, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from effectmq.protocol.encoding.codec import JSON, MSGPACK, Limits, decode_tree, encode_tree
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.chunk import CHUNK_TYPE, Chunk, chunk_message, read_chunk
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.progress import Progress

CHUNK = Chunk("1", "s:t:0:0:llm_call:1", "ab" * 32, 2, 7, "Gr\u00fc\u00dfe")


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_a_chunk_comes_back_as_it_was_sent(content_type: str) -> None:
    """Both encodings carry every field."""
    message = chunk_message(CHUNK, content_type)
    assert message.type == CHUNK_TYPE
    assert read_chunk(message) == CHUNK
    assert read_chunk(replace(message, content_type="")) == CHUNK


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
def test_a_chunk_may_say_how_far_the_effect_is(content_type: str) -> None:
    """The attempt is that of the chunk."""
    told = replace(CHUNK, text="", progress=Progress(3, 12, "page 3", CHUNK.attempt))
    assert read_chunk(chunk_message(told, content_type)) == told


def test_a_reader_that_knows_no_progress_reads_a_piece_without_text() -> None:
    """A client of a release before reads the six members that it knows, and no others."""
    told = replace(CHUNK, text="", progress=Progress(3, 12, "page 3", CHUNK.attempt))
    tree = decode_tree(chunk_message(told, JSON).body, JSON, Limits())
    assert is_object(tree)
    assert tree.pop("progress") == {"done": 3, "total": 12, "note": "page 3"}
    message = Message(body=encode_tree(tree, JSON), content_type=JSON, type=CHUNK_TYPE)
    assert read_chunk(message) == replace(CHUNK, text="")


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
        (
            {
                "effect_id": "1",
                "replay_key": "k",
                "hash": "h",
                "attempt": 1,
                "number": 0,
                "text": "",
                "progress": {"done": -1},
            },
            "progress.done",
        ),
    ],
)
def test_what_is_not_a_chunk_is_refused_with_its_place(tree: object, path: str) -> None:
    """Anybody who may write to the default exchange can send this."""
    message = Message(body=encode_tree(tree, MSGPACK), type=CHUNK_TYPE)
    with pytest.raises(MalformedError) as refused:
        read_chunk(message)
    assert refused.value.path == path
