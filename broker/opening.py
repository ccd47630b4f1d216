"""Opening what may be away for a time: which failures pass, and trying again within a limit."""

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
    """Whether opening may succeed a moment later, without a change of the settings."""
    if isinstance(problem, UnavailableError):
        return not problem.lasting
    # A broker that is starting fails in several ways; other failures have their own classes.
    return type(problem) is BrokerError


async def opened_by(end: float, step: Callable[[], Awaitable[T]]) -> T:
    """
    Do a step, again when its failure may pass, until there is no time for another try.

    Args:
        end: The end of the time, by the clock of the event loop.
        step: The step; leaves nothing behind when it fails.

    Raises:
        EffectmqError: The last failure.
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
