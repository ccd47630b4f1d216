"""
Send pieces of an outcome while it is made.

A handler never waits for a chunk. A chunk that cannot be sent is dropped and counted, and so is
every chunk beyond a bounded number under way. The outcome is complete without them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from effectmq.broker.transports.port import Transport
from effectmq.consumers.outboxes.progress import ProgressTeller
from effectmq.consumers.outboxes.watches import Watches
from effectmq.protocol.errors import BrokerError, ProtocolError, PublishError
from effectmq.protocol.messages.chunk import Chunk, chunk_message
from effectmq.protocol.messages.message import content_type_of
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity, Request

__all__ = ["ChunkOutbox", "SendChunk"]

_MAX_UNDER_WAY = 200
_TIMEOUT_S = 5.0


class SendChunk(Protocol):
    """Sends the pieces of one attempt, in order, to its producer."""

    def __call__(self, text: str, progress: Progress | None = None) -> None:
        """Send one: text, or how far the attempt is."""
        ...


class ChunkOutbox:
    """
    Sends the chunks of running effects, and drops those that cannot be sent.

    Args:
        transport: Where to publish.
        counters: ``chunks``, ``chunks_dropped`` and ``watched_dropped``.
        runs: Whether this worker has an effect at hand.

    Attributes:
        watches: Copies chunks to those who watch.
        telling: The attempts that tell how far they are.
    """

    def __init__(
        self, transport: Transport, counters: Counter[str], runs: Callable[[Identity], bool]
    ) -> None:
        self.watches = Watches(transport, counters, runs)
        self.telling: set[ProgressTeller] = set()
        self._transport = transport
        self._counters = counters
        self._sending: set[asyncio.Task[None]] = set()

    def stream(self, request: Request) -> SendChunk:
        """A function that sends one attempt's pieces, in order, to its producer."""
        number = 0
        # Mostly empty, and all that a chunk pays for it is to look.
        watched = self.watches.by_effect

        def send(text: str, progress: Progress | None = None) -> None:
            nonlocal number
            chunk = Chunk(
                request.effect_id,
                request.replay_key,
                request.hash,
                request.attempt,
                number,
                text,
                progress,
            )
            number += 1
            if request.message.reply_to:
                self._send(request, chunk)
            if watched:
                self.watches.copy(request.identity, chunk)

        return send

    def _send(self, request: Request, chunk: Chunk) -> None:
        if len(self._sending) >= _MAX_UNDER_WAY:
            self._counters["chunks_dropped"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._publish(request, chunk))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _publish(self, request: Request, chunk: Chunk) -> None:
        message = request.message
        try:
            await self._transport.publish(
                "",
                message.reply_to,
                chunk_message(chunk, content_type_of(message)),
                timeout=_TIMEOUT_S,
            )
        except (PublishError, BrokerError, ProtocolError):
            self._counters["chunks_dropped"] += 1
        else:
            self._counters["chunks"] += 1

    def abort(self) -> None:
        """Send nothing more."""
        for task in self._sending:
            task.cancel()
        self.watches.abort()
