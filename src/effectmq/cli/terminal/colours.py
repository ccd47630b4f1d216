"""Colours in the output: on a terminal that wants them, or when they are asked for."""

from __future__ import annotations

import argparse
import os
import sys
from enum import StrEnum

__all__ = ["Colour", "add_colour_option", "painted", "wants_colours"]

_PLAIN = "\x1b[0m"


class Colour(StrEnum):
    """The escape sequence that makes a terminal show what follows in a colour."""

    BOLD = "\x1b[1m"
    DIM = "\x1b[2m"
    RED = "\x1b[31m"
    GREEN = "\x1b[32m"
    YELLOW = "\x1b[33m"


def add_colour_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--color``."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        # Suppressed, so that a nested parser resets nothing.
        default=argparse.SUPPRESS,
        help="colours in what is printed; default: auto, which is on a terminal without NO_COLOR",
    )


def wants_colours(args: argparse.Namespace) -> bool:
    """Whether stdout is to have colours."""
    asked: str = getattr(args, "color", "auto")
    if asked != "auto":
        return asked == "always"
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def painted(text: str, colour: Colour | None) -> str:
    """The text in a colour, and the end of the colour after it."""
    return f"{colour.value}{text}{_PLAIN}" if colour is not None and text else text
