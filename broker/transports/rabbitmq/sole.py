"""
The right to be the only consumer of a queue that accepts any number of them.

A quorum queue accepts a second consumer, also an exclusive one. So a consumer that must be alone
holds a lock: a queue that belongs to its connection (AMQP's ``exclusive``). Another connection
cannot declare it, and it ends with the connection, also with that of a dead process.

A connection that this process has lost may live on at the broker, until the broker misses its
heartbeats, or, on a frozen node, until the cluster misses the node. The lock is then still held by
this process's own former connection (its ghost). A second lock, the *witness*, whose name only this
process knows, distinguishes that from another process. When the ghost holds the lock, the consumer
works and waits for it; when another process holds it, the consumer stops.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from enum import Enum, auto

from effectmq.broker.transports.rabbitmq.connection.ending import end
from effectmq.broker.transports.rabbitmq.driver import Link
from effectmq.protocol.errors import AccessRefusedError, BrokerError, ReplyQueueInUseError

__all__ = ["SoleUse"]

logger = logging.getLogger("effectmq.rabbitmq")

_AGAIN_S = 1.0
#: How long a connection's locks may take to end one after the other, in seconds.
_GONE_S = 0.3
#: How long a consumer that had the lock before waits to learn who has it now, in seconds. A cluster
#: with a frozen node may not answer until it has given the node up, and outcomes must not wait for
#: that.
_VERDICT_S = 2.0
#: The same on a connection on which a request was not answered, in seconds.
_SILENT_RELEASE_S = 0.3


class _Holder(Enum):
    """The holder of the lock."""

    US = auto()
    OUR_GHOST = auto()
    ANOTHER = auto()


class SoleUse:
    """
    The lock of one consumer.

    Args:
        lock: Its name; the same for all consumers of the queue.
        doing: What is done under it, as a gerund phrase for messages.
        on_lost: Called when another process turns out to have the lock, after ``take``.
    """

    def __init__(self, lock: str, doing: str, on_lost: Callable[[], None]) -> None:
        self.lock = lock
        self._doing = doing
        self._on_lost = on_lost
        self._witness = f"{lock}.{secrets.token_hex(6)}"
        self._witnessed = False
        self._warned = False
        self._priority = 0
        self._refusal: ReplyQueueInUseError | None = None
        self._task: asyncio.Task[None] | None = None
        self._verdict: asyncio.Future[_Holder] | None = None

    def next_priority(self) -> int:
        """
        The priority of a new subscription: higher than the last.

        An earlier subscription that is left at the broker then gets no message of this one.
        """
        self._priority = max(self._priority + 1, int(time.time()))
        return self._priority

    async def take(self, link: Link) -> None:
        """
        Take the lock on a new connection, or find that only the ghost of this process has it.

        Raises:
            ReplyQueueInUseError: When another process has it.
            BrokerError: When the broker does not answer.
        """
        await self._stop()
        held = not self._witnessed and await self._declare(link, self.lock)
        if not held and not self._witnessed:
            raise self._refused()
        verdict = self._verdict = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(
            self._settle_in(link, verdict, held), name=f"effectmq {self.lock}"
        )
        if held:
            return
        await asyncio.wait({verdict}, timeout=_VERDICT_S)
        if verdict.done() and verdict.result() is _Holder.ANOTHER:
            raise self._refused()

    def _refused(self) -> ReplyQueueInUseError:
        return self._refusal or ReplyQueueInUseError(f"{self._doing}: it is in use")

    async def _settle_in(self, link: Link, verdict: asyncio.Future[_Holder], held: bool) -> None:
        """In the background: get the lock when the ghost leaves it, and declare the witness."""
        while not link.lost.done():
            try:
                holder = _Holder.US if held else await self._holder(link)
                if not verdict.done():
                    verdict.set_result(holder)
                elif holder is _Holder.ANOTHER:
                    self._on_lost()
                if holder is _Holder.ANOTHER:
                    return
                held = holder is _Holder.US
                if held and await self._declare(link, self._witness):
                    self._witnessed = True
                    return
            except BrokerError:
                pass  # no answer at the moment
            await asyncio.sleep(_AGAIN_S)

    async def _holder(self, link: Link) -> _Holder:
        if await self._declare(link, self.lock):
            return _Holder.US
        if not await self._declare(link, self._witness):
            return _Holder.OUR_GHOST
        # A ghost may have ended between the two questions.
        await asyncio.sleep(_GONE_S)
        return _Holder.US if await self._declare(link, self.lock) else _Holder.ANOTHER

    async def _declare(self, link: Link, name: str) -> bool:
        channel = await link.channel(confirms=False)
        try:
            await channel.declare_lock(name, self._doing)
        except ReplyQueueInUseError as refusal:
            self._refusal = refusal
            return False
        except AccessRefusedError as refusal:
            # Permissions of an earlier release: consuming without the lock is better than not at
            # all.
            self._warn(refusal)
        finally:
            await channel.close()
        return True

    def _warn(self, refusal: AccessRefusedError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "nothing keeps a second process from %s: %s",
                self._doing,
                refusal,
                extra={"action": "lock_refused", "lock": self.lock},
            )

    async def _stop(self) -> None:
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def release(self, link: Link | None) -> None:
        """Give the lock back; without a connection it has ended already. Never raises."""
        await self._stop()
        if link is None or link.lost.done():
            return
        try:
            async with asyncio.timeout(_SILENT_RELEASE_S if link.silent else None):
                await self._delete(link)
        except (BrokerError, TimeoutError):
            return  # it ends with the connection

    async def _delete(self, link: Link) -> None:
        channel = await link.channel(confirms=False)
        try:
            for name in (self.lock, self._witness):
                await channel.delete_queue(name, if_empty=False)
        finally:
            await channel.close()
