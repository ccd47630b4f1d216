"""
One shared route in a worker: what begins at once, and what waits for its turn in the room.

While nobody waits and a slot is free, an effect begins as on any route, and the database is not
asked. What is more leaves the worker before it is claimed, and comes back when it is its turn.
While effects wait for a slot, what arrives waits as well, so that nothing overtakes them.
"""

from __future__ import annotations

import asyncio
from functools import partial

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.admission.declared.keys import shared_line
from effectmq.broker.store.admission.declared.shares import Share
from effectmq.broker.store.admission.records import Answer, Ask, NotAdmitted, digest_of
from effectmq.consumers.admission.gatekeeper import Gatekeeper
from effectmq.consumers.pipeline.admission import RoomFull
from effectmq.consumers.pipeline.ending import End
from effectmq.consumers.pipeline.job import Job, Stage
from effectmq.consumers.pipeline.leases import LeftError
from effectmq.consumers.pipeline.road import arrive, carry_out
from effectmq.consumers.pipeline.route import Route
from effectmq.consumers.serving.slots import Slots
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.chosen.priority import NORMAL
from effectmq.protocol.messages.peeking import peek

__all__ = ["SharedRoute"]

#: How long an effect for which the room is full stays before it asks again, in seconds.
_FULL_S = 1.0


class SharedRoute(Slots):
    """
    One shared route of a worker, and its slots.

    Args:
        share: What its effects are told apart by.
        route: The route.
        slots: How many effects of it may run at a time.
        gatekeeper: The worker's.
    """

    def __init__(self, share: Share, route: Route[Job], slots: int, gatekeeper: Gatekeeper) -> None:
        super().__init__(slots)
        self._share = share
        self._route = route
        self._line = shared_line(route.key)
        self._gatekeeper = gatekeeper
        #: Whether effects may be waiting that only lack a slot.
        self._waited_for = False

    def takes(self) -> None:
        """Effects for its free slots are about to be taken out of the room."""
        self._waited_for = True

    def taken(self, count: int, free: int) -> None:
        """So many were taken out of the room for the slots that were free."""
        self._waited_for = count >= free

    async def carry_out(self, job: Job) -> None:
        """The road of a delivery of the route; its slot is free afterwards."""
        try:
            await carry_out(job, self._arrive)
        finally:
            self.release(job)
            if self._waited_for:
                self._gatekeeper.wake()

    # What has no slot --------------------------------------------------------------------------

    @property
    def _may_begin(self) -> bool:
        return not self._waited_for and self.free > 0

    def begins(self, job: Job) -> bool:
        """See ``Slots``: what has to wait is kept in the room, without being read."""
        if self._may_begin:
            self.hold(job)
            return True
        asked = self._peeked(job)
        if asked is not None:
            self._gatekeeper.keep(asked).add_done_callback(partial(self._kept, job))
        return asked is None

    def _peeked(self, job: Job) -> Ask | None:
        """What keeps an effect in the room; ``None`` when it must be read for that."""
        route, message = self._route, job.delivery.message
        said = message.headers.get(headers.PRIORITY, NORMAL)
        if route.ramps or said != route.priority or self._gatekeeper.of(route.key):
            # It may belong into another queue, or limits must know more of it.
            return None
        peeked = peek(message, route.limits)
        if peeked is None:
            return None
        return Ask(
            digest_of(peeked.identity),
            "",
            (self._line,),
            route.key,
            message,
            job.home,
            peeked.deadline_ms,
            turn=self._share.turn(peeked.tenant, peeked.tree),
            full=True,
        )

    def _kept(self, job: Job, answer: asyncio.Future[Answer]) -> None:
        if answer.cancelled() or self._route.leaving:
            # Not settled, so another worker gets it.
            return
        failed = answer.exception() is not None
        kept = None if failed else answer.result()
        if not isinstance(kept, NotAdmitted) or kept.full:
            # On its road it asks again, or says why that is useless.
            job.start(self.carry_out)
            return
        reached("after_room")
        self._route.counters["not_admitted"] += 1
        self._note_kept()
        job.delivery.ack()

    def _note_kept(self) -> None:
        self._waited_for = True
        if self.free:
            self._gatekeeper.wake()

    async def _arrive(self, job: Job) -> End | None:
        end = await arrive(job)
        if end is not None or self.holds(job):
            return end
        while not self._may_begin:
            job.stage = Stage.CLAIMING
            kept = await self._gatekeeper.wait(job.known, self._route.key, job.home)
            if self._route.leaving:
                raise LeftError
            if not isinstance(kept, RoomFull):
                self._note_kept()
                return kept
            if self.closing:
                raise LeftError
            lent = next(filter(self.holds, job.followers), None)
            if lent is not None:
                # A copy of it came out of the room, and waits for this one with a slot.
                self.release(lent)
                break
            # It stays: what else the broker has is not moved through this worker.
            self._route.counters["room_full"] += 1
            await job.sleep(_FULL_S)
        self.hold(job)
        return None
