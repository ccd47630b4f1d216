"""
Named points at which a process can be told to die, for fault tests.

``arm("after_reply:3")`` makes the third arrival at ``after_reply`` end the process with exit code
137 and without any clean-up, like ``kill -9``. When it is not armed, a point costs one comparison.
The front door arms it from ``EFFECTMQ_CRASH_AT``.

A library that acknowledges last must be right at each of these points, and a test cannot wait for
an accidental kill at one of them.

Two points are after data was written, not after an answer to it: ``after_publish`` and
``after_ack``. Frames are written a few turns of the event loop after they were handed over, so such
a point is passed with ``if armed(name): await reached_when_written(name)``: to die at once would
lose the frames and be another point.
"""

from __future__ import annotations

import asyncio
import os

from effectmq.protocol.errors import ConfigurationError

__all__ = ["CRASH_EXIT_CODE", "CRASH_POINTS", "arm", "armed", "reached", "reached_when_written"]

#: The exit code of a process that SIGKILL ended.
CRASH_EXIT_CODE = 137

#: All points, in the order in which an effect passes them.
CRASH_POINTS = (
    "before_publish",
    "after_publish",
    "after_confirm",
    "after_deliver",
    "after_debounce",
    "after_claim",
    "after_room",
    "after_room_release",
    "mid_effect",
    "after_effect",
    "after_record",
    "after_hand_out",
    "after_reply",
    "after_ack",
    "after_delay_publish",
    "after_version_publish",
    "after_dead_publish",
    "after_dead_note",
    "after_schedule_publish",
    "replay_after_publish",
    "replay_after_ack",
)

#: How many turns of the loop to wait after handing over frames: many times the number that writing
#: them takes, and far too few for an answer to arrive.
_WRITING_TURNS = 10

_armed: str | None = None
_left = 0


def arm(spec: str) -> None:
    """
    Choose the point at which to die.

    Args:
        spec: ``name`` or ``name:nth``; empty disarms.

    Raises:
        ConfigurationError: When the point does not exist, or ``nth`` is not a positive number.
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
    """Whether this process is to die at that point, at this arrival or a later one."""
    return _armed == name


async def reached_when_written(name: str) -> None:
    """Pass a point after frames that are being written to the socket."""
    for _ in range(_WRITING_TURNS):
        await asyncio.sleep(0)
    reached(name)
