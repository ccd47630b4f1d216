"""
What an effect streams, as whoever watches it is told.

Text is copied from the moment on at which the watching began, and may get lost: the numbers of the
chunks show where. Of how far the effect is, the last word is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.encoding.codec import encode_tree
from effectmq.protocol.messages.fleet import fields
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.progress import Progress, progress_tree, read_progress

__all__ = ["MOST_WATCHED", "WATCHED_TYPE", "Watched", "read_watched", "watched_message"]

#: The AMQP ``type`` of a message with watched text.
WATCHED_TYPE = "effect.watched.v1"
#: Characters in one message; as JSON they fit, however they are written.
MOST_WATCHED = 40_000


@dataclass(frozen=True, slots=True)
class Watched:
    """
    Chunks of an effect that follow each other, as one text.

    Attributes:
        token: Names the watching.
        attempt: The attempt that made them, from 1; a higher one starts the text again.
        number: The number of the first chunk in that attempt, from 0. Where it is not the last
            ``number`` and ``chunks`` together, chunks are missing in between.
        chunks: How many they are.
        text: Their text.
        ended: Whether the worker has the effect no more, so that nothing follows.
        progress: How far the effect was at the last of them; ``None`` when none said it.
    """

    token: str
    attempt: int = 1
    number: int = 0
    chunks: int = 0
    text: str = ""
    ended: bool = False
    progress: Progress | None = None


def watched_message(watched: Watched) -> Message:
    """
    The message with watched text.

    Raises:
        MalformedError: When the text cannot be sent.
    """
    tree: dict[str, object] = {
        "token": watched.token,
        "attempt": watched.attempt,
        "number": watched.number,
        "chunks": watched.chunks,
        "text": watched.text,
        "ended": watched.ended,
    }
    if watched.progress is not None:
        tree["progress"] = progress_tree(watched.progress)
    return Message(body=encode_tree(tree, fields.JSON), content_type=fields.JSON, type=WATCHED_TYPE)


def read_watched(message: Message) -> Watched:
    """
    Read watched text.

    Raises:
        MalformedError: When it is none, or breaks a limit; carries the path.
    """
    members = fields.object_of(message)
    attempt, told = fields.whole(members, "attempt"), members.get("progress")
    return Watched(
        fields.name(members, "token"),
        attempt,
        fields.whole(members, "number"),
        fields.whole(members, "chunks"),
        fields.exact(members, "text", MOST_WATCHED),
        fields.flag(members, "ended"),
        None if told is None else read_progress(told, attempt),
    )
