"""
Ending a task that waits for the library.

``asyncio.wait_for``, which the library uses throughout, loses a cancellation that arrives together
with the result it waits for (python/cpython#86296, mended in Python 3.12). A task that runs in a
loop would then go on as if nobody had asked, and whoever waits for its end would wait for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["end"]

_ASK_AGAIN_S = 0.2


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task, again if need be, until it has ended; what it raised is its own business."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_ASK_AGAIN_S)
