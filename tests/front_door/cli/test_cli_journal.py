"""``effectmq journal``: statistics, pruning, migration, verification, and finding the journal."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from effectmq.cli.terminal.times import seconds
from tests.front_door.cli.command import Result, effectmq
from tests.front_door.recorded import change_journal, record_session

Command = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal with a small session."""
    return record_session(tmp_path)


@pytest.fixture
def journal(url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq journal`` on it."""

    def run(*words: str) -> Result:
        return effectmq(capsys, "journal", *words, "--journal", url)

    return run


def _statuses(capsys: pytest.CaptureFixture[str], url: str) -> dict[str, str]:
    found = effectmq(capsys, "effects", "list", "--json", "--journal", url).documents
    return {one["effect_id"]: one["status"] for one in found}


# Finding it ---------------------------------------------------------------------------------------


def test_the_journal_comes_from_the_option_the_environment_or_the_user(
    url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    missing = effectmq(capsys, "journal", "stats", "--namespace", "mine")
    assert missing.code == 2
    assert str(tmp_path / "state" / "effectmq" / "mine.db") in missing.err
    assert "--journal" in missing.err
    monkeypatch.setenv("EFFECTMQ_JOURNAL", url)
    assert effectmq(capsys, "journal", "stats").code == 0
    other = effectmq(capsys, "journal", "stats", "--journal", "sqlite:////nowhere/else.db")
    assert "/nowhere/else.db" in other.err
    monkeypatch.setenv("EFFECTMQ_JOURNAL", "none")
    none = effectmq(capsys, "journal", "stats")
    assert none.code == 2
    assert "--journal URL" in none.err


def test_passwords_are_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("postgresql://me:hunter2@127.0.0.1:1/none", "mysql://me:hunter2@host/db"):
        result = effectmq(capsys, "journal", "stats", "--journal", address)
        assert result.code in (1, 2)
        assert result.err.startswith("effectmq: ")
        assert "hunter2" not in result.err


# stats --------------------------------------------------------------------------------------------


def test_stats_for_people_and_for_scripts(journal: Command, url: str) -> None:
    shown = [line.split() for line in journal("stats").out.splitlines()]
    assert ["parked", "1", "rejected"] in shown
    assert ["longest", "in", "progress", "2:call-2"] in [words[:4] for words in shown]
    assert ["sleep", "completed", "2"] in shown
    (found,) = journal("stats", "--json").documents
    assert found.pop("size_bytes") > 0
    assert found.pop("oldest_in_progress")["effect_id"] == "2:call-2"
    assert found == {
        "journal": url,
        "effects": 4,
        "counts": [
            {"kind": "sleep", "status": "completed", "count": 2},
            {"kind": "tool_call", "status": "failed", "count": 1},
            {"kind": "tool_call", "status": "in_progress", "count": 1},
        ],
        "parked": {"rejected": 1},
        "letters_unsent": 1,
        "unheld": 0,
    }


# prune --------------------------------------------------------------------------------------------


@pytest.fixture
def aged(url: str) -> str:
    """The same session, 40 days ago."""
    change_journal(
        url, f"UPDATE effectmq_effects SET updated_at_ms = updated_at_ms - {40 * 86_400_000}"
    )
    return url


def test_pruning_needs_a_yes(
    journal: Command, aged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _statuses(capsys, aged)
    looked = journal("prune", "--older-than", "30d", "--dry-run")
    assert looked.code == 0
    assert looked.out.startswith("2 effects would be pruned")
    refused = journal("prune", "--older-than", "30d")
    assert refused.code == 2
    assert "Add --yes" in refused.err
    assert _statuses(capsys, aged) == before


def test_pruning_keeps_keys_and_what_was_parked(
    journal: Command, aged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = journal("prune", "--older-than", "30d", "--yes")
    assert result.code == 0
    assert result.out.startswith("2 effects pruned")
    assert "keys and hashes are kept" in result.out
    assert "parked, and left as they are: 1 effect" in result.err
    assert _statuses(capsys, aged) == {
        "1": "forgotten",
        "pause": "forgotten",
        "2:call-1": "failed",
        "2:call-2": "in_progress",
    }
    assert "nothing to prune" in journal("prune", "--older-than", "30d", "--yes").out


def test_pruning_can_forget_keys_and_parked_effects(
    journal: Command, aged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_journal(aged, "UPDATE effectmq_effects SET letter_sent = 1")
    words = ("prune", "--older-than", "30d", "--yes", "--forget-keys", "--parked", "--json")
    (report,) = journal(*words).documents
    assert report.pop("payload_bytes") > 0
    assert report == {"dry_run": False, "pruned": 3, "keys_kept": False, "parked_left": 0}
    assert _statuses(capsys, aged) == {"2:call-2": "in_progress"}


def test_what_is_young_is_left(journal: Command, url: str) -> None:
    result = journal("prune", "--older-than", "30d")
    assert result.code == 0
    assert "nothing to prune" in result.out


def test_ages_may_be_days() -> None:
    assert seconds("30d") == 30 * 86_400
    with pytest.raises(argparse.ArgumentTypeError, match="30d"):
        seconds("30 years")


# migrate ------------------------------------------------------------------------------------------


def test_migrating_what_is_up_to_date_changes_nothing(journal: Command) -> None:
    result = journal("migrate")
    assert result.code == 0
    assert "already" in result.out
    found = journal("migrate", "--json").documents
    assert {one["component"] for one in found} > {"journal", "processes", "sessions"}
    assert all(one["before"] == one["after"] > 0 for one in found)


def test_tables_of_a_newer_version_are_refused(url: str, journal: Command) -> None:
    change_journal(url, "UPDATE effectmq_schema SET version = 99 WHERE component = 'journal'")
    for words in (["stats"], ["migrate"]):
        result = journal(*words)
        assert result.code == 2
        assert "99" in result.err


def test_migrating_makes_tables_in_an_empty_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    where = ("--journal", f"sqlite:///{path}")
    assert effectmq(capsys, "journal", "stats", *where).code == 2
    assert "made, version" in effectmq(capsys, "journal", "migrate", *where).out
    assert effectmq(capsys, "journal", "stats", *where).code == 0


# verify -------------------------------------------------------------------------------------------


def test_a_sound_journal_is_verified(journal: Command) -> None:
    result = journal("verify")
    assert result.code == 0
    assert result.out == ""
    assert "4 effects verified, nothing is wrong" in result.err
    assert journal("verify", "--quiet").err == ""


def test_damage_is_listed_and_exits_1(url: str, journal: Command) -> None:
    change_journal(
        url, "UPDATE effectmq_effects SET envelope_json = '{}' WHERE effect_id = '2:call-1'"
    )
    result = journal("verify")
    assert result.code == 1
    assert "in scope 't': its envelope hashes to" in result.out
    assert "1 thing is wrong" in result.err
    assert "backup" in result.err
    (found,) = journal("verify", "--json").documents
    assert set(found) == {"scope_id", "replay_key", "problem"}
    assert "hunter2" not in result.out
