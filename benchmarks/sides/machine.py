"""What the kernel knows of a process; Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["cpu_s", "environment", "rss_bytes", "tree_cpu_s"]


def environment() -> dict[str, str]:
    """
    The variables of a process that is measured: nothing that changes it.

    A broker or a journal of the shell does, and so does a Python that compiles everything anew at
    each start, because it was told to keep nothing compiled.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EFFECTMQ_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def cpu_s(pid: int) -> float:
    """The CPU time of a process so far, of all its threads, as clock_getcpuclockid(3) has it."""
    return time.clock_gettime((~pid << 3) | 2)


def tree_cpu_s(pid: int) -> float:
    """The same of a process and of those that it started, as far as they live."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return cpu_s(pid) + sum(tree_cpu_s(int(child)) for child in children.read_text().split())


def rss_bytes(pid: int | str) -> int:
    """What a process holds of the memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
