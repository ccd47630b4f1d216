"""
What a worker consumes: opened at the start, and shut while something speaks against it.

A worker that takes no more keeps what it holds: the deliveries are neither settled nor given back,
so no body runs a second time. Other workers take what waits in the queues meanwhile, unless the
route is paused for them, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from effectmq.broker.transports.port import Delivery, Transport
from effectmq.consumers.fleet.pauses import Pauses
from effectmq.consumers.fleet.ramps import Ramps
from effectmq.consumers.pipeline.admission import Permit
from effectmq.consumers.pipeline.job import Job
from effectmq.consumers.serving.probes import ProbeAnswers
from effectmq.consumers.serving.taps import Source, Tap
from effectmq.protocol.errors import AccessRefusedError, BrokerError
from effectmq.protocol.kinds import unprioritized
from effectmq.protocol.messages.notices.probe import is_probe

if TYPE_CHECKING:
    from effectmq.consumers.serving.divided import Divided

__all__ = ["Serving"]

logger = logging.getLogger("effectmq.worker")

#: The pause before the worker tries to consume again, in seconds.
_AGAIN_S = 1.0
#: How often to look whether slots have become free that a stopped consumer has, in seconds.
_FILL_S = 0.25
#: How often the slots of a route are divided anew among its priorities, in seconds.
_DIVIDE_S = 0.25


class Serving:
    """
    The consumers of a worker's routes. Hears of refused publishes (``RefusalWatch``).

    Args:
        name: The worker's.
        transport: An open one.
        counters: ``paused_for_permission``.
        pauses: Routes that are not consumed; call ``turn`` when they have changed.
        ramps: Routes that are shared out among versions; likewise.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        counters: Counter[str],
        pauses: Pauses,
        ramps: Ramps | None = None,
    ) -> None:
        self._name = name
        self._transport = transport
        self._counters = counters
        self._pauses = pauses
        self._ramps = Ramps("") if ramps is None else ramps
        self._probes = ProbeAnswers(name, transport)
        #: The queues, in the order in which they were opened.
        self.taps: list[Tap] = []
        #: The routes with priorities; empty where none is used.
        self.divided: dict[str, Divided] = {}
        self._dividing: asyncio.Task[None] | None = None
        self._refused = 0
        self._turning: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._turned: asyncio.Event = asyncio.Event()
        self._stopped = False
        #: Whether it takes nothing more until the process ends.
        self.draining = False
        #: The refusal that pauses the worker; ``None`` while it takes effects.
        self.paused: AccessRefusedError | None = None

    @property
    def consuming(self) -> bool:
        """Whether the broker serves every route at the moment that nobody has paused."""
        return self.paused is None and all(
            tap.consuming for tap in self.taps if self._is_wanted(tap)
        )

    def _is_wanted(self, tap: Tap) -> bool:
        if self.draining:
            return False
        # Limbo only collects; and by its consumers it is known how many workers there are.
        if tap.source.limbo:
            return True
        return self._pauses.of(tap.key) is None and self._ramps.takes(tap.key)

    async def open(self, source: Source, *beside: Source) -> None:
        """
        Take effects from one more queue, unless it is paused.

        Args:
            source: The queue.
            beside: Those of its priorities, which share its slots.

        Raises:
            BrokerError: When the broker refuses it.
        """
        taps = [Tap(each, self._transport, self._take) for each in (source, *beside)]
        divided = self._divided(source.prefetch) if beside else None
        if divided is not None:
            for tap in taps:
                divided.add(tap)
        if self._is_wanted(taps[0]):
            await taps[0].fill()
        self.taps += taps
        if divided is not None:
            self._divide(source.route.key, divided)

    def open_beside(self, source: Source) -> None:
        """Take from the queue of one more priority as well, beside the route that has the slots."""
        key = unprioritized(source.route.key)
        tap = Tap(source, self._transport, self._take)
        divided = self.divided.get(key)
        if divided is None:
            shared = next(each for each in self.taps if each.key == key)
            divided = self._divided(shared.slots)
            divided.add(shared)
        divided.add(tap)
        self.taps.append(tap)
        self._divide(key, divided)

    def _divided(self, slots: int) -> Divided:
        # Most workers never need it, and would load it at each start.
        from effectmq.consumers.serving.divided import Divided

        return Divided(slots)

    def _divide(self, key: str, divided: Divided) -> None:
        self.divided[key] = divided
        self.turn()
        if self._dividing is None and not self._stopped:
            self._dividing = asyncio.get_running_loop().create_task(
                self._keep_dividing(), name="effectmq priorities"
            )

    async def _keep_dividing(self) -> None:
        while True:
            await asyncio.sleep(_DIVIDE_S)
            changed = [each.look() for each in self.divided.values()]
            if any(changed):
                self.turn()

    @property
    def slots(self) -> int:
        """How many effects may run at a time, on all routes."""
        own = sum(tap.slots for tap in self.taps if not tap.source.limbo and tap.peak is None)
        return own + sum(max(each.slots, len(each.taps)) for each in self.divided.values())

    def slots_of(self, tap: Tap) -> int:
        """The slots of a queue; those of the route, where its priorities share them."""
        divided = self.divided.get(unprioritized(tap.key))
        return tap.slots if divided is None else divided.slots

    def set_slots(self, tap: Tap, slots: int) -> None:
        """Change them; ``turn`` makes it count."""
        divided = self.divided.get(unprioritized(tap.key))
        if divided is None:
            tap.slots = slots
        else:
            divided.slots = slots
            divided.look()

    def _take(self, source: Source, delivery: Delivery) -> None:
        if is_probe(delivery.message):
            source.route.counters["probes"] += 1
            self._probes.answer(delivery)
        else:
            job = Job(source.route, delivery, from_limbo=source.limbo)
            if source.counted is None or source.counted.begins(job):
                job.start(source.road)

    # The room ----------------------------------------------------------------------------------

    def free(self) -> dict[str, int]:
        """For each route that is taken from, how many more effects may run."""
        if self._stopped or self.paused is not None:
            return {}
        return {
            tap.key: tap.free for tap in self.taps if not tap.source.limbo and self._is_wanted(tap)
        }

    def carry_out(self, key: str, delivery: Delivery, permit: Permit | None) -> None:
        """Carry out an effect that was not delivered by the broker, on one of the ``free``."""
        tap = next(tap for tap in self.taps if tap.key == key and not tap.source.limbo)
        job = Job(tap.source.route, delivery)
        job.permit = permit
        if tap.source.counted is not None:
            tap.source.counted.hold(job)
        job.start(tap.source.road)

    async def stop(self) -> None:
        """Stop consuming, for good."""
        self._stopped = True
        self.close_slots()
        if self._turning is not None:
            self._turning.cancel()
            await asyncio.gather(self._turning, return_exceptions=True)
        if self._dividing is not None:
            self._dividing.cancel()
        await self._shut()

    def close_slots(self) -> None:
        """What waits for a place in the room of a shared route goes back to the broker."""
        for tap in self.taps:
            if tap.source.counted is not None:
                tap.source.counted.closing = True

    async def _shut(self) -> None:
        for tap in self.taps:
            await tap.shut()

    def abort(self) -> list[asyncio.Task[None]]:
        """Stop at once and settle nothing; returns the tasks that are ending."""
        self._stopped = True
        tasks = [pump for tap in self.taps for pump in tap.pumps]
        tasks += self._probes.tasks
        tasks += [task for task in (self._turning, self._dividing) if task is not None]
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
            self.turn()

    def relieved(self) -> None:
        """One publish less waits for a permission."""
        self._refused -= 1
        if not self._refused:
            self.turn()

    # Turning -----------------------------------------------------------------------------------

    def turn(self) -> None:
        """Something has changed: open and shut what has to be, in the background."""
        self._changed.set()
        self._turned.clear()
        if not self._stopped and (self._turning is None or self._turning.done()):
            self._turning = asyncio.get_running_loop().create_task(
                self._follow(), name="effectmq serving"
            )

    async def turned(self, timeout_s: float) -> bool:
        """
        Wait until the last change counts.

        Args:
            timeout_s: How long, in seconds.

        Returns:
            Whether it does; the broker may be away.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._turned.wait()
        return self._turned.is_set()

    async def _follow(self) -> None:
        filled = False
        while self._changed.is_set() or not filled:
            self._changed.clear()
            if self._refused:
                await self._shut()
                filled = True
            else:
                try:
                    filled = await self._fill()
                except BrokerError as problem:
                    await self._put_off(problem)
                    continue
            if not self._changed.is_set():
                self._turned.set()
            if not filled:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FILL_S):
                        await self._changed.wait()

    async def _put_off(self, problem: BrokerError) -> None:
        logger.warning(
            "worker %s cannot take effects yet: %s",
            self._name,
            problem,
            extra={"action": "worker_not_resumed"},
        )
        if self.paused is not None:
            await self._shut()
        await asyncio.sleep(_AGAIN_S)
        self._changed.set()

    async def _fill(self) -> bool:
        """Open and shut every tap as it should be; returns whether all slots are used."""
        filled = True
        for tap in self.taps:
            if self._is_wanted(tap):
                filled = await tap.fill() and filled
            else:
                await tap.shut()
        if self._refused:
            # Refused again while the routes were opening.
            self._changed.set()
        elif self.paused is not None:
            self.paused = None
            logger.info(
                "worker %s takes effects again", self._name, extra={"action": "worker_resumed"}
            )
        return filled
