"""The slots of one shared route: one count for what the broker delivers and what waited."""

from __future__ import annotations

from effectmq.consumers.pipeline.job import Job

__all__ = ["Slots"]


class Slots:
    """
    The jobs of a route that have a slot.

    Args:
        most: How many there are; the tap keeps it as it is changed.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        #: The worker takes nothing more: what has no slot goes back to the broker.
        self.closing = False
        self._held: set[Job] = set()

    @property
    def free(self) -> int:
        """How many more jobs may begin."""
        return max(0, self.most - len(self._held))

    @property
    def used(self) -> int:
        """How many jobs have one."""
        return len(self._held)

    def begins(self, job: Job) -> bool:
        """Whether the job of a delivery shall be started; otherwise the delivery is cared for."""
        self.hold(job)
        return True

    def holds(self, job: Job) -> bool:
        """Whether a job has a slot."""
        return job in self._held

    def hold(self, job: Job) -> None:
        """A job has a slot until it is released."""
        self._held.add(job)

    def release(self, job: Job) -> None:
        """A job has ended."""
        self._held.discard(job)
