"""The output of the demo, and its checks."""

from __future__ import annotations

from dataclasses import replace

from effectmq.cli.terminal.colours import Colour, painted
from effectmq.cli.terminal.output import write_text
from effectmq.cli.terminal.tables import WIDE, Room
from effectmq.protocol.text import printable

__all__ = ["Stage"]


_INDENT = "   "


class Stage:
    """
    Prints scenes and counts checks.

    Args:
        coloured: Whether to use colours.
        room: The room on the terminal.
    """

    def __init__(self, coloured: bool = False, room: Room = WIDE) -> None:
        #: For blocks, which are indented.
        self.room = replace(room.less(len(_INDENT)), coloured=False)
        self._coloured = coloured
        self._scenes = 0
        self.met = 0
        self.unmet: list[str] = []

    def open(self, text: str) -> None:
        """The first line."""
        write_text(printable(text))

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        write_text(f"\n{self._in(Colour.BOLD, f'{self._scenes}. {title}')}")

    def say(self, text: str) -> None:
        """Print one line about an event; it is made printable."""
        write_text(f"{_INDENT}{printable(text, 2_000)}".rstrip())

    def show(self, block: str) -> None:
        """Print a block that is printable already, for instance a table."""
        for line in block.splitlines():
            write_text(f"{_INDENT}{self._in(Colour.DIM, line)}" if line else "")

    def expect(self, what: str, happened: bool) -> None:
        """Print whether an expected event happened."""
        text = printable(what, 2_000)
        if happened:
            self.met += 1
            write_text(f"   {self._in(Colour.GREEN, 'ok')}  {text}")
        else:
            self.unmet.append(text)
            write_text(f"   {self._in(Colour.RED, 'FAILED')}  {text}")

    def close(self, elapsed_s: float) -> int:
        """
        Print the last lines.

        Returns:
            The exit code.
        """
        total = self.met + len(self.unmet)
        write_text("")
        if not self.unmet:
            write_text(self._in(Colour.GREEN, f"all {total} expectations met in {elapsed_s:.1f} s"))
            write_text(
                "next: a worker of your own (effectmq worker module:app), effects for it (effectmq "
                "submit, effectmq run), and what it gives up on (effectmq dead list)"
            )
            return 0
        write_text(
            self._in(Colour.RED, f"{len(self.unmet)} of {total} expectations not met:")
            + "".join(f"\n   {what}" for what in self.unmet)
        )
        return 1

    def _in(self, colour: Colour, text: str) -> str:
        return painted(text, colour if self._coloured else None)
