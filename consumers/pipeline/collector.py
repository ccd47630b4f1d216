"""
The collector: what the broker gave up on gets another chance, a limited number of times.

The broker moves a message to limbo when it came back too often without being settled. The cause
may be an effect that kills its worker, or a network that failed again and again while a harmless
effect was in flight. So each visit is counted, and the message is sent home over the shortest
delay. Past ``max_crashes`` the effect is parked as *crash_looping*, and its caller is told.
"""

from __future__ import annotations

from collections.abc import Coroutine

from effectmq.broker.store.journal.records import Recorded
from effectmq.consumers.decisions.delivery import Delay, Park, after_crash
from effectmq.consumers.handler import FunctionHandler
from effectmq.consumers.pipeline.ending import End
from effectmq.consumers.pipeline.job import Job, Stage
from effectmq.consumers.pipeline.leases import LeftError
from effectmq.consumers.pipeline.road import carry_out, read_request_of, replay
from effectmq.protocol.errors import RejectEffectError
from effectmq.protocol.messages.request import Request

__all__ = ["LIMBO_HANDLER", "LIMBO_PREFETCH", "collect"]

#: Collecting only publishes and settles, so a few at a time are enough.
LIMBO_PREFETCH = 16


def _refuse(command: object) -> object:
    raise RejectEffectError("effectmq_limbo", "effects are sent home from limbo, not run there")


#: Nothing runs in limbo, but a route needs a handler.
LIMBO_HANDLER = FunctionHandler("limbo", _refuse, wants_context=False)


def collect(job: Job) -> Coroutine[object, object, None]:
    """Take one message out of limbo: home, or to the dead letters."""
    return carry_out(job, look, give_up)


async def look(job: Job) -> End | None:
    """Answer what is finished; send the rest home, or give it up."""
    request = await read_request_of(job)
    if not isinstance(request, Request):
        return request
    route = job.route
    route.counters["collected"] += 1
    job.stage = Stage.CLAIMING
    found = await route.leases.look(request)
    if route.leaving:
        raise LeftError
    if isinstance(found, Recorded):
        return replay(job, found)
    action = next_chance(job)
    # Without a claim: the next worker must still see that the lease ran out. Only giving up needs
    # the lease, to record it.
    return action if isinstance(action, Delay) else None


def next_chance(job: Job) -> Delay | Park:
    """Send it home again, unless it has been here too often."""
    settings = job.route.settings
    return after_crash(job.known, max_crashes=settings.max_crashes, levels_ms=job.route.levels_ms)


async def give_up(job: Job) -> End:
    """Give the effect up; this worker has the lease."""
    return next_chance(job)
