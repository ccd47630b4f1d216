"""
Effects that this process is busy with, so that the same one is not run twice side by side.

The same effect arrives again while it runs: it was submitted twice at once, or the connection was
lost and the broker gave it out again. The second arrival waits for the first and is answered with
the same outcome.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from effectmq.protocol.messages.request import Identity

__all__ = ["InFlight"]

J = TypeVar("J")


class InFlight(Generic[J]):
    """Which job leads for which effect."""

    def __init__(self) -> None:
        self._leaders: dict[Identity, J] = {}

    def __len__(self) -> int:
        return len(self._leaders)

    def lead(self, identity: Identity, job: J) -> J:
        """The job that leads for this effect: the given one, unless another came first."""
        return self._leaders.setdefault(identity, job)

    def release(self, identity: Identity, job: J) -> None:
        """The job has settled; the next arrival leads again."""
        if self._leaders.get(identity) is job:
            del self._leaders[identity]
