"""What all jobs of one route share: handler, settings, settlement and counters."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Generic, Protocol, TypeVar

from effectmq.broker.deadlines import Deadlines
from effectmq.broker.store.attachments.large_bodies import LargeBodies
from effectmq.consumers.fleet.abilities import Abilities
from effectmq.consumers.fleet.priorities import PriorityQueues
from effectmq.consumers.fleet.quarantine import Quarantine
from effectmq.consumers.fleet.ramps import Ramps
from effectmq.consumers.fleet.witnesses import Witnesses
from effectmq.consumers.handler import Handler
from effectmq.consumers.metrics.numbers import RouteNumbers
from effectmq.consumers.outboxes.chunks import ChunkOutbox
from effectmq.consumers.outboxes.settlement import Settlement
from effectmq.consumers.pipeline.admission import Admission, Room
from effectmq.consumers.pipeline.inflight import InFlight
from effectmq.consumers.pipeline.leases import Leases
from effectmq.consumers.pipeline.reading.ignored import IgnoredMembers
from effectmq.consumers.runtime.abandoned import Abandoned
from effectmq.consumers.runtime.threads import Threads
from effectmq.consumers.settings import WorkerSettings
from effectmq.protocol.encoding.limits import Limits
from effectmq.protocol.kinds import priority_in

__all__ = ["Route"]

J = TypeVar("J")


class Limited(Protocol):
    """Something with a time limit."""

    def is_over(self) -> None:
        """Its time may be over."""
        ...


class Route(Generic[J]):
    """
    One queue of effects, as its jobs see it.

    Args:
        kind: The effect kind.
        key: The routing key of its queue: the kind, or ``kind.lane``.
        handler: What runs the effects.
        settlement: Publishes answers, delayed copies and dead letters.
        chunks: Publishes streamed text.
        inflight: Shared by all routes of the worker.
        leases: The port to the journal; shared, too.
        bodies: Keeps large bodies out of line; ``None`` without an attachment store.
        settings: The worker's.
        levels_ms: The delay levels, ascending.
        worker_name: Noted on dead letters.
        numbers: What the route counts and measures.
        threads: Run functions that are not ``async``; shared by all routes.
        abandoned: Counts handlers that cannot be stopped; shared, too.
        quarantine: Runs an effect alone that may end the process; shared, too.
        abilities: What the other workers can do.
        witnesses: Without a journal, knows which worker has held which message.
        ramps: How unbound effects are shared out among versions, by route.
    """

    def __init__(
        self,
        kind: str,
        key: str,
        handler: Handler,
        settlement: Settlement,
        chunks: ChunkOutbox,
        inflight: InFlight[J],
        leases: Leases,
        bodies: LargeBodies | None,
        settings: WorkerSettings,
        levels_ms: tuple[int, ...],
        worker_name: str,
        numbers: RouteNumbers,
        threads: Threads,
        abandoned: Abandoned,
        quarantine: Quarantine,
        abilities: Abilities,
        witnesses: Witnesses | None = None,
        ramps: Ramps | None = None,
    ) -> None:
        self.kind = kind
        #: Whether its effects ask models, so that ceilings on spend hold for them.
        self.spends = kind in ("llm_call", "direct")
        self.key = key
        self.priority = priority_in(key)
        #: Opens the queues of priorities; ``None`` where there are none.
        self.priority_queues: PriorityQueues | None = None
        self.handler = handler
        self.settlement = settlement
        self.chunks = chunks
        self.inflight = inflight
        self.leases = leases
        self.bodies = bodies
        self.settings = settings
        self.levels_ms = levels_ms
        self.worker_name = worker_name
        self.quarantine = quarantine
        self.abilities = abilities
        self.witnesses = witnesses
        #: Empty in an installation that has none.
        self.ramps = Ramps("") if ramps is None else ramps
        self.version = self.ramps.version
        self.numbers = numbers
        self.counters = numbers.counters
        self.ignored = IgnoredMembers(numbers.counters)
        self.limits = Limits(max_body_bytes=settings.max_body_bytes)
        self.loop = asyncio.get_running_loop()
        self.jitter = random.Random()
        self.jobs: set[J] = set()
        self.leaving = False
        #: Asked before each attempt while a limit of the fleet holds for this route.
        self.admission: Admission | None = None
        #: Where effects wait that may not start; ``None`` without a journal.
        self.room: Room | None = None
        #: Of how many effects that succeed one is logged; 0 for none.
        self.log_every = settings.log_every
        self.threads = threads
        self.abandoned = abandoned
        #: When the attempts that run now must have ended.
        self.time_limits: Deadlines[Limited] = Deadlines(lambda attempt: attempt.is_over())
        self._emptied = asyncio.Event()
        self._emptied.set()

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def discard(self, job: J) -> None:
        """Forget a job that has ended."""
        self.jobs.discard(job)
        if not self.jobs:
            self._emptied.set()

    async def empty(self) -> None:
        """Wait until no job is left."""
        while self.jobs:
            self._emptied.clear()
            await self._emptied.wait()
