"""What a worker notes on its way, for a benchmark that asks what one effect in a row costs."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from pathlib import Path

__all__ = ["EVERY", "Mark", "read_marks"]

#: After so many effects a worker notes where it is.
EVERY = 100


@dataclass(frozen=True)
class Mark:
    """
    Where a worker was.

    Attributes:
        done: Effects so far.
        cpu_s: CPU time of its process so far.
        at_s: On a clock that never goes back.
    """

    done: int
    cpu_s: float
    at_s: float

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(astuple(self))


def read_marks(file: Path) -> list[Mark]:
    """All whole lines of a file; none when it is not there yet."""
    text = file.read_text() if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    return [Mark(*json.loads(line)) for line in whole.splitlines()]
