"""
One delivery on its way through a worker: its state, and where it waits.

``road.carry_out`` is the way itself. A job holds the state, and what can happen to it from outside
while it waits: its lease is lost, another job tells it an answer, the worker leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import Enum
from typing import Protocol

from effectmq.broker.store.admission.deciding.gates import SAYS_NOTHING, Verdict
from effectmq.broker.store.journal.records import Granted
from effectmq.broker.store.spend.records import Use
from effectmq.broker.transports.port import Delivery
from effectmq.consumers.decisions.delivery import Delay
from effectmq.consumers.logs.lines import note_takeover
from effectmq.consumers.pipeline.admission import Permit
from effectmq.consumers.pipeline.leases import Lease, LeftError
from effectmq.consumers.pipeline.route import Route
from effectmq.consumers.pipeline.running.attempt import Attempt, HandlerExitError
from effectmq.consumers.pipeline.running.due import Due
from effectmq.protocol.kinds import EFFECT_KINDS, kind_of
from effectmq.protocol.messages.log_names import log_names, names_of_message
from effectmq.protocol.messages.reply import Answer
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.envelope import RuntimeEffectCommandSleep

__all__ = ["Job", "LeaseLostError", "Stage", "Told", "Wake"]

logger = logging.getLogger("effectmq.worker")

#: What a job tells its followers: the answer, how long to wait, or ``None`` to look for themselves.
Told = Answer | Delay | None


class Wake(Protocol):
    """A function that ends a wait; only its first call counts."""

    def __call__(self, told: object = None, /) -> None:
        """End the wait with this result."""
        ...


class LeaseLostError(Exception):
    """Another worker has the effect now, or it was cancelled: the journal's record decides."""


class Stage(Enum):
    """Where a job is. It decides what happens when the worker leaves."""

    READING = "its body is fetched"
    FOLLOWING = "another job of this process runs the same effect"
    WAITING = "it waits for a moment, for its turn, or for what other workers say"
    CLAIMING = "the journal is asked for the lease"
    RUNNING = "its handler runs"
    TELLING = "the journal is told how it goes on"
    SENDING = "an answer, a delayed copy or a dead letter is on its way"


#: Nothing is under way that must be waited for.
_IDLE = (Stage.READING, Stage.FOLLOWING, Stage.WAITING)


class Job:
    """
    One delivery that is being carried out.

    Args:
        route: What all jobs of one route share.
        delivery: What arrived.
        from_limbo: Whether it came from limbo.

    Attributes:
        stage: Where it is.
        request: The effect, once it has been read, with every count that is known by now.
        lease: The right to run it, while this worker has it.
        granted: The journal's answer to the claim.
        permit: What the limits of the fleet have granted for the next attempt, or the one that
            runs; ``None`` where no limit holds.
        attempt: The handler's run, while it runs.
        told: The end of the effect, as other deliveries of the same effect are told.
        followers: The jobs of these deliveries.
        due: Its due time, by a clock that does not jump; ``None`` while it waits for none.
        begun: Whether the journal knows that its body has begun.
        polls: How often another worker was found to have the lease.
        held_before: How often this process had the message before.
        suspect: Whether it is in quarantine, or waits for its turn there.
        refused: Whether the journal has refused to record how the effect goes on.
        defective: Whether there was an error where none is expected.
        left: Whether it was told to stop, because the worker leaves.
        task: What carries it out.
        trace: The W3C trace context of its last attempt, or of the one that was recorded before;
            empty when that was not traced.
        took_s: The time that its last attempt took, in seconds.
        uses: What its attempts have used and nobody has recorded yet; ``None`` for nothing.
    """

    __slots__ = (
        "_waiter",
        "attempt",
        "begun",
        "defective",
        "delivery",
        "due",
        "followers",
        "from_limbo",
        "granted",
        "held_before",
        "lease",
        "left",
        "permit",
        "polls",
        "refused",
        "request",
        "route",
        "stage",
        "suspect",
        "task",
        "told",
        "took_s",
        "trace",
        "uses",
    )

    def __init__(self, route: Route[Job], delivery: Delivery, *, from_limbo: bool = False) -> None:
        self.route = route
        self.delivery = delivery
        self.from_limbo = from_limbo
        self.stage = Stage.READING
        self.request: Request | None = None
        self.lease: Lease | None = None
        self.granted: Granted | None = None
        self.permit: Permit | None = None
        self.attempt: Attempt | None = None
        self.told: Told = None
        self.followers: list[Job] = []
        self.due: Due | None = None
        self.begun = True
        self.polls = self.held_before = 0
        self.took_s = 0.0
        self.trace = ""
        self.uses: list[Use] | None = None
        self.suspect = self.refused = self.defective = self.left = False
        self._waiter: asyncio.Future[object] | None = None

    def start(self, road: Callable[[Job], Coroutine[object, object, None]]) -> None:
        """Start the task of the job; the job ends by itself."""
        self.route.jobs.add(self)
        self.task: asyncio.Task[None] = self.route.loop.create_task(road(self))

    # What it is --------------------------------------------------------------------------------

    @property
    def known(self) -> Request:
        """
        The effect; ``job.request or job.known`` where each call counts.

        Raises:
            HandlerExitError: When the message has not been read.
        """
        if self.request is None:
            raise HandlerExitError("the message was not read")
        return self.request

    @property
    def effect_id(self) -> str:
        """For the log: the effect id, made printable."""
        known = self.request.effect_id if self.request else self.delivery.message.correlation_id
        return printable(known, 200)

    @property
    def log_names(self) -> dict[str, str]:
        """For the log: session, turn, effect and hash, as far as they are known."""
        if self.request is None:
            return names_of_message(self.delivery.message)
        return log_names(self.request)

    @property
    def home(self) -> str:
        """The routing key that brings the effect home: its kind, or ``kind.lane``."""
        key = self.delivery.routing_key
        if kind_of(key) in EFFECT_KINDS:
            return key
        # A message that somebody moved here comes with the name of the queue as its key.
        if self.from_limbo and self.request is not None:
            return self.request.kind
        return self.route.key

    # Waiting -----------------------------------------------------------------------------------

    async def wait(self, arrange: Callable[[Wake], object], stage: Stage = Stage.WAITING) -> object:
        """
        Wait at a point where nothing is lost when the worker leaves.

        Args:
            arrange: Called at once with the function that ends the wait. If it returns a timer,
                that is cancelled when the wait ends in another way.
            stage: What it waits for.

        Returns:
            What the wait was ended with.

        Raises:
            LeaseLostError: When the lease is lost meanwhile.
            LeftError: When the worker is leaving.
        """
        if self.route.leaving:
            self.leave()
            raise LeftError
        self.stage = stage
        lease = self.lease
        waiter: asyncio.Future[object] = self.route.loop.create_future()
        self._waiter = waiter

        def wake(told: object = None, /) -> None:
            if not waiter.done():
                waiter.set_result(told)

        arranged: object = None
        try:
            arranged = arrange(wake)
            told = await waiter
        finally:
            self._waiter = None
            if isinstance(arranged, asyncio.TimerHandle):
                arranged.cancel()
        if self.lease is not lease:
            # The wait had ended already, but this code continues one turn of the loop later.
            raise LeaseLostError
        return told

    async def sleep(self, wait_s: float) -> None:
        """Wait for so many seconds; see ``wait``."""
        await self.wait(lambda wake: self.route.loop.call_later(wait_s, wake))

    async def follow(self, leader: Job) -> Told:
        """Wait for what the leading job of the same effect tells."""
        told = await self.wait(lambda _: leader.followers.append(self), Stage.FOLLOWING)
        return told if isinstance(told, (Answer, Delay)) else None

    def tell(self, told: Told) -> None:
        """Tell the followers how the effect ended."""
        self.told = told
        followers, self.followers = self.followers, []
        for follower in followers:
            if follower._waiter is not None and not follower._waiter.done():
                follower._waiter.set_result(told)

    # The lease ---------------------------------------------------------------------------------

    def take(self, request: Request, granted: Granted) -> None:
        """Hold the lease of the effect from now on, and know what the journal knows of it."""
        if granted.taken_from:
            note_takeover(request, granted)
        due_ms = 0
        if granted.due_in_ms or isinstance(request.envelope.command, RuntimeEffectCommandSleep):
            due_ms = self.route.now_ms() + granted.due_in_ms
            self.wait_until(due_ms)
        known = (request.attempt, request.due_ms, request.deaths, request.former_deaths)
        told = (granted.attempt, due_ms, granted.deaths, granted.former_deaths)
        self.request = request
        if known != told:
            self.request = replace(
                request,
                attempt=granted.attempt,
                due_ms=due_ms,
                deaths=granted.deaths,
                former_deaths=granted.former_deaths,
            )
        self.granted = granted
        self.begun = granted.begun
        self.lease = Lease(request.identity, granted.fence)
        self.route.leases.watch(self.lease, self._lost)

    def wait_until(self, due_ms: int) -> None:
        """Measure the time to a moment, in Unix milliseconds, by a clock that does not jump."""
        if due_ms:
            self.due = self.due or Due()
            self.due.note(due_ms, self.route)

    def by_its_clock(self, request: Request) -> Request:
        """The effect, with its due time moved along with the wall clock."""
        self.due = self.due or Due()
        self.request = self.due.moved(request, self.route)
        return self.request

    def drop(self) -> Lease | None:
        """Forget the lease, which was given up or lost; returns it."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self.route.leases.unwatch(lease)
        return lease

    def _lost(self) -> None:
        """Another worker has the effect now, or it was cancelled: the journal knows."""
        self.lease = None
        if self.route.leaving:
            return
        logger.warning(
            "the lease of effect %s is lost; the result of this run is discarded",
            self.effect_id,
            extra={"action": "lease_lost", **self.log_names},
        )
        if self.attempt is not None:
            self.attempt.stop()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(LeaseLostError())

    def return_permit(self, verdict: Verdict) -> None:
        """Give back what the limits of the fleet granted, if they did."""
        permit, self.permit = self.permit, None
        if permit is not None:
            permit.admission.give_back(permit, verdict)

    # The end -----------------------------------------------------------------------------------

    def leave_quarantine(self) -> None:
        """Let other effects begin again, if this one kept them waiting."""
        if self.suspect:
            self.suspect = False
            self.route.quarantine.leave(self)

    def end(self) -> None:
        """End the job: give back what it still holds."""
        route = self.route
        if self.lease is not None:
            # It was stopped in the middle: no lease may be renewed for a job that is gone.
            route.leases.unwatch(self.lease)
            route.leases.abandon(self.lease)
            self.lease = None
        if self.suspect:
            self.leave_quarantine()
        if self.permit is not None:
            self.return_permit(SAYS_NOTHING)
        if self.followers:
            # There is no end to tell.
            self.tell(None)
        if route.witnesses is not None:
            route.witnesses.settle(self.delivery.message)
        if self.request is not None:
            route.inflight.release(self.request.identity, self)
        route.discard(self)

    def leave(self) -> None:
        """
        The worker shuts down and its grace is over: stop here, and leave the effect unsettled.
        """
        if self.attempt is not None and self.attempt.over:
            # Its result is told in one of the next turns of the loop.
            return
        self.left = True
        leases = self.route.leases
        lease = self.drop()
        begun = self.attempt is not None and self.attempt.stop()
        if not leases.kept:
            self._hand_on()
        if lease is not None and begun:
            leases.abandon(lease)
        elif lease is not None and self.stage is not Stage.TELLING:
            leases.hand_back(lease, self.known.attempt)
        if self.stage in _IDLE:
            self.task.cancel()

    def _hand_on(self) -> None:
        """
        Without a journal: send the effect home, because coming back unsettled counts as a death.

        When there is no time for that, it comes back unsettled. What is in limbo is counted there.
        """
        if self.request is None or self.from_limbo or self.stage is Stage.SENDING:
            return
        route = self.route
        message = self.request.changed({}).message
        route.settlement.hand_on(route.levels_ms[0], self.home, message, self.delivery.ack)

    @property
    def cancelled(self) -> bool:
        """Whether the job's own task is being cancelled, not only something that it waits for."""
        return self.task.cancelling() > 0

    def abort(self) -> None:
        """End all waits; the connection and the stores are closed."""
        self.task.cancel()
