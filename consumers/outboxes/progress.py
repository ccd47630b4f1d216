"""
Tell how far one attempt is: its caller and those who watch, and the journal.

A handler may say it as often as it likes, in any thread. It never waits: the latest is told in even
steps, see ``decisions.pace``, and the last one when the attempt ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from effectmq.consumers.decisions.pace import Pace, step_s
from effectmq.protocol.messages.progress import Progress

__all__ = ["ProgressTeller"]


class ProgressTeller:
    """
    Tells how far one attempt is.

    Args:
        loop: The loop of the worker.
        tell: Is given each that is told; on the loop.
        telling: The attempts of the worker that tell how far they are; this one enters itself.
    """

    __slots__ = (
        "_latest",
        "_loop",
        "_over",
        "_pace",
        "_planned",
        "_tell",
        "_telling",
        "_timer",
        "_told",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[Progress], None],
        telling: set[ProgressTeller],
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._telling = telling
        self._pace = Pace()
        self._latest: Progress | None = None
        self._told: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._planned = self._over = False

    def note(self, progress: Progress) -> None:
        """Note how far it is; in any thread, and as often as it likes."""
        if self._over:
            return
        self._latest = progress
        if self._planned:
            return
        # In this order, as in ``_send``: what another thread notes meanwhile is told, too.
        self._planned = True
        if _runs(self._loop):
            self._plan()
            return
        with suppress(RuntimeError):
            # Raised by a loop that is closed: nobody is left to tell it to.
            self._loop.call_soon_threadsafe(self._plan)

    def _plan(self) -> None:
        if self._over:
            return
        if self._timer is not None:
            # Two threads may have planned one each.
            self._timer.cancel()
        self._telling.add(self)
        wait_s = self._pace.wait_s(self._loop.time(), step_s(len(self._telling)))
        if wait_s:
            self._timer = self._loop.call_later(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._planned = False
        latest = self._latest
        if latest is None or latest is self._told:
            return
        self._told = latest
        self._pace.told(self._loop.time())
        self._tell(latest)

    def end(self) -> None:
        """The attempt has ended: tell the last one, and nothing that comes later."""
        if self._over:
            return
        self._over = True
        self._telling.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._send()


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the thread of the loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
