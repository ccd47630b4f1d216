"""
How many Python calls of the worker one tool call costs, counted and not timed.

A count is the same on every machine, so speed and shape cannot slip unseen. Lower a ceiling when a
change makes the road shorter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.consumers.tools.context import ToolContext
from tests.consumers.stage import PATIENCE_S, Stage, payload, tool

#: Calls a warm effect; resuming a coroutine counts as a call of it.
_CEILING = {"none": 64, "sqlite": 78}
_WORKERS = "effectmq/consumers/"
_EFFECTS = 40
_ROUNDS = 3
_PROGRESS = ("progress.py", "progress_notes.py", "pace.py")


class Counter:
    """Counts calls of functions of some files, by default those in the package of the workers."""

    def __init__(self, chosen: Callable[[str], bool] = lambda path: _WORKERS in path) -> None:
        self.calls = 0
        self._chosen = chosen

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and self._chosen(frame.f_code.co_filename):
            self.calls += 1


@contextmanager
def counted(counter: Counter | None = None) -> Iterator[Counter]:
    """Count in this thread, where the loop is, until the block ends."""
    counter, former = counter or Counter(), sys.getprofile()
    sys.setprofile(counter)
    try:
        yield counter
    finally:
        sys.setprofile(former)


async def ask(client: EffectClient, first: int, count: int) -> None:
    """One after the other, as an agent does."""
    for number in range(first, first + count):
        envelope = tool("add", f"call-{number}", a=number, b=1)
        assert payload(await client.execute(envelope, timeout=PATIENCE_S)) == number + 1


@pytest.mark.parametrize("journal", _CEILING)
async def test_a_tool_call_makes_few_calls_in_the_worker(
    journal: str, stage: Stage, tmp_path: Path
) -> None:
    """Warm, one at a time, with and without a journal."""
    url = f"sqlite:///{tmp_path / 'j.db'}" if journal == "sqlite" else None
    worker = stage.worker(journal=url)

    @worker.tool
    async def add(a: int, b: int) -> int:
        return a + b

    await stage.start(worker, ["tool_call"])
    client = await stage.client()
    await ask(client, 0, 5)
    # A timer of the worker that goes off meanwhile counts, too, once in many effects.
    calls = []
    for first in range(5, 5 + _ROUNDS * _EFFECTS, _EFFECTS):
        with counted() as counter:
            await ask(client, first, _EFFECTS)
        calls.append(counter.calls)
    assert 10 < min(calls) // _EFFECTS <= _CEILING[journal]


async def test_an_effect_that_tells_no_progress_calls_nothing_of_it(
    stage: Stage, tmp_path: Path
) -> None:
    """And one that does, calls it."""
    worker = stage.worker(journal=f"sqlite:///{tmp_path / 'j.db'}")

    @worker.tool
    async def add(a: int, b: int, context: ToolContext) -> int:
        if b == 2:
            context.progress(1, 2)
        return a + b

    await stage.start(worker, ["tool_call"])
    client = await stage.client()
    told = Counter(lambda path: Path(path).name in _PROGRESS)
    with counted(told) as counter:
        await ask(client, 0, 5)
        assert counter.calls == 0
        await client.execute(tool("add", "tells", a=1, b=2), timeout=PATIENCE_S)
        assert counter.calls > 0
