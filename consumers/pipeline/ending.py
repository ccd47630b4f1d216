"""
How a delivery ends: recorded, told, and settled, in this order.

A message that could not be read ends here as well: it is parked, and its sender is told when the
headers say who that is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.journal.handed_out.values import HandOut, Question
from effectmq.broker.store.journal.records import Accepted, Record
from effectmq.broker.store.spend.records import Payer, Spend
from effectmq.consumers.answering import WaitForAnswer
from effectmq.consumers.decisions.deaths import (
    UNDELIVERED_CODE,
    Later,
    after_undelivered,
    undelivered_message,
)
from effectmq.consumers.decisions.delivery import Delay, Park, answer_look, no_answers
from effectmq.consumers.decisions.early import Early
from effectmq.consumers.decisions.priorities import ToPriority
from effectmq.consumers.decisions.versions import ToVersion
from effectmq.consumers.logs.lines import note_failure, note_success
from effectmq.consumers.logs.withheld import without_values
from effectmq.consumers.pipeline.admission import NotAdmitted
from effectmq.consumers.pipeline.answers import (
    KnownAnswer,
    Ready,
    encoded_answer,
    error_json_of,
    error_of,
    failure_json,
    ready_answer,
    to_caller,
)
from effectmq.consumers.pipeline.job import Job, LeaseLostError, Stage
from effectmq.consumers.pipeline.reading.arrival import KeptOutcome, Oversize
from effectmq.consumers.pipeline.reading.bodies import Postpone, answer_limits
from effectmq.consumers.pipeline.reading.unread import with_death
from effectmq.consumers.pipeline.running.suspects import who_died
from effectmq.consumers.tools.results.outputs import without_result
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.exact.tools import WrittenOutcome
from effectmq.protocol.kinds import kind_of, prioritized, versioned
from effectmq.protocol.messages import headers
from effectmq.protocol.messages.body_reference import accepts_out_of_line
from effectmq.protocol.messages.dead_letter import dead_message
from effectmq.protocol.messages.message import Message, content_type_of
from effectmq.protocol.messages.reply import Answer
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import printable
from effectmq.protocol.wire.outcome import RuntimeEffectOutcome, RuntimeEffectOutcomeToolCall

__all__ = ["End", "conclude"]

logger = logging.getLogger("effectmq.worker")

#: How a delivery ends.
End = (
    RuntimeEffectOutcome
    | WrittenOutcome
    | Park
    | Delay
    | Early
    | ToVersion
    | ToPriority
    | KnownAnswer
    | Postpone
    | Oversize
    | KeptOutcome
    | NotAdmitted
    | WaitForAnswer
)


def conclude(job: Job, end: End) -> Coroutine[object, object, None]:
    """
    Carry out the end of a delivery, and settle it.

    Raises:
        LeaseLostError: When awaited, if this worker no longer has the right to end it.
    """
    match end:
        case Delay():
            return delay(job, end)
        case Early():
            return put_off(job, end)
        case ToVersion() | ToPriority():
            return send_apart(job, end)
        case Park():
            return park(job, end)
        case KnownAnswer():
            return reply(job, end)
        case Postpone():
            return postpone(job, end)
        case Oversize():
            return turn_away(job, end)
        case WaitForAnswer() | NotAdmitted():
            return leave_outside(job, end)
        case KeptOutcome():
            return deliver(job)
        case _:
            return give(job, end)


def leave_outside(job: Job, end: WaitForAnswer | NotAdmitted) -> Coroutine[object, object, None]:
    """Keep an effect in the database, where it waits for somebody or something."""
    return hand_out(job, end) if isinstance(end, WaitForAnswer) else leave_in_room(job)


# Outcomes and errors ---------------------------------------------------------------------------


async def give(job: Job, outcome: RuntimeEffectOutcome | WrittenOutcome) -> None:
    """Record an outcome, then send it."""
    route = job.route
    request = job.request or job.known
    outcome, ready = sendable(job, request, outcome)
    if isinstance(ready, Park):
        await park(job, ready)
        return
    done = route.counters["completed"] = route.counters["completed"] + 1
    failure = outcome.failure
    error_json = ""
    if failure is not None:
        route.numbers.failures += 1
        error_json = failure_json(failure)
    if job.lease is not None:
        await record(job, outcome_json=ready.recorded, error_json=error_json)
    if failure is not None:
        note_failure(request, failure, job.took_s)
    elif route.log_every and done % route.log_every == 0 and logger.isEnabledFor(logging.INFO):
        note_success(request, job.took_s)
    await answer(job, ready.answer, ready.encoded)


def sendable(
    job: Job, request: Request, outcome: RuntimeEffectOutcome | WrittenOutcome
) -> tuple[RuntimeEffectOutcome | WrittenOutcome, Ready | Park]:
    """The outcome in the forms in which it goes out, or a smaller one; or why none can go out."""
    route, message = job.route, job.delivery.message
    limits = route.limits
    if route.bodies is not None:
        limits = answer_limits(route.bodies, message, limits)
    ready = ready_answer(request, message, outcome, limits, recorded=route.leases.kept)
    if not isinstance(ready, Park):
        return outcome, ready
    if isinstance(outcome, WrittenOutcome):
        outcome = outcome.model
    if isinstance(outcome, RuntimeEffectOutcomeToolCall):
        # For a tool, a result that cannot be sent is a failure, and that is an outcome, too.
        for shorter in without_result(outcome, ready.message):
            if isinstance(ready, Park):
                outcome = shorter
                ready = ready_answer(request, message, shorter, limits, recorded=route.leases.kept)
    return outcome, ready


async def park(job: Job, action: Park) -> None:
    """Give up: record it when the lease is ours, publish the dead letter, then answer."""
    said = printable(action.message)
    logger.error(
        "effect %s is parked as %s: %s",
        job.effect_id,
        action.reason,
        without_values(said, job.request) if job.request else said,
        extra={"action": "park", **job.log_names, "reason": action.reason},
    )
    error = error_of(action)
    attempt = job.request.attempt if job.request else 1
    told = to_caller(job.request, job.delivery.message, error, attempt=attempt)
    parks = await record(job, error_json=error_json_of(error), park_reason=action.reason)
    await reply(job, KnownAnswer(told, action.reason, parks))


async def record(
    job: Job, *, outcome_json: str = "", error_json: str = "", park_reason: str = ""
) -> int:
    """
    Record how it ended, when the lease is ours.

    Returns:
        The number of the parking; 0 when it is none, or when nothing is recorded.

    Raises:
        LeaseLostError: When another worker has recorded another end, or will.
    """
    lease, request = job.lease, job.request
    if lease is None or request is None:
        return 0
    leases = job.route.leases
    job.stage = Stage.TELLING
    said = Record(
        lease.identity,
        lease.fence,
        request.attempt,
        outcome_json,
        error_json,
        park_reason,
        job.trace,
        spend_of(job) if job.uses is not None else None,
    )
    accepted = await leases.finish(said)
    leases.unwatch(lease)
    job.lease = None
    if not isinstance(accepted, Accepted):
        job.route.counters["results_discarded"] += 1
        raise LeaseLostError
    job.uses = None
    job.route.counters["recorded"] += 1
    reached("after_record")
    return accepted.parks


async def reply(job: Job, told: KnownAnswer) -> None:
    """Publish the dead letter of a parking, if it may not be out; then answer."""
    if told.park_reason:
        await post(job, told)
    await answer(job, told.answer)


async def post(job: Job, told: KnownAnswer) -> None:
    """Publish a dead letter."""
    route, request = job.route, job.request
    code, detail = told.error
    letter = dead_message(
        request.changed({}).message if request else job.delivery.message,
        kind=kind_of(job.home),
        route=job.home,
        reason=told.park_reason,
        code=code,
        detail=detail,
        parked_ms=route.now_ms(),
        parked_by=route.worker_name,
        number=told.parks,
    )
    job.stage = Stage.SENDING
    kept_elsewhere = request is not None and headers.BODY in letter.headers
    await route.settlement.park(
        told.park_reason,
        kind_of(job.home),
        letter,
        tree=to_tree(request.envelope) if request is not None and kept_elsewhere else None,
    )
    route.counters[f"parked_{told.park_reason}"] += 1
    if told.parks and request is not None:
        route.leases.posted(request.identity, told.parks)


async def answer(job: Job, told: Answer, encoded: bytes | None = None) -> None:
    """Answer the caller, if there is one, and the followers; then settle."""
    message = job.delivery.message
    if encoded is None:
        limits = answer_limits(job.route.bodies, message, job.route.limits)
        ready = encoded_answer(told, content_type_of(message), limits.max_body_bytes)
        if isinstance(ready, bytes):
            encoded = ready
        elif told.failed:
            # It is parked already; only its caller cannot be told.
            note_unsendable(job, ready)
        else:
            await park(job, ready)
            return
    job.tell(told)
    if encoded is not None and message.reply_to:
        undelivered = await sent(job, told, encoded)
        if undelivered is not None:
            await keep(job, undelivered_message(undelivered, told, message.reply_to))
            return
    job.delivery.ack()


def sent(job: Job, told: Answer, encoded: bytes) -> asyncio.Future[Message | None]:
    """Send an answer; gives its message when it has no reply queue and must be kept."""
    route, message, request = job.route, job.delivery.message, job.request
    fetches = request is not None and accepts_out_of_line(request.message)
    job.stage = Stage.SENDING
    return route.settlement.replies.add(
        message.reply_to,
        content_type_of(message),
        encoded,
        told.effect_id,
        out_of_line=told.hash if fetches else "",
        # The outcome is in the journal or in a dead letter, so this message need not be kept.
        keep=not route.leases.kept and not told.failed,
    )


def note_unsendable(job: Job, why: Park) -> None:
    """Count and log an error that its caller cannot be told."""
    job.route.counters["replies_unsendable"] += 1
    logger.error(
        "effect %s: its caller cannot be told that it failed: %s",
        job.effect_id,
        why.message,
        extra={"action": "reply_unsendable", **job.log_names},
    )


# Not now, not here -----------------------------------------------------------------------------


async def delay(job: Job, action: Delay) -> None:
    """Release the lease first, then publish the copy: its next holder must find it free."""
    fixed_ms = job.known.due_ms
    request = job.request = job.known.changed(action.headers)
    job.told = action
    if job.lease is not None:
        # A due time that was fixed before stays; it does not move with every hop.
        kept = request.due_ms and request.due_ms == fixed_ms
        await release(job, None if kept else _due_in_ms(job, action))
    job.tell(action)
    await publish_delayed(job, action.level_ms, request.message)


def _due_in_ms(job: Job, action: Delay) -> int:
    due_ms = job.known.due_ms
    return max(0, due_ms - job.route.now_ms()) if due_ms else action.level_ms


async def release(job: Job, due_in_ms: int | None) -> None:
    """
    Release the lease until the effect is due; ``None`` keeps the due time that was fixed before.

    Raises:
        LeaseLostError: When this worker no longer held it.
    """
    lease = job.lease
    if lease is None:
        return
    leases = job.route.leases
    job.stage = Stage.TELLING
    accepted = await leases.release(lease, job.known.attempt, due_in_ms, spend_of(job))
    leases.unwatch(lease)
    job.lease = None
    if not isinstance(accepted, Accepted):
        job.told = None
        raise LeaseLostError
    job.uses = None


def spend_of(job: Job) -> Spend | None:
    """What was spent on the effect and is not recorded yet; ``None`` for nothing."""
    if job.uses is None or job.request is None:
        return None
    payer = Payer.of(job.request)
    return Spend(payer.tenant, payer.session, tuple(job.uses))


async def put_off(job: Job, early: Early) -> None:
    """Publish it to a delay level; a copy that may begin now must not wait as long."""
    job.route.counters["put_off"] += 1
    job.tell(None)
    await publish_delayed(job, early.level_ms, job.known.changed({}).message)


async def send_apart(job: Job, end: ToVersion | ToPriority) -> None:
    """Publish it to the queue of a version or of its priority; then settle."""
    route, message = job.route, job.known.changed({}).message
    if isinstance(end, ToVersion):
        message = replace(message, headers={**message.headers, headers.VERSION: end.version})
        key = versioned(job.home, end.version)
    else:
        key = prioritized(route.key, end.priority)
    job.stage = Stage.SENDING
    try:
        await route.settlement.send(key, message)
    except ConfigurationError as problem:
        # A stranger names it: no queue can have that name, or there are too many of them.
        await park(job, Park("rejected", "effectmq_route_refused", str(problem)))
        return
    if isinstance(end, ToVersion):
        route.counters["to_version"] += 1
    else:
        route.counters["to_priority"] += 1
    job.tell(None)
    reached("after_version_publish")
    job.delivery.ack()


async def publish_delayed(job: Job, level_ms: int, message: Message) -> None:
    """Publish a message to a delay level, which brings it home; then settle."""
    job.stage = Stage.SENDING
    await job.route.settlement.delay(level_ms, job.home, message)
    job.delivery.ack()


async def leave_in_room(job: Job) -> None:
    """
    Release the lease of an effect that is in the room, and settle the delivery.

    Jobs of the same effect find out for themselves: each asks, and its delivery is kept as well.
    """
    if job.lease is not None:
        await release(job, None)
    job.route.counters["not_admitted"] += 1
    reached("after_room_release")
    job.delivery.ack()


async def hand_out(job: Job, asked: WaitForAnswer) -> None:
    """Keep what is asked, let go of the effect, and send the message round until it is answered."""
    # Most workers never need these, and would load them at each start.
    from effectmq.protocol.answering.asker import asker_json
    from effectmq.protocol.answering.outcomes import unanswered
    from effectmq.protocol.answering.tokens import token_hash

    route, request, lease = job.route, job.known, job.lease
    if lease is None:
        await park(job, no_answers())
        return
    due_in_ms = round(asked.deadline_s * 1_000)
    if request.deadline_ms:
        due_in_ms = max(1, min(due_in_ms, request.deadline_ms - route.now_ms()))
    request = job.request = request.changed({"due": 0})
    ending = unanswered(request.envelope, due_in_ms / 1_000)
    question = Question(
        token_hash(asked.token),
        asked.note,
        asked.schema_json,
        asker_json(job.home, request.message),
    )
    said = HandOut(
        lease.identity,
        lease.fence,
        request.attempt,
        due_in_ms,
        *ending,
        question,
        spend_of(job),
    )
    job.stage = Stage.TELLING
    accepted = await route.leases.hand_out(said)
    route.leases.unwatch(lease)
    job.lease = None
    if not isinstance(accepted, Accepted):
        route.counters["results_discarded"] += 1
        raise LeaseLostError
    route.counters["handed_out"] += 1
    reached("after_hand_out")
    look = answer_look(due_in_ms, route.levels_ms)
    step = look if isinstance(look, Delay) else Delay(route.levels_ms[0], {})
    job.tell(step)
    await publish_delayed(job, step.level_ms, request.message)


async def postpone(job: Job, unread: Postpone) -> None:
    """Publish what could not be read here to a delay level; the copy keeps every count."""
    died = await who_died(job)
    message = with_death(unread.message) if died else unread.message
    await publish_delayed(job, unread.level_ms, message)


async def turn_away(job: Job, oversize: Oversize) -> None:
    """Tell the sender that the message is too large; the broker dead-letters it unchanged."""
    route, message = job.route, job.delivery.message
    logger.error(
        "effect %s has a body of %d bytes and the limit is %d; left to the broker",
        job.effect_id,
        len(message.body),
        route.limits.max_body_bytes,
        extra={"action": "oversize", **job.log_names},
    )
    told = to_caller(None, message, error_of(oversize.why))
    encoded = encoded_answer(told, content_type_of(message), route.limits.max_body_bytes)
    # The sender of a message from limbo was told when it was on its own queue.
    if message.reply_to and not job.from_limbo and isinstance(encoded, bytes):
        await sent(job, told, encoded)
    job.delivery.reject()


# Outcomes that found no reply queue ------------------------------------------------------------


async def deliver(job: Job) -> None:
    """Send an outcome that was kept; keep it on while its reply queue is missing."""
    job.stage = Stage.SENDING
    if await job.route.settlement.deliver(job.delivery.message):
        job.delivery.ack()
    else:
        await keep(job, job.delivery.message)


async def keep(job: Job, message: Message) -> None:
    """Keep an outcome without a reply queue: send it again later, or park it with itself inside."""
    route = job.route
    step = after_undelivered(
        message,
        now_ms=route.now_ms(),
        keep_ms=round(route.settings.reply_keep_s * 1_000),
        levels_ms=route.levels_ms,
        jitter=route.jitter,
    )
    if isinstance(step, Later):
        route.counters["outcomes_kept"] += 1
        await publish_delayed(job, step.level_ms, step.message)
        return
    logger.error(
        "the outcome of effect %s is parked: %s",
        job.effect_id,
        step.detail,
        extra={"action": "outcome_parked", **job.log_names},
    )
    letter = dead_message(
        message,
        kind=kind_of(job.home),
        route=job.home,
        reason="undelivered",
        code=UNDELIVERED_CODE,
        detail=step.detail,
        parked_ms=route.now_ms(),
        parked_by=route.worker_name,
    )
    job.stage = Stage.SENDING
    await route.settlement.park("undelivered", kind_of(job.home), letter)
    route.counters["parked_undelivered"] += 1
    job.delivery.ack()
