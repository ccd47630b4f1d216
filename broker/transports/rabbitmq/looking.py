"""
Look at queues and exchanges without changing them.

All looks go over one channel, one after the other. Callers that want the same share a look that has
not begun: a thousand calls that fail at once cost the broker one look. A caller that stops waiting
does not stop the look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from effectmq.broker.transports.port import QueueStats
from effectmq.broker.transports.rabbitmq.connection.ending import end
from effectmq.broker.transports.rabbitmq.driver import Channel, Link
from effectmq.broker.transports.rabbitmq.driver.channels.permits import (
    try_bind,
    try_consume,
    try_exchange,
    try_publish,
    try_queue,
)
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    ReplyQueueInUseError,
    TopologyError,
    TransportClosedError,
)
from effectmq.protocol.topology import Binding, Topology

__all__ = ["Looker"]

T = TypeVar("T")

_Question = Callable[[Channel], Awaitable[None]]


class Looker:
    """
    Answers questions about queues and exchanges, over one channel that all looks share.

    Args:
        link: Gives the live connection, or raises after a limited time.
    """

    def __init__(self, link: Callable[[], Awaitable[Link]]) -> None:
        self._link = link
        self._turn = asyncio.Lock()
        self._channel: Channel | None = None
        self._waiting: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def queue(self, name: str) -> QueueStats | None:
        """What the broker says about a queue; ``None`` when it does not exist."""

        async def look() -> QueueStats | None:
            try:
                return await self._asked(lambda channel: channel.stats(name))
            except TopologyError:
                return None
            except ReplyQueueInUseError:
                return QueueStats(name, 0, 0, locked=True)

        return await self._shared(("queue", name), look)

    async def exchange(self, name: str) -> bool:
        """Whether there is such an exchange."""

        async def look() -> bool:
            with suppress(TopologyError):
                await self._asked(lambda channel: channel.find_exchange(name))
                return True
            return False

        return await self._shared(("exchange", name), look)

    async def may_declare(self, topology: Topology) -> list[AccessRefusedError]:
        """Why declaring would be refused; empty when it would not."""
        asked: list[_Question] = [
            *(_exchange(each.name) for each in topology.exchanges),
            *(_queue(each.name) for each in topology.queues),
            *(_binding(each) for each in topology.bindings),
        ]
        found = [await self._refusal(each) for each in asked]
        return [each for each in found if isinstance(each, AccessRefusedError)]

    async def may_publish(self, exchange: str, routing_key: str) -> BrokerError | None:
        """Why a publish would be refused; ``None`` when it would not."""
        return await self._refusal(lambda channel: try_publish(channel, exchange, routing_key))

    async def may_consume(self, queue: str) -> BrokerError | None:
        """Why consuming would be refused; ``None`` when it would not."""
        return await self._refusal(lambda channel: try_consume(channel, queue))

    async def _refusal(self, ask: _Question) -> BrokerError | None:
        channel = await (await self._link()).channel(confirms=False)
        try:
            await ask(channel)
        except ReplyQueueInUseError:
            return None  # permitted: another connection does it
        except BrokerError as problem:
            if channel.closed_by_broker:
                return problem
            raise
        finally:
            await channel.close()
        return None

    async def _shared(self, key: tuple[str, str], look: Callable[[], Awaitable[T]]) -> T:
        task = self._waiting.get(key)
        if task is None:

            async def turn() -> T:
                async with self._turn:
                    # From here on another caller needs a look of its own: things may have changed.
                    self._waiting.pop(key, None)
                    return await look()

            task = asyncio.get_running_loop().create_task(turn(), name=f"effectmq look {key[1]}")
            self._waiting[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        # A caller that is cancelled here does not cancel the look of the others.
        await asyncio.wait((task,))
        if task.cancelled():
            raise TransportClosedError("the transport was closed while looking at the broker")
        found: T = task.result()
        return found

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        for key in [key for key, each in self._waiting.items() if each is task]:
            del self._waiting[key]
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not warn when no caller is left

    async def _asked(self, ask: Callable[[Channel], Awaitable[T]]) -> T:
        channel = self._channel
        if channel is None or channel.lost.done():
            link = await self._link()
            channel = self._channel = await link.channel(confirms=False)
        try:
            return await ask(channel)
        except BaseException:
            # The broker closed it, or did not answer: a new channel is needed either way.
            self._channel = None
            await channel.close()
            raise

    async def close(self) -> None:
        """End every look."""
        for task in list(self._tasks):
            await end(task)
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


def _exchange(name: str) -> _Question:
    return lambda channel: try_exchange(channel, name)


def _queue(name: str) -> _Question:
    return lambda channel: try_queue(channel, name)


def _binding(binding: Binding) -> _Question:
    return lambda channel: try_bind(channel, binding)
