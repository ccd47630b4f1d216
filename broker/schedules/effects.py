"""
The effect of one time of a schedule.

Its session is ``schedule:NAME`` and its turn the time in UTC, so that its replay key is made of
both and nothing else: whoever publishes it publishes the same effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from effectmq.broker.client.asking.by_hand import ByHand
from effectmq.broker.timetable.missed import MissedPolicy
from effectmq.broker.timetable.schedule import Schedule, session_of, turn_of
from effectmq.broker.timetable.timing import Timing
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.errors import ConfigurationError, ProtocolError
from effectmq.protocol.messages.request import Request
from effectmq.protocol.text import describe
from effectmq.protocol.topology import Names
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope

__all__ = ["made_schedule", "schedule_envelope"]

#: A schedule is a row, not a place for documents.
_MAX_COMMAND_BYTES = 65_536


def made_schedule(
    name: str,
    timing: Timing,
    *,
    tool: str | None = None,
    args: Mapping[str, Any] | None = None,
    kind: str | None = None,
    lane: str | None = None,
    missed: MissedPolicy = "one",
) -> Schedule:
    """
    A schedule, checked: each of its effects can be made.

    Args:
        name: Its name.
        timing: When it fires.
        tool: The tool to call.
        args: Its arguments; or the members of the command of a ``kind``.
        kind: Instead of a tool, the kind of the effect.
        lane: The lane of the kind.
        missed: What becomes of missed times.

    Raises:
        ConfigurationError: When a part of it cannot be used.
    """
    if (tool is None) == (kind is None):
        raise ConfigurationError(
            f"the schedule {name!r} asks for a tool or for another kind; expected one of the two"
        )
    members: dict[str, Any] = dict(args or {})
    if tool is not None:
        call = {"call_id": "call-1", "tool_name": tool, "args": members}
        kind, members = "tool_call", {"call": call}
    try:
        command = canonical_json(members).decode()
        if len(command) > _MAX_COMMAND_BYTES:
            raise ConfigurationError(
                f"the command of the schedule {name!r} has {len(command)} bytes; expected at most "
                f"{_MAX_COMMAND_BYTES}. Give large data to the tool in another way, for instance "
                "as an attachment or as a name"
            )
        schedule = Schedule(name, timing, kind or "", command, lane or "", missed)
        Names().work_queue(schedule.route)
        Request.seal(schedule_envelope(schedule, 0))
    except ProtocolError as problem:
        raise ConfigurationError(
            f"the schedule {name!r} makes no effect: {describe(problem)}"
        ) from None
    return schedule


def schedule_envelope(schedule: Schedule, time_ms: int) -> RuntimeEffectEnvelope:
    """
    The effect of one time.

    Raises:
        ProtocolError: When the command makes none.
    """
    made = ByHand(session_id=session_of(schedule.name), turn_id=turn_of(time_ms))
    members = parse_json(schedule.command_json)
    if not isinstance(members, dict):
        raise ConfigurationError(
            f"the command of the schedule {schedule.name!r} is no JSON object; expected its members"
        )
    return made.command(schedule.kind, members)
