"""A schedule as its row has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from effectmq.broker.store.database.rows import RowReader
from effectmq.broker.timetable.missed import MissedPolicy
from effectmq.broker.timetable.schedule import Schedule, timing_of
from effectmq.broker.timetable.timing import Cron
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.errors import MalformedError

__all__ = ["COLUMNS", "Origin", "ScheduleRow", "columns_of", "read_rows"]

#: Who made it: a program (``app.schedule``), or an operator.
Origin = str


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """
    A schedule and how far it came. Times are Unix milliseconds, by the database's clock.

    Attributes:
        name: Its name.
        cron: The cron expression; empty for an interval.
        zone: The time zone of the expression.
        every_ms: The interval; 0 for a cron expression.
        kind: The kind of the effect.
        command_json: The members of its command.
        lane: Its lane, or empty.
        missed_policy: What becomes of missed times.
        origin: ``code`` or ``operator``.
        paused: 1 while it is paused.
        next_ms: The first time that was not carried out yet.
        claimed_ms: Until when a scheduler carries it out; 0 for none.
        last_ms: The last time that was carried out; 0 for none.
        late_ms: How late that was.
        fired: How many times were carried out.
        missed: How many were given up.
        problem: Why the last try failed; empty when it did not.
        created_ms: When it was made.
        updated_ms: When it was changed.
    """

    name: str
    cron: str
    zone: str
    every_ms: int
    kind: str
    command_json: str
    lane: str
    missed_policy: MissedPolicy
    origin: Origin
    paused: int
    next_ms: int
    claimed_ms: int
    last_ms: int
    late_ms: int
    fired: int
    missed: int
    problem: str
    created_ms: int
    updated_ms: int

    @property
    def schedule(self) -> Schedule:
        """
        The schedule itself.

        Raises:
            ConfigurationError: When the row holds none that this version can use.
        """
        timing = timing_of(self.cron or None, self.zone or None, self.every_ms or None)
        return Schedule(
            self.name, timing, self.kind, self.command_json, self.lane, self.missed_policy
        )

    @property
    def what(self) -> str:
        """What it asks for, in a few words: the tool, or the kind."""
        command = _shown(self.command_json)
        call = command.get("call") if is_object(command) else None
        tool = call.get("tool_name") if is_object(call) and self.kind == "tool_call" else None
        return f"{self.kind} {tool}" if isinstance(tool, str) else self.kind

    def facts(self) -> dict[str, Any]:
        """The row as JSON data."""
        return {
            "name": self.name,
            "cron": self.cron or None,
            "zone": self.zone or None,
            "every_s": self.every_ms / 1_000 if self.every_ms else None,
            "kind": self.kind,
            "lane": self.lane or None,
            "what": self.what,
            "command": _shown(self.command_json),
            "missed": self.missed_policy,
            "origin": self.origin,
            "paused": bool(self.paused),
            "next_ms": None if self.paused else self.next_ms,
            "last_ms": self.last_ms or None,
            "late_ms": self.late_ms if self.last_ms else None,
            "fired": self.fired,
            "given_up": self.missed,
            "problem": self.problem or None,
            "created_ms": self.created_ms,
            "updated_ms": self.updated_ms,
        }


_reader = RowReader(ScheduleRow)

COLUMNS = (
    "name, cron, zone, every_ms, kind, command_json, lane, missed_policy, origin, paused, "
    "next_ms, claimed_ms, last_ms, late_ms, fired, missed, problem, created_ms, updated_ms"
)

read_rows = _reader.all


def _shown(command_json: str) -> JsonValue:
    """A command to look at; the text itself when it is damaged, so that the others are shown."""
    try:
        return parse_json(command_json)
    except MalformedError:
        return command_json


def columns_of(schedule: Schedule) -> tuple[str, str, int, str, str, str, str]:
    """The columns that say what a schedule is: cron, zone, every_ms, kind, command, lane, policy"""
    timing = schedule.timing
    cron, zone, every_ms = (
        (timing.expression, timing.zone, 0)
        if isinstance(timing, Cron)
        else ("", "", timing.every_ms)
    )
    command = schedule.command_json
    return cron, zone, every_ms, schedule.kind, command, schedule.lane, schedule.missed
