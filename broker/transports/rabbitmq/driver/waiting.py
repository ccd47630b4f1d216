"""Waiting for the library: its cancellations are recognised, and every wait is limited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

__all__ = ["bounded", "cancellations", "closed", "closing", "seen"]


def cancellations() -> int:
    """
    How often this task has been asked to stop.

    When this has not changed, a ``CancelledError`` comes from the library, which cancels tasks that
    wait on a dead connection.
    """
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def closing(library: Any) -> asyncio.Future[object]:
    """A future that is done when a connection or channel of the library ends."""
    end: asyncio.Future[object] = library.closing
    return end


def closed() -> asyncio.Future[None]:
    """A future that is done."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


async def bounded(work: Awaitable[object], timeout_s: float) -> None:
    """
    Give a clean-up so many seconds, whatever it does with a cancellation; never raises.

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
    """Mark a failure as seen, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
