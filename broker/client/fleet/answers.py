"""What the workers answered, as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.messages.fleet.pauses import Pause
from effectmq.protocol.messages.fleet.reports import WorkerReply, WorkerReport

__all__ = ["Heard", "Roster", "WorkerSeen"]


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """
    A worker, and when it answered last.

    Attributes:
        report: How it was then.
        seen_ms: When that answer arrived, by this computer's clock; milliseconds since the Unix
            epoch.
        answered: Whether it answered this time.
    """

    report: WorkerReport
    seen_ms: int
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Roster:
    """
    The workers of a namespace.

    Attributes:
        workers: Those that answered, and those that answered this object earlier, by their names.
        silent: Workers that consume but did not answer in time: stuck, cut off, or of a release
            that does not know the question.
        paused: The routes of these workers that are paused for all workers. One that no worker has
            is only known to the broker: ``Fleet.paused``.
    """

    workers: tuple[WorkerSeen, ...]
    silent: int
    paused: dict[str, Pause]


@dataclass(frozen=True, slots=True)
class Heard:
    """
    Who heard what was asked, and what each did.

    Attributes:
        replies: One for each worker that answered, by their names.
        silent: Workers that consume but did not answer in time. They do the same later when a
            route was paused or resumed for all workers, because the broker keeps that; anything
            else they have missed.
        changed: The routes whose pause for all workers was set or taken away; ``""`` is all routes.
        unknown: Names of workers that were asked and of which none answered.
    """

    replies: tuple[WorkerReply, ...]
    silent: int = 0
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
