"""
The consumers of a worker's routes: opened, stopped, and paused while it may not publish.

A paused worker keeps what it holds: the deliveries are neither settled nor given back, so no body
runs a second time. Other workers take what waits in the queues meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import NamedTuple

from effectmq.broker.transports.port import Consumer, Delivery, Transport
from effectmq.consumers.pipeline.job import Job
from effectmq.consumers.pipeline.route import Route
from effectmq.protocol.errors import AccessRefusedError, BrokerError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.probe import is_probe, probe_answer

__all__ = ["Serving", "Source"]

logger = logging.getLogger("effectmq.worker")

#: Answers to probes that may be under way at a time, and how long each may take, in seconds.
_MOST_PROBES = 16
_PROBE_S = 5.0
#: The pause before the worker tries to consume again, in seconds.
_AGAIN_S = 1.0


class Source(NamedTuple):
    """
    One queue, and how its deliveries are carried out.

    Attributes:
        route: What its jobs share.
        queue: Its name.
        prefetch: How many of its deliveries may be unsettled at a time.
        road: Carries out one delivery.
        limbo: Whether it is limbo, the queue of what the broker gave up on.
    """

    route: Route[Job]
    queue: str
    prefetch: int
    road: Callable[[Job], Coroutine[object, object, None]]
    limbo: bool = False


class Serving:
    """
    The consumers of a worker's routes. Hears of refused publishes (``RefusalWatch``).

    Args:
        name: The worker's.
        transport: An open one.
        counters: ``paused_for_permission``.
    """

    def __init__(self, name: str, transport: Transport, counters: Counter[str]) -> None:
        self._name = name
        self._transport = transport
        self._counters = counters
        self._sources: list[Source] = []
        self._consumers: list[Consumer] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._refused = 0
        self._turning: asyncio.Task[None] | None = None
        self._stopped = False
        #: The refusal that pauses the worker; ``None`` while it takes effects.
        self.paused: AccessRefusedError | None = None

    @property
    def consuming(self) -> bool:
        """Whether the broker serves every route at the moment."""
        return all(consumer.consuming for consumer in self._consumers)

    async def open(self, source: Source) -> None:
        """
        Take effects from one more queue.

        Raises:
            BrokerError: When the broker refuses it.
        """
        await self._consume(source)
        self._sources.append(source)

    async def _consume(self, source: Source) -> None:
        consumer = await self._transport.consume(source.queue, prefetch=source.prefetch)
        self._consumers.append(consumer)
        self._pumps.append(
            asyncio.get_running_loop().create_task(
                self._pump(source, consumer), name=f"effectmq {source.queue}"
            )
        )

    async def _pump(self, source: Source, consumer: Consumer) -> None:
        async for delivery in consumer:
            if is_probe(delivery.message):
                self._answer_probe(source, delivery)
            else:
                Job(source.route, delivery, from_limbo=source.limbo).start(source.road)

    async def stop(self) -> None:
        """Stop consuming, for good."""
        self._stopped = True
        if self._turning is not None:
            self._turning.cancel()
            await asyncio.gather(self._turning, return_exceptions=True)
        await self._stop_consumers()

    async def _stop_consumers(self) -> None:
        for consumer in self._consumers:
            await consumer.stop()

    def abort(self) -> list[asyncio.Task[None]]:
        """Stop at once and settle nothing; returns the tasks that are ending."""
        self._stopped = True
        tasks = [*self._pumps, *self._answering]
        if self._turning is not None:
            tasks.append(self._turning)
        for task in tasks:
            task.cancel()
        return tasks

    # Permissions -------------------------------------------------------------------------------

    def refused(self, problem: AccessRefusedError) -> None:
        """One more publish waits for a permission."""
        self._refused += 1
        if self.paused is None:
            self._counters["paused_for_permission"] += 1
            logger.error(
                "worker %s takes no more effects until it may publish again; what it has done "
                "is kept, and sent then: %s",
                self._name,
                problem,
                extra={"action": "worker_paused"},
            )
            self.paused = problem
            self._turn()

    def relieved(self) -> None:
        """One publish less waits for a permission."""
        self._refused -= 1
        if not self._refused:
            self._turn()

    def _turn(self) -> None:
        """Start the task that follows the change, unless it runs already."""
        if not self._stopped and (self._turning is None or self._turning.done()):
            self._turning = asyncio.get_running_loop().create_task(
                self._follow(), name="effectmq permits"
            )

    async def _follow(self) -> None:
        await self._stop_consumers()
        while self.paused is not None and not self._refused:
            try:
                await self._serve_again()
            except BrokerError as problem:
                logger.warning(
                    "worker %s cannot take effects yet: %s",
                    self._name,
                    problem,
                    extra={"action": "worker_not_resumed"},
                )
                await self._stop_consumers()
                await asyncio.sleep(_AGAIN_S)
                continue
            self.paused = None
            logger.info(
                "worker %s takes effects again", self._name, extra={"action": "worker_resumed"}
            )
            if self._refused:
                # Refused again while the routes were opening, when ``refused`` started no task.
                self.paused = AccessRefusedError("a publish is refused again")
                await self._stop_consumers()

    async def _serve_again(self) -> None:
        # The former consumers are stopped; their deliveries can be settled until the worker leaves.
        self._consumers = []
        for source in self._sources:
            await self._consume(source)

    # Probes ------------------------------------------------------------------------------------

    def _answer_probe(self, source: Source, delivery: Delivery) -> None:
        """Whoever sent it only asks whether messages arrive here."""
        source.route.counters["probes"] += 1
        delivery.ack()
        if delivery.message.reply_to and len(self._answering) < _MOST_PROBES:
            task = asyncio.get_running_loop().create_task(
                self._say_here(delivery.message), name="effectmq probe"
            )
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _say_here(self, asked: Message) -> None:
        answer = probe_answer(asked, self._name)
        # Who asked may be gone by now, and asks again if it is not.
        with suppress(BrokerError):
            await self._transport.publish("", asked.reply_to, answer, timeout=_PROBE_S)
