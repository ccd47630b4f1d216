"""The progress line."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Any

import pytest

from effectmq.broker.progress_line import ProgressLine, clear_line, waiting
from tests.waiting import eventually


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class Clock:
    """Seconds, moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def test_it_shows_count_rate_and_time_left() -> None:
    """Half done in five seconds leaves five seconds."""
    progress = ProgressLine("effects", 1_000, stream=Terminal(), clock=Clock())
    progress.done = 500
    assert progress.line(5.0) == "500 of 1000 effects, 100/s, 0:05 left"


def test_without_a_total_there_is_no_time_left() -> None:
    """A pipe has no known end."""
    progress = ProgressLine("effects", stream=Terminal(), clock=Clock())
    progress.done = 3
    assert progress.line(2.0) == "3 effects, 1.5/s"


def test_long_times_are_shown_in_hours() -> None:
    """One in ten seconds, a thousand to go."""
    progress = ProgressLine("effects", 1_001, stream=Terminal(), clock=Clock())
    progress.done = 1
    assert progress.line(10.0).endswith("2:46:40 left")


@pytest.mark.parametrize("stderr", [None, object(), io.BytesIO()])
def test_a_process_without_a_usual_stderr_counts_all_the_same(
    stderr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may have none, or something in its place."""
    monkeypatch.setattr(sys, "stderr", stderr)
    with ProgressLine("effects", 2, clock=Clock()) as progress:
        progress.advance()
    assert not progress.enabled
    assert progress.done == 1


def test_a_terminal_that_goes_away_does_not_stop_the_work() -> None:
    """From then on nothing is shown."""
    clock, stream = Clock(), Terminal()
    with ProgressLine("effects", 9, stream=stream, clock=clock) as progress:
        for _ in range(3):
            clock.now += 10
            progress.advance()
            stream.close()
    clear_line()
    assert progress.done == 3
    assert not progress.enabled


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    """A log file, a pipe, or ``--quiet``."""
    clock = Clock()
    for stream, quiet in ((io.StringIO(), False), (Terminal(), True)):
        with ProgressLine("effects", 2, quiet=quiet, stream=stream, clock=clock) as progress:
            clock.now += 10
            progress.advance()
        assert stream.getvalue() == ""
        assert progress.done == 1


def test_it_is_drawn_at_most_ten_times_a_second_and_wiped_at_the_end() -> None:
    """A terminal that is slow must not slow down the work."""
    stream, clock = Terminal(), Clock()
    with ProgressLine("effects", stream=stream, clock=clock) as progress:
        for _ in range(1_000):
            clock.now += 0.001
            progress.advance()
    drawn = stream.getvalue()
    assert 5 <= drawn.count(" effects") <= 10
    assert drawn.endswith("\r\x1b[K")


def test_other_text_gets_a_clean_line() -> None:
    """Whoever writes in between wipes the line first; the next advance draws it again."""
    stream, clock = Terminal(), Clock()
    with ProgressLine("effects", stream=stream, clock=clock) as progress:
        clock.now = 1
        progress.advance()
        clear_line()
        written = stream.getvalue()
        assert written.endswith("\r\x1b[K")
        clear_line()
        assert stream.getvalue() == written


async def test_a_wait_shows_how_long_it_takes_and_leaves_nothing() -> None:
    """What has no parts to count is seen to go on, and its line is gone at the end."""
    stream = Terminal()
    async with waiting("waiting for the outcome", stream=stream):
        await eventually(lambda: "waiting for the outcome, 0:0" in stream.getvalue())
    assert stream.getvalue().endswith("\r\x1b[K")


async def test_a_wait_shows_nothing_where_there_is_no_terminal() -> None:
    """Nor does it start anything that could."""
    before = asyncio.all_tasks()
    for stream, quiet in ((io.StringIO(), False), (Terminal(), True)):
        async with waiting("waiting", quiet=quiet, stream=stream):
            assert asyncio.all_tasks() == before
        assert stream.getvalue() == ""
