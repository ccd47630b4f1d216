"""
Frames on their way to the socket, as few writes as possible.

This stands between our hot path and the client library's writer, and knows nothing of either but
the queue between them.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Outbox"]


class _Batch:
    """
    What aiormq's writer takes from its queue, filled until the moment it is taken.

    Stands in for a ``ChannelFrame``, of which the writer reads ``payload`` once.
    """

    __slots__ = ("open", "payloads")

    should_close = False
    should_drain = False

    def __init__(self, payload: bytes) -> None:
        self.open = True
        self.payloads = [payload]

    @property
    def payload(self) -> bytes:
        """Everything that was added; nothing is added any more."""
        self.open = False
        return b"".join(self.payloads)

    def drain(self) -> None:
        """Nobody waits for this write to leave."""


class Outbox:
    """
    The frames of one connection.

    aiormq's writer is a task that takes one entry at a time from a short queue. An entry that can
    be added to until it is taken costs a publish neither a write of its own nor a turn of the loop.

    Args:
        write_queue: The library's queue of things to write.
    """

    def __init__(self, write_queue: asyncio.Queue[Any]) -> None:
        self._queue = write_queue
        self._loop = asyncio.get_running_loop()
        self._batch: _Batch | None = None
        self._putting: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, payload: bytes) -> None:
        """Add frames to the next write."""
        batch = self._batch
        if batch is not None and batch.open:
            batch.payloads.append(payload)
            return
        if self._closed:
            return
        batch = self._batch = _Batch(payload)
        try:
            self._queue.put_nowait(batch)
        except asyncio.QueueFull:
            # The batch stays open while it waits for its place, so the order is kept.
            self._putting = self._loop.create_task(self._queue.put(batch))

    def close(self) -> None:
        """Drop what was not taken; nobody writes to this connection any more."""
        self._closed = True
        self._batch = None
        if self._putting is not None:
            self._putting.cancel()
