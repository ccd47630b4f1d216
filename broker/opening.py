"""Opening what may be away for now: which failures pass, and trying again within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from effectmq.broker.backoff import Backoff
from effectmq.protocol.errors import BrokerError, UnavailableError

__all__ = ["opened_by", "passing"]

T = TypeVar("T")

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 1.0


def passing(problem: Exception) -> bool:
    """Whether what failed to open may open a moment later, without a change of the settings."""
    if isinstance(problem, UnavailableError):
        return not problem.lasting
    # A broker that is just coming up fails in ways of its own; the others have their classes.
    return type(problem) is BrokerError


async def opened_by(end: float, step: Callable[[], Awaitable[T]]) -> T:
    """
    Do a step, again when what failed may pass, until there is no time for another try.

    Args:
        end: When, by the clock of the event loop.
        step: Leaves nothing behind when it fails.

    Raises:
        EffectmqError: What it failed with last.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(_LONGEST_WAIT_S, first_s=_FIRST_WAIT_S)
    while True:
        try:
            return await step()
        except Exception as problem:
            wait_s = backoff.next_s()
            if not passing(problem) or loop.time() + wait_s >= end:
                raise
        await asyncio.sleep(wait_s)
