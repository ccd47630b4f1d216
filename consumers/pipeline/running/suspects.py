"""
Effects that workers died with: deaths are counted here when no journal does, and the last run is
alone.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from effectmq.consumers.decisions.delivery import Delay
from effectmq.consumers.decisions.retry import IN_PLACE_LIMIT_MS
from effectmq.consumers.pipeline.job import Job, Wake

__all__ = ["alone", "count_death", "dead_workers", "step_aside", "who_died"]

logger = logging.getLogger("effectmq.worker")

#: How long a suspect waits for the others to leave the worker, where no journal knows which bodies
#: began.
_SCATTER_S = 0.3


async def alone(job: Job) -> Delay | None:
    """Run the effect alone, when it is its turn; ``None`` when it may run now."""
    route = job.route
    logger.warning(
        "effect %s was running when %d worker(s) died%s; it runs alone, and is parked if it "
        "happens again",
        job.effect_id,
        job.known.deaths,
        f" ({', '.join(dead_workers(job))})" if dead_workers(job) else "",
        extra={"action": "last_chance", **job.log_names},
    )
    route.counters["last_chances"] += 1
    if not route.leases.kept and route.quarantine.taken:
        return step_aside(job)
    job.suspect = True
    if route.leases.kept:
        if not await job.wait(partial(turn_or_time, job)):
            return step_aside(job)
    else:
        await job.wait(lambda wake: route.quarantine.enter(job, wake))
        # Let the other suspects leave first: those that came together with this one are held by
        # this worker until they are on a delay level, and would be counted with it.
        await job.sleep(_SCATTER_S)
    return None


def turn_or_time(job: Job, wake: Wake) -> object:
    """Wait a limited time for a turn in quarantine; returns the timer."""
    quarantine = job.route.quarantine

    def time_is_up() -> None:
        if quarantine.waits(job):
            wake(False)

    quarantine.enter(job, lambda: wake(True))
    return job.route.loop.call_later(IN_PLACE_LIMIT_MS / 1_000, time_is_up)


def step_aside(job: Job) -> Delay:
    """Send it to a delay level, where it holds no slot and no worker's death counts for it."""
    job.leave_quarantine()
    return Delay(job.route.levels_ms[0], {})


def dead_workers(job: Job) -> tuple[str, ...]:
    """The workers that died with it last, where a journal knows their names."""
    return job.granted.dead_workers if job.granted is not None else ()


async def who_died(job: Job) -> int:
    """Without a journal: how many workers died with it since the last question, one or none."""
    witnesses, message = job.route.witnesses, job.delivery.message
    if witnesses is None or message.returns <= job.held_before:
        return 0
    times = await job.wait(lambda wake: witnesses.ask(message, job.held_before, wake))
    # A return that no living worker explains was a death.
    return int(isinstance(times, int) and message.returns > times)


async def count_death(job: Job) -> Delay | None:
    """
    Without a journal: find out whether a worker died with it; then come back with the count.

    No body begins before this question is answered, and the answer is put into the message, so that
    each death is counted once.
    """
    if job.delivery.message.returns <= job.held_before:
        return None
    died = await who_died(job)
    # A copy from a producer that asks again knows of no deaths: the highest count is used.
    deaths = max(each.known.deaths for each in (job, *job.followers)) + died
    job.request = replace(job.known, deaths=deaths)
    return None if deaths >= job.route.settings.max_deaths else step_aside(job)
