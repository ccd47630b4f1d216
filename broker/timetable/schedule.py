"""A schedule: when it fires, and the effect that it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from effectmq.broker.timetable.missed import MISSED_POLICIES, MissedPolicy
from effectmq.broker.timetable.timing import Cron, Every, Timing
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.kinds import EFFECT_KINDS, route_of
from effectmq.protocol.text import printable

__all__ = ["Schedule", "session_of", "timing_of", "turn_of"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    A schedule.

    Attributes:
        name: Names it in its namespace, and its effects for ever.
        timing: When it fires.
        kind: The kind of the effect.
        command_json: The members of its command, as canonical JSON.
        lane: The lane of the kind; empty for the common one.
        missed: What becomes of times at which nobody looked.

    Raises:
        ConfigurationError: When a part of it cannot be used.
    """

    name: str
    timing: Timing
    kind: str
    command_json: str
    lane: str = ""
    missed: MissedPolicy = "one"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"the schedule is named {printable(repr(self.name), 120)}; expected up to 100 "
                "letters, digits, '_', '.' and '-', beginning with a letter, a digit or '_'"
            )
        if self.kind not in EFFECT_KINDS or self.kind == "process":
            raise ConfigurationError(
                f"a schedule cannot ask for {printable(self.kind, 60)!r}; expected one of "
                f"{', '.join(kind for kind in EFFECT_KINDS if kind != 'process')}"
            )
        if self.missed not in MISSED_POLICIES:
            raise ConfigurationError(
                f"missed is {printable(str(self.missed), 60)!r}; expected 'skip', 'one' or 'all'"
            )
        route_of(self.kind, self.lane or None)

    @property
    def route(self) -> str:
        """The route of its effects."""
        return route_of(self.kind, self.lane or None)


def timing_of(cron: str | None, zone: str | None, every_ms: int | None) -> Timing:
    """
    The timing out of what was said.

    Raises:
        ConfigurationError: When nothing was said, or two things that do not go together.
    """
    if cron is not None and every_ms is None:
        return Cron(cron, zone or "UTC")
    if every_ms is not None and cron is None and not zone:
        return Every(every_ms)
    raise ConfigurationError(
        "a schedule has a cron expression, which may have a time zone, or an interval; expected "
        "one of the two"
    )


def session_of(name: str) -> str:
    """The session of a schedule's effects."""
    return f"schedule:{name}"


def turn_of(time_ms: int) -> str:
    """The turn of the effect of one time: that time, so that one time is one effect for ever."""
    moment = datetime.fromtimestamp(time_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1_000:03d}Z"
