"""What is known of the queues of a namespace at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effectmq.broker.client.fleet.answers import WorkerSeen
from effectmq.broker.inventory import Role
from effectmq.protocol.messages.fleet.pauses import Pause

__all__ = ["QueueReport", "QueuesSeen", "Source"]

#: Where numbers come from: the management API of RabbitMQ, or the broker's counts together with
#: what workers report.
Source = Literal["management", "workers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """
    One queue that exists. What is not known is ``None``.

    Attributes:
        queue: Its name.
        role: What it is for.
        route: The kind, or ``kind.lane``, of a work queue; the milliseconds of a delay level.
        ready: Messages that wait.
        in_flight: Messages that somebody holds. Without the management API: effects that the
            workers which answered have at hand.
        consumers: Consumers; RabbitMQ counts one that was stopped until it has settled what it
            holds.
        in_per_s: Messages that came in, a second, since the look before.
        out_per_s: Messages that were delivered, a second, since the look before.
        oldest_at_most_s: The age of the oldest waiting message is at most this, in seconds: first
            in, first out, so it was published after the last one that a worker took. ``None`` when
            nothing waits, or no worker has taken any.
        waited_s: How long the message waited that was taken last, in seconds.
        paused: Why no worker consumes it; ``None`` when it is not paused.
    """

    queue: str
    role: Role
    route: str
    ready: int
    in_flight: int | None = None
    consumers: int = 0
    in_per_s: float | None = None
    out_per_s: float | None = None
    oldest_at_most_s: float | None = None
    waited_s: float | None = None
    paused: Pause | None = None


@dataclass(frozen=True, slots=True)
class QueuesSeen:
    """
    The queues of a namespace, and the workers that were asked for it.

    Attributes:
        source: Where ready, in flight, consumers and rates come from; ages and pauses always come
            from workers and marks.
        queues: Those that exist: work queues, delay levels, limbo, dead letters.
        workers: The workers, as they answered.
        silent: Workers that did not answer, whose part is missing in what workers report.
        problem: Why the management API could not be used though its address is known; else empty.
        rated_s: Over how many seconds rates were measured; 0 when there are none yet, or when the
            management API says them.
    """

    source: Source
    queues: tuple[QueueReport, ...]
    workers: tuple[WorkerSeen, ...]
    silent: int
    problem: str = ""
    rated_s: float = 0.0
