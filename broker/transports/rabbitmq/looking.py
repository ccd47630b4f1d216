"""
Looking at what is there, without changing it.

Whoever wants to know opens no channel of its own: looks go one after the other over one channel
that is kept, and a look that has not begun is shared by all who want the same. A thousand calls
that fail in one moment cost the broker one look. Who stops waiting does not stop the look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from effectmq.broker.transports.port import QueueStats
from effectmq.broker.transports.rabbitmq.connection.ending import end
from effectmq.broker.transports.rabbitmq.driver import Channel, Link
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
    Answers what there is on the broker, over one channel that all looks share.

    Args:
        link: Gives the live connection, bounded.
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
        return await self._refusal(lambda channel: channel.try_publish(exchange, routing_key))

    async def may_consume(self, queue: str) -> BrokerError | None:
        """Why consuming would be refused; ``None`` when it would not."""
        return await self._refusal(lambda channel: channel.try_consume(queue))

    async def _refusal(self, ask: _Question) -> BrokerError | None:
        channel = await (await self._link()).channel(confirms=False)
        try:
            await ask(channel)
        except ReplyQueueInUseError:
            return None  # one may, and somebody does
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
                    # Begun: what somebody asks from now on may be about what changed meanwhile.
                    self._waiting.pop(key, None)
                    return await look()

            task = asyncio.get_running_loop().create_task(turn(), name=f"effectmq look {key[1]}")
            self._waiting[key] = task
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        # Whoever is cancelled here leaves the look to the others.
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
            task.exception()  # seen, also when nobody waits any more

    async def _asked(self, ask: Callable[[Channel], Awaitable[T]]) -> T:
        channel = self._channel
        if channel is None or channel.lost.done():
            link = await self._link()
            channel = self._channel = await link.channel(confirms=False)
        try:
            return await ask(channel)
        except BaseException:
            # Closed by the broker, or without an answer: either way it is of no more use.
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
    return lambda channel: channel.try_exchange(name)


def _queue(name: str) -> _Question:
    return lambda channel: channel.try_queue(name)


def _binding(binding: Binding) -> _Question:
    return lambda channel: channel.try_bind(binding)
