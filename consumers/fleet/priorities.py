"""
The queues of priorities that a worker knows of.

There is none until somebody uses a priority. Then a client asks all workers for it, or a worker
finds an effect in the queue that all priorities share. Whoever takes from the route declares the
queue and takes from it, too, and a worker that starts later looks whether it is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from effectmq.broker.transports.port import Transport
from effectmq.protocol.errors import BrokerError, PublishError
from effectmq.protocol.kinds import prioritized, priority_in, unprioritized
from effectmq.protocol.messages.chosen.priority import NORMAL, PRIORITIES, Priority
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Names, TopologySettings, work_topology

__all__ = ["PriorityQueues"]

logger = logging.getLogger("effectmq.worker")

_TELL_S = 5.0
#: For so long it is not tried again what the broker has refused, in seconds.
_REFUSED_S = 60.0


class PriorityQueues:
    """
    Opens the queues of priorities, of the routes that a worker takes from.

    Args:
        transport: An open one.
        settings: How they are declared.
        routes: The worker's; one that names a priority itself is left as it is.
    """

    def __init__(
        self, transport: Transport, settings: TopologySettings, routes: Iterable[str]
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._names = Names(settings.namespace)
        taken = set(routes)
        self._routes = [route for route in taken if unprioritized(route) == route]
        #: Those that exist, and that are taken from, or will be in a moment.
        self._known = taken - set(self._routes)
        self._take: Callable[[str], None] | None = None
        self._found: list[str] = []
        self._opening: dict[str, asyncio.Task[bool]] = {}
        self._refused: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self) -> list[str]:
        """
        Look which queues there are that this worker does not know of.

        Returns:
            Their routes, which it knows of from now on.

        Raises:
            BrokerError: When the broker cannot be asked.
        """
        possible = [
            prioritized(route, priority)
            for route in self._routes
            for priority in PRIORITIES
            if priority != NORMAL
        ]
        wanted = [route for route in possible if route not in self._known]
        there = await asyncio.gather(*map(self._is_there, wanted))
        found = [
            route
            for route, known in zip(wanted, there, strict=True)
            if known and route not in self._known
        ]
        self._known.update(found)
        return found

    async def _is_there(self, route: str) -> bool:
        return await self._transport.stats(self._names.work_queue(route)) is not None

    def begin(self, take: Callable[[str], None]) -> None:
        """Take from what is found from now on, and from what was found since the first look."""
        self._take = take
        for route in self._found:
            take(route)

    def look_again(self) -> None:
        """Look in the background: something may have been missed."""

        async def look() -> None:
            with suppress(BrokerError):
                for route in await self.look():
                    self._add(route)

        self._spawn(look())

    def hear(self, asked: Message) -> None:
        """
        Open the queue that somebody asks for, in the background.

        Raises:
            MalformedError: When the message names none.
        """
        from effectmq.protocol.messages.notices.priority import read_priority_notice

        route = read_priority_notice(asked)
        own = unprioritized(route)
        if own in self._routes and route not in self._known and route not in self._opening:
            self._begin_to_open(route)

    async def has(self, route: str, priority: Priority) -> bool:
        """
        Whether a priority of a route has a queue, which is opened when it has none.

        When it is new, all workers are told.
        """
        wanted = prioritized(route, priority)
        if wanted in self._known:
            return True
        if route not in self._routes:
            return False
        task = self._opening.get(wanted) or self._begin_to_open(wanted)
        return await asyncio.shield(task)

    def _begin_to_open(self, route: str) -> asyncio.Task[bool]:
        task = asyncio.get_running_loop().create_task(self._opened(route))
        self._opening[route] = task
        task.add_done_callback(lambda _: self._opening.pop(route, None))
        return task

    async def _opened(self, route: str) -> bool:
        loop = asyncio.get_running_loop()
        if self._refused.get(route, 0.0) > loop.time():
            return False
        try:
            await self._transport.declare(work_topology(self._settings, [route]))
        except BrokerError as problem:
            self._refused[route] = loop.time() + _REFUSED_S
            logger.warning(
                "the queue of route %s cannot be opened, so its effects are taken as all others: "
                "%s",
                route,
                problem,
                extra={"action": "priority_refused", "route": route},
            )
            return False
        if route not in self._known:
            self._known.add(route)
            self._add(route)
            self._spawn(self._tell(route))
        return True

    def _add(self, route: str) -> None:
        logger.info(
            "effects of %s priority have a queue of their own on route %s",
            priority_in(route),
            unprioritized(route),
            extra={"action": "priority_opened", "route": route},
        )
        if self._take is None:
            self._found.append(route)
        else:
            self._take(route)

    async def _tell(self, route: str) -> None:
        from effectmq.protocol.messages.notices.priority import priority_notice

        # One that hears nothing looks when it starts, and when its connection was lost.
        with suppress(BrokerError, PublishError):
            await self._transport.publish(
                self._names.control, "", priority_notice(route), timeout=_TELL_S
            )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="effectmq priorities")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Open no more."""
        for task in (*self._tasks, *self._opening.values()):
            task.cancel()
