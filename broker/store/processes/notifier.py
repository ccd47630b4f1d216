"""
Waiting for something to happen to a process.

Whoever waits has a bell. It is rung at once by what this program appends, and by one poll for all
that wait here when another program has appended. A bell says "look again", never what there is to
see, so one ring too many does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["Bells"]

#: How many processes one look asks for.
_AT_ONCE = 512

LastSequences = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]


class Bells:
    """
    The bells of all who wait here for something to happen to a process.

    Args:
        last_sequences: Reads the number of the last event of each of some processes.
        poll_s: How often to look for what others have appended, in seconds.
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
        """Have a bell for a process: clear it, look, and if there was nothing, wait for it."""
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
        """Something has happened to a process."""
        for bell in self._bells.get(process_id, ()):
            bell.set()

    async def close(self) -> None:
        """End the polling; whoever still waits is rung and finds it closed."""
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
                # Whatever it is, those that wait find it out by a look of their own, which tells
                # their callers; were this to end here, they would wait for ever.
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
