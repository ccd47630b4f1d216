"""Unreachable objects go in a worker's process, although Python looks for them seldom."""

from __future__ import annotations

import argparse
import gc
import weakref

import pytest

from effectmq.cli import worker
from effectmq.cli.program.garbage import collecting_seldom, is_seldom
from tests.waiting import eventually


class Knot:
    """An object that has itself."""

    def __init__(self) -> None:
        self.itself: Knot | None = self


@pytest.mark.parametrize("old", [False, True])
async def test_cycles_go_in_an_idle_worker(old: bool) -> None:
    """Young ones, and those that were looked at before while somebody had them."""
    async with collecting_seldom(young_s=0.01, all_s=0.02 if old else 600.0):
        knot = Knot()
        if old:
            gc.collect()
        gone = weakref.ref(knot)
        del knot
        await eventually(lambda: gone() is None)


async def test_what_was_there_is_set_aside_and_given_back() -> None:
    """For the time of the body; the interpreter is then as it was."""
    former = gc.get_threshold()
    async with collecting_seldom():
        assert gc.get_freeze_count() > 1_000
        assert gc.get_threshold()[0] > former[0]
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, former)


@pytest.mark.parametrize(
    ("words", "variable", "seldom"),
    [
        ([], "", True),
        (["--gc", "python"], "", False),
        ([], "python", False),
        (["--gc", "seldom"], "python", True),
    ],
)
def test_it_can_be_left_alone(
    words: list[str], variable: str, seldom: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option, or by the variable."""
    monkeypatch.setenv("EFFECTMQ_GC", variable)
    commands = argparse.ArgumentParser().add_subparsers()
    worker.configure(commands)
    args = commands.choices["worker"].parse_args(["module:app", *words])
    assert is_seldom(args.gc) is seldom
