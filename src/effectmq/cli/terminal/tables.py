"""Tables for people: plain text, aligned, and safe to show whatever is in the cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from effectmq.protocol.text import printable

__all__ = ["pairs", "table", "width"]

_GAP = "  "
_MAX_CELL = 200


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """
    Lay out rows under their headers; numbers stand on the right, everything else on the left.

    Args:
        headers: One for each column.
        rows: Cells of any type; ``None`` is shown as nothing.
    """
    kept = [tuple(row) for row in rows]
    texts = [[_cell(value) for value in row] for row in kept]
    widths = [
        max([width(header), *(width(row[column]) for row in texts)])
        for column, header in enumerate(headers)
    ]
    numeric = [
        bool(kept) and all(_is_number(row[column]) or row[column] is None for row in kept)
        for column in range(len(headers))
    ]
    return "\n".join(_line(row, widths, numeric) for row in [list(headers), *texts])


def pairs(values: Iterable[tuple[str, object]]) -> str:
    """Lay out names and values, one pair a line."""
    kept = [(name, _cell(value)) for name, value in values]
    longest = max((width(name) for name, _ in kept), default=0)
    return "\n".join(f"{_padded(name, longest)}{_GAP}{value}".rstrip() for name, value in kept)


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value), _MAX_CELL)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(texts: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = (
        _padded(text, wanted, right=right)
        for text, wanted, right in zip(texts, widths, numeric, strict=True)
    )
    return _GAP.join(cells).rstrip()


def _padded(text: str, wanted: int, *, right: bool = False) -> str:
    padding = " " * (wanted - width(text))
    return padding + text if right else text + padding
