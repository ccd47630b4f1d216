"""
Frames on their way to the socket, as few writes as possible.

This stands between our hot path and the socket, and knows neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Outbox"]


class Outbox:
    """
    The frames of one connection.

    What is written in one turn of the loop leaves at its end, in one write.

    Args:
        write: Hands bytes to the socket.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._closed = False

    def write(self, *pieces: bytes) -> None:
        """Add whole frames, in pieces or not, to the next write."""
        if self._closed:
            return
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces += pieces

    def write_now(self, *pieces: bytes) -> None:
        """The same for what was collected already: leave, behind what waits, in one write."""
        if not self._closed:
            self._pieces += pieces
            self.flush()

    def flush(self) -> None:
        """Write now, because something that must not overtake it comes next."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._write(b"".join(pieces))

    def close(self) -> None:
        """Drop what was not written; nobody writes to this connection any more."""
        self._closed = True
        self._pieces.clear()
