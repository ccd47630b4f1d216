"""
A piece of an outcome that is not complete yet, usually the text of a model so far.

Chunks are numbered from 0 within an attempt and carry its number, so that a reader can start again
when the effect does. They may get lost: the outcome is complete without them. A chunk without text
may say how far the effect is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from effectmq.protocol.encoding.codec import Limits, decode_tree, encode_tree
from effectmq.protocol.encoding.content_types import recognised
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import MalformedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.progress import Progress, progress_tree, read_progress

__all__ = ["CHUNK_TYPE", "Chunk", "chunk_message", "read_chunk"]

#: The AMQP ``type`` of a message that carries one chunk.
CHUNK_TYPE = "effect.chunk.v1"


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    One piece of text, or how far the effect is.

    Attributes:
        effect_id: The effect that it belongs to.
        replay_key: Its replay key.
        hash: The hash of its envelope.
        attempt: The attempt that made it, from 1; a higher one starts the text again.
        number: Its place in that attempt, from 0; a gap is a lost chunk.
        text: The piece; empty beside a progress.
        progress: How far the effect is; ``None`` in a piece of text.
    """

    effect_id: str
    replay_key: str
    hash: str
    attempt: int
    number: int
    text: str
    progress: Progress | None = None


def chunk_message(chunk: Chunk, content_type: str) -> Message:
    """
    The message of one chunk.

    Raises:
        MalformedError: When its text cannot be sent.
    """
    tree: dict[str, object] = {
        "effect_id": chunk.effect_id,
        "replay_key": chunk.replay_key,
        "hash": chunk.hash,
        "attempt": chunk.attempt,
        "number": chunk.number,
        "text": chunk.text,
    }
    if chunk.progress is not None:
        tree["progress"] = progress_tree(chunk.progress)
    return Message(body=encode_tree(tree, content_type), content_type=content_type, type=CHUNK_TYPE)


def read_chunk(message: Message, limits: Limits | None = None) -> Chunk:
    """
    Read a message on a reply queue as a chunk.

    Raises:
        MalformedError: When it is not one; carries the path.
    """
    content_type = message.content_type or recognised(message.body)
    tree = decode_tree(message.body, content_type, limits or Limits())
    if not is_object(tree):
        raise MalformedError("", f"found {type(tree).__name__}, expected a chunk")
    chunk = Chunk(
        _text(tree, "effect_id"),
        _text(tree, "replay_key"),
        _text(tree, "hash"),
        _number(tree, "attempt"),
        _number(tree, "number"),
        _text(tree, "text"),
    )
    told = tree.get("progress")
    return chunk if told is None else replace(chunk, progress=read_progress(told, chunk.attempt))


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise MalformedError(name, f"found {type(value).__name__}, expected text")
    return value


def _number(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MalformedError(name, "expected an integer of 0 or more")
    return value
