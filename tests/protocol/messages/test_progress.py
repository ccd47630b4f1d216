"""How far an effect is: what a handler may say, what a stranger may send, and how it is shown."""

from __future__ import annotations

import math

import pytest

from effectmq.protocol.encoding.codec import JSON, MSGPACK, decode_tree, encode_tree
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.messages.progress import (
    Progress,
    progress_of,
    progress_tree,
    read_progress,
)


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (Progress(3), "3"),
        (Progress(3, 12), "3 of 12 (25 %)"),
        (Progress(3, 12, "page 3"), "3 of 12 (25 %): page 3"),
        (Progress(0, 0), "0 of 0"),
        (Progress(999, 1_000), "999 of 1000 (99 %)"),
        (Progress(7, 5), "7 of 5 (100 %)"),
        (Progress(0.5, 1.0), "0.5 of 1 (50 %)"),
        (Progress(2**53), "9007199254740992"),
        (Progress(1, None, "looking"), "1: looking"),
    ],
)
def test_progress_is_one_line_for_people(progress: Progress, shown: str) -> None:
    """What is not done never looks done."""
    assert str(progress) == shown


def test_a_share_is_from_0_to_1_or_unknown() -> None:
    """A total may be wrong, or 0, or not known."""
    shares = [Progress(1, 4).share, Progress(9, 4).share, Progress(1, 0).share, Progress(1).share]
    assert shares == [0.25, 1.0, None, None]


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(
    "progress",
    [Progress(3, 12, "Grüße"), Progress(0.25, None, ""), Progress(2**53, 1e15, "x" * 200)],
)
def test_progress_comes_back_as_it_was_told(content_type: str, progress: Progress) -> None:
    """Whole numbers stay whole."""
    told = progress_of(progress.done, progress.total, progress.note, 4)
    body = encode_tree(progress_tree(told), content_type)
    found = read_progress(decode_tree(body, content_type, Limits()), 4)
    assert found == told
    assert type(found.done) is type(progress.done)
    assert found.attempt == 4


@pytest.mark.parametrize(
    ("done", "total", "note", "sentence"),
    [
        (math.nan, None, "", "the done of progress is nan; expected a number"),
        (math.inf, None, "", "the done of progress is inf; expected a finite number from 0 to 2"),
        (1, -1, "", "the total of progress is -1; expected a finite number"),
        (2**53 + 1, None, "", "expected a finite number"),
        ("3", None, "", "the done of progress is '3'; expected a number"),
        (True, None, "", "the done of progress is True; expected a number"),
        (1, "12", "", "the total of progress is '12'"),
        (1, 2, b"page", "the note of progress is a bytes; expected text"),
    ],
)
def test_what_is_no_progress_is_refused_in_a_sentence(
    done: object, total: object, note: object, sentence: str
) -> None:
    """The handler's author reads it."""
    with pytest.raises(ConfigurationError, match="progress") as refused:
        progress_of(done, total, note, 1)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ([], "progress"),
        ({}, "progress.done"),
        ({"done": None}, "progress.done"),
        ({"done": True}, "progress.done"),
        ({"done": math.inf}, "progress.done"),
        ({"done": math.nan}, "progress.done"),
        ({"done": 1, "total": "2"}, "progress.total"),
        ({"done": 1, "note": 2}, "progress.note"),
    ],
)
def test_what_a_stranger_sends_is_refused_with_its_place(tree: object, path: str) -> None:
    """Anybody who may write to a reply queue can send this."""
    with pytest.raises(MalformedError) as refused:
        read_progress(tree, 1)
    assert refused.value.path == path


def test_a_note_is_one_short_printable_line_on_both_sides() -> None:
    """It ends up in terminals and pages, and its author may be a stranger."""
    hostile = "a\nb\x1b[31m" + "y" * 1_000
    told = progress_of(1, None, hostile, 1)
    assert told.note.startswith(r"a\nb\x1b[31myyy")
    assert told.note.isprintable()
    assert len(told.note) < 240
    assert read_progress({"done": 1, "note": told.note}, 1).note == told.note
    read = read_progress({"done": 1, "note": hostile}, 1).note
    assert read.isprintable()
    assert len(read) < 340
