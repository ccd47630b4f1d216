"""Freezing a process, so that a test can rely on it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from signal import SIGCONT, SIGSTOP

__all__ = ["freeze", "thaw"]

_PATIENCE_S = 30.0
_POLL_S = 0.001


def freeze(pid: int) -> None:
    """
    Stop a process, and come back when none of its threads runs any more.

    The signal alone is no proof: on a busy machine a thread may go on for a moment.

    Raises:
        TimeoutError: It still ran after 30 seconds.
    """
    os.kill(pid, SIGSTOP)
    deadline = time.monotonic() + _PATIENCE_S
    while not _stands_still(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} was told to stop, and still runs")
        time.sleep(_POLL_S)


def thaw(pid: int) -> None:
    """Let a frozen process go on."""
    os.kill(pid, SIGCONT)


def _stands_still(pid: int) -> bool:
    """Whether every thread has heard of it; where nobody can tell, it is taken for granted."""
    return all(_state(task / "stat") in "TtZX" for task in Path(f"/proc/{pid}/task").glob("*"))


def _state(stat: Path) -> str:
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
