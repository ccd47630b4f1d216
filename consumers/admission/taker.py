"""
Takes effects out of the room when they may start, and keeps what the worker has.

It looks when something may have become free here, and twice a second for what became free
elsewhere: a rate, a wait that is over, a worker that died.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from effectmq.broker.metrics import catalog
from effectmq.broker.metrics.instruments import Reading
from effectmq.broker.sparingly import Sparingly
from effectmq.broker.store.admission.declared.limits import Limit
from effectmq.broker.store.admission.keeping.applying import MOST_TAKEN
from effectmq.broker.store.admission.records import Claimed, digest_of
from effectmq.broker.store.admission.store import AdmissionStore, Waiting
from effectmq.consumers.admission.delivery import RoomDelivery
from effectmq.consumers.admission.gatekeeper import Gatekeeper
from effectmq.consumers.outboxes.settlement import Settlement
from effectmq.consumers.pipeline.admission import Permit
from effectmq.consumers.pipeline.job import Job
from effectmq.consumers.pipeline.journal_leases import JournalLeases
from effectmq.consumers.pipeline.route import Route
from effectmq.consumers.serving.serving import Serving
from effectmq.protocol.errors import TransportClosedError
from effectmq.protocol.messages.request import Identity
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names

if TYPE_CHECKING:
    from effectmq.broker.store.admission.declared.shares import Share
    from effectmq.consumers.admission.sharing import SharedRoute

__all__ = ["Taker"]

logger = logging.getLogger("effectmq.worker")

#: The time between two looks, in seconds: with limits, and without any.
_LOOK_S = 0.4
_IDLE_S = 1.0
#: The time between two counts of what waits, in seconds.
_COUNT_S = 5.0
_RENEWALS_PER_LEASE = 3
#: So many effects that only have to be answered are remembered until the next look; the others are
#: when it is their turn.
_MOST_TO_ANSWER = 1_000


class Taker:
    """
    The room, as one worker sees it.

    Args:
        store: An open one.
        leases: The worker's.
        lease_s: How long what it has lasts without being renewed, in seconds.
        names: The namespace.
        counters: ``admission_unavailable``.
        max_waiting: How many effects may wait in the room.
        shares: The shares of the program.
    """

    def __init__(
        self,
        store: AdmissionStore,
        leases: JournalLeases,
        lease_s: float,
        names: Names,
        counters: Counter[str],
        max_waiting: int,
        shares: Sequence[Share] = (),
    ) -> None:
        self.gatekeeper = Gatekeeper(store, leases, self.wake, self._answer, max_waiting, shares)
        self._shared: dict[str, SharedRoute] = {}
        self._store = store
        self._names = names
        self._counters = counters
        self._renew_s = lease_s / _RENEWALS_PER_LEASE
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._said = Sparingly()
        self._full = Sparingly()
        self._renewed_s = self._counted_s = self._loop.time()
        self._to_answer: set[str] = set()
        self._waiting = Waiting([], {})
        self._sending: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look soon: something may be free."""
        self._wake.set()

    @property
    def _in_use(self) -> bool:
        """Whether a limit holds, a route is shared, or somebody waits."""
        return bool(self.gatekeeper.limits or self._shared or self.gatekeeper.waiting)

    def shared(self, route: Route[Job], slots: int) -> SharedRoute | None:
        """The turns of a route that the program shares, with so many slots; ``None`` for others."""
        share = self.gatekeeper.share(route.key)
        if share is None:
            return None
        # Not at the top: most workers share nothing.
        from effectmq.consumers.admission.sharing import SharedRoute

        made = self._shared[route.key] = SharedRoute(share, route, slots, self.gatekeeper)
        return made

    def cancelled(self, identity: Identity) -> None:
        """An effect was cancelled: when it is in the room, it is answered now."""
        if self._in_use:
            self._answer(digest_of(identity))

    def _answer(self, effect: str) -> None:
        """What the room has of an effect only has to be answered."""
        if len(self._to_answer) < _MOST_TO_ANSWER:
            self._to_answer.add(effect)
            self.wake()

    def readings(self) -> Iterator[Reading]:
        """What waits in the namespace, as it was last counted."""
        for route in self._waiting.routes:
            yield Reading(catalog.ADMISSION_WAITING, (route.route,), route.waiting)
        for name, shut in self._waiting.shut.items():
            yield Reading(catalog.ADMISSION_SHUT, (name,), shut)

    async def follow(
        self, serving: Serving, settlement: Settlement, routes: Sequence[Route[Job]]
    ) -> None:
        """
        Look into the room until cancelled.

        Args:
            serving: What the worker takes.
            settlement: Publishes what goes to limbo.
            routes: The worker's; their jobs ask while a limit holds.
        """
        self._serving = serving
        self._settlement = settlement
        for route in routes:
            route.room = self.gatekeeper
        self.hold(routes)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if self._in_use else _IDLE_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._round(routes)
            except Exception as problem:
                self._counters["admission_unavailable"] += 1
                if self._said.due(self._loop.time()):
                    logger.warning(
                        "the room of effects that wait for admission cannot be looked into: %s",
                        describe(problem),
                        extra={"action": "admission_unavailable"},
                    )
                await asyncio.sleep(_LOOK_S)

    async def learn(self) -> None:
        """Read the limits, and count what waits, before the first effect."""
        self.gatekeeper.learn((await self._store.look([])).limits)
        await self._count()

    def hold(self, routes: Sequence[Route[Job]]) -> None:
        """Let the jobs of those routes ask for which a limit holds, and no others."""
        for route in routes:
            route.admission = self.gatekeeper if self.gatekeeper.of(route.key) else None

    async def _round(self, routes: Sequence[Route[Job]]) -> None:
        now_s = self._loop.time()
        if now_s - self._renewed_s >= self._renew_s:
            self.gatekeeper.give_back_again()
            await self._store.renew()
            # Most that a worker leaves when it dies is in no room, where it would be seen.
            await self._store.recover()
            self._renewed_s = now_s
        free = self._serving.free()
        full = [route for route, slots in free.items() if not slots]
        seen = await self._store.look([route for route in free if free[route]], full)
        if seen.limits != self.gatekeeper.limits:
            self._heed(seen.limits, routes)
        if seen.left_over:
            await self._store.recover()
        if free and (seen.due or seen.left_over or self._to_answer):
            await self._take()
        elif not seen.due:
            self._note_taken([], free)
        if now_s - self._counted_s >= _COUNT_S:
            await self._count()
            self._counted_s = now_s

    async def _count(self) -> None:
        self._waiting = await self._store.waiting()
        waiting = sum(route.waiting for route in self._waiting.routes)
        most, self.gatekeeper.waiting = self.gatekeeper.max_waiting, waiting
        if waiting >= most and self._full.due(self._loop.time()):
            logger.warning(
                "the room is full: %d effects wait for admission, and %d may (max_waiting); others "
                "go back to the broker and look again every half a minute, in no order",
                waiting,
                most,
                extra={"action": "room_full"},
            )

    def _heed(self, limits: list[Limit], routes: Sequence[Route[Job]]) -> None:
        self.gatekeeper.learn(limits)
        self.hold(routes)
        logger.info(
            "%d limit(s) of the fleet hold now: %s",
            len(limits),
            ", ".join(limit.name for limit in limits) or "none",
            extra={"action": "limits_heeded"},
        )

    async def _take(self) -> None:
        """Take what may start, as long as there are slots for it."""
        free = self._serving.free()
        while free:
            to_answer, self._to_answer = self._to_answer, set()
            for route, shared in self._shared.items():
                if free.get(route):
                    # What the broker delivers meanwhile does not take the slot as well.
                    shared.takes()
            taken = await self._store.take(free, sorted(to_answer))
            for one in taken:
                self._begin(one)
            self._note_taken(taken, free)
            free = self._serving.free()
            if not taken or not any(free.values()):
                return

    def _note_taken(self, taken: list[Claimed], free: dict[str, int]) -> None:
        for route, shared in self._shared.items():
            slots = min(free.get(route, 0), MOST_TAKEN)
            if slots:
                shared.taken(sum(one.route == route for one in taken), slots)

    def _begin(self, taken: Claimed) -> None:
        delivery = RoomDelivery(
            taken, self._names.work_queue(taken.route), self._forget, self._reject
        )
        self.gatekeeper.waiting = max(0, self.gatekeeper.waiting - 1)
        permit = None
        # Without limits, it is the permit that shows that it has one of the slots, unless these are
        # counted.
        counted = taken.route in self._shared
        if taken.lines or (taken.in_turn and not counted):
            permit = Permit(taken.effect, taken.token, taken.lines, self.gatekeeper)
        self._serving.carry_out(taken.route, delivery, permit)

    def _forget(self, taken: Claimed) -> None:
        self.gatekeeper.settle(taken.room_id, taken.token)

    def _reject(self, taken: Claimed) -> None:
        """The broker would move it to limbo, where it is counted."""

        async def send() -> None:
            with suppress(TransportClosedError):
                await self._settlement.give_up(taken.home, taken.message)
                self._forget(taken)

        task = self._loop.create_task(send())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Give back everything; what was not settled is taken by another worker."""
        for task in self._sending:
            task.cancel()
        try:
            await self._store.close()
        except Exception as problem:
            # Its leases run out.
            logger.warning(
                "what this worker had of the limits of the fleet could not be given back, and is "
                "free when its leases run out: %s",
                describe(problem),
                extra={"action": "admission_not_left"},
            )
