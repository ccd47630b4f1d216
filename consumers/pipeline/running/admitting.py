"""
The stage between a lease and an attempt: limits that hold for all workers.

An effect that is not admitted leaves the worker: it waits in the room, and no attempt is counted.
"""

from __future__ import annotations

from collections.abc import Awaitable

from effectmq.broker.store.admission.deciding.gates import SAYS_NOTHING, Verdict
from effectmq.consumers.answering import WaitForAnswer
from effectmq.consumers.decisions.delivery import Delay, Pause
from effectmq.consumers.decisions.retry import milliseconds
from effectmq.consumers.handler import NotHere, TryAgain
from effectmq.consumers.pipeline.admission import Admission, NotAdmitted, RoomFull
from effectmq.consumers.pipeline.job import Job, LeaseLostError, Stage
from effectmq.consumers.pipeline.leases import LeftError
from effectmq.consumers.pipeline.running.aside import set_aside
from effectmq.consumers.pipeline.running.attempt import Result
from effectmq.protocol.errors import RetryEffectError

__all__ = ["admit", "permitted"]

#: How long an effect stays before it goes back to the broker from a full room, in seconds.
_FULL_S = 1.0

_FAILED = Verdict("failed")
_OK = Verdict("ok")


async def admit(job: Job, admission: Admission) -> NotAdmitted | Delay | Pause | None:
    """
    Ask whether the next attempt may start.

    Returns:
        ``None`` when it may; the job has a permit then, if a limit holds for it. A delay when the
        room is full.

    Raises:
        LeaseLostError: When another worker has the effect now.
        LeftError: When the worker is leaving.
    """
    route, lease = job.route, job.lease
    if job.permit is not None:
        if not job.polls:
            return None
        # Another worker had the effect meanwhile, and its attempt took the permit's place.
        job.return_permit(SAYS_NOTHING)
    lines = admission.lines(route.key, job.known)
    if not lines:
        return None
    job.stage = Stage.CLAIMING
    answer = await admission.ask(job.known.changed({}), lines, route.key, job.home)
    if isinstance(answer, NotAdmitted):
        if route.leaving:
            raise LeftError
        return answer
    if isinstance(answer, RoomFull):
        route.counters["room_full"] += 1
        # What else the broker has is not moved through this worker as fast as it can.
        await job.sleep(_FULL_S)
        return set_aside(job)
    job.permit = answer
    if route.leaving:
        job.leave()
        raise LeftError
    if job.lease is not lease:
        raise LeaseLostError
    route.counters["admitted"] += 1
    return None


async def permitted(job: Job, running: Awaitable[tuple[Result, bool]]) -> tuple[Result, bool]:
    """Run an attempt under its permit, and give that back with what the attempt says."""
    verdict = SAYS_NOTHING
    try:
        ended = await running
        verdict = verdict_on(*ended)
        return ended
    finally:
        job.return_permit(verdict)


def verdict_on(result: Result, overdue: bool) -> Verdict:
    """What the end of an attempt says about what answers."""
    if isinstance(result, TryAgain):
        if not result.counts:
            return SAYS_NOTHING
        return Verdict("failed", result.wait_ms if result.promised else 0)
    if isinstance(result, RetryEffectError) and result.after_s is not None:
        return Verdict("failed", milliseconds(result.after_s))
    if isinstance(result, NotHere | WaitForAnswer):
        return SAYS_NOTHING
    if overdue or isinstance(result, BaseException) or result.failure is not None:
        return _FAILED
    return _OK
