"""A loop that is blocked cannot say so itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from effectmq.consumers.runtime.watchdog import LoopWatchdog
from tests.consumers.stage import PATIENCE_S, logged
from tests.waiting import eventually


def block_until(condition: Callable[[], object]) -> None:
    """Block the loop until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


async def test_a_blocked_loop_is_told_once_with_what_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And again when it blocks again."""
    running = ["e1", "e2"]
    watchdog = LoopWatchdog(0.05, lambda: running)
    watchdog.start()
    block_until(lambda: logged(caplog, "loop_blocked"))
    (record,) = logged(caplog, "loop_blocked")
    assert "e1, e2" in record.getMessage()
    assert record.silent_s >= 0.05  # type: ignore[attr-defined]
    caplog.clear()
    running.clear()
    # Awake for a few of its looks, then blocked again.
    end = time.monotonic() + 0.1
    await eventually(lambda: time.monotonic() > end)
    caplog.clear()
    block_until(lambda: logged(caplog, "loop_blocked"))
    assert "nothing" in logged(caplog, "loop_blocked")[0].getMessage()
    watchdog.stop()


async def test_a_stopped_watchdog_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that was stopped is nobody's business."""
    watchdog = LoopWatchdog(0.02, list)
    watchdog.start()
    watchdog.stop()
    watchdog._thread.join(PATIENCE_S)
    assert not watchdog._thread.is_alive()
    time.sleep(0.06)  # noqa: ASYNC251
    assert not logged(caplog, "loop_blocked")


def test_stopping_before_starting_is_no_mistake() -> None:
    """A worker whose start failed."""
    LoopWatchdog(1.0, list).stop()
