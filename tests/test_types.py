"""What the sources claim about types without a check is little, and does not grow unseen."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for room in ("protocol", "broker", "consumers", "src/effectmq")
    for path in sorted((ROOT / room).rglob("*.py"))
]

#: What is left concerns libraries, and two places where a check would cost each effect something.
#: Look into ``protocol/encoding/narrowing.py`` and ``broker/store/database/rows.py`` before this
#: number is raised.
MOST_CASTS = 20

_IGNORED = re.compile(r"# type: ignore(?!\[[\w-]+\])|# pyright: ignore(?!\[\w+\])")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """The lines of the sources in which it is found, each with its file."""
    return [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if pattern.search(line)
    ]


def test_casts_are_few() -> None:
    """A cast is a claim that nothing holds together with the truth."""
    found = lines_with(re.compile(r"\bcast\("))
    assert len(found) <= MOST_CASTS, found


def test_a_type_that_is_ignored_is_ignored_for_one_rule() -> None:
    """Whatever else is wrong with the line is still found."""
    assert lines_with(_IGNORED) == []
