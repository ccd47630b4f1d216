"""``effectmq limits``: listed, set and cleared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from effectmq.broker.store.admission.looking import RouteState
from effectmq.broker.store.admission.store import LimitDesk
from tests.front_door.cli.command import Result, effectmq
from tests.front_door.recorded import record_session

Command = Callable[..., Result]


@pytest.fixture
def limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq limits`` on a journal."""
    url = record_session(tmp_path)

    def run(*words: str) -> Result:
        return effectmq(capsys, "limits", *words, "--journal", url)

    return run


def test_a_limit_is_set_listed_and_cleared(limits: Command) -> None:
    """What is set is what is shown."""
    assert limits("list").err == "no limit is set\n"
    words = ("set", "llm_call", "--key", "model", "--rate", "60/m", "--concurrency", "8")
    done = limits(*words)
    assert (done.code, done.err) == (0, "the limit llm_call:model is set\n")
    shown = limits("list").out
    assert "llm_call:model" in shown
    assert "8 at a time, 60/m" in shown
    assert "operator" in shown
    (document,) = limits("list", "--json").documents
    assert document["name"] == "llm_call:model"
    assert (document["rate"], document["concurrency"], document["key"]) == ("60/m", 8, "model")
    assert (document["source"], document["running"], document["waiting"]) == ("operator", 0, 0)
    assert limits("clear", "llm_call:model").code == 0
    assert limits("list", "--json").documents == []


def test_a_full_room_is_told(limits: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bound that workers with the same environment have."""
    assert "full" not in limits("list").err
    monkeypatch.setenv("EFFECTMQ_MAX_WAITING", "1")
    monkeypatch.setattr(LimitDesk, "waiting", _one_waits)
    assert "the room is full: 1 effects wait, and 1 may (max_waiting)" in limits("list").err


async def _one_waits(_: LimitDesk) -> list[RouteState]:
    return [RouteState("tool_call", 1, 1)]


def test_setting_again_replaces_the_limit(limits: Command) -> None:
    """The document says what holds now."""
    limits("set", "tool_call", "--concurrency", "2")
    words = ("--rate", "5/s", "--breaker", "3", "--cooldown", "1m", "--json")
    (document,) = limits("set", "tool_call", *words).documents
    assert (document["concurrency"], document["rate"]) == (0, "5/s")
    assert (document["breaker"], document["cooldown_s"]) == (3, 60.0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("clear", "nothing"), "there is no limit 'nothing'"),
        (("set", "tool_call"), "limits nothing"),
        (("set", "tool", "--concurrency", "1"), "holds for nothing"),
        (("set", "tool_call", "--rate", "fast"), "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(
    limits: Command, words: tuple[str, ...], sentence: str
) -> None:
    """With exit code 2."""
    result = limits(*words)
    assert result.code == 2
    assert sentence in result.err


def test_without_a_journal_no_limit_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the option."""
    words = ("set", "tool_call", "--concurrency", "1", "--journal", "none")
    result = effectmq(capsys, "limits", *words)
    assert result.code == 2
    assert "--journal URL" in result.err
