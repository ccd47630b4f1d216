"""Signals: the first lets effects finish, the second does not, and both are passed on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from effectmq.consumers.runtime.shutdown import stop_signals
from tests.consumers.stage import PATIENCE_S
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def heard() -> Generator[list[int]]:
    """Signals that reach the handling which was there before."""
    found: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: found.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield found
    for number, handling in previous.items():
        signal.signal(number, handling)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_are_captured_told_and_raised_again(
    number: signal.Signals, heard: list[int]
) -> None:
    """The parent sees the true reason of the exit: the first signal that came."""
    told: list[str] = []
    with stop_signals(told.append) as signals:
        os.kill(os.getpid(), number)
        await eventually(signals.graceful.is_set)
        assert not signals.immediate.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(signals.immediate.is_set)
        assert heard == []
    assert heard == [number]
    assert "again" in told[0]
    assert "now" in told[1]
    os.kill(os.getpid(), number)
    assert heard == [number, number], "the handling from before is back"


async def test_without_a_signal_nothing_is_raised(heard: list[int]) -> None:
    """And the handling from before is back all the same."""
    with stop_signals(lambda line: None) as signals:
        assert not signals.graceful.is_set()
    assert heard == []
    assert callable(signal.getsignal(signal.SIGTERM))


async def test_an_error_is_not_hidden_by_a_signal(heard: list[int]) -> None:
    """What went wrong is more than that somebody wanted it to end."""

    async def body() -> None:
        with stop_signals(lambda line: None) as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(signals.graceful.is_set)
            raise OSError("worse")

    with pytest.raises(OSError, match="worse"):
        await body()
    assert heard == []


async def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    """A program that embeds a worker there keeps its own handling."""
    before = signal.getsignal(signal.SIGTERM)

    def embedded() -> bool:
        async def body() -> bool:
            with stop_signals(lambda line: None) as signals:
                return signals.graceful.is_set()

        return asyncio.run(body())

    assert await asyncio.to_thread(embedded) is False
    assert signal.getsignal(signal.SIGTERM) is before


# Real processes ----------------------------------------------------------------------------------


class Process:
    """A worker to send signals to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, word: str) -> str:
        """Wait for a line with a word in it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.process.stdout.readline()).decode():
                if word in line:
                    return line.strip()
        raise AssertionError(f"it ended without saying {word!r}")

    async def ended(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@contextmanager
def _always_killed(process: asyncio.subprocess.Process) -> Iterator[Process]:
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()


async def spawn() -> asyncio.subprocess.Process:
    """Start it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.consumers.runtime.signalled",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_the_effect_finish_and_the_process_dies_of_it(
    number: signal.Signals,
) -> None:
    """Finished, answered, settled; then the signal again, so that the exit says why."""
    with _always_killed(await spawn()) as worker:
        await worker.says("started")
        worker.process.send_signal(number)
        await worker.says("finishing what runs")
        assert worker.process.stdin is not None
        worker.process.stdin.write(b"go\n")
        assert await worker.says("stopped") == "stopped 1"
        assert await worker.ended() == -number


async def test_the_second_signal_stops_at_once() -> None:
    """The effect does not end, and is not waited for."""
    with _always_killed(await spawn()) as worker:
        await worker.says("started")
        worker.process.send_signal(signal.SIGTERM)
        await worker.says("finishing what runs")
        worker.process.send_signal(signal.SIGINT)
        await worker.says("stopping now")
        assert await worker.ended() == -signal.SIGTERM
