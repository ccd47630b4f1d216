"""
What commands write, and where: results to stdout, everything said about them to stderr.

JSON goes out as UTF-8 whatever the locale is, one document a line.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from effectmq.cli.terminal.progress import clear_line
from effectmq.protocol.text import printable

if TYPE_CHECKING:
    from effectmq.protocol.encoding.opaque import JsonValue

__all__ = [
    "complain",
    "flush",
    "json_line",
    "make_streams_safe",
    "note",
    "stdout_bytes",
    "write_json",
    "write_text",
]

_MAX_SENTENCE = 4_000
#: By their numbers, with what a closed one allows. A result must not vanish, so nothing can be
#: written where stdout was; what is said about it may.
_STREAMS = (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY))


def make_streams_safe() -> None:
    """
    Let a character that the terminal's encoding lacks be shown as an escape, not be an error.

    A stream that was closed before we began (``>&-``) is opened: the next file would get its number
    and with it whatever is printed.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            _open_stream(number, name, mode)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_stream(number: int, name: str, mode: int) -> None:
    opened = os.open(os.devnull, mode)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))


def stdout_bytes() -> BinaryIO:
    """Stdout for bytes, after everything that was written to it as text."""
    sys.stdout.flush()
    return sys.stdout.buffer


def json_line(document: JsonValue) -> bytes:
    """
    One document as one line of JSON, members in the order given.

    Raises:
        MalformedError: When it holds what JSON cannot say.
    """
    # It loads pydantic, which what is printed as text does not need.
    from effectmq.protocol.encoding.canonical import canonical_json

    return canonical_json(document) + b"\n"


def write_json(document: JsonValue) -> None:
    """Print one document as one line of JSON."""
    stdout_bytes().write(json_line(document))


def write_text(text: str) -> None:
    """Print text for people."""
    print(text)


def flush() -> None:
    """Push out what was printed, so that a closed pipe is noticed while we can still say so."""
    sys.stdout.flush()


def note(text: str, *, quiet: bool = False) -> None:
    """Say something about the result that is not part of it."""
    if not quiet:
        with suppress(OSError):
            clear_line()
            print(text, file=sys.stderr)


def complain(sentence: str) -> None:
    """Say what went wrong, in one line without control characters and passwords."""
    # Where nothing can be said, the exit code still says it.
    with suppress(OSError):
        clear_line()
        print(f"effectmq: {printable(sentence, _MAX_SENTENCE)}", file=sys.stderr)
