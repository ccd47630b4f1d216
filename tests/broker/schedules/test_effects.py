"""The effects that schedules ask for, and schedules that ask for none."""

from __future__ import annotations

from typing import Any

import pytest

from effectmq.broker.schedules.effects import made_schedule, schedule_envelope
from effectmq.broker.timetable.timing import Every
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.request import Request

DAILY = Every(86_400_000)


def test_the_replay_key_is_made_of_the_name_and_the_time() -> None:
    """Whoever publishes it publishes the same effect, and another time is another one."""
    made = made_schedule("report", DAILY, tool="report", args={"b": 1, "a": 2})
    again = made_schedule("report", DAILY, tool="report", args={"a": 2, "b": 1})
    one, same = (Request.seal(schedule_envelope(each, 86_400_000)) for each in (made, again))
    other = Request.seal(schedule_envelope(made, 2 * 86_400_000))
    key = "schedule:report:1970-01-02T00:00:00.000Z:0:0:tool_call:1:call-1"
    assert one.replay_key == same.replay_key == key
    assert one.hash == same.hash
    assert other.identity != one.identity


@pytest.mark.parametrize("kind", ["sleep", "exec_code"])
def test_other_kinds_are_asked_for_with_the_members_of_their_command(kind: str) -> None:
    members = {"sleep": {"duration_ms": 5}, "exec_code": {"code": "1"}}[kind]
    made = made_schedule("s", DAILY, kind=kind, args=members)
    assert schedule_envelope(made, 0).command.type == kind


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"name": "a b", "tool": "t"}, "is named 'a b'"),
        ({"name": "", "tool": "t"}, "is named ''"),
        ({"name": "x" * 101, "tool": "t"}, "up to 100"),
        ({}, "expected one of the two"),
        ({"tool": "t", "kind": "sleep"}, "expected one of the two"),
        ({"kind": "process"}, "cannot ask for 'process'"),
        ({"kind": "nap"}, "nap"),
        ({"kind": "sleep", "args": {"duration_ms": "long"}}, "duration_ms"),
        ({"tool": "t", "args": {"a": "x" * 70_000}}, "at most 65536"),
        ({"tool": "t", "args": {"a": object()}}, "makes no effect"),
        ({"tool": "t", "args": {"a": float("nan")}}, "makes no effect"),
        ({"tool": "t", "lane": "a b"}, "a b"),
        ({"tool": "t", "missed": "some"}, "expected 'skip', 'one' or 'all'"),
    ],
)
def test_what_makes_no_effect_is_refused(how: dict[str, Any], sentence: str) -> None:
    arguments = {"name": "s", **how}
    with pytest.raises(ConfigurationError, match=sentence):
        made_schedule(arguments.pop("name"), DAILY, **arguments)
