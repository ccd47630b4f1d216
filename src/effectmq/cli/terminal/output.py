"""
The output of commands: results go to stdout, notes and errors to stderr.

JSON is written as UTF-8 in any locale, one document per line.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from effectmq.broker.progress_line import clear_line
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
#: The streams by their numbers, and how a closed one is opened. A closed stdout is opened for
#: reading, so that writing a result fails and the result is not lost silently.
_STREAMS = (("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY))


def make_streams_safe() -> None:
    """
    Show characters that the terminal's encoding lacks as escapes, instead of failing.

    A stream that was closed before the start (``>&-``) is opened, because the next file that is
    opened would get its number, and the output with it.
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
    """Write what is buffered, so that a closed pipe is noticed while it can be reported."""
    sys.stdout.flush()


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line about the result to stderr."""
    if not quiet:
        with suppress(OSError):
            clear_line()
            print(text, file=sys.stderr)


def complain(sentence: str) -> None:
    """Print an error to stderr, as one line without control characters and passwords."""
    # When stderr cannot be written, there is still the exit code.
    with suppress(OSError):
        clear_line()
        print(f"effectmq: {printable(sentence, _MAX_SENTENCE)}", file=sys.stderr)
