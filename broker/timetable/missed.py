"""
Which times of a schedule are carried out, when somebody looks at it.

A time is *missed* when nobody looked within ``GRACE_MS`` after it: no scheduler ran, or the
database or the broker was away. What is not missed is always carried out.

========  ==========================================================================
policy    the missed times
========  ==========================================================================
``skip``  none is carried out
``one``   the last one is carried out, unless a later time is due anyway
``all``   the last hundred are carried out, the earliest first
========  ==========================================================================
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from effectmq.broker.timetable.timing import Every, Timing, times_after

__all__ = ["GRACE_MS", "MISSED_POLICIES", "MOST_AT_ONCE", "Firing", "MissedPolicy", "firing_at"]

MissedPolicy = Literal["skip", "one", "all"]
MISSED_POLICIES: tuple[MissedPolicy, ...] = ("skip", "one", "all")

#: Longer than another scheduler takes to go on with the work of one that died.
GRACE_MS = 60_000
#: The most times that one look carries out.
MOST_AT_ONCE = 100
#: How many times of a cron expression are computed at most; computing them blocks the event loop.
_MOST_COMPUTED = 2_000
#: A cron expression fires at most once a minute.
_SHORTEST_CRON_MS = 60_000


@dataclass(frozen=True, slots=True)
class Firing:
    """
    What is to be done for a schedule now.

    Attributes:
        times_ms: The times to carry out, ascending.
        missed: How many times are given up; of a very long outage at least so many.
        next_ms: The next time.
    """

    times_ms: tuple[int, ...]
    missed: int
    next_ms: int


def firing_at(timing: Timing, policy: MissedPolicy, *, next_ms: int, now_ms: int) -> Firing | None:
    """
    What is to be done now.

    Args:
        timing: When it fires.
        policy: What becomes of missed times.
        next_ms: The first time that was not carried out yet.
        now_ms: The time now.

    Returns:
        ``None`` when nothing is due.
    """
    if next_ms > now_ms:
        return None
    due, count = _due(timing, next_ms, now_ms)
    fresh = [time_ms for time_ms in due if time_ms >= now_ms - GRACE_MS]
    missed = due[: len(due) - len(fresh)]
    chosen = {"skip": fresh, "one": fresh or missed[-1:], "all": due}[policy]
    chosen = chosen[-MOST_AT_ONCE:]
    return Firing(tuple(chosen), count - len(chosen), next(times_after(timing, now_ms)))


def _due(timing: Timing, next_ms: int, now_ms: int) -> tuple[list[int], int]:
    """The last times from ``next_ms`` to now, and the number of all of them."""
    if isinstance(timing, Every):
        last_ms = now_ms - now_ms % timing.every_ms
        count = max(1, (last_ms - next_ms) // timing.every_ms + 1)
        first_ms = max(next_ms, last_ms - (MOST_AT_ONCE - 1) * timing.every_ms)
        return [*range(first_ms, now_ms + 1, timing.every_ms)], count
    last: deque[int] = deque([next_ms], MOST_AT_ONCE)
    count = 1
    for time_ms in times_after(timing, next_ms):
        if time_ms > now_ms:
            return list(last), count
        if count >= _MOST_COMPUTED:
            break
        last.append(time_ms)
        count += 1
    # Nobody looked for very long: what is far back is not computed.
    recent_ms = max(last[-1], now_ms - MOST_AT_ONCE * _SHORTEST_CRON_MS)
    for time_ms in times_after(timing, recent_ms):
        if time_ms > now_ms:
            break
        last.append(time_ms)
        count += 1
    return list(last), count
