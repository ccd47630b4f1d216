"""
Frames on their way to the socket, in as few writes as possible.

It is between the hot path and the socket, and knows neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Outbox"]


class Outbox:
    """
    The frames of one connection.

    Frames written in one turn of the loop are sent at its end, in one write.

    Args:
        write: Passes bytes to the socket.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._closed = False

    def write(self, *pieces: bytes) -> None:
        """Add whole frames, in one or several pieces, to the next write."""
        if self._closed:
            return
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces += pieces

    def write_now(self, *pieces: bytes) -> None:
        """Send frames that were collected already, after the waiting ones, in one write."""
        if not self._closed:
            self._pieces += pieces
            self.flush()

    def flush(self) -> None:
        """Write now, because something that must come later is written next."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._write(b"".join(pieces))

    def close(self) -> None:
        """Drop unwritten frames; the connection is not used any more."""
        self._closed = True
        self._pieces.clear()
