"""
What attempts spend: whether there is room under the ceilings before one begins, and what a handler
without counts of its own has used.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from effectmq.broker.store.admission.declared.keys import Line, spend_line
from effectmq.broker.store.spend.prices import list_price
from effectmq.broker.store.spend.records import Payer, Use
from effectmq.consumers.decisions.delivery import Delay, Park, Pause
from effectmq.consumers.pipeline.admission import NotAdmitted, RoomFull
from effectmq.consumers.pipeline.job import Job, LeaseLostError, Stage
from effectmq.consumers.pipeline.leases import Lease, LeftError
from effectmq.consumers.pipeline.running.aside import set_aside
from effectmq.protocol.encoding.serde.tagging import Ok
from effectmq.protocol.wire.envelope import (
    RuntimeEffectCommandDirect,
    RuntimeEffectCommandLlmCall,
)
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeDirect, RuntimeEffectOutcomeLlmCall

if TYPE_CHECKING:
    from effectmq.protocol.wire.llm_request import LlmRequestSpec

__all__ = ["SPEND_EXCEEDED", "note_usage", "over_ceiling"]

logger = logging.getLogger("effectmq.worker")

#: The code of the error of an effect that a ceiling refuses.
SPEND_EXCEEDED = "effectmq_spend_exceeded"


async def over_ceiling(job: Job) -> Park | Pause | Delay | NotAdmitted | None:
    """
    What to do with an effect for which a ceiling has no room; ``None`` to run it.

    It is parked with an error, or waits in the room, which holds nothing and counts no attempt.
    Where there is no room, or no place in it, it waits in a delay level.

    Raises:
        LeftError: When the worker leaves meanwhile.
        LeaseLostError: When this worker no longer holds the lease.
    """
    leases = job.route.leases
    if leases.free_to_spend:
        return None
    spec, lease = _asked(job), job.lease
    job.stage = Stage.CLAIMING
    payer = Payer.of(job.known, "" if spec is None else spec.model)
    full = await leases.exceeded(payer)
    _check_held(job, lease)
    if full is None:
        return None
    counters = job.route.counters
    if full.ceiling.on_exceeded == "refuse":
        counters["spend_refused"] += 1
        return Park("rejected", SPEND_EXCEEDED, f"{full.sentence}, then replay its dead letter")
    counters["spend_waits"] += 1
    logger.warning(
        "effect %s waits for room: %s",
        job.effect_id,
        full.sentence,
        extra={"action": "spend_wait", **job.log_names},
    )
    return await _waiting(job, payer, spend_line(full.ceiling.by, full.name))


async def _waiting(job: Job, payer: Payer, line: Line) -> Pause | Delay | NotAdmitted:
    route, lease, known = job.route, job.lease, job.known
    if route.room is None:
        return set_aside(job)
    kept = await route.room.hold(known.changed({}), line, route.key, job.home)
    if isinstance(kept, RoomFull):
        _check_held(job, lease)
        return set_aside(job)
    # The ceiling may have been raised before the effect was there to hear of it.
    if await route.leases.exceeded(payer) is None:
        route.room.look_again(known)
    _check_held(job, lease)
    return kept


async def note_usage(job: Job, outcome: object) -> None:
    """
    Count what the answer of a model says that it used, when its handler has noted nothing.

    Raises:
        LeftError: When the worker leaves meanwhile.
        LeaseLostError: When this worker no longer holds the lease.
    """
    spec = _asked(job)
    if spec is None or not isinstance(
        outcome, RuntimeEffectOutcomeLlmCall | RuntimeEffectOutcomeDirect
    ):
        return
    result = outcome.result
    if not isinstance(result, Ok):
        return
    usage = result.ok.usage
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
    if not any(counts):
        return
    # The first call loads all prices, which takes a quarter of a second.
    lease = job.lease
    nanos = await asyncio.to_thread(list_price, spec.model, *counts)
    _check_held(job, lease)
    job.uses = [Use(spec.model, *counts, nanos).bounded()]


def _check_held(job: Job, lease: Lease | None) -> None:
    """After a wait: nothing may begin, or be recorded, without the lease."""
    if job.left or (job.route.leaving and job.lease is not lease):
        raise LeftError
    if job.lease is not lease:
        raise LeaseLostError


def _asked(job: Job) -> LlmRequestSpec | None:
    command = job.known.envelope.command
    if isinstance(command, RuntimeEffectCommandLlmCall | RuntimeEffectCommandDirect):
        return command.request
    return None
