"""
Named points at which a process can be told to die, for fault tests.

``arm("after_reply:3")`` makes the third arrival at ``after_reply`` end the process with exit code
137 and no clean-up at all, as ``kill -9`` would. Not armed, a point costs one comparison. The
front door arms it from ``EFFECTMQ_CRASH_AT``.

A library that acknowledges last has to be right at each of these points, and waiting for an
accidental kill to hit one is not a test.

Two points lie behind something that was written, not behind an answer to it: ``after_publish``
and ``after_ack``. Frames leave a few turns of the event loop after they were handed over, so such
a point is passed with ``if armed(name): await reached_when_written(name)``: dying at once would
take the frames along and be another point.
"""

from __future__ import annotations

import asyncio
import os

from effectmq.protocol.errors import ConfigurationError

__all__ = ["CRASH_EXIT_CODE", "CRASH_POINTS", "arm", "armed", "reached", "reached_when_written"]

#: What a process killed by SIGKILL reports.
CRASH_EXIT_CODE = 137

#: Every point there is, in the order in which an effect passes them.
CRASH_POINTS = (
    "before_publish",
    "after_publish",
    "after_confirm",
    "after_deliver",
    "after_claim",
    "mid_effect",
    "after_effect",
    "after_record",
    "after_reply",
    "after_ack",
    "after_delay_publish",
    "after_dead_publish",
    "replay_after_publish",
    "replay_after_ack",
)

#: Turns of the loop from handing over frames to the system call that writes them: many times what
#: it takes. Far too short for an answer to come back.
_WRITING_TURNS = 10

_armed: str | None = None
_left = 0


def arm(spec: str) -> None:
    """
    Choose where to die.

    Args:
        spec: ``name`` or ``name:nth``; empty disarms.

    Raises:
        ConfigurationError: When there is no such point, or ``nth`` is not a positive number.
    """
    global _armed, _left
    name, _, nth = spec.partition(":")
    if not name:
        _armed, _left = None, 0
        return
    if name not in CRASH_POINTS or (nth and not nth.isdecimal()) or nth == "0":
        raise ConfigurationError(
            f"the crash point is {spec!r}; expected one of {', '.join(CRASH_POINTS)}, with :N for "
            "the Nth arrival"
        )
    _armed, _left = name, int(nth or 1)


def reached(name: str) -> None:
    """Pass a point; the process ends here when it is armed for it."""
    global _left
    if _armed == name:
        _left -= 1
        if _left <= 0:
            os._exit(CRASH_EXIT_CODE)


def armed(name: str) -> bool:
    """Whether this process is to die at that point, sooner or later."""
    return _armed == name


async def reached_when_written(name: str) -> None:
    """Pass a point that lies behind frames which are on their way to the socket."""
    for _ in range(_WRITING_TURNS):
        await asyncio.sleep(0)
    reached(name)
