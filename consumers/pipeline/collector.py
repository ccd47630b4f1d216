"""
The collector: what the broker gave up on gets another chance, a limited number of times.

The broker moves a message to limbo when it came back too often without being settled. That can be
an effect that kills its worker, or an innocent one that was in flight while the network failed
twenty times. So it is counted and sent home over the shortest delay; past ``max_crashes`` it is
parked as *crash_looping*, and whoever waits for it is told.
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

#: Collecting is publishing and settling; a few at a time are plenty.
LIMBO_PREFETCH = 16


def _refuse(command: object) -> object:
    raise RejectEffectError("effectmq_limbo", "effects are sent home from limbo, not run there")


#: Nothing runs in limbo; its route has a handler all the same.
LIMBO_HANDLER = FunctionHandler("limbo", _refuse, wants_context=False)


def collect(job: Job) -> Coroutine[object, object, None]:
    """Carry one message out of limbo: home, or to the dead letters."""
    return carry_out(job, look, give_up)


async def look(job: Job) -> End | None:
    """Answer what is finished; the rest goes home, or is given up."""
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
    # Without a claim: whoever takes it next must still see that its lease ran out. Only who gives
    # it up has to have the lease, to write that down.
    return action if isinstance(action, Delay) else None


def next_chance(job: Job) -> Delay | Park:
    """Home again, while it has not been here too often."""
    settings = job.route.settings
    return after_crash(job.known, max_crashes=settings.max_crashes, levels_ms=job.route.levels_ms)


async def give_up(job: Job) -> End:
    """The lease is ours: say that it is given up."""
    return next_chance(job)
