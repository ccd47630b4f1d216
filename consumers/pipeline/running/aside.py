"""An effect that cannot run now, for reasons that are not its own: it looks again later."""

from __future__ import annotations

from dataclasses import replace

from effectmq.consumers.decisions.delivery import Delay, Pause, retry_in
from effectmq.consumers.pipeline.job import Job

__all__ = ["set_aside"]

#: How long it waits outside of the worker.
_LOOK_AGAIN_MS = 30_000


def set_aside(job: Job) -> Delay | Pause:
    """
    The way of an effect that waits in a delay level, which holds nothing and counts no attempt.
    """
    action = retry_in(
        job.known,
        # Not longer than the longest level: what comes back from there looks again.
        min(_LOOK_AGAIN_MS, job.route.levels_ms[-1]),
        now_ms=job.route.now_ms(),
        levels_ms=job.route.levels_ms,
        jitter=job.route.jitter,
        counts=False,
    )
    # Waiting is not trying: it takes nothing from the time that a retry policy allows.
    return replace(action, headers={**action.headers, "first_seen": job.known.first_seen_ms})
