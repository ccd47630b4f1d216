"""Workers, and how they are steered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = [
    "ConcurrencyAsked",
    "DrainAsked",
    "HeardReport",
    "PauseAsked",
    "PausedRoute",
    "ResumeAsked",
    "WorkerAnswer",
    "WorkerList",
    "WorkerRoute",
    "WorkerRow",
]


class PausedRoute(Report):
    """Who paused something, when, and why."""

    by: str
    why: str
    at_ms: int
    everywhere: bool = Field(description="For all workers; else for this one only.")


class WorkerRoute(Report):
    """One route of a worker."""

    route: str
    slots: int
    in_flight: int
    consuming: bool
    paused: PausedRoute | None
    taken: int = Field(description="Messages that it took since its process began.")


class WorkerRow(Report):
    """One worker, as it answered last. Times are Unix milliseconds."""

    name: str
    host: str
    pid: int
    app_version: str
    worker_version: str = Field(description="Which effects can be bound to; empty for none.")
    version: str
    state: str
    detail: str
    started_ms: int
    seen_ms: int
    answered: bool = Field(description="It answered this time.")
    loop_lag_s: float
    slots: int
    in_flight: int
    routes: list[WorkerRoute]


class WorkerList(Report):
    """The workers of the namespace."""

    workers: list[WorkerRow]
    silent: int = Field(description="Workers that consume and did not answer in time.")
    paused: dict[str, PausedRoute] = Field(
        description="Routes that are paused for all workers; an empty name is all routes."
    )
    now_ms: int


class _Steered(Asked):
    routes: list[str] = Field(default_factory=list, max_length=100)
    workers: list[str] = Field(default_factory=list, max_length=100)
    all: bool = Field(default=False, description="Really all, when no worker and route is named.")


class PauseAsked(_Steered):
    """
    Who takes no more effects: routes, for all workers and for those that start later; or workers.
    """

    why: str = Field(default="", max_length=1_000)


class ResumeAsked(_Steered):
    """Who takes effects again."""


class DrainAsked(Asked):
    """Which workers finish what they hold, and end."""

    workers: list[str] = Field(default_factory=list, max_length=100)
    all: bool = Field(default=False, description="Really all, when no worker is named.")
    why: str = Field(default="", max_length=1_000)


class ConcurrencyAsked(_Steered):
    """How many effects of a route run at a time in each worker."""

    slots: int = Field(ge=1, le=65_535)


class WorkerAnswer(Report):
    """What one worker did."""

    worker: str
    did: Literal[
        "reported", "paused", "resumed", "draining", "changed", "unchanged", "not_here", "refused"
    ]
    detail: str


class HeardReport(Report):
    """Who heard it, and what each did."""

    answers: list[WorkerAnswer]
    silent: int = Field(description="Workers that consume and did not answer in time.")
    changed: list[str] = Field(
        description="Routes whose pause or ramp for all workers changed; an empty name is all "
        "routes."
    )
    unknown: list[str] = Field(description="Workers that were named and of which none answered.")
