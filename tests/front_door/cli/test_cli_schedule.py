"""``effectmq schedule``: made, listed, paused, resumed and removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.front_door.cli.command import Result, effectmq

Command = Callable[..., Result]

_NIGHTLY = ("add", "nightly", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--tool", "report")


@pytest.fixture
def schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq schedule`` on a journal of the test's own."""

    def run(*words: str) -> Result:
        return effectmq(capsys, "schedule", *words, "--journal", f"sqlite:///{tmp_path}/j.db")

    return run


def test_a_schedule_lives_its_life(schedule: Command) -> None:
    made = schedule(*_NIGHTLY)
    assert made.code == 0, made.err
    assert "schedule nightly fires 30 2 * * * (Europe/Berlin), next at 2" in made.out
    pulse = schedule("add", "pulse", "--every", "30s", "--kind", "sleep")
    assert pulse.code == 2
    assert "duration_ms" in pulse.err
    members = ("--args", '{"duration_ms": 1}', "--missed", "skip")
    assert schedule("add", "pulse", "--every", "30s", "--kind", "sleep", *members).code == 0
    listed = schedule("list", "--json").documents
    assert [(one["name"], one["what"], one["missed"]) for one in listed] == [
        ("nightly", "tool_call report", "one"),
        ("pulse", "sleep", "skip"),
    ]
    assert "Europe/Berlin" in schedule("list").out
    (paused,) = schedule("pause", "pulse", "--json").documents
    assert (paused["paused"], paused["next_ms"]) == (True, None)
    assert "paused" in schedule("list").out
    assert "fires next at" in schedule("resume", "pulse").out
    assert schedule("remove", "pulse").code == 0
    assert [one["name"] for one in schedule("list", "--json").documents] == ["nightly"]


@pytest.mark.parametrize("action", ["pause", "resume", "remove"])
def test_a_name_that_there_is_not_is_said(schedule: Command, action: str) -> None:
    found = schedule(action, "nightly")
    assert found.code == 2
    assert "there is no schedule 'nightly'" in found.err


def test_an_empty_list_is_said(schedule: Command) -> None:
    assert "no schedules" in schedule("list").err
    assert schedule("list", "--json").documents == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--cron", "2 * *", "--tool", "t"), "expected five fields"),
        (("--cron", "* * * * *", "--zone", "Berlin", "--tool", "t"), "time zone"),
        (("--every", "6h", "--zone", "UTC", "--tool", "t"), "expected one of the two"),
        (("--every", "10ms", "--tool", "t"), "the interval is 0.01 s"),
        (("--every", "6h", "--tool", "t", "--args", "[]"), "not a JSON object"),
        (("--every", "6h", "--tool", "t", "--args", "{"), "--args is"),
        (("--every", "6h"), "--tool"),
        (("--tool", "t"), "--cron"),
    ],
)
def test_what_makes_no_schedule_is_refused(
    schedule: Command, words: tuple[str, ...], sentence: str
) -> None:
    refused = schedule("add", "s", *words)
    assert refused.code == 2
    assert sentence in refused.err
