"""Schedules."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = ["ScheduleAsked", "ScheduleList", "ScheduleReport"]


class ScheduleReport(Report):
    """One schedule. Times are Unix milliseconds, by the database's clock."""

    name: str
    cron: str | None
    zone: str | None
    every_s: float | None
    kind: str
    lane: str | None
    what: str = Field(description="What it asks for, in a few words.")
    command: Any
    missed: Literal["skip", "one", "all"] = Field(description="What becomes of missed times.")
    origin: str = Field(description="code for app.schedule, else operator.")
    paused: bool
    next_ms: int | None = Field(description="Null while it is paused.")
    last_ms: int | None
    late_ms: int | None = Field(description="How late the last time was carried out.")
    fired: int
    given_up: int = Field(description="Times at which no worker looked, and that were left out.")
    problem: str | None = Field(description="Why the last try failed; it is tried again.")
    created_ms: int
    updated_ms: int


class ScheduleList(Report):
    """The schedules of the namespace, by name."""

    schedules: list[ScheduleReport]
    now_ms: int


class ScheduleAsked(Asked):
    """When a schedule fires (an expression or an interval), and what it asks for."""

    cron: str | None = Field(default=None, max_length=200)
    zone: str | None = Field(default=None, max_length=100)
    every_s: float | None = Field(default=None, ge=1, le=366 * 86_400)
    tool: str | None = Field(default=None, max_length=200)
    kind: str | None = Field(default=None, max_length=40)
    args: dict[str, Any] = Field(
        default_factory=dict, description="The tool's arguments, or the members of the command."
    )
    lane: str | None = Field(default=None, max_length=100)
    missed: Literal["skip", "one", "all"] = "one"
