"""
Notice a handler that blocks the event loop, and name it while it does.

A blocked loop cannot log anything itself, and after three missed heartbeats the broker closes the
connection. So a small thread checks that the loop still runs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

__all__ = ["LoopWatchdog"]

logger = logging.getLogger("effectmq.worker")


class LoopWatchdog:
    """
    A thread that notices when the event loop is blocked.

    Args:
        limit_s: How long the loop may be silent, in seconds.
        running: Returns the ids of the running effects; called in the thread, so keep it simple.
    """

    def __init__(self, limit_s: float, running: Callable[[], list[str]]) -> None:
        self._limit_s = limit_s
        self._running = running
        self._interval_s = min(1.0, limit_s / 4)
        self._beat = time.monotonic()
        self._late_s = 0.0
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(
            target=self._watch, name="effectmq loop watchdog", daemon=True
        )

    def start(self) -> None:
        """Start watching the running loop."""
        self._pulse()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def lag_s(self) -> float:
        """How late the loop was last, or is by now, in seconds."""
        overdue_s = time.monotonic() - self._beat - self._interval_s
        return max(0.0, self._late_s, overdue_s)

    def _pulse(self) -> None:
        now_s = time.monotonic()
        self._late_s = now_s - self._beat - self._interval_s if self._timer is not None else 0.0
        self._beat = now_s
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._pulse)

    def _watch(self) -> None:
        told = False
        while not self._stopped.wait(self._interval_s):
            silent_s = time.monotonic() - self._beat
            if silent_s < self._limit_s:
                told = False
            elif not told:
                told = True
                logger.error(
                    "the event loop has been blocked for %.0f s; a handler calls something that "
                    "does not await. Make it a plain function, which runs in a thread. Running: %s",
                    silent_s,
                    ", ".join(self._running()) or "nothing",
                    extra={"action": "loop_blocked", "silent_s": silent_s},
                )
