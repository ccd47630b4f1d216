"""
Copy the chunks of an effect to those who watch it.

The effect never waits for that. What a watcher is to get is gathered for a moment, and dropped and
counted beyond a bounded size. A watch ends with the effect, when nobody asks for it again, or when
the queue of whoever asked is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import BrokerError, ProtocolError, PublishError, UnroutableError
from effectmq.protocol.messages.chunk import Chunk
from effectmq.protocol.messages.fleet.watched import MOST_WATCHED, Watched, watched_message
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity

__all__ = ["Watches"]

#: How long a watch lasts unless it is asked for again, in seconds.
_LASTS_S = 30.0
_MOST_OF_ONE = 4
_MOST = 32
#: How long text is gathered before it is sent, in seconds.
_GATHER_S = 0.1
#: How often to look whether the effect is still at hand, in seconds.
_LOOK_S = 0.25
_PUBLISH_S = 5.0


class _Watch:
    """
    What one watcher is to get next.

    Args:
        token: Names the watching.
        reply_to: The watcher's queue.
        until_s: The time of the event loop at which it ends.
    """

    def __init__(self, token: str, reply_to: str, until_s: float) -> None:
        self.token = token
        self.reply_to = reply_to
        self.until_s = until_s
        self.wake = asyncio.Event()
        self._attempt = 1
        self._number = 0
        self._size = 0
        self._full = False
        self._texts: list[str] = []
        self._progress: Progress | None = None

    def add(self, chunk: Chunk) -> bool:
        """Take a chunk; returns whether there was room."""
        if not self._texts or chunk.attempt != self._attempt:
            self._begin(chunk)
        self._progress = chunk.progress or self._progress
        # After a gap the rest waits for the next message, whose number shows it.
        self._full = self._full or self._size + len(chunk.text) > MOST_WATCHED
        if self._full:
            return False
        self._texts.append(chunk.text)
        self._size += len(chunk.text)
        self.wake.set()
        return True

    def _begin(self, chunk: Chunk) -> None:
        self._attempt, self._number = chunk.attempt, chunk.number
        self._size, self._full = 0, False
        self._texts.clear()
        self._progress = None

    def take(self, *, ended: bool) -> Watched:
        """What was gathered; nothing of it is kept."""
        texts, self._texts = self._texts, []
        progress, self._progress = self._progress, None
        return Watched(
            self.token,
            self._attempt,
            self._number,
            len(texts),
            "".join(texts),
            ended=ended,
            progress=progress,
        )


class Watches:
    """
    Those who watch effects of this worker.

    Args:
        transport: Where to publish.
        counters: ``watched_dropped``.
        runs: Whether this worker has an effect at hand.

    Attributes:
        runs: The same.
        by_effect: Who watches, by what; an effect that nobody watches is not in it.
    """

    def __init__(
        self, transport: Transport, counters: Counter[str], runs: Callable[[Identity], bool]
    ) -> None:
        self._transport = transport
        self._counters = counters
        self.runs = runs
        self.by_effect: dict[Identity, list[_Watch]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, identity: Identity, token: str, reply_to: str) -> str:
        """
        Watch an effect for half a minute, or for that much longer.

        Args:
            identity: The effect.
            token: Names the watching.
            reply_to: Where its chunks are copied to.

        Returns:
            Why that is refused; empty when it is not.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _LASTS_S
        watches = self.by_effect.get(identity, [])
        for watch in watches:
            if watch.token == token:
                watch.reply_to, watch.until_s = reply_to, until_s
                return ""
        if len(watches) >= _MOST_OF_ONE:
            return f"{_MOST_OF_ONE} others watch this effect already; try again in a minute."
        if len(self._tasks) >= _MOST:
            return f"{_MOST} effects of this worker are watched already; try again in a minute."
        watch = _Watch(token, reply_to, until_s)
        self.by_effect.setdefault(identity, []).append(watch)
        task = loop.create_task(self._carry(identity, watch), name="effectmq watch")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ""

    def copy(self, identity: Identity, chunk: Chunk) -> None:
        """Hand a chunk to those who watch its effect."""
        for watch in self.by_effect.get(identity, ()):
            if not watch.add(chunk):
                self._counters["watched_dropped"] += 1

    async def _carry(self, identity: Identity, watch: _Watch) -> None:
        clock = asyncio.get_running_loop().time
        going = True
        try:
            while going and clock() < watch.until_s:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await watch.wake.wait()
                watch.wake.clear()
                # In this order: its last chunk comes before its end.
                ended = not self.runs(identity)
                going = await self._send(watch, watch.take(ended=ended)) and not ended
                if going:
                    await asyncio.sleep(_GATHER_S)
        finally:
            self._forget(identity, watch)

    async def _send(self, watch: _Watch, watched: Watched) -> bool:
        """Send what there is; returns whether the watcher may still be there."""
        if not watched.chunks and not watched.ended:
            return True
        try:
            await self._transport.publish(
                "", watch.reply_to, watched_message(watched), timeout=_PUBLISH_S
            )
        except (PublishError, BrokerError, ProtocolError) as problem:
            self._counters["watched_dropped"] += watched.chunks
            return not isinstance(problem, UnroutableError)
        return True

    def _forget(self, identity: Identity, watch: _Watch) -> None:
        watches = self.by_effect[identity]
        watches.remove(watch)
        if not watches:
            del self.by_effect[identity]

    def abort(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()
