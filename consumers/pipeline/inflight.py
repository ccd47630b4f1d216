"""
Effects that run in this process, so that the same effect does not run twice at a time.

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
    """A table of the job that leads for each effect."""

    def __init__(self) -> None:
        self._leaders: dict[Identity, J] = {}

    def __len__(self) -> int:
        return len(self._leaders)

    def __contains__(self, identity: object) -> bool:
        """Whether a job leads for this effect."""
        return identity in self._leaders

    def lead(self, identity: Identity, job: J) -> J:
        """The job that leads for this effect: the given one, unless another came first."""
        return self._leaders.setdefault(identity, job)

    def release(self, identity: Identity, job: J) -> None:
        """Forget a job that has settled; the next arrival leads again."""
        if self._leaders.get(identity) is job:
            del self._leaders[identity]
