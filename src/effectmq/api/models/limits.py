"""Limits that hold for all workers, as the API tells and takes them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = ["LimitAsked", "LimitChosen", "LimitCleared", "LimitLine", "LimitReport", "Limits"]


class LimitLine(Report):
    """One value of a limit's key."""

    value: str
    running: int
    waiting: int
    oldest_ms: int = Field(description="Since when the first of them waits; 0 for none.")
    shut: bool = Field(description="Whether nothing starts, or one alone asks.")
    opens_in_ms: int
    failures: int


class LimitReport(Report):
    """A limit, what runs under it and what waits for it."""

    name: str
    route: str
    key: str
    only: str
    concurrency: int = Field(description="How many run at a time; 0 for any number.")
    rate: str = Field(description="How many start in a time, such as 60/m; empty for any number.")
    breaker: int
    cooldown_s: float
    source: Literal["program", "operator"]
    set_by: str
    set_ms: int
    running: int
    waiting: int
    oldest_ms: int
    shut: int = Field(description="How many values of its key are shut.")
    lines: list[LimitLine] = Field(description="Its values in use, at most 20.")


class RouteWaiting(Report):
    """How many effects of a route wait for admission."""

    route: str
    waiting: int
    oldest_ms: int


class Limits(Report):
    """Every limit, and what waits."""

    limits: list[LimitReport]
    waiting: list[RouteWaiting]
    now_ms: int


class LimitAsked(Asked):
    """A limit to set, in place of the one of its name."""

    route: str = Field(max_length=200, description="A kind, kind.lane, or * for every kind.")
    name: str = Field(default="", max_length=120)
    key: str = Field(default="", max_length=1_000, description="What each has for itself.")
    only: str = Field(default="", max_length=200, description="Only this value of the key.")
    concurrency: int = Field(default=0, ge=0, le=1_000_000)
    rate: str = Field(default="", max_length=60, description="Such as 60/m.")
    breaker: int = Field(default=0, ge=0, le=1_000_000)
    cooldown_s: float | None = Field(default=None, gt=0, le=2_678_400)


class LimitChosen(Asked):
    """Which limit is meant."""

    name: str = Field(max_length=120)


class LimitCleared(Report):
    """The limit that was removed."""

    name: str
