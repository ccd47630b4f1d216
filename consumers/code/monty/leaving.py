"""
The end of a process that has run Monty: its threads finish what they have of Python first.

They are not Python's own, so Python does not wait for them at its end. One that still wants to give
an object back by then, as after the last answer on a busy machine, aborts the process.
"""

from __future__ import annotations

import atexit
import threading
import time
from functools import cache
from pathlib import Path

__all__ = ["settle_at_exit"]

_THREADS = Path("/proc/self/task")
#: The name that Monty's threads have.
_NAME = "tokio"
_LOOK_S = 0.001
#: A thread that is about to wait for Python rests for a moment, too.
_LOOKS = 3
_PATIENCE_S = 2.0


@cache
def settle_at_exit() -> None:
    """Let Monty's threads come to rest before the interpreter ends; asked for again, nothing."""
    atexit.register(settle)


def settle() -> None:
    """
    Wait until no thread of Monty's has anything to do, for two seconds at most.

    Where nobody can tell what a thread does, they are given one moment.
    """
    deadline = time.monotonic() + _PATIENCE_S
    resting = 0
    while resting < _LOOKS and time.monotonic() < deadline:
        # Python is free meanwhile, so that who waits for it goes on.
        time.sleep(_LOOK_S)
        resting = 0 if any(map(_works, _strangers())) else resting + 1


def _strangers() -> list[Path]:
    known = {str(each.native_id) for each in threading.enumerate()}
    return [each for each in _THREADS.glob("*") if each.name not in known]


def _works(thread: Path) -> bool:
    try:
        name, state = (thread / "stat").read_text().partition("(")[2].rsplit(")", 1)
    except OSError:
        return False
    return name.startswith(_NAME) and state.split()[0] != "S"
