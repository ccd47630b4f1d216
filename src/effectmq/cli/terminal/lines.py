"""
Lines out of a file or a pipe, in bounded memory.

A pipe is read as it fills, so that the program at its other end gets answers before it has sent
everything.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import re
import sys
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from effectmq.protocol.errors import ConfigurationError

__all__ = [
    "MAX_LINE_BYTES",
    "Line",
    "Source",
    "batches",
    "lines",
    "opened",
    "whole",
    "without_mark",
]

#: Longer than any envelope that a broker takes, even with every character escaped.
MAX_LINE_BYTES = 64 * 1024 * 1024

_CHUNK_BYTES = 64 * 1024
#: Chunks that are read ahead.
_AHEAD = 4


class Source(Protocol):
    """
    A binary stream without a buffer of its own.

    A buffer has a lock. A thread that waits for a pipe would hold it: the stream could not be
    closed, and Python would abort at its exit.
    """

    def read(self, size: int, /) -> bytes | None:
        """Read at most so many bytes, as soon as there are any; nothing at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """
    A line of the input, or a document made of several.

    Attributes:
        number: Its number, from 1.
        data: Its bytes without the end of the line; empty when it is too long.
        too_long: Whether it is over the limit.
    """

    number: int
    data: bytes
    too_long: bool = False


@contextmanager
def opened(path: str) -> Generator[Source]:
    """
    Open a file to read; ``-`` is stdin.

    Raises:
        ConfigurationError: When it cannot be read.
    """
    if path == "-":
        source: Source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        yield source
        return
    with _open(path) as handle:
        yield handle


def _open(path: str) -> io.FileIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as problem:
        raise ConfigurationError(f"{path} cannot be read: {problem.strerror}") from None


def whole(path: str) -> bytes:
    """
    The document that a file consists of.

    Raises:
        ConfigurationError: When it cannot be read, is too long, or is not UTF-8.
    """
    data = bytearray()
    with opened(path) as source:
        while chunk := source.read(_CHUNK_BYTES):
            data += chunk
            if len(data) > MAX_LINE_BYTES:
                raise ConfigurationError(
                    f"{path} is longer than {MAX_LINE_BYTES} bytes; no document may be that large"
                )
    return without_mark(bytes(data))


#: How files begin that are not UTF-8, and what each of them is; the longer beginnings first.
_FOREIGN = (
    (codecs.BOM_UTF32_LE, "text in UTF-32"),
    (codecs.BOM_UTF32_BE, "text in UTF-32"),
    (codecs.BOM_UTF16_LE, "text in UTF-16"),
    (codecs.BOM_UTF16_BE, "text in UTF-16"),
    (b"\x1f\x8b", "packed with gzip"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd"),
    (b"PK\x03\x04", "a zip archive"),
)
#: JSON without a mark: its first character is ASCII, so every second byte is NUL.
_UTF16 = re.compile(rb"[\x09-\x7e]\x00|\x00[\x09-\x7e]")
_LONGEST_MARK = 4


def _chunks(source: Source) -> Iterator[bytes]:
    start = b""
    while len(start) < _LONGEST_MARK and (chunk := source.read(_CHUNK_BYTES)):
        start += chunk
        if not _may_be_mark(start):
            break
    if start:
        yield without_mark(start)
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk


def _may_be_mark(start: bytes) -> bool:
    """Whether more bytes are needed to tell; a program that sends one line has sent enough."""
    marks = (codecs.BOM_UTF8, *(mark for mark, _ in _FOREIGN))
    return any(mark.startswith(start) for mark in marks) or start == b"\x00"


def without_mark(start: bytes) -> bytes:
    """
    The beginning of a document, after the mark that some editors write into files in UTF-8.

    Raises:
        ConfigurationError: When its first bytes show that it is not UTF-8.
    """
    what = next((what for mark, what in _FOREIGN if start.startswith(mark)), "")
    if not what and _UTF16.match(start):
        what = "text in UTF-16"
    if what:
        raise ConfigurationError(
            f"the input is {what}, and JSON is read as UTF-8; convert it first, for instance with "
            "iconv -f UTF-16 -t UTF-8, or unpack it"
        )
    return start.removeprefix(codecs.BOM_UTF8)


def batches(source: Source, limit: int = MAX_LINE_BYTES) -> Iterator[list[Line]]:
    """
    The lines of a stream, those of one chunk together, without a byte order mark before the first.

    Raises:
        ConfigurationError: When it begins as text in UTF-16 or UTF-32, or as a packed file.
    """
    number = 0
    held = bytearray()
    too_long = False
    for chunk in _chunks(source):
        *ended, rest = chunk.split(b"\n")
        batch: list[Line] = []
        for part in ended:
            held += part
            number += 1
            too_long = too_long or len(held) > limit
            batch.append(Line(number, b"" if too_long else bytes(held), too_long))
            held.clear()
            too_long = False
        held += rest
        if len(held) > limit:
            held.clear()
            too_long = True
        if batch:
            yield batch
    if held or too_long:
        yield [Line(number + 1, b"" if too_long else bytes(held), too_long)]


_Item: TypeAlias = "list[Line] | OSError | ConfigurationError | None"


async def lines(source: Source) -> AsyncIterator[Line]:
    """
    The lines of a stream, read in a thread so that a slow pipe does not block the event loop.

    Raises:
        ConfigurationError: When the input cannot be read to its end.
    """
    reader = _Reader(source)
    # A daemon: a thread that waits for a pipe must not keep the process alive.
    threading.Thread(target=reader.read, name="effectmq reader", daemon=True).start()
    try:
        while (item := await reader.ready.get()) is not None:
            if isinstance(item, ConfigurationError):
                raise item
            if isinstance(item, OSError):
                raise ConfigurationError(f"the input cannot be read: {item}")
            reader.slots.release()
            for line in item:
                yield line
    finally:
        reader.stopped.set()
        reader.slots.release()


class _Reader:
    """Reads a few batches ahead in a thread, and hands them to the event loop."""

    def __init__(self, source: Source) -> None:
        self.ready: asyncio.Queue[_Item] = asyncio.Queue()
        self.slots = threading.Semaphore(_AHEAD)
        self.stopped = threading.Event()
        self._source = source
        self._loop = asyncio.get_running_loop()

    def read(self) -> None:
        """Hand over every batch, then ``None``; a failure in place of what cannot be read."""
        try:
            for batch in batches(self._source):
                if not self._hand_over(batch):
                    return
        except (OSError, ValueError) as problem:
            self._hand_over(problem if isinstance(problem, OSError) else OSError(str(problem)))
        except ConfigurationError as problem:
            self._hand_over(problem)
        self._hand_over(None)

    def _hand_over(self, item: _Item) -> bool:
        """Whether the event loop still wants more."""
        self.slots.acquire()
        try:
            self._loop.call_soon_threadsafe(self.ready.put_nowait, item)
        except RuntimeError:
            return False  # the loop is closed
        return not self.stopped.is_set()
