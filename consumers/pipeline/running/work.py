"""
What a job does while it holds the lease: wait until the effect is due, run the handler, and again.

A worker that holds the lease may still not be the right one to run the effect: it may lack
something that another worker has, or the effect must run alone because workers died with it.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial

from effectmq.broker.store.journal.records import Accepted
from effectmq.consumers.decisions.delivery import (
    Awake,
    Delay,
    Known,
    Park,
    Pause,
    Run,
    after_error,
    asked_elsewhere,
    crash_looping,
    elsewhere,
    expired,
    on_arrival,
    retry_in,
    uncertain,
)
from effectmq.consumers.handler import Lack, NotHere, TryAgain, lacks_of
from effectmq.consumers.logs.withheld import without_values, words_of
from effectmq.consumers.pipeline.admission import NotAdmitted
from effectmq.consumers.pipeline.ending import End
from effectmq.consumers.pipeline.job import Job, LeaseLostError, Stage
from effectmq.consumers.pipeline.leases import LeftError
from effectmq.consumers.pipeline.running.admitting import admit, permitted
from effectmq.consumers.pipeline.running.attempt import Attempt, Result
from effectmq.consumers.pipeline.running.retry_sleeps import note_sleep
from effectmq.consumers.pipeline.running.spending import note_usage, over_ceiling
from effectmq.consumers.pipeline.running.suspects import alone, dead_workers
from effectmq.protocol.text import printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeSleep

__all__ = ["sent_elsewhere", "work"]

logger = logging.getLogger("effectmq.worker")


async def work(job: Job) -> End:
    """Do what is due, and again after every pause, until there is an end."""
    route = job.route
    if job.granted is not None and job.granted.uncertain:
        return uncertain()
    while True:
        request = job.request or job.known
        request = job.by_its_clock(request) if request.due_ms else request
        now_ms = route.now_ms()
        action: End | Pause | Run | Awake = on_arrival(
            request,
            now_ms=now_ms,
            levels_ms=route.levels_ms,
            max_deaths=route.settings.max_deaths,
        )
        if isinstance(action, Run):
            aside: End | Pause | None = await alone(job) if action.alone else None
            if aside is None and (route.spends or not route.abilities.alike):
                aside = await barred(job, action)
            if aside is None and route.admission is not None:
                aside = await admit(job, route.admission)
            running = run if job.permit is None else run_permitted
            action = aside or await after(job, *await running(job, now_ms))
        if isinstance(action, Pause):
            await pause(job, action)
        elif isinstance(action, Awake):
            return RuntimeEffectOutcomeSleep()
        elif isinstance(action, Park) and action.reason == "crash_looping":
            return crash_looping(job.known, dead_workers(job))
        else:
            return action


async def pause(job: Job, action: Pause) -> None:
    """Wait in place."""
    request = job.request = job.known.changed(action.headers)
    job.wait_until(request.due_ms)
    job.route.counters["paused"] += 1
    await job.sleep(action.wait_ms / 1_000)


async def barred(job: Job, action: Run) -> Delay | Park | Pause | NotAdmitted | None:
    """What to do with an effect that must not run here now; ``None`` to run it."""
    aside = None
    if not action.alone and not job.route.abilities.alike:
        aside = lacking(job)
    return aside or (await over_ceiling(job) if job.route.spends else None)


# Who runs it -----------------------------------------------------------------------------------


def lacking(job: Job) -> Delay | None:
    """The way to a worker that has what is missing here; ``None`` to run it here."""
    route = job.route
    for lack in lacks_of(route.handler, job.known):
        known = route.abilities.known(lack.needs, lack.version, route.key)
        action = sent_elsewhere(job, lack, known) if known == "somebody" else None
        if action is not None:
            return action
    return None


def sent_elsewhere(job: Job, missing: NotHere | Lack, known: Known) -> Delay | None:
    """The way to another worker; ``None`` when that is useless, or the time for it is over."""
    route, request = job.route, job.known
    action = elsewhere(
        request.elsewhere,
        request.elsewhere_since_ms,
        known,
        deadline_ms=request.deadline_ms,
        now_ms=route.now_ms(),
        levels_ms=route.levels_ms,
        patience_ms=round(route.settings.elsewhere_s * 1_000),
    )
    if action is None:
        return None
    route.counters["elsewhere"] += 1
    logger.warning(
        "effect %s goes to another worker (handover %d): %s",
        job.effect_id,
        request.elsewhere + 1,
        printable(missing.problem),
        extra={"action": "elsewhere", **job.log_names, "needs": missing.needs},
    )
    return action


# The run ---------------------------------------------------------------------------------------


async def run(job: Job, now_ms: int) -> tuple[Result, bool]:
    """
    Run the handler once.

    Args:
        job: A job whose turn it is.
        now_ms: The time of that decision, Unix milliseconds.

    Returns:
        The result, and whether the handler ran over its time.

    Raises:
        LeaseLostError: When this worker no longer holds the lease, so that the result does not
            count.
        LeftError: When the worker leaves. A result after the cancellation is no attempt.
    """
    route, lease = job.route, job.lease
    if not job.begun and lease is not None:
        await begin(job)
    request = job.request or job.known
    # In memory only; a retry puts it on the wire.
    request.note_first_seen(now_ms)
    confirm = partial(route.leases.confirm, lease) if lease is not None else None
    job.stage = Stage.RUNNING
    attempt = job.attempt = Attempt(route, request, confirm, lease)
    route.quarantine.body_began()
    try:
        ended = await attempt.ended
    finally:
        job.attempt = None
        job.took_s = attempt.took_s
        if attempt.uses is not None:
            job.uses = (job.uses or []) + attempt.uses
        attempt.silent = True
        if attempt.progress is not None:
            attempt.end_progress()
        route.quarantine.body_ended()
        if job.suspect:
            job.leave_quarantine()
    if job.left:
        raise LeftError
    if job.lease is None and route.leases.kept:
        route.counters["results_discarded"] += 1
        raise LeaseLostError
    return ended


def run_permitted(job: Job, now_ms: int) -> Coroutine[object, object, tuple[Result, bool]]:
    """``run``, for an attempt that the limits of the fleet have admitted."""
    return permitted(job, run(job, now_ms))


async def begin(job: Job) -> None:
    """Record that the body begins, so that a death of this worker counts for the effect."""
    route, lease = job.route, job.lease
    if lease is None:
        return
    job.stage = Stage.TELLING
    answer = await route.leases.begin(lease)
    if route.leaving:
        # The journal has it as begun, but no body ran: the next holder must count no death.
        route.leases.hand_back(lease, job.known.attempt)
        raise LeftError
    if not isinstance(answer, Accepted) or job.lease is not lease:
        route.leases.unwatch(lease)
        job.lease = None
        raise LeaseLostError
    job.begun = True


async def after(job: Job, result: Result, overdue: bool) -> End | Pause:
    """The next step after an attempt."""
    request = job.request or job.known
    if not isinstance(result, NotHere) and request.elsewhere:
        # A worker could run it: when something else is missing later, handovers are counted anew.
        request = job.request = replace(request, elsewhere=0, elsewhere_since_ms=0)
    if not (overdue or isinstance(result, (TryAgain, NotHere, BaseException))):
        if job.route.spends and job.uses is None:
            await note_usage(job, result)
        return result
    route = job.route
    now_ms = route.now_ms()
    if request.deadline_ms and now_ms >= request.deadline_ms:
        return expired(request, now_ms)
    if isinstance(result, NotHere):
        known = route.abilities.known(result.needs, result.version, route.key)
        asked = asked_elsewhere(request, now_ms)
        return sent_elsewhere(job, result, known) or result.otherwise(asked)
    if isinstance(result, TryAgain):
        return await try_again(job, result)
    return failed(job, result, now_ms) if isinstance(result, BaseException) else result


async def try_again(job: Job, again: TryAgain) -> End | Pause:
    """The next attempt; its wait is recorded first, when the wait counts as an effect."""
    route, lease = job.route, job.lease
    if again.sleep is not None and lease is not None:
        job.stage = Stage.CLAIMING
        refusal = await note_sleep(route.leases, job.known, again.sleep.envelope)
        if route.leaving:
            job.leave()
            raise LeftError
        if job.lease is not lease:
            raise LeaseLostError
        if refusal:
            return again.sleep.refused(refusal)
    action = retry_in(
        job.known,
        again.wait_ms,
        now_ms=route.now_ms(),
        levels_ms=route.levels_ms,
        jitter=route.jitter,
        at_least=again.promised,
        counts=again.counts,
    )
    if again.counts:
        note_retry(job, action, again.problem)
    return action


def failed(job: Job, error: BaseException, now_ms: int) -> Park | Pause | Delay:
    """The next step after an attempt that raised: retry, or park."""
    route = job.route
    action = after_error(
        job.known,
        route.handler.retry,
        error,
        now_ms=now_ms,
        levels_ms=route.levels_ms,
        jitter=route.jitter,
    )
    if not isinstance(action, Park):
        note_retry(job, action, words_of(error))
    return action


def note_retry(job: Job, action: Pause | Delay, problem: str) -> None:
    """Count and log a retry."""
    job.route.counters["retried"] += 1
    wait_ms = action.wait_ms if isinstance(action, Pause) else action.level_ms
    logger.warning(
        "attempt %d of effect %s failed, next in %d ms: %s",
        job.known.attempt,
        job.effect_id,
        wait_ms,
        without_values(problem, job.known),
        extra={
            "action": "retry",
            **job.log_names,
            "attempt": job.known.attempt,
            "wait_ms": wait_ms,
        },
    )
