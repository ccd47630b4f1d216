"""
The road of one delivery, from arrival to settlement.

::

    arrive ─▶ claim ─▶ work ─▶ conclude ─▶ settled
      │         │        │         │
      │         │        │         ├─ an outcome: record, answer
      │         │        │         ├─ given up: record, dead letter, answer
      │         │        │         └─ not now: release, delayed copy
      │         │        └─ wait in place, run the handler, and again
      │         └─ recorded: answer from the record; busy: look again
      └─ cannot be read, or runs here already: conclude

Each part returns an *end*, which says how the delivery ends, or ``None`` to go on with the next
part. ``decisions.delivery`` and the journal's rules decide what to do and know nothing of
connections; the parts carry it out.

A job whose connection was lost goes on: the effect finishes and is answered, and settling the
stale delivery does nothing. The broker delivers the message again, and the copy follows the job
that is running, or is answered by its own run. A job whose *lease* was lost does not go on: its
result is discarded, and the answer is the one in the journal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.database.faults import verdict_of
from effectmq.broker.store.journal.handed_out.values import HandedOut
from effectmq.broker.store.journal.records import (
    Busy,
    ClaimAnswer,
    Granted,
    Mismatch,
    Missing,
    Recorded,
)
from effectmq.consumers.decisions.delivery import (
    Delay,
    Park,
    Pause,
    answer_look,
    busy,
    misrouted,
    unkept,
)
from effectmq.consumers.decisions.early import early
from effectmq.consumers.decisions.priorities import ToPriority, waits_apart
from effectmq.consumers.decisions.versions import ToVersion, bound_elsewhere, ramped
from effectmq.consumers.handler import Lack
from effectmq.consumers.pipeline.answers import KnownAnswer, recorded_result, to_caller
from effectmq.consumers.pipeline.ending import End, conclude
from effectmq.consumers.pipeline.job import Job, LeaseLostError, Stage
from effectmq.consumers.pipeline.leases import JournalRefusalError, Lease, LeftError
from effectmq.consumers.pipeline.reading.arrival import fetch, read
from effectmq.consumers.pipeline.reading.unread import running
from effectmq.consumers.pipeline.running.suspects import count_death, step_aside
from effectmq.consumers.pipeline.running.work import sent_elsewhere, work
from effectmq.protocol.encoding.differences import mismatch_sentence
from effectmq.protocol.errors import HandlerError, TransportClosedError
from effectmq.protocol.kinds import unprioritized
from effectmq.protocol.messages.reply import Answer
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe

__all__ = ["carry_out", "read_request_of", "replay"]

logger = logging.getLogger("effectmq.worker")

Arrive = Callable[[Job], Awaitable[End | None]]
Work = Callable[[Job], Awaitable[End]]


# Arrival ---------------------------------------------------------------------------------------


async def read_request_of(job: Job) -> Request | End:
    """The effect that has arrived, or the end of a message that cannot be read."""
    reached("after_deliver")
    route, message = job.route, job.delivery.message
    route.counters["delivered"] += 1
    if route.witnesses is not None:
        job.held_before = route.witnesses.deliver(message)
    found = read(route, message) or await fetch(route, message)
    if isinstance(found, Request):
        job.request = found
        if found.ignored:
            route.ignored.note(found)
        if message.timestamp and not (
            found.first_seen_ms or message.returns or found.not_before_ms
        ):
            numbers, now_s = route.numbers, time.time()
            numbers.newest_ms, numbers.newest_taken_ms = (
                message.timestamp * 1_000,
                int(now_s * 1_000),
            )
            numbers.waits.observe(max(0.0, now_s - message.timestamp))
    return found


async def arrive(job: Job) -> End | None:
    """Read it; then lead for the effect in this process, or follow the job that leads."""
    request = await read_request_of(job)
    if not isinstance(request, Request):
        return request
    here = job.route
    if (
        request.version
        or here.ramps
        or request.kind != here.kind
        or request.priority != here.priority
    ):
        wrong = await not_here(job, request)
        if wrong is not None:
            return wrong
    leader = job.route.inflight.lead(request.identity, job)
    while leader is not job:
        job.route.counters["joined"] += 1
        if leader.known.hash != request.hash:
            return conflict(job, leader.known.hash, leader.known.canonical.decode())
        told = leader.told or await job.follow(leader)
        if isinstance(told, Answer):
            return KnownAnswer(told)
        if told is not None:
            # Wait as the leader does, and know of the same deaths.
            deaths = max(request.deaths, leader.known.deaths)
            job.request = replace(request, deaths=deaths)
            return told
        leader = job.route.inflight.lead(request.identity, job)
    if request.not_before_ms and (ahead := await not_yet(job)) is not None:
        return ahead
    if job.delivery.message.returns and job.route.witnesses is not None:
        return await count_death(job)
    return None


async def not_here(job: Job, request: Request) -> Park | ToVersion | ToPriority | None:
    """The end of an effect that this queue or this version of the worker is not for."""
    if request.kind != job.route.kind:
        # By the queue, not by the routing key: somebody's own binding may bring anything here.
        return misrouted(request, job.route.kind)
    if request.version:
        wrong = bound_elsewhere(request.version, job.route.version)
    else:
        wrong = shared_out(job, request)
    return wrong or await to_its_queue(job, request)


async def to_its_queue(job: Job, request: Request) -> ToPriority | None:
    """The end of an effect whose priority has a queue of its own, which it did not come from."""
    route = job.route
    apart = waits_apart(request, route.priority, job.delivery.message.returns)
    if apart is None or route.priority_queues is None:
        return None
    return apart if await route.priority_queues.has(route.key, apart.priority) else None


def shared_out(job: Job, request: Request) -> ToVersion | None:
    """The end of an effect that is bound to no version, when it is another one's share."""
    ramp = job.route.ramps.get(unprioritized(job.route.key))
    # What has begun stays: it may have run here, and its deaths are counted here.
    begun = request.attempt > 1 or job.delivery.message.returns
    if ramp is None or begun:
        return None
    return ramped(ramp, job.route.version, request.envelope.invocation.scope.session_id)


def conflict(job: Job, known_hash: str, known_envelope: str) -> Park:
    """Park an effect whose replay key belongs to another effect already."""
    request = job.known
    job.route.counters["conflicts"] += 1
    sentence = mismatch_sentence(
        request.identity.scope_id,
        request.replay_key,
        known_envelope,
        request.canonical.decode(),
        known_hash,
        request.hash,
    )
    return Park("rejected", "effectmq_hash_conflict", sentence)


async def not_yet(job: Job) -> End | None:
    """
    Send an effect away that may not begin yet, unless its end is recorded already.

    Returns:
        ``None`` when it may begin.
    """
    route, request = job.route, job.known
    if request.debounce is not None:
        # Most workers never need it, and would load it at each start.
        from effectmq.consumers.pipeline.running.debouncing import debounced

        return await debounced(job, request.debounce)
    ahead = early(request, now_ms=route.now_ms(), levels_ms=route.levels_ms)
    if ahead is None:
        return None
    job.stage = Stage.CLAIMING
    known = await route.leases.look(request)
    if route.leaving:
        raise LeftError
    if isinstance(known, Recorded | Mismatch):
        return denied(job, known)
    return ahead


# Claiming --------------------------------------------------------------------------------------


async def claim(job: Job) -> End | None:
    """Claim the effect; ``None`` when this worker may run it."""
    route = job.route
    while True:
        if job.suspect:
            job.leave_quarantine()
        if route.quarantine.closed and not route.leaving:
            # A suspect runs alone now: begin later, so that its death is not this effect's death.
            if job.known.deaths and not route.leases.kept:
                # Without a journal, a dying worker adds a death to all that it holds. This effect
                # has one already, so it waits outside of the worker.
                return step_aside(job)
            await job.wait(route.quarantine.hold)
            continue
        job.stage = Stage.CLAIMING
        request = job.request or job.known
        answer = await route.leases.claim(request, route.handler.on_uncertain)
        if route.leaving:
            hand_back(job, answer)
        if isinstance(answer, Granted):
            if route.leases.kept:
                job.take(request, answer)
            reached("after_claim")
            return None
        if not isinstance(answer, Busy | HandedOut):
            return denied(job, answer)
        look = look_again(job, answer)
        if isinstance(look, Delay):
            return look
        route.counters["paused"] += 1
        await job.sleep(look.wait_ms / 1_000)


def look_again(job: Job, answer: Busy | HandedOut) -> Pause | Delay:
    """How to wait for an effect that somebody else has."""
    if isinstance(answer, HandedOut):
        return answer_look(answer.wait_ms, job.route.levels_ms)
    job.route.counters["busy"] += 1
    look = busy(answer.wait_ms, job.polls, job.route.levels_ms)
    job.polls += 1
    return look


def hand_back(job: Job, answer: ClaimAnswer) -> None:
    """
    Give back a lease that was granted to a leaving worker: nothing ran, and the journal must know.

    Raises:
        LeftError: Always.
    """
    leases = job.route.leases
    if isinstance(answer, Granted) and not answer.uncertain and leases.kept:
        leases.hand_back(Lease(job.known.identity, answer.fence), answer.attempt)
    raise LeftError


def denied(job: Job, answer: Recorded | Mismatch | Missing) -> End:
    """The end of an effect that must not run here, or need not."""
    if isinstance(answer, Recorded):
        return replay(job, answer)
    if isinstance(answer, Mismatch):
        return conflict(job, answer.hash, answer.envelope_json)
    # Give it to a worker that executes, if one is known.
    needs = running(job.route.kind)
    sentence = (
        "this worker only replays (replay='strict') and the journal has no finished record of "
        "the effect; run it with a worker that executes"
    )
    known = job.route.abilities.known(needs, "", job.route.key)
    other = sent_elsewhere(job, Lack(needs, "", sentence), known) if known == "somebody" else None
    return other or Park("rejected", "effectmq_replay_missing", sentence)


def replay(job: Job, recorded: Recorded) -> KnownAnswer:
    """Answer from the record, without another run."""
    job.route.counters["replayed"] += 1
    job.trace = recorded.trace
    if recorded.ran_out:
        note_unanswered(job)
    request = job.known
    if recorded.park_reason:
        # The worker that parked it may have died before its dead letter was out: write it again.
        request = job.request = replace(
            request,
            attempt=recorded.attempts,
            deaths=recorded.deaths,
            former_deaths=recorded.former_deaths,
        )
    answer = to_caller(
        request,
        job.delivery.message,
        recorded_result(recorded),
        attempt=recorded.attempts,
        replayed=True,
    )
    return KnownAnswer(answer, recorded.park_reason, recorded.parks)


def note_unanswered(job: Job) -> None:
    """Count and log that nobody answered in time."""
    job.route.counters["unanswered"] += 1
    logger.warning(
        "effect %s was handed out, and nobody answered in time; it has failed",
        job.effect_id,
        extra={"action": "unanswered", **job.log_names},
    )


# Trouble ---------------------------------------------------------------------------------------


def trouble(job: Job, problem: Exception | asyncio.CancelledError) -> Park | None:
    """
    Decide what to do after an error where none is expected.

    The effect is parked, so that somebody looks at it. When parking fails as well, the broker gets
    the message back; it comes out of limbo a few times, and is parked from there.

    Returns:
        ``None`` when the broker delivers it again.

    Raises:
        CancelledError: When the job itself is cancelled, because the worker leaves.
    """
    if isinstance(problem, TransportClosedError) and job.route.leaving:
        # Not settled, so another worker gets it.
        return None
    if isinstance(problem, asyncio.CancelledError):
        if job.cancelled or job.route.leaving:
            raise problem
        problem = HandlerError("something that the worker waited for was cancelled")
    job.told = None
    if isinstance(problem, JournalRefusalError):
        again, job.refused = job.refused, True
        if job.route.leaving:
            return None
        if again:
            return unrecordable(job, problem.problem)
        problem = problem.problem
        if verdict_of(problem) != "defect":
            return unkept(problem)
    return defect(job, problem)


def defect(job: Job, problem: Exception) -> Park | None:
    """Park an effect after a defect of effectmq or of a database."""
    route = job.route
    route.counters["defects"] += 1
    logger.error(
        "effect %s cannot go on: %s",
        job.effect_id,
        describe(problem),
        exc_info=problem,
        extra={"action": "defect", **job.log_names},
    )
    first, job.defective = not job.defective, True
    if first and job.request is not None and not route.leaving:
        sentence = f"{describe(problem)}; the worker's log has the traceback"
        return Park("rejected", "effectmq_defect", sentence)
    give_up(job)
    return None


def unrecordable(job: Job, problem: Exception) -> Park | None:
    """The end when the journal does not even record that the effect is given up."""
    if not job.from_limbo:
        give_up(job)
        return None
    # It came from limbo and would only go back there: its dead letter is the record.
    lease = job.drop()
    if lease is not None:
        job.route.leases.abandon(lease)
    return unkept(problem)


def give_up(job: Job) -> None:
    """Give the message back to the broker; the followers look for themselves."""
    lease = job.drop()
    if lease is not None:
        job.route.leases.abandon(lease)
    job.delivery.reject()
    job.tell(None)


# The whole road --------------------------------------------------------------------------------


async def carry_out(job: Job, arrive: Arrive = arrive, work: Work = work) -> None:
    """
    Carry out the effect of a delivery, and settle the delivery.

    Args:
        job: The delivery.
        arrive: Reads it, and ends what needs no claim.
        work: Runs the effect under the lease.
    """
    end: End | None = None
    arrived = False
    try:
        while True:
            try:
                if not arrived:
                    arrived = True
                    end = await arrive(job)
                if end is None:
                    end = await claim(job)
                if end is None:
                    end = await work(job)
                await conclude(job, end)
                return
            except LeaseLostError:
                end = None
            except LeftError:
                # Not settled, so another worker gets it.
                return
            except (Exception, asyncio.CancelledError) as problem:
                end = trouble(job, problem)
                if end is None:
                    return
    finally:
        job.end()
