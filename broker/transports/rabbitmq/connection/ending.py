"""
Ending a task that waits for the library.

``asyncio.wait_for``, which the library uses everywhere, loses a cancellation that arrives together
with its result (python/cpython#86296, fixed in Python 3.12). A task with a loop would then go on,
and a caller that waits for its end would wait for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["end"]

_ASK_AGAIN_S = 0.2


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task, repeatedly if needed, until it has ended; its exception is ignored."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_ASK_AGAIN_S)
