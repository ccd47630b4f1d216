"""Waiting for the library: its cancellations told from ours, and every wait bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

__all__ = ["bounded", "cancellations", "closed", "closing", "seen"]


def cancellations() -> int:
    """
    How often this task has been asked to stop.

    When it has not changed, a ``CancelledError`` is the library's: it cancels whoever waits on a
    connection that died.
    """
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def closing(library: Any) -> asyncio.Future[object]:
    """When a connection or channel of the library's ends."""
    end: asyncio.Future[object] = library.closing
    return end


def closed() -> asyncio.Future[None]:
    """A future that is done."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


async def bounded(work: Awaitable[object], timeout_s: float) -> None:
    """
    Give some clean-up this many seconds, whatever it does with a cancellation; never raises.

    ``asyncio.timeout`` would wait for the library to react to being cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        if not task.done():
            task.cancel()
        task.add_done_callback(seen)


def seen(task: asyncio.Future[Any]) -> None:
    """Asyncio need not complain about a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
