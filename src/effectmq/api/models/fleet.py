"""Queues, routes, what needs a person, and what is sent to find out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from effectmq.api.models.common import Asked, Report
from effectmq.api.models.workers import PausedRoute, WorkerRow

__all__ = [
    "ApplyAsked",
    "Attention",
    "Me",
    "Overview",
    "PingAsked",
    "PingReport",
    "Pinged",
    "QueueList",
    "QueueRow",
    "RouteRow",
    "SignIn",
    "TopologyReport",
    "TopologyRow",
]


class Me(Report):
    """Who asks."""

    name: str
    role: Literal["read", "operate"]
    tokens: bool = Field(description="Whether tokens are needed here.")
    namespace: str
    version: str


class SignIn(Asked):
    """A token, to be changed for the cookie of a session."""

    token: str = Field(min_length=1, max_length=1_000)


class QueueRow(Report):
    """One queue that exists."""

    queue: str
    role: Literal["work", "delay", "limbo", "dead"]
    route: str | None
    ready: int
    in_flight: int | None
    consumers: int
    rate_in: float | None = Field(description="Messages that come in, a second.")
    rate_out: float | None = Field(description="Messages that are delivered, a second.")
    oldest_s: float | None = Field(
        description="The oldest that waits is at most so old, in seconds: it came after the one "
        "that a worker took last."
    )
    waited_s: float | None = Field(description="How long the one waited that was taken last.")
    paused: PausedRoute | None = Field(description="It is taken by nobody, and why.")


class QueueList(Report):
    """The queues that exist."""

    queues: list[QueueRow]
    source: Literal["management", "workers"] = Field(description="Where the numbers come from.")
    silent: int = Field(description="Workers that did not say their part.")
    problem: str | None = Field(description="Why the management API could not be used.")


class TopologyRow(Report):
    """One exchange, queue or binding of the plan, and whether it is there."""

    object: Literal["exchange", "queue", "binding"]
    name: str
    state: Literal["exists", "missing", "created", "unknown"]
    arguments: dict[str, str | int]


class TopologyReport(Report):
    """The plan against what is there."""

    rows: list[TopologyRow]
    missing: int


class ApplyAsked(Asked):
    """For which routes to declare what is missing; for all kinds when none is named."""

    routes: list[str] = Field(default_factory=list, max_length=100)


class PingAsked(Asked):
    """Which routes to send a probe to; all that have a queue when none is named."""

    routes: list[str] = Field(default_factory=list, max_length=100)
    timeout_s: float = Field(default=5.0, gt=0, le=30)


class Pinged(Report):
    """What became of one probe."""

    route: str
    worker: str | None
    ms: float | None
    problem: str | None


class PingReport(Report):
    """What became of each."""

    routes: list[Pinged]


class RouteRow(Report):
    """One route, as it is now."""

    route: str
    paused: PausedRoute | None = Field(description="It is taken by nobody, and why.")
    ready: int | None = Field(description="null while the broker is away.")
    consumers: int | None
    in_flight: int | None = Field(description="Effects that workers have at hand.")
    waiting: int | None = Field(description="Between attempts, or asleep; by kind.")
    rate: float | None = Field(description="Settled a second, over the last minute; by kind.")
    failing: float | None = Field(
        description="The share of those settled in the last minutes that failed; null for none."
    )
    oldest_ms: int | None = Field(
        description="Since when the oldest effect waits at most; null when nothing waits, or it is "
        "not known."
    )
    running_since_ms: int | None = Field(
        description="When the effect in progress that has not changed for the longest did; by kind."
    )
    parked: int | None = Field(description="Dead letters of the route.")
    history: list[int] = Field(description="Settled in each bucket, the oldest first; by kind.")
    failures: list[int] = Field(description="Those among them that failed.")


class Attention(Report):
    """One thing that needs a person."""

    code: str
    level: Literal["error", "warning"]
    route: str | None
    sentence: str


class Overview(Report):
    """Everything at one look."""

    routes: list[RouteRow]
    bucket_s: int = Field(description="How long a bucket of the histories is.")
    letters: int | None
    letters_by_reason: dict[str, int]
    effects: int | None = Field(description="All that the journal has.")
    effects_by_status: dict[str, int]
    workers: list[WorkerRow] | None = Field(description="null when it is not known.")
    silent: int | None = Field(description="Workers that consume and did not answer in time.")
    attention: list[Attention]
    away: dict[str, str] = Field(description="What cannot be reached, and why.")
    now_ms: int
