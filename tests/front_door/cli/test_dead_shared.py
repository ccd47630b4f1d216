"""``effectmq dead`` over an index: pages, counts, patches, and who did what."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from effectmq.cli.dead import command as dead
from effectmq.protocol.errors import ConfigurationError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.front_door.cli.command import Result
from tests.front_door.cli.test_dead_command import ESCAPED, HOSTILE, parsed, worker_on

Command = Callable[..., Awaitable[Result]]


@pytest.fixture
async def stage(namespace: str) -> AsyncIterator[DeadStage]:
    """A namespace in memory."""
    async with dead_stage(f"memory://{namespace}", namespace) as made:
        yield made


@pytest.fixture
def command(stage: DeadStage, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs ``effectmq dead`` with a journal."""

    async def run(*words: str | Path) -> Result:
        capsys.readouterr()
        journal = f"sqlite:///{tmp_path}/journal.db"
        code = await dead.run(parsed(stage, *words, "--journal", journal))
        written = capsys.readouterr()
        return Result(code, written.out, written.err)

    return run


def patch_file(folder: Path, *operations: dict[str, Any]) -> Path:
    """A patch in a file."""
    path = folder / "patch.json"
    path.write_text(json.dumps(operations))
    return path


AMOUNT = {"op": "replace", "path": "/command/call/args/amount", "value": 5}


async def test_pages_of_a_list_follow_each_other(stage: DeadStage, command: Command) -> None:
    """Each ends with the place at which the next begins."""
    for _ in range(5):
        await stage.park()
    everything = [letter.id for letter in await stage.listed()]
    found: list[str] = []
    more: tuple[str, ...] = ()
    while True:
        result = await command("list", "--limit", "2", *more)
        words = [row.split() for row in result.out.splitlines()]
        found += [row[0] for row in words if row and row[0] in everything]
        assert result.out.endswith("5 dead letters: 5 exhausted\n")
        if "--after" not in result.err:
            break
        more = ("--after", result.err.split("--after ")[1].split()[0])
    assert found == everything
    newest = (await command("list", "--newest", "--limit", "1", "--json")).documents
    assert [letter["id"] for letter in newest] == everything[-1:]


async def test_letters_are_found_by_what_is_inside_of_them(
    stage: DeadStage, command: Command
) -> None:
    """The tool, the session, the error."""
    await stage.park(stage.call({"amount": 1}), detail="account 7 is closed")
    await stage.park()
    for words in (("--tool", "pay"), ("--error", "7 is clo"), ("--route", "tool_call")):
        (letter,) = (await command("list", *words, "--json")).documents
        assert (letter["tool"], letter["session_id"]) == ("pay", "session")
        assert letter["error"] == "account … is closed"
    assert len((await command("list", "--session", "session", "--json")).documents) == 2
    assert (await command("list", "--model", "large")).out == "none of 2 dead letters is meant\n"


async def test_facets_say_how_many_letters_have_what(stage: DeadStage, command: Command) -> None:
    """For people and for scripts; texts of strangers stay texts."""
    assert (await command("facets")).out == "no dead letters\n"
    await stage.park(stage.call({"amount": 1}), reason="rejected")
    for _ in range(3):
        await stage.park(code=HOSTILE, detail=HOSTILE)
    await stage.raw(Message(body=b"\xc1"))
    shown = (await command("facets")).out
    assert shown.startswith("5 dead letters, the oldest ")
    assert shown.replace("\n", "").isprintable()
    assert ESCAPED[:12] in shown
    (facts,) = (await command("facets", "--kind", "exec_code", "--json")).documents
    assert facts["letters"] == 3
    assert facts["facets"]["reason"] == {"exhausted": 3}
    few = (await command("facets", "--most", "1")).out
    assert "… 2 others" in few


async def test_a_patch_is_tried_and_then_applied(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """The dry run shows what changes; the audit says who did it."""
    await stage.park(stage.call({"amount": 1}, "one"))
    await stage.park(stage.call({"amount": 2}, "two"))
    patch = patch_file(tmp_path, AMOUNT)
    tried = await command("edit", "--tool", "pay", "--patch", patch, "--dry-run")
    assert "changed command.call.args.amount: 1 -> 5" in tried.out
    assert "2 of 2 dead letters would be replayed as edited" in tried.out
    await stage.dead(2)
    (facts,) = (await command("edit", "--all", "--patch", patch, "--by", "ada", "--json")).documents
    assert (facts["edited"], facts["skipped"], len(facts["edits"])) == (2, 0, 2)
    hashes = [read_request(message).hash for message in await stage.work("tool_call", 2)]
    assert hashes == [edit["hash"] for edit in facts["edits"]]
    (line,) = (await command("audit", "--json")).documents
    assert (line["who"], line["action"], line["report"]["done"]) == ("ada", "edit", 2)
    assert line["choice"]["patch"] == [AMOUNT]
    assert "ada" in (await command("audit")).out


@pytest.mark.parametrize("document", ["nonsense", "{}", '[{"op": "jump", "path": ""}]'])
async def test_a_bad_patch_is_a_sentence(
    stage: DeadStage, command: Command, tmp_path: Path, document: str
) -> None:
    """And no letter is touched."""
    await stage.park(stage.call({"amount": 1}))
    path = tmp_path / "patch.json"
    path.write_text(document)
    with pytest.raises(ConfigurationError, match=r"the patch in .* cannot be used"):
        await command("edit", "--all", "--patch", path)
    await stage.dead(1)


async def test_a_patch_that_fits_not_every_letter_is_told(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """Exit code 1, and the reason for each."""
    await stage.park(stage.call({"amount": 1}))
    await stage.park()
    result = await command("edit", "--all", "--patch", patch_file(tmp_path, AMOUNT))
    assert result.code == 1
    assert "0 of 2 dead letters replayed as edited" in result.out
    assert "none was replayed" in result.err
    await stage.dead(2)


async def test_an_edit_without_a_choice_is_refused(command: Command, tmp_path: Path) -> None:
    """As a replay is."""
    with pytest.raises(ConfigurationError, match="which dead letters to edit"):
        await command("edit", "--patch", patch_file(tmp_path, AMOUNT))


async def test_every_change_leaves_its_line(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """Also the one of a whole document; looks and dry runs leave none."""
    assert (await command("audit")).out == "nothing was done\n"
    await stage.park(stage.code("1"))
    await stage.park(stage.code("2"))
    await stage.park(stage.code("3"))
    (first, *_) = await stage.listed()
    await command("show", first.id)
    await command("purge", "--all", "--dry-run")
    document = tmp_path / "envelope.json"
    document.write_text((await command("show", first.id, "--envelope")).out)
    await command("replay", first.id, "--edit", document)
    await command("replay", "--all", "--limit", "1")
    await command("purge", "--all", "--yes")
    lines = (await command("audit", "--json")).documents
    assert [line["action"] for line in lines] == ["purge", "replay", "edit"]
    assert all("@" in line["who"] and line["ended_ms"] for line in lines)


async def test_a_replay_that_waits_leaves_its_line_too(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """As it is, or as edited."""
    await stage.park(stage.code("good"))
    await stage.park(stage.code("wrong"))
    first, second = await stage.listed()
    document = tmp_path / "envelope.json"
    document.write_text((await command("show", second.id, "--envelope")).out)
    async with worker_on(stage):
        await command("replay", first.id, "--wait", "--by", "ada")
        await command("replay", second.id, "--edit", document, "--wait", "--by", "ada")
    lines = (await command("audit", "--json")).documents
    assert [(line["who"], line["action"]) for line in lines] == [("ada", "edit"), ("ada", "replay")]
    assert [line["report"]["done"] for line in lines] == [1, 1]


async def test_without_a_journal_nobody_knows_who_did_what(
    stage: DeadStage, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where it can be found is said."""
    with pytest.raises(ConfigurationError, match="in the log"):
        await dead.run(parsed(stage, "audit", "--journal", "none"))
    del capsys


async def test_a_look_is_answered_while_the_queue_is_held(
    stage: DeadStage, command: Command
) -> None:
    """Nobody is kept out; that it may be old is said."""
    await stage.park()
    await command("list")
    async with stage.letters.browse() as held:
        await anext(held)
        result = await command("list")
        assert "1 dead letter: 1 exhausted" in result.out
        assert "as of the last look" in result.err
        (letter,) = (await command("list", "--json")).documents
        assert "gave up" in (await command("show", letter["id"])).out


async def test_a_database_that_is_away_keeps_nobody_from_looking(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """The queue is looked through instead; what changes something waits for the database."""
    await stage.park()
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 100)
    result = await command("list")
    assert result.out.endswith("1 dead letter: 1 exhausted\n")
    assert "The queue is looked through instead" in result.err
