"""
Tables for people: plain text, aligned, with unsafe characters in cells escaped.

A table is never wider than the terminal: the least important columns are cut first, and left out
when there is no room for their beginning. In a pipe nothing is cut to fit.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from effectmq.cli.terminal.colours import Colour, painted, wants_colours
from effectmq.protocol.text import printable

__all__ = ["WIDE", "Column", "Room", "cut", "pairs", "room_of", "table", "width"]

_GAP = "  "
_CUT = "…"
_MAX_CELL = 200
#: With ``--full`` a cell is as long as it is; this only keeps a terminal from being flooded.
_FULL_CELL = 1_000_000
_USUAL_SIZE = (80, 24)


@dataclass(frozen=True, slots=True)
class Room:
    """
    The room that there is to show something.

    Attributes:
        columns: Columns of the terminal; ``None`` without one, and nothing is cut to fit.
        full: Show values whole, however long they are.
        coloured: Show headers, and words that mean something, in colours.
    """

    columns: int | None = None
    full: bool = False
    coloured: bool = False

    @property
    def narrow(self) -> bool:
        """Whether this is a terminal that is too narrow for a wide table."""
        return self.columns is not None and self.columns < 120

    def less(self, columns: int) -> Room:
        """The room beside an indent of so many columns."""
        left = None if self.columns is None else max(1, self.columns - columns)
        return Room(left, self.full, self.coloured)


#: Where nothing has to fit.
WIDE = Room()


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table.

    Attributes:
        name: Its header.
        least: It is never cut to fewer columns of the terminal than this or than its name has, but
            left out.
        priority: The column with the lowest is cut and left out first.
        most: Longer cells are cut even when there is room, unless everything is shown.
        colours: The colour of a cell, by its text.
    """

    name: str
    least: int = 8
    priority: int = 0
    most: int = _MAX_CELL
    colours: Mapping[str, Colour] = field(default_factory=dict[str, Colour])


def room_of(args: argparse.Namespace) -> Room:
    """The room of stdout; a command without ``--full`` shows values cut."""
    full: bool = getattr(args, "full", False)
    coloured = wants_colours(args)
    if full or not _on_terminal():
        return Room(full=full, coloured=coloured)
    return Room(shutil.get_terminal_size(_USUAL_SIZE).columns, coloured=coloured)


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def table(
    headers: Sequence[str | Column],
    rows: Iterable[Sequence[object]],
    room: Room = WIDE,
) -> str:
    """
    Lay out rows under their headers; numbers stand on the right, everything else on the left.

    Args:
        headers: The header of each column.
        rows: Cells of any type; ``None`` is shown as nothing.
        room: What the table must fit into.
    """
    columns = [Column(one) if isinstance(one, str) else one for one in headers]
    kept = [tuple(row) for row in rows]
    texts = [[one.name for one in columns]]
    texts += [
        [_cell(value, room, one.most) for value, one in zip(row, columns, strict=True)]
        for row in kept
    ]
    numeric = [
        bool(kept) and all(_is_number(row[place]) or row[place] is None for row in kept)
        for place in range(len(columns))
    ]
    natural = [max(width(row[place]) for row in texts) for place in range(len(columns))]
    least = [
        wanted if number else min(wanted, max(one.least, width(one.name)))
        for one, wanted, number in zip(columns, natural, numeric, strict=True)
    ]
    widths = _fitted(columns, natural, least, room)
    lines = [_line(texts[0], widths, numeric, Colour.BOLD if room.coloured else None)]
    lines += [
        _line(row, widths, numeric, None, columns if room.coloured else ()) for row in texts[1:]
    ]
    hidden = [one.name for place, one in enumerate(columns) if place not in widths]
    if hidden:
        lines.append(f"(no room for: {', '.join(hidden)}; --full shows all)")
    return "\n".join(lines)


def pairs(values: Iterable[tuple[str, object]], room: Room = WIDE) -> str:
    """Lay out names and values, one pair per line; a terminal wraps long ones."""
    kept = [(name, _value(value, room)) for name, value in values]
    longest = max((width(name) for name, _ in kept), default=0)
    return "\n".join(f"{_padded(name, longest)}{_GAP}{value}".rstrip() for name, value in kept)


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_columns(character) for character in text)


def cut(text: str, room: int) -> str:
    """A text in at most so many columns; an ellipsis stands for what is cut off."""
    if width(text) <= room:
        return text
    used = 0
    for place, character in enumerate(text):
        used += _columns(character)
        if used > room - 1:
            return text[:place] + _CUT
    return text


def _columns(character: str) -> int:
    # Marks that stand above, below or around the character before them, and the vowels and final
    # consonants that a terminal draws into a Korean syllable.
    if unicodedata.category(character) in ("Mn", "Me") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitted(
    columns: Sequence[Column], natural: Sequence[int], least: Sequence[int], room: Room
) -> dict[int, int]:
    """The widths of the columns that are shown, by their places."""
    if room.columns is None:
        return dict(enumerate(natural))
    by_priority = sorted(range(len(columns)), key=lambda place: (-columns[place].priority, place))
    while len(by_priority) > 1 and _total(least[place] for place in by_priority) > room.columns:
        by_priority.pop()
    left = room.columns - _total(least[place] for place in by_priority)
    widths: dict[int, int] = {}
    for place in by_priority:
        more = min(left, natural[place] - least[place])
        widths[place] = max(1, least[place] + more)
        left -= max(0, more)
    return dict(sorted(widths.items()))


def _total(widths: Iterable[int]) -> int:
    return sum(each + len(_GAP) for each in widths) - len(_GAP)


def _cell(value: object, room: Room, most: int) -> str:
    if value is None:
        return ""
    if room.full:
        return printable(str(value), _FULL_CELL)
    # Escapes are longer than what they stand for, and are cut as well.
    return cut(printable(str(value), 10 * most), most)


def _value(value: object, room: Room) -> str:
    return "" if value is None else printable(str(value), _FULL_CELL if room.full else _MAX_CELL)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(
    texts: Sequence[str],
    widths: dict[int, int],
    numeric: Sequence[bool],
    whole: Colour | None = None,
    columns: Sequence[Column] = (),
) -> str:
    cells = [
        _padded(cut(texts[place], wanted), wanted, right=numeric[place])
        for place, wanted in widths.items()
    ]
    cells[-1] = cells[-1].rstrip()
    if columns:
        # A colour takes no room, so it comes last.
        cells = [
            painted(cell, columns[place].colours.get(texts[place]))
            for cell, place in zip(cells, widths, strict=True)
        ]
    return painted(_GAP.join(cells).rstrip(), whole)


def _padded(text: str, wanted: int, *, right: bool = False) -> str:
    padding = " " * (wanted - width(text))
    return padding + text if right else text + padding
