"""
What becomes of an effect of which only the last of several with one key runs.

It waits on delay levels, as an effect does that may not begin yet. When it has lost its place, its
end is recorded already, and the claim finds it.
"""

from __future__ import annotations

from dataclasses import replace

from effectmq.broker.crashpoints import reached
from effectmq.broker.store.debounce.rules import Arrival
from effectmq.broker.store.journal.records import effect_of
from effectmq.consumers.decisions.delivery import Park, no_debounce
from effectmq.consumers.decisions.early import Early, early
from effectmq.consumers.pipeline.job import Job, Stage
from effectmq.consumers.pipeline.leases import LeftError
from effectmq.protocol.kinds import unversioned
from effectmq.protocol.messages.chosen.debounce import Debounce

__all__ = ["debounced"]


async def debounced(job: Job, asked: Debounce) -> Early | Park | None:
    """
    Ask who runs of those with its key.

    Returns:
        ``None`` when it goes on: to run, or to be answered that another one runs in its place.

    Raises:
        LeftError: When the worker is leaving.
    """
    route, request = job.route, job.known
    if not route.leases.kept:
        return no_debounce(asked.key)
    job.stage = Stage.CLAIMING
    arrival = Arrival(
        effect_of(request),
        unversioned(job.home),
        request.tenant,
        asked.key,
        asked_ms=asked.at_ms,
        wait_ms=request.not_before_ms - asked.at_ms,
        max_ms=asked.max_ms,
    )
    answer = await route.leases.debounce(arrival)
    route.counters["superseded"] += answer.superseded
    if route.leaving:
        raise LeftError
    reached("after_debounce")
    if answer.left_ms:
        now_ms = route.now_ms()
        until = replace(request, not_before_ms=now_ms + answer.left_ms)
        ahead = early(until, now_ms=now_ms, levels_ms=route.levels_ms)
        if ahead is not None:
            return ahead
    if answer.decided:
        # Nobody takes its place from here on, whatever it waits for next.
        job.request = request.undebounced()
    return None
