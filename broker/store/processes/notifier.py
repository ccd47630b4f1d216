"""
Waiting for a change of a process.

Each waiter has a bell (an ``asyncio.Event``). Changes by this program ring it at once; changes by
other programs are found by one poll for all waiters. A bell only says "look again", so a needless
ring does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["Bells"]

#: How many processes one poll asks for.
_AT_ONCE = 512

LastSequences = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]


class Bells:
    """
    The bells of all waiters of this program.

    Args:
        last_sequences: Reads the number of the last event of several processes.
        poll_s: The time between two polls, in seconds.
    """

    def __init__(self, last_sequences: LastSequences, poll_s: float) -> None:
        self._last_sequences = last_sequences
        self._poll_s = poll_s
        self._bells: dict[str, set[asyncio.Event]] = {}
        self._known: dict[str, int] = {}
        self._poller: asyncio.Task[None] | None = None
        self.closed = False

    @contextmanager
    def listening(self, process_id: str) -> Generator[asyncio.Event]:
        """Have a bell for a process: clear it, look, and wait for it if nothing was there."""
        bell = asyncio.Event()
        self._bells.setdefault(process_id, set()).add(bell)
        if self._poller is None:
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        try:
            yield bell
        finally:
            others = self._bells[process_id]
            others.discard(bell)
            if not others:
                del self._bells[process_id]
                self._known.pop(process_id, None)

    def ring(self, process_id: str) -> None:
        """Wake the waiters of a process."""
        for bell in self._bells.get(process_id, ()):
            bell.set()

    async def close(self) -> None:
        """End the polling; remaining waiters are woken and find it closed."""
        self.closed = True
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)
        for process_id in self._bells:
            self.ring(process_id)

    async def _poll(self) -> None:
        while self._bells:
            try:
                await self._look()
            except Exception:
                # The waiters find any error by their own look, which tells their callers. If the
                # polling ended here, they would wait for ever.
                for process_id in self._bells:
                    self.ring(process_id)
            await asyncio.sleep(self._poll_s)
        self._poller = None

    async def _look(self) -> None:
        waited_for = list(self._bells)
        for start in range(0, len(waited_for), _AT_ONCE):
            found = await self._last_sequences(waited_for[start : start + _AT_ONCE])
            for process_id, sequence in found.items():
                if self._known.get(process_id) != sequence and process_id in self._bells:
                    self._known[process_id] = sequence
                    self.ring(process_id)
