"""
Effects that are watched: what they stream, as workers copy it to a fleet's queue.

A watch is asked for again while it is open, and a worker forgets it soon after. Nothing piles up:
who reads too slowly misses chunks, and sees by their numbers which.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Self

from effectmq.broker.client.fleet.answers import Heard
from effectmq.protocol.errors import BrokerError, ProtocolError, PublishError
from effectmq.protocol.messages.fleet.asks import WatchAsked
from effectmq.protocol.messages.fleet.watched import Watched, read_watched
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import Identity

__all__ = ["Watch", "Watches"]

logger = logging.getLogger("effectmq.fleet")

#: How often a watch is asked for again, in seconds; workers keep it three times as long.
_AGAIN_S = 10.0
_KEPT_S = 3 * _AGAIN_S
#: Texts that wait to be read.
_MOST_UNREAD = 100


class Watches:
    """The open watches of a fleet."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        self._open: dict[str, set[Watch]] = {}

    def token_of(self, identity: Identity) -> str:
        """
        Names the watching of an effect.

        The same for all watches here, so that they are one to a worker, also one that was left
        without a word and is begun again.
        """
        words = f"{len(identity.scope_id)} {identity.scope_id} {identity.replay_key}".encode(
            errors="surrogatepass"
        )
        return hashlib.blake2b(words, digest_size=16, key=self._secret).hexdigest()

    def add(self, token: str, watch: Watch) -> None:
        """A watch is opened."""
        self._open.setdefault(token, set()).add(watch)

    def remove(self, token: str, watch: Watch) -> None:
        """A watch is closed."""
        others = self._open.get(token, set())
        others.discard(watch)
        if not others:
            self._open.pop(token, None)

    def heed(self, message: Message) -> None:
        """Hand on what a worker sent."""
        try:
            watched = read_watched(message)
        except ProtocolError as problem:
            logger.info("what a worker streams cannot be read and is ignored: %s", problem)
            return
        for watch in self._open.get(watched.token, ()):
            watch.tell(watched)

    def end(self) -> None:
        """No more will come."""
        for watches in self._open.values():
            for watch in watches:
                watch.end()


class Watch:
    """
    What one effect streams: ``async with … as watch``, then ``async for text in watch``.

    It ends when the effect ends, also when that is delayed for a retry, and when no worker has it
    at hand. A wait for the next text may be cancelled, for instance by ``asyncio.timeout``, and
    begun again.

    Args:
        watches: Those of the fleet.
        identity: The effect.
        ask: Asks all workers.

    Attributes:
        refusal: Why the worker that has the effect does not copy it, as a sentence; else empty.
        dropped: Chunks that were lost because they were read too slowly.
    """

    def __init__(
        self, watches: Watches, identity: Identity, ask: Callable[[WatchAsked], Awaitable[Heard]]
    ) -> None:
        self._watches = watches
        self._asked = WatchAsked(identity, watches.token_of(identity))
        self._ask = ask
        self._unread: asyncio.Queue[Watched | None] = asyncio.Queue()
        self._over = False
        self._kept_until_s = 0.0
        self._next = (0, 0)
        self._asking: asyncio.Task[None] | None = None
        self.refusal = ""
        self.dropped = 0

    async def __aenter__(self) -> Self:
        """
        Begin to watch.

        Raises:
            BrokerError: When the broker cannot be used.
        """
        # First, because a worker may send before all have answered.
        self._watches.add(self._asked.token, self)
        try:
            await self._ask_once()
        except BaseException:
            self._watches.remove(self._asked.token, self)
            raise
        self._asking = asyncio.get_running_loop().create_task(
            self._ask_again(), name="effectmq watch"
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Watch no more."""
        self._watches.remove(self._asked.token, self)
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask_once(self) -> None:
        heard = await self._ask(self._asked)
        did = {reply.did: reply.detail for reply in heard.replies}
        now_s = asyncio.get_running_loop().time()
        if "watching" in did:
            self._kept_until_s = now_s + _KEPT_S
        elif not heard.silent or now_s > self._kept_until_s:
            # Else the answer may be lost, for instance with the connection.
            self.refusal = did.get("refused", "")
            self.end()

    async def _ask_again(self) -> None:
        while not self._over:
            await asyncio.sleep(_AGAIN_S)
            try:
                await self._ask_once()
            except (BrokerError, PublishError) as problem:
                # It is back in time, or the worker forgets the watch, and the next answer says so.
                logger.info("a watched effect cannot be asked for again: %s", problem)

    def tell(self, watched: Watched) -> None:
        """Take what a worker sent."""
        place = (watched.attempt, watched.number)
        if watched.chunks and place >= self._next:
            # Less comes from a worker that lost the effect to another, and still streams.
            self._next = (watched.attempt, watched.number + watched.chunks)
            if self._unread.qsize() < _MOST_UNREAD:
                self._unread.put_nowait(watched)
            else:
                self.dropped += watched.chunks
        if watched.ended:
            self.end()

    def end(self) -> None:
        """Nothing follows what was told so far."""
        if not self._over:
            self._over = True
            self._unread.put_nowait(None)

    def __aiter__(self) -> Self:
        """The watch itself."""
        return self

    async def __anext__(self) -> Watched:
        """The next text."""
        if self._over and self._unread.empty():
            raise StopAsyncIteration
        watched = await self._unread.get()
        if watched is None:
            raise StopAsyncIteration
        return watched
