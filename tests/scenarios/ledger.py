"""
Every execution of a body, written down by the body itself and outside of effectmq.

One line an event, appended with one write and flushed to the disk, so that a ``kill -9`` a
microsecond later leaves the line or nothing. Many processes share one file.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of one execution; ``event`` is ``begin`` or ``end``, ``at_ms`` Unix time."""

    effect_id: str
    attempt: int
    pid: int
    event: str
    at_ms: int


class Ledger:
    """
    Args:
        path: The file; made by the first note.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def note(self, effect_id: str, attempt: int, event: str = "begin") -> None:
        """Append one event of this process; it is on the disk when this returns."""
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        at_ms = time.time_ns() // 1_000_000
        line = f"{effect_id}\t{attempt}\t{os.getpid()}\t{event}\t{at_ms}\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)

    def entries(self) -> list[Entry]:
        """All events so far, in the order in which they were written."""
        if not self.path.exists():
            return []
        rows = [line.split("\t") for line in self.path.read_text().splitlines()]
        return [Entry(row[0], int(row[1]), int(row[2]), row[3], int(row[4])) for row in rows]

    def runs(self) -> Counter[str]:
        """How often the body of each effect was begun."""
        return Counter(entry.effect_id for entry in self.entries() if entry.event == "begin")

    def workers(self) -> Counter[int]:
        """How many executions each process began."""
        return Counter(entry.pid for entry in self.entries() if entry.event == "begin")
