"""What producers wrote down, one JSON object a line; ``run_producer`` says what there is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Records"]


class Records:
    """
    Args:
        path: The file; a producer and its restart share one, and so may several producers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._outcomes = 0
        self._counted = 0

    def outcomes(self) -> int:
        """How many outcomes were written down; only what is new since the last call is read."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._counted)
                whole = file.read().rpartition(b"\n")[0]
            self._outcomes += whole.count(b'"event": "outcome"')
            self._counted += len(whole)
        return self._outcomes

    def lines(self) -> Iterator[dict[str, Any]]:
        """All whole lines so far."""
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the last one may be cut off by a kill
                    yield json.loads(line)

    def effects(self, event: str) -> list[str]:
        """The effects of all lines of one event, in order, repetitions included."""
        return [line["effect"] for line in self.lines() if line["event"] == event]
