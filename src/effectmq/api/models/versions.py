"""Versions of workers, and how what is bound to none is shared out among them."""

from __future__ import annotations

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = ["ClearRampAsked", "DrainVersionAsked", "RampAsked", "VersionList", "VersionOfRoute"]

_LONGEST_ROUTE = 255
_LONGEST_VERSION = 40


class VersionOfRoute(Report):
    """One version of a route. The empty version is that of workers without one."""

    route: str
    version: str
    workers: int
    held: int = Field(description="Effects of the route that its workers have at hand.")
    slots: int
    waiting: int = Field(description="Messages that wait for this version alone, or for any.")
    takes: str = Field(
        description="What it takes of what is bound to none: any, a number between 0 and 1, rest "
        "or none."
    )
    share: float | None = Field(description="The share that is ramped; null when none is.")
    by: str = Field(description="Who asked for the ramp.")
    why: str


class VersionList(Report):
    """The versions of each route that has one."""

    versions: list[VersionOfRoute]
    silent: int = Field(description="Workers that consume and did not answer in time.")


class DrainVersionAsked(Asked):
    """A version that takes only what is bound to it."""

    route: str = Field(min_length=1, max_length=_LONGEST_ROUTE)
    version: str = Field(min_length=1, max_length=_LONGEST_VERSION)
    why: str = Field(default="", max_length=1_000)


class RampAsked(DrainVersionAsked):
    """A version that takes a share of what is bound to none; all others take the rest."""

    share: float = Field(ge=0, le=1)


class ClearRampAsked(Asked):
    """A route that all versions take from again."""

    route: str = Field(min_length=1, max_length=_LONGEST_ROUTE)
