"""
Asks the workers to open the queue of a priority, which exists only where it is used.

Only the workers know with which arguments their queues are declared. Whoever of them takes from the
route opens the queue, and takes from it as well.
"""

from __future__ import annotations

import asyncio

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import BrokerError, PublishError
from effectmq.protocol.messages.notices.priority import priority_notice
from effectmq.protocol.topology import Names

__all__ = ["Openings"]

#: How long workers may take, and when to look for the first time, in seconds.
_OPENING_S = 1.0
_FIRST_LOOK_S = 0.01


class Openings:
    """
    The queues that workers are opening for a client.

    Args:
        transport: An open one.
        names: The namespace.
    """

    def __init__(self, transport: Transport, names: Names) -> None:
        self._transport = transport
        self._names = names
        self._loop = asyncio.get_running_loop()
        #: One for all effects that wait for the same queue.
        self._open: dict[str, asyncio.Task[bool]] = {}

    async def ask(self, route: str, end: float) -> bool:
        """
        Ask for the queue of a route, and wait for it.

        Args:
            route: The route with its priority.
            end: The time of the event loop until which to wait, at most.

        Returns:
            Whether it is there. It is not when no worker takes from the route, or only workers of
            a release that has no priorities.
        """
        task = self._open.get(route)
        if task is None:
            task = self._open[route] = self._loop.create_task(self._opened(route))
            task.add_done_callback(lambda _: self._open.pop(route, None))
        try:
            async with asyncio.timeout_at(end):
                return await asyncio.shield(task)
        except TimeoutError:
            return False

    async def _opened(self, route: str) -> bool:
        notice, look_s = priority_notice(route), _FIRST_LOOK_S
        try:
            # Unroutable when there is no worker at all.
            await self._transport.publish(self._names.control, "", notice, timeout=_OPENING_S)
            end = self._loop.time() + _OPENING_S
            while self._loop.time() < end:
                await asyncio.sleep(look_s)
                look_s *= 2
                if await self._transport.stats(self._names.work_queue(route)) is not None:
                    return True
        except (BrokerError, PublishError):
            # It goes to the queue that all priorities share, where workers find out for themselves.
            return False
        return False

    def close(self) -> None:
        """Wait for no queue any more."""
        for task in self._open.values():
            task.cancel()
