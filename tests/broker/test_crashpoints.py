"""Named points at which a process can be told to die."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator

import pytest

from effectmq.broker.crashpoints import (
    CRASH_EXIT_CODE,
    CRASH_POINTS,
    arm,
    armed,
    reached,
    reached_when_written,
)
from effectmq.protocol.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _disarmed() -> Generator[None]:
    """No test leaves a trap behind."""
    yield
    arm("")


def died(program: str) -> int:
    """The exit code of a program."""
    script = f"""
import asyncio
from effectmq.broker.crashpoints import arm, reached, reached_when_written
try:
    {program}
finally:
    print("cleaned up")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ("cleaned up" in done.stdout) == (done.returncode == 0)
    return done.returncode


@pytest.mark.parametrize("name", CRASH_POINTS)
def test_a_point_that_is_not_armed_is_passed(name: str) -> None:
    """At no cost worth naming."""
    reached(name)
    assert not armed(name)
    arm(CRASH_POINTS[0] if name != CRASH_POINTS[0] else CRASH_POINTS[1])
    reached(name)


def test_a_process_ends_at_its_point_without_cleaning_up() -> None:
    """As ``kill -9`` would end it."""
    assert died('arm("after_reply"); reached("before_publish"); reached("after_reply")') == 137
    assert CRASH_EXIT_CODE == 137


def test_the_nth_arrival_can_be_chosen() -> None:
    """So that a sweep reaches the tenth as well as the first."""
    arm("after_ack:3")
    reached("after_ack")
    reached("after_ack")
    assert died('arm("after_ack:3"); [reached("after_ack") for _ in range(3)]') == 137


def test_a_point_behind_written_frames_is_reached_when_they_are_out() -> None:
    """It takes a few turns of the loop, and is the same point then."""
    assert died('arm("after_ack"); asyncio.run(reached_when_written("after_ack"))') == 137


async def test_a_written_point_that_is_not_armed_is_passed() -> None:
    """Whoever waits for it goes on."""
    await reached_when_written("after_ack")


def test_whether_a_point_is_armed_can_be_asked() -> None:
    """And taken back."""
    arm("mid_effect:5")
    assert armed("mid_effect")
    assert not armed("after_effect")
    arm("")
    assert not armed("mid_effect")


@pytest.mark.parametrize(
    "spec", ["nowhere", "after_reply:0", "after_reply:x", "after_reply:-1", "after_reply:1:2"]
)
def test_a_point_that_does_not_exist_is_refused(spec: str) -> None:
    """A fault test with a typing error would prove nothing."""
    with pytest.raises(ConfigurationError, match="before_publish"):
        arm(spec)
