"""A wall clock that is set while effects wait, run and are held; both ways, by an hour."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.databases.faketime import faked, faketime_library
from tests.databases.fixtures import have

pytestmark = pytest.mark.scenario


async def told(config: pytest.Config, folder: Path, direction: str, what: str) -> str:
    """What becomes of it, in one word."""
    file = folder / "off"
    variables = faked(have(config, faketime_library), file)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.scenarios.clock_jumps", str(file), direction, what),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return out.decode().split("\n")[-2]


@pytest.mark.parametrize("direction", ["back", "forward"])
async def test_a_sleep_lasts_as_long_as_it_should(
    pytestconfig: pytest.Config, tmp_path: Path, direction: str
) -> None:
    """Neither ends early nor waits for the clock to be back where it was."""
    assert await told(pytestconfig, tmp_path, direction, "sleep") == "ended"


async def test_without_a_journal_a_sleep_ends_too(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Set back, it lasts at most its own length more."""
    assert await told(pytestconfig, tmp_path, "back", "sleep-unkept") == "ended"


@pytest.mark.parametrize("direction", ["back", "forward"])
async def test_a_lease_neither_ends_early_nor_lasts_for_ever(
    pytestconfig: pytest.Config, tmp_path: Path, direction: str
) -> None:
    """It keeps others out for its time and no longer."""
    assert await told(pytestconfig, tmp_path, direction, "lease") == "held"


@pytest.mark.parametrize(("direction", "end"), [("back", "ran"), ("forward", "effectmq_expired")])
async def test_a_deadline_is_a_moment_of_the_wall_clock(
    pytestconfig: pytest.Config, tmp_path: Path, direction: str, end: str
) -> None:
    """As whoever set it meant it; of the host of the worker that has it."""
    assert await told(pytestconfig, tmp_path, direction, "deadline") == end
