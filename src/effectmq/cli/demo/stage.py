"""What the demo prints, and whether what was to be shown did happen."""

from __future__ import annotations

import os
import sys

from effectmq.cli.terminal.output import write_text
from effectmq.cli.terminal.tables import WIDE, Room
from effectmq.protocol.text import printable

__all__ = ["Stage"]

_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"

_INDENT = "   "


class Stage:
    """
    Prints scenes and counts expectations.

    Args:
        coloured: Whether to use colours; by default only on a terminal that wants them.
        room: The room on the terminal.
    """

    def __init__(self, coloured: bool | None = None, room: Room = WIDE) -> None:
        #: For what is shown as a block, which is indented.
        self.room = room.less(len(_INDENT))
        self._coloured = _wants_colours() if coloured is None else coloured
        self._scenes = 0
        self.met = 0
        self.unmet: list[str] = []

    def open(self, text: str) -> None:
        """The first line."""
        write_text(printable(text))

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        write_text(f"\n{self._in(_BOLD, f'{self._scenes}. {title}')}")

    def say(self, text: str) -> None:
        """One line of what happened; made printable, whatever is in it."""
        write_text(f"{_INDENT}{printable(text, 2_000)}".rstrip())

    def show(self, block: str) -> None:
        """A block that is printable already, for instance a table."""
        for line in block.splitlines():
            write_text(f"{_INDENT}{self._in(_DIM, line)}" if line else "")

    def expect(self, what: str, happened: bool) -> None:
        """Say whether something that was to be shown did happen."""
        text = printable(what, 2_000)
        if happened:
            self.met += 1
            write_text(f"   {self._in(_GREEN, 'ok')}  {text}")
        else:
            self.unmet.append(text)
            write_text(f"   {self._in(_RED, 'FAILED')}  {text}")

    def close(self, elapsed_s: float) -> int:
        """
        The last lines.

        Returns:
            The exit code.
        """
        total = self.met + len(self.unmet)
        write_text("")
        if not self.unmet:
            write_text(self._in(_GREEN, f"all {total} expectations met in {elapsed_s:.1f} s"))
            write_text(
                "next: a worker of your own (effectmq worker module:app), effects for it (effectmq "
                "submit, effectmq run), and what it gives up on (effectmq dead list)"
            )
            return 0
        write_text(
            self._in(_RED, f"{len(self.unmet)} of {total} expectations not met:")
            + "".join(f"\n   {what}" for what in self.unmet)
        )
        return 1

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured else text


def _wants_colours() -> bool:
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )
