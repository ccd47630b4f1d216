"""
How far effects are, on the way to their records.

It goes with the renewals of leases. So that a record is not much older than what callers are told,
leases with news are renewed a little earlier, all of a worker in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from effectmq.consumers.decisions.pace import Pace
from effectmq.consumers.pipeline.leases import Lease
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity

__all__ = ["ProgressNotes"]

#: The shortest time between two transactions that only say how far effects are, in seconds.
_STEP_S = 2.0


class ProgressNotes:
    """
    The last progress of each effect that is not on its record.

    Args:
        loop: The loop of the worker.
        renew: Renews a lease, and takes what is noted of its effect along.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, renew: Callable[[Lease], None]) -> None:
        self._loop = loop
        self._renew = renew
        self._noted: dict[Identity, tuple[Lease, Progress]] = {}
        self._pace = Pace()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, lease: Lease, progress: Progress) -> None:
        """Note it; it is on the record soon."""
        self._noted[lease.identity] = lease, progress
        if self._timer is None:
            wait_s = self._pace.wait_s(self._loop.time(), _STEP_S)
            self._timer = self._loop.call_later(wait_s, self._renew_noted)

    def _renew_noted(self) -> None:
        self._timer = None
        self._pace.told(self._loop.time())
        for lease, _ in list(self._noted.values()):
            self._renew(lease)

    def has(self, lease: Lease) -> bool:
        """Whether anything of this lease is not on the record."""
        noted = self._noted.get(lease.identity)
        return noted is not None and noted[0] == lease

    def take(self, lease: Lease) -> Progress | None:
        """What is to be recorded; it is no longer noted."""
        noted = self._noted.pop(lease.identity, None)
        return noted[1] if noted is not None and noted[0] == lease else None

    def put_back(self, lease: Lease, progress: Progress | None) -> None:
        """It could not be recorded; the next renewal takes it, unless there is a later one."""
        if progress is not None:
            self._noted.setdefault(lease.identity, (lease, progress))

    def stop(self) -> None:
        """Renew nothing more."""
        self._noted.clear()
        if self._timer is not None:
            self._timer.cancel()
