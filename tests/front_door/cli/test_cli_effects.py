"""``effectmq effects``: what it shows, what it compares, what it cancels."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from effectmq.broker.store.journal.archive.archive import Archive
from effectmq.broker.store.journal.archive.summaries import EffectDetail, EffectSummary
from effectmq.broker.store.journal.archive.tail import News
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Recorded
from effectmq.broker.store.letters.audit import AuditLine, AuditLog
from effectmq.cli.effects import command as effects_command
from effectmq.cli.terminal import tables
from effectmq.protocol.errors import DatabaseUnavailableError
from effectmq.protocol.messages.request import Identity
from tests.broker.store.journal.effects import Writer, sleep, tool
from tests.front_door.cli.command import Result, effectmq, feed_stdin
from tests.front_door.recorded import BATCH, change_journal, record_session

Command = Callable[..., Result]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal with a small session."""
    return record_session(tmp_path)


@pytest.fixture
def effects(url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq effects`` on it."""

    def run(*words: str | Path) -> Result:
        return effectmq(capsys, "effects", *words, "--journal", url)

    return run


# list ---------------------------------------------------------------------------------------------


def test_a_list_is_a_table_for_people(effects: Command) -> None:
    result = effects("list")
    assert result.code == 0
    header, *rows = result.out.splitlines()
    assert header.split() == [
        "hash", "changed", "status", "kind", "attempts", "session", "turn", "effect", "note",
    ]  # fmt: skip
    assert len(rows) == 4
    (parked,) = [row for row in rows if "2:call-1" in row]
    assert parked.split()[2:4] == ["failed", "tool_call"]
    assert "rejected: no_money: it broke" in parked


def test_tables_fit_the_terminal(effects: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns ids still say session, turn, effect and hash; ``--full`` shows the rest."""
    monkeypatch.setattr(tables, "_on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["list"], ["tree", "2:call-1"], ["get", "2:call-1", "--lineage"]):
        shown = effects(*words).out
        table = shown.split("lineage:\n")[-1].splitlines()
        assert max(map(tables.width, table)) <= 80
    header, *rows = effects("list").out.splitlines()
    assert {"hash", "status", "session", "turn", "effect"} <= set(header.split())
    (parked,) = [row for row in rows if "2:call-1" in row]
    assert len(parked.split()[0]) == 8
    assert "rejected: no_money: it broke" in effects("list", "--full").out


def test_a_list_has_stable_keys_for_scripts(effects: Command) -> None:
    result = effects("list", "--json", "--effect-id", "2:call-1")
    (found,) = result.documents
    request = tool(BATCH, "call-1", {"password": "hunter2"})
    moments = {name: found.pop(name) for name in ("created_ms", "updated_ms")}
    assert 0 < moments["created_ms"] <= moments["updated_ms"]
    assert found == {
        "scope_id": "t",
        "replay_key": request.replay_key,
        "effect_id": "2:call-1",
        "kind": "tool_call",
        "status": "failed",
        "attempts": 1,
        "hash": request.hash,
        "session_id": "s",
        "turn_id": "t",
        "caused_by": {"type": "effect", "session_id": "s", "turn_id": "t", "effect_id": "2"},
        "worker": "host-1",
        "deaths": 0,
        "former_deaths": 0,
        "dead_workers": [],
        "park_reason": "rejected",
        "parks": 1,
        "error": {"code": "no_money", "message": "it broke"},
        "due_ms": None,
        "spend": None,
        "progress": None,
    }
    assert "hunter2" not in result.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--kind", "sleep"], {"1", "pause"}),
        (["--status", "failed", "--status", "in_progress"], {"2:call-1", "2:call-2"}),
        (["--parked", "rejected"], {"2:call-1"}),
        (["--session", "other"], set[str]()),
        (["--turn", "t", "--worker", "host-1", "--kind", "sleep"], {"1", "pause"}),
        (["--key", "s:t:0:0:sleep:1:"], {"pause"}),
        (["--scope", "t", "--since", "1h"], {"1", "pause", "2:call-1", "2:call-2"}),
        (["--until", "1h"], set[str]()),
    ],
)
def test_a_list_is_filtered(effects: Command, words: list[str], expected: set[str]) -> None:
    found = effects("list", "--json", *words).documents
    assert {one["effect_id"] for one in found} == expected


def test_a_list_that_is_cut_says_so(effects: Command) -> None:
    result = effects("list", "--limit", "3")
    assert len(result.out.splitlines()) == 4
    assert "--limit N shows more" in result.err
    assert effects("list", "--limit", "3", "--quiet").err == ""
    assert len(effects("list", "--limit", "3", "--json").documents) == 3
    assert "more" not in effects("list", "--limit", "4").err


def test_a_long_list_comes_in_pages(effects: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("effectmq.cli.effects.command._PAGE", 2)
    assert len({one["hash"] for one in effects("list", "--json").documents}) == 4
    assert len(effects("list", "--json", "--limit", "3").documents) == 3


def test_nothing_found_is_said(effects: Command) -> None:
    assert effects("list", "--session", "x").out == "no such effects\n"
    assert effects("list", "--session", "x", "--json").out == ""


def test_times_that_leave_nothing_are_a_mistake(effects: Command) -> None:
    result = effects("list", "--since", "1h", "--until", "2h")
    assert result.code == 2
    assert "--since is not before --until" in result.err


# get and tree -------------------------------------------------------------------------------------


def test_get_shows_everything_payloads_included(effects: Command) -> None:
    result = effects("get", "2:call-1")
    assert result.code == 0
    assert '"password": "hunter2"' in result.out
    assert "error: no_money: it broke" in result.out
    assert "dead letter    not known to be out yet" in result.out
    (found,) = effects("get", "2:call-1", "--json").documents
    assert found["envelope"]["command"]["call"]["args"] == {"password": "hunter2"}
    assert found["outcome"] is None
    assert found["letter_sent"] is False


def test_get_prints_a_payload_alone(effects: Command) -> None:
    assert json.loads(effects("get", "1", "--outcome").out) == {"type": "sleep"}
    envelope = json.loads(effects("get", "1", "--envelope").out)
    assert envelope["command"] == {"type": "sleep", "duration_ms": 5}
    missing = effects("get", "2:call-2", "--outcome")
    assert missing.code == 2
    assert "it is in_progress" in missing.err


def test_get_shows_the_lineage_when_asked(effects: Command) -> None:
    assert "└─ pause" in effects("get", "1", "--lineage").out
    (found,) = effects("get", "1", "--lineage", "--json").documents
    assert [(node["depth"], node["effect_id"], node["focus"]) for node in found["lineage"]] == [
        (0, "1", True),
        (1, "pause", False),
    ]


def test_a_tree_marks_what_was_asked_for(effects: Command) -> None:
    lines = effects("tree", "2:call-2").out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "effect 2",
        "├─ 2:call-1",
        "└─ 2:call-2 *",
    ]
    assert "not in the journal" in lines[1]
    cut = effects("tree", "2:call-2", "--limit", "1")
    assert "--limit N shows more" in cut.err
    assert [one["depth"] for one in effects("tree", "1", "--json").documents] == [0, 1]


def test_an_effect_goes_by_scope_and_key(effects: Command) -> None:
    key = sleep("1").replay_key
    for words in (["--scope", "t", "--key", key], ["--key", key], [key], ["1", "--scope", "t"]):
        assert effects("get", *words, "--json").documents[0]["effect_id"] == "1"


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ([], 2, "no effect is named"),
        (["1", "--key", "k"], 2, "but not both"),
        (["nothing"], 1, "effectmq effects list"),
        (["--scope", "t", "--key", "nothing"], 1, "effectmq effects list"),
    ],
)
def test_a_name_that_means_nothing_is_an_error(
    effects: Command, words: list[str], code: int, part: str
) -> None:
    result = effects("get", *words)
    assert result.code == code
    assert part in result.err


def test_what_a_terminal_obeys_is_shown_as_text(url: str, effects: Command) -> None:
    change_journal(url, "UPDATE effectmq_effects SET session_id = char(27) || '[31mred'")
    for action in ("list", "get"):
        result = effects(action, *(["1"] if action == "get" else []))
        assert "\x1b" not in result.out
        assert r"\x1b[31mred" in result.out


# diff ---------------------------------------------------------------------------------------------


def test_diff_shows_members_and_values(effects: Command) -> None:
    result = effects("diff", "2:call-1", "2:call-2")
    assert result.code == 1
    assert '  ~ command.call.call_id: "call-1" → "call-2"' in result.out
    assert '  - command.call.args.password: "hunter2"' in result.out
    hidden = effects("diff", "2:call-1", "2:call-2", "--paths")
    assert "  - command.call.args.password\n" in hidden.out
    assert "hunter2" not in hidden.out


def test_diff_of_the_same_effect_exits_0(effects: Command) -> None:
    result = effects("diff", "1", "1")
    assert result.code == 0
    assert result.out.splitlines() == ["envelope: the same", "outcome: the same"]
    assert effects("diff", "1", "1", "--json").out == ""


def test_diff_has_stable_keys_for_scripts(effects: Command) -> None:
    found = effects("diff", "1", "pause", "--json").documents
    assert {
        "part": "envelope",
        "change": "changed",
        "path": "command.duration_ms",
        "before": 5,
        "after": 7,
    } in found
    assert {"part", "change", "path"} == set(
        effects("diff", "1", "pause", "--json", "--paths").documents[0]
    )


def test_diff_that_is_cut_says_so(effects: Command) -> None:
    result = effects("diff", "1", "2:call-1", "--limit", "1")
    assert len(result.out.splitlines()) == 2
    assert "more in the envelope" in result.err


def test_diff_compares_with_a_file(
    effects: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "envelope.json"
    path.write_bytes(sleep("1", duration_ms=6).canonical)
    for word in (str(path), f"@{path}"):
        result = effects("diff", "1", word)
        assert result.code == 1
        assert result.out.splitlines() == ["envelope:", "  ~ command.duration_ms: 5 → 6"]
    feed_stdin(monkeypatch, sleep("1", duration_ms=5).canonical)
    assert effects("diff", "-", "1").code == 0


@pytest.mark.parametrize(
    ("content", "part"), [(None, "cannot be read"), (b"{}", "holds no envelope")]
)
def test_a_file_without_an_envelope_is_refused(
    effects: Command, tmp_path: Path, content: bytes | None, part: str
) -> None:
    path = tmp_path / "envelope.json"
    if content is not None:
        path.write_bytes(content)
    result = effects("diff", "1", path)
    assert result.code == 2
    assert part in result.err


def test_what_is_not_kept_cannot_be_compared(url: str, effects: Command) -> None:
    change_journal(url, "UPDATE effectmq_effects SET envelope_json = ''")
    result = effects("diff", "1", "pause")
    assert result.code == 2
    assert "is not kept" in result.err


# cancel -------------------------------------------------------------------------------------------


def _recorded(url: str, identity: Identity) -> Recorded:
    async def run() -> Recorded:
        async with Journal(url) as journal:
            found = await journal.look(identity)
            assert isinstance(found, Recorded)
            return found

    return asyncio.run(run())


def test_what_is_not_finished_is_cancelled(url: str, effects: Command) -> None:
    result = effects("cancel", "2:call-2", "--reason", "wrong account")
    assert result.code == 0
    assert "is cancelled" in result.out
    found = _recorded(url, tool(BATCH, "call-2").identity)
    assert found.status == "cancelled"
    assert json.loads(found.error_json) == {
        "code": "effectmq_cancelled",
        "message": "the effect was cancelled before it had an outcome: wrong account",
    }
    assert effects("cancel", "2:call-2", "--reason", "again").code == 0


def test_an_outcome_that_came_first_wins(url: str, effects: Command) -> None:
    result = effects("cancel", "1", "--reason", "too late")
    assert result.code == 1
    assert "it is completed already" in result.out
    (found,) = effects("cancel", "1", "--reason", "too late", "--json").documents
    assert (found["won"], found["status"]) == ("outcome", "completed")
    assert _recorded(url, sleep("1").identity).status == "completed"


def test_what_is_still_queued_is_cancelled_by_its_name(url: str, effects: Command) -> None:
    request = sleep("queued")
    scope, key = request.identity.scope_id, request.replay_key
    (found,) = effects(
        "cancel", "--scope", scope, "--key", key, "--reason", "never mind", "--json"
    ).documents
    assert found == {
        "scope_id": scope,
        "replay_key": key,
        "effect_id": None,
        "won": "cancelled",
        "status": "cancelled",
    }
    assert _recorded(url, request.identity).status == "cancelled"
    assert "no effect has" in effects("cancel", "queued", "--reason", "x").err


def test_all_that_is_meant_is_cancelled_once_and_written_down(
    url: str, effects: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run changes nothing, what is finished stays, and somebody is answerable."""
    many = ("cancel", "--kind", "tool_call", "--reason", "wrong account")
    (found,) = effects(*many, "--dry-run", "--json").documents
    assert (found["dry_run"], found["cancelled"]) == (True, found["chosen"])
    assert found["chosen"] >= 1
    refused = effects(*many)
    assert (refused.code, "Add --yes" in refused.err) == (2, True)
    listed = ("list", "--status", "in_progress", "--kind", "tool_call", "--json")
    assert len(effects(*listed).documents) == found["chosen"]

    (done,) = effects(*many, "--yes", "--by", "ada", "--json").documents
    assert (done["cancelled"], done["finished"]) == (found["chosen"], 0)
    assert effects(*listed).documents == []
    assert _recorded(url, tool(BATCH, "call-2").identity).status == "cancelled"
    assert _recorded(url, sleep("1").identity).status == "completed"
    assert "nothing was done" in effects(*many, "--yes").out

    async def lines() -> list[AuditLine]:
        async with Journal(url) as journal:
            return await AuditLog(journal.database, "").lines(10)

    _, line = asyncio.run(lines())
    assert (line.who, line.action) == ("ada", "cancel")
    assert json.loads(line.choice_json)["kinds"] == ["tool_call"]
    assert json.loads(line.report_json)["cancelled"] == found["chosen"]


def test_one_effect_and_a_filter_do_not_go_together(effects: Command) -> None:
    """Nobody should have to guess which of them counted."""
    result = effects("cancel", "1", "--session", "s", "--reason", "x")
    assert (result.code, "but not both" in result.err) == (2, True)


# prune --------------------------------------------------------------------------------------------


def test_one_finished_effect_is_pruned_once_it_is_confirmed(effects: Command) -> None:
    refused = effects("prune", "1")
    assert (refused.code, "Add --yes" in refused.err) == (2, True)
    pruned = effects("prune", "1", "--yes")
    assert (pruned.code, "its key and hash are kept" in pruned.out) == (0, True)
    (found,) = effects("get", "1", "--json").documents
    assert (found["status"], found["envelope"], found["outcome"]) == ("forgotten", None, None)
    assert effects("get", "pause", "--json").documents[0]["status"] == "completed"
    again = effects("prune", "1", "--yes")
    assert (again.code, "pruned already" in again.err) == (2, True)
    gone = effects("prune", "1", "--yes", "--forget-key", "--json")
    assert (gone.code, gone.documents[0]["key_kept"]) == (0, False)
    assert "no effect has" in effects("prune", "1", "--yes").err


def test_what_is_not_finished_or_parked_is_not_pruned(url: str, effects: Command) -> None:
    running = effects("prune", "2:call-2", "--yes")
    assert (running.code, "it is in progress" in running.err) == (2, True)
    parked = effects("prune", "2:call-1", "--yes")
    assert (parked.code, "with --parked" in parked.err) == (2, True)
    change_journal(url, "UPDATE effectmq_effects SET letter_sent = 0")
    unsent = effects("prune", "2:call-1", "--yes", "--parked")
    assert (unsent.code, "not known to be out" in unsent.err) == (2, True)
    change_journal(url, "UPDATE effectmq_effects SET letter_sent = 1")
    assert effects("prune", "2:call-1", "--yes", "--parked").code == 0


def test_a_failure_of_a_tool_is_pruned_as_any_outcome(url: str, effects: Command) -> None:
    change_journal(
        url,
        "UPDATE effectmq_effects SET status = 'unsuccessful', error_json = '{}' "
        "WHERE effect_id = '1'",
    )
    assert effects("prune", "1", "--yes").code == 0


def test_an_effect_that_changes_in_that_moment_is_left_alone(
    url: str, effects: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Archive.get

    async def get(archive: Archive, name: str, *, scope_id: str = "") -> EffectDetail:
        found = await real(archive, name, scope_id=scope_id)
        await asyncio.to_thread(
            change_journal, url, "UPDATE effectmq_effects SET fence = fence + 1"
        )
        return found

    monkeypatch.setattr(Archive, "get", get)
    result = effects("prune", "1", "--yes")
    assert (result.code, "it changed in this moment" in result.out) == (1, True)
    monkeypatch.undo()
    assert effects("get", "1", "--json").documents[0]["status"] == "completed"


# attempts -----------------------------------------------------------------------------------------


def test_each_attempt_has_a_line_once_there_is_more_than_one(url: str, effects: Command) -> None:
    assert "attempts:" not in effects("get", "1").out
    (found,) = effects("get", "1", "--json").documents
    (only,) = found["attempt_times"]
    assert (only["attempt"], only["ended"]) == (1, "settled")
    assert (only["began_ms"], only["ended_ms"]) == (found["created_ms"], found["updated_ms"])
    change_journal(
        url,
        "UPDATE effectmq_effects SET attempt_times = '1-1700000000000a 2:1700000001000' "
        "WHERE effect_id = '1'",
    )
    shown = effects("get", "1").out
    assert "given back, to be tried again" in shown
    assert "settled" in shown


# tail ---------------------------------------------------------------------------------------------


@contextmanager
def _tailing(*words: str) -> Generator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """A process that follows a journal, with its stdout and stderr; it is gone afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", "effectmq", "effects", "tail", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield process, process.stdout, process.stderr
        finally:
            process.kill()


async def _complete(url: str, effect_id: str) -> None:
    async with Journal(url) as journal:
        await Writer(journal).complete(sleep(effect_id))


def test_tail_tells_what_happens_until_interrupted(url: str) -> None:
    words = ["--journal", url, "--since", "1h", "--kind", "sleep", "--json"]
    with _tailing(*words) as (process, out, err):
        first = [json.loads(out.readline()) for _ in range(2)]
        assert {one["effect_id"] for one in first} == {"1", "pause"}
        asyncio.run(_complete(url, "2"))
        assert json.loads(out.readline())["effect_id"] == "2"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert err.read() == ""


def test_tail_begins_now_and_has_a_line_for_eachchange_journal(url: str) -> None:
    with _tailing("--journal", url) as (process, out, err):
        assert "following" in err.readline()
        asyncio.run(_complete(url, "2"))
        line = out.readline()
        assert "completed" in line
        assert sleep("2").hash[:12] in line
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_tail_outlives_a_database_that_goes_away_for_a_while(
    effects: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effectmq.cli.effects.tailing._POLL_S", 0)
    real, looks = Archive.since, iter(("lost", "lost", "back", "end"))

    async def since(archive: Archive, news: News) -> list[EffectSummary]:
        match next(looks):
            case "lost":
                raise DatabaseUnavailableError("the journal is away")
            case "back":
                return await real(archive, news)
            case _:
                raise KeyboardInterrupt

    monkeypatch.setattr(Archive, "since", since)
    result = effects("tail", "--since", "1h", "--json")
    assert result.code == 130
    assert len(result.documents) == 4
    assert result.err.count("the journal is away. Waiting for it") == 1


def test_a_broker_that_cannot_be_told_does_not_undo_the_cancelling(
    effects: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has decided; workers find out at their next renewal."""
    monkeypatch.setattr(effects_command, "_CONNECT_S", 0.2)
    words = ("--reason", "x", "--broker", "amqp://ada:hunter2@127.0.0.1:1/")
    result = effects("cancel", "2:call-2", *words)
    assert result.code == 0
    assert "is cancelled" in result.out
    assert "workers could not be told" in result.err
    assert "hunter2" not in result.err
