"""``effectmq dead``: what it shows, what it refuses, what it changes."""

from __future__ import annotations

import argparse
import asyncio
import json
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.dead_letters import DeadLetterIdError, DeadLettersLostError
from effectmq.broker.dead_letters.queue import browser as deadletter_browser
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.broker.transports.memory.consumers import MemoryConsumer
from effectmq.broker.transports.port import QueueStats
from effectmq.cli.dead import command as dead
from effectmq.cli.dead import opening
from effectmq.cli.dead.choice import rate
from effectmq.cli.terminal.texts import pretty
from effectmq.cli.terminal.times import age, moment
from effectmq.consumers.decisions.retry import NO_RETRY
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, RejectEffectError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.message import Message
from effectmq.protocol.messages.request import read_request
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.replaying import NotReplayedError
from tests.broker.dead_letters.stage import DeadStage, dead_stage
from tests.broker.transports.rabbitmq.header_bomb import publish_bomb
from tests.brokers.provide import Broker
from tests.front_door.cli.command import Result, effectmq, feed_stdin
from tests.waiting import eventually

#: What a terminal obeys: colours, a window title, a screen, a line, the direction of writing.
HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\x9b2J\u202egnp"
ESCAPED = r"\x1b[31mred\x1b]0;title\x07\r\n\x9b2J\u202egnp"

Command = Callable[..., Awaitable[Result]]


@pytest.fixture
async def stage(namespace: str) -> AsyncIterator[DeadStage]:
    """A namespace in memory."""
    async with dead_stage(f"memory://{namespace}", namespace) as made:
        yield made


@pytest.fixture
def command(stage: DeadStage, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq dead`` on the stage, on this event loop, where its broker lives."""

    async def run(*words: str | Path) -> Result:
        capsys.readouterr()
        code = await dead.run(parsed(stage, *words))
        written = capsys.readouterr()
        return Result(code, written.out, written.err)

    return run


def parsed(stage: DeadStage, *words: str | Path) -> argparse.Namespace:
    """The command line as ``effectmq`` parses it."""
    parser = argparse.ArgumentParser(prog="effectmq")
    dead.configure(parser.add_subparsers())
    where = ["--broker", stage.url, "--namespace", stage.topology.namespace]
    return parser.parse_args(["dead", *(str(word) for word in words), *where])


async def only_id(stage: DeadStage) -> str:
    """The id of the one letter."""
    [letter] = await stage.listed()
    return letter.id


# list ------------------------------------------------------------------------------------------


async def test_a_list_has_a_row_for_each_letter_and_a_count_for_each_reason(
    stage: DeadStage, command: Command
) -> None:
    """Id, age, reason, kind, attempts, the ids, error; then how many of what."""
    now_ms = round(time.time() * 1_000)
    await stage.park(parked_ms=now_ms - 7_200_000, headers={names.ATTEMPT: 5})
    await stage.park(reason="rejected", code="no_money", detail="the account is empty")
    await stage.raw(Message(body=b"\xc1"))
    result = await command("list")
    lines = result.out.splitlines()
    assert lines[0].split() == [
        "id", "parked", "reason", "kind", "attempts", "effect", "session", "turn", "hash", "error",
    ]  # fmt: skip
    (first, *_) = await stage.listed()
    assert lines[1].split() == [
        first.id, "2h", "exhausted", "exec_code", "5", "1", "session", "turn", first.hash[:12],
        "gave", "up",
    ]  # fmt: skip
    assert "no_money: the account is empty" in lines[2]
    assert "raw" in lines[3]
    assert lines[-1] == "3 dead letters: 1 exhausted, 1 rejected, 1 raw"
    assert (result.code, result.err) == (0, "")


async def test_an_empty_list_says_so(stage: DeadStage, command: Command) -> None:
    """And what was looked at, when a filter left nothing."""
    assert (await command("list")).out == "no dead letters\n"
    await stage.park()
    assert (await command("list", "--kind", "sleep")).out == "none of 1 dead letter is meant\n"


async def test_filters_and_limits_apply_to_the_list(stage: DeadStage, command: Command) -> None:
    """No more is looked at than is shown, and the summary says how many there are."""
    now_ms = round(time.time() * 1_000)
    for minutes in (90, 30, 20, 10):
        await stage.park(parked_ms=now_ms - minutes * 60_000)
    result = await command("list", "--since", "1h", "--limit", "2")
    assert [line.split()[1] for line in result.out.splitlines()[1:3]] == ["30m", "20m"]
    assert result.out.endswith("2 of 3 dead letters: 2 exhausted\n")
    assert result.err == (
        "the first 2 are shown, and 1 of 4 letters were not looked at; --limit N shows more\n"
    )
    assert (await command("list", "--limit", "4")).err == ""


async def test_a_list_for_scripts_is_one_object_a_line(stage: DeadStage, command: Command) -> None:
    """With the same members each, and without the bodies."""
    await stage.park(reply_to="me")
    await stage.raw(Message(body=b"\xc1"))
    parked, raw = (await command("list", "--json")).documents
    assert list(parked) == list(raw)
    assert (parked["reason"], parked["reply_to"], raw["reason"]) == ("exhausted", "me", "raw")
    assert "envelope" not in parked


async def test_texts_of_strangers_cannot_touch_the_terminal(
    stage: DeadStage, command: Command
) -> None:
    """Effect ids, codes, errors, headers and documents are escaped in every view."""
    envelope = stage.call({"note": HOSTILE}, call_id=HOSTILE)
    await stage.park(envelope, code=HOSTILE, detail=HOSTILE, reply_to=HOSTILE)
    hostile = Message(body=b"\xc1", correlation_id=HOSTILE, headers={"effect-park-reason": HOSTILE})
    await stage.raw(hostile, HOSTILE)
    for letter in await stage.listed():
        for words in (("list",), ("show", letter.id), ("replay", letter.id, "--dry-run")):
            result = await command(*words)
            printed = (result.out + result.err).replace("\n", "")
            assert printed.isprintable(), words
    assert ESCAPED[:12] in (await command("list")).out


async def test_secrets_in_errors_are_masked(stage: DeadStage, command: Command) -> None:
    """A password in an address, or beside its name, is not shown."""
    await stage.park(detail="amqp://ada:hunter2@db refused, password=hunter2")
    letter = await only_id(stage)
    for words in (("list",), ("show", letter), ("export",)):
        assert "hunter2" not in (await command(*words)).out


class Thieving(MemoryTransport):
    """A queue out of which somebody takes the last letters during the look."""

    async def stats(self, queue: str) -> QueueStats | None:
        """At first there is one more than there will be."""
        found = await super().stats(queue)
        return replace(found, ready=found.ready + 1) if found and found.ready else found


async def test_what_is_gone_during_the_look_is_said(
    stage: DeadStage, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is not whole must not look like one."""
    monkeypatch.setattr(deadletter_browser, "_ON_ITS_WAY_S", 0.05)
    monkeypatch.setattr(opening, "open_transport", Thieving)
    await stage.park()
    result = await command("list")
    assert result.out.endswith("1 dead letter: 1 exhausted\n")
    assert result.err == "1 more were there and are gone: somebody else took them meanwhile\n"


class Losing(Thieving):
    """A line that breaks while the letters are read."""

    async def consume(
        self, queue: str, *, prefetch: int, exclusive: bool = False
    ) -> MemoryConsumer:
        """Give out what is there, then break."""
        consumer = await super().consume(queue, prefetch=prefetch, exclusive=exclusive)
        asyncio.get_running_loop().call_later(0.02, self.lose_connection)
        return consumer


async def test_a_list_that_breaks_off_shows_what_it_saw(
    stage: DeadStage, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """And then says that it is not whole."""
    await stage.park()
    monkeypatch.setattr(opening, "open_transport", Losing)
    with pytest.raises(DeadLettersLostError, match="lost after 1 of 2"):
        await command("list")
    assert "1 dead letter: 1 exhausted" in capsys.readouterr().out
    await stage.dead(1)


# show ------------------------------------------------------------------------------------------


async def test_showing_a_letter_shows_everything(stage: DeadStage, command: Command) -> None:
    """Who, what, why, when, the envelope, and what can be done."""
    request = await stage.park(stage.code("1 / 0"), reason="rejected", detail="no", reply_to="me")
    letter = await only_id(stage)
    shown = (await command("show", letter[:8])).out
    for part in (
        request.hash,
        request.replay_key,
        "worker-1",
        "me",
        '"code": "1 / 0"',
        "error: no",
    ):
        assert part in shown
    assert "rejected: its handler, or the rules of the envelope, refused it" in shown
    assert f"effectmq dead replay {letter}" in shown


async def test_a_letter_for_scripts_has_its_envelope(stage: DeadStage, command: Command) -> None:
    """One object, the same as in an export."""
    await stage.park(stage.code("x"))
    [shown] = (await command("show", await only_id(stage), "--json")).documents
    [exported] = (await command("export")).documents
    assert shown == exported
    assert shown["envelope"]["command"] == {"type": "exec_code", "code": "x"}


async def test_unreadable_letters_are_shown_with_the_reason(
    stage: DeadStage, command: Command
) -> None:
    """JSON as JSON, bytes as base64, and why neither can be replayed."""
    await stage.raw(Message(body=b'{"a": 1}', content_type="application/json"))
    await stage.raw(Message(body=b"\xc1"))
    json_letter, bytes_letter = await stage.listed()
    assert '"a": 1' in (await command("show", json_letter.id)).out
    shown = (await command("show", bytes_letter.id)).out
    assert "body (base64):\nwQ==" in shown
    assert "it cannot be replayed unchanged" in shown
    with pytest.raises(ConfigurationError, match="no JSON data"):
        await command("show", bytes_letter.id, "--envelope")


async def test_with_masks_an_unreadable_body_is_left_out(
    stage: DeadStage, command: Command
) -> None:
    """Nobody can tell where in it the secret is."""
    await stage.raw(Message(body=b'{"card": "4111"}', content_type="application/json"))
    shown = (await command("show", await only_id(stage), "--redact", "card")).out
    assert "4111" not in shown
    assert "body: left out" in shown


async def test_an_absurd_time_does_not_hide_a_letter(stage: DeadStage, command: Command) -> None:
    """Headers come from strangers; a number that is no date is shown as a number."""
    await stage.park(parked_ms=2**62)
    assert f"{2**62} ms since 1970" in (await command("show", await only_id(stage))).out
    assert (await command("list")).code == 0


async def test_an_unknown_id_is_an_error(stage: DeadStage, command: Command) -> None:
    """With the way to the ids, and without the password of an address that was put there."""
    with pytest.raises(DeadLetterIdError, match="effectmq dead list") as raised:
        await command("show", "amqp://ada:hunter2@localhost")
    assert "hunter2" not in str(raised.value)


# replay ----------------------------------------------------------------------------------------


async def test_a_replay_without_a_choice_is_refused(stage: DeadStage, command: Command) -> None:
    """All of them only on purpose."""
    await stage.park()
    with pytest.raises(ConfigurationError, match="--all"):
        await command("replay")
    with pytest.raises(ConfigurationError, match="--all"):
        await command("replay", "--limit", "1")
    assert (await command("replay", "--all")).code == 0
    await stage.work("exec_code", 1)


async def test_a_replay_says_what_became_of_each(stage: DeadStage, command: Command) -> None:
    """Counts on stdout, sentences on stderr, exit code 1 when something stayed."""
    await stage.park()
    await stage.raw(Message(body=b"\xc1", correlation_id="poison"))
    dry = await command("replay", "--all", "--dry-run")
    assert dry.out.startswith("1 of 2 dead letters would be replayed (chosen: 1 raw, 1 exhausted)")
    result = await command("replay", "--all", "--rate", "1000/s")
    assert result.code == 1
    assert result.out.splitlines() == [
        "1 of 2 dead letters replayed (chosen: 1 raw, 1 exhausted)",
        "1 cannot be replayed as they are",
    ]
    assert "poison: it cannot be replayed unchanged" in result.err
    [report] = (await command("replay", "--all", "--json")).documents
    assert (report["chosen"], report["replayed"], report["skipped"]) == (1, 0, 1)


async def test_a_replay_that_ends_early_says_why(
    stage: DeadStage, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is still there, and the exit code is 1."""
    await stage.park()
    transport = stage.transport
    assert isinstance(transport, MemoryTransport)
    monkeypatch.setenv("EFFECTMQ_PUBLISH_TIMEOUT", "50ms")
    transport.broker.block()
    result = await command("replay", "--all")
    transport.broker.unblock()
    assert result.code == 1
    assert "stopped early, and the rest is still there" in result.err
    await stage.dead(1)


async def test_times_that_exclude_each_other_are_refused(
    stage: DeadStage, command: Command
) -> None:
    """Nothing can be meant, so something is mistyped."""
    with pytest.raises(ConfigurationError, match="--since is not before --until"):
        await command("list", "--since", "1h", "--until", "2h")


async def test_a_choice_that_means_nothing_is_no_failure(
    stage: DeadStage, command: Command
) -> None:
    """A script that replays what there is may find nothing."""
    result = await command("replay", "--kind", "sleep")
    assert (result.code, result.out) == (0, "no dead letter is meant; nothing was done\n")


@pytest.mark.parametrize("source", ["file", "stdin"])
async def test_an_edited_envelope_is_replayed(
    stage: DeadStage,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    """What ``show --envelope`` printed, changed, out of a file or a pipe."""
    request = await stage.park(stage.code("wrong"), reply_to="me")
    letter = await only_id(stage)
    document = (await command("show", letter, "--envelope")).out.replace("wrong", "right")
    path = tmp_path / "envelope.json"
    path.write_text(document)
    feed_stdin(monkeypatch, document.encode())
    edit = path if source == "file" else Path("-")
    dry = await command("replay", letter, "--edit", path, "--dry-run")
    result = await command("replay", letter[:6], "--edit", edit)
    [message] = await stage.work("exec_code", 1)
    mended = read_request(message)
    assert "would be replayed as edited" in dry.out
    assert f"hash {request.hash} -> {mended.hash}" in result.out
    assert message.headers[names.EDITED_FROM] == request.hash
    assert message.reply_to == "me"


async def test_an_edit_for_scripts_says_both_hashes(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """The lineage as members."""
    request = await stage.park(stage.code("wrong"))
    letter = await only_id(stage)
    path = tmp_path / "envelope.json"
    path.write_text((await command("show", letter, "--envelope")).out.replace("wrong", "right"))
    [edit] = (await command("replay", letter, "--edit", path, "--json")).documents
    assert (edit["id"], edit["edited_from"]) == (letter, request.hash)
    assert edit["hash"] != request.hash
    assert (edit["effect_id"], edit["replay_key"]) == (request.effect_id, request.replay_key)


async def test_a_bad_edit_is_a_sentence_and_the_letter_stays(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """The sentence has the path inside the document."""
    await stage.park()
    path = tmp_path / "envelope.json"
    path.write_text('{"invocation": {}}')
    with pytest.raises(ConfigurationError, match=r"invocation\.scope: .* still there"):
        await command("replay", await only_id(stage), "--edit", path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await command("replay", await only_id(stage), "--edit", tmp_path / "missing.json")
    await stage.dead(1)


async def test_an_edit_that_is_no_envelope_for_its_size_is_refused(
    stage: DeadStage, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was named by mistake is not read into memory."""
    monkeypatch.setattr("effectmq.cli.terminal.lines.MAX_LINE_BYTES", 10)
    path = tmp_path / "envelope.json"
    path.write_text('{"invocation": {}}')
    with pytest.raises(ConfigurationError, match="longer than 10 bytes"):
        await command("replay", "abc", "--edit", path)


@pytest.mark.parametrize(
    "words", [("--all", "--wait"), ("--kind", "sleep", "--wait"), ("a", "b", "--edit", "x")]
)
async def test_edit_and_wait_are_for_one_letter(
    stage: DeadStage, command: Command, words: tuple[str, ...]
) -> None:
    """A new envelope for many effects makes no sense."""
    with pytest.raises(ConfigurationError, match="for one letter"):
        await command("replay", *words)


def worker_on(stage: DeadStage) -> EffectWorker:
    """A worker that refuses bad code."""
    worker = EffectWorker(stage.url, topology=stage.topology)

    @worker.handler("exec_code", retry=NO_RETRY)
    async def execute(command: RuntimeEffectCommandExecCode) -> dict[str, Any]:
        if command.code == "bad":
            raise RejectEffectError("bad_code", "still bad")
        return {"type": "exec_code", "result": {"Err": f"ran {command.code}"}}

    return worker


async def test_waiting_prints_the_outcome_and_passes_it_on(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """Whoever asked at first gets the same outcome, under the new hash."""
    async with (
        worker_on(stage),
        EffectClient(stage.url, identity="producer", topology=stage.topology) as producer,
    ):
        refused = await (await producer.submit(stage.code("bad"))).reply(10)
        letter = await only_id(stage)
        path = tmp_path / "envelope.json"
        path.write_text((await command("show", letter, "--envelope")).out.replace("bad", "good"))
        result = await command("replay", letter, "--edit", path, "--wait", "--json")
        [answer] = result.documents
        assert answer["result"] == {"Ok": {"type": "exec_code", "result": {"Err": "ran good"}}}
        assert "passed on" in result.err
        await eventually(producer.unclaimed)
    [passed_on] = producer.unclaimed()
    assert passed_on.tree() == answer
    assert (passed_on.effect_id, passed_on.hash) == (refused.effect_id, answer["hash"])


async def test_waiting_for_what_fails_again_is_exit_code_1(
    stage: DeadStage, command: Command
) -> None:
    """The controller error is shown; the effect is parked anew."""
    await stage.park(stage.code("bad"))
    async with worker_on(stage):
        result = await command("replay", await only_id(stage), "--wait")
    assert result.code == 1
    assert "still bad" in result.out
    assert [letter.reason for letter in await stage.listed()] == ["rejected"]


async def test_an_outcome_whose_producer_is_gone_is_only_shown(
    stage: DeadStage, command: Command
) -> None:
    """Its reply queue has expired; waiting works all the same, and a dry run does not wait."""
    await stage.park(stage.code("good"), reply_to="gone")
    letter = await only_id(stage)
    dry = await command("replay", letter, "--wait", "--dry-run")
    assert dry.out.startswith("1 of 1 dead letter would be replayed")
    async with worker_on(stage):
        result = await command("replay", letter, "--wait")
    assert (result.code, result.err) == (0, "")
    assert "outcome of effect 1" in result.out


async def test_waiting_for_what_cannot_be_replayed_is_a_sentence(
    stage: DeadStage, command: Command
) -> None:
    """Unreadable, or without a queue: the letter stays."""
    await stage.raw(Message(body=b"\xc1"))
    with pytest.raises(NotReplayedError, match="Mend the envelope"):
        await command("replay", await only_id(stage), "--wait")
    assert (await command("purge", "--all", "--yes")).code == 0
    await stage.park(route="exec_code.gone")
    with pytest.raises(NotReplayedError, match="there is no queue"):
        await command("replay", await only_id(stage), "--wait")
    await stage.dead(1)


# export and purge ------------------------------------------------------------------------------


async def test_an_export_is_one_object_a_line_and_changes_nothing(
    stage: DeadStage, command: Command, tmp_path: Path
) -> None:
    """To a file that only its owner can read; bodies that are no JSON as base64."""
    await stage.park(stage.call({"card": "4111"}))
    await stage.raw(Message(body=b"\xc1"))
    path = tmp_path / "letters.jsonl"
    result = await command("export", "--output", path)
    parked, raw = (json.loads(line) for line in path.read_text().splitlines())
    assert parked["envelope"]["command"]["call"]["args"] == {"card": "4111"}
    assert (raw["form"], raw["body_base64"]) == ("bytes", "wQ==")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (result.out, result.err) == ("", "2 dead letters exported\n")
    await stage.dead(2)


async def test_an_export_can_be_masked(stage: DeadStage, command: Command) -> None:
    """A path that was found nowhere is said, because it may be misspelt."""
    await stage.park(stage.call({"card": "4111", "user": {"mail": "ada@example.org"}}))
    words = ("--redact", "card", "--redact", "user.mail", "--redact", "usr")
    result = await command("export", *words)
    [record] = result.documents
    args = record["envelope"]["command"]["call"]["args"]
    assert args == {"card": "***", "user": {"mail": "***"}}
    assert record["redacted"] == ["card", "user.mail"]
    assert "--redact usr: found in no letter" in result.err
    assert "--redact card" not in result.err


async def test_an_export_takes_filters_and_a_limit(stage: DeadStage, command: Command) -> None:
    """The oldest first."""
    parked = [await stage.park() for _ in range(3)]
    documents = (await command("export", "--limit", "2")).documents
    assert [record["hash"] for record in documents] == [request.hash for request in parked[:2]]
    assert (await command("export", "--reason", "raw")).documents == []


async def test_an_export_to_nowhere_is_a_sentence(stage: DeadStage, command: Command) -> None:
    """The operating system's reason."""
    with pytest.raises(ConfigurationError, match="cannot be written"):
        await command("export", "--output", "/nowhere/letters.jsonl")


async def test_purging_needs_a_choice_and_a_yes(stage: DeadStage, command: Command) -> None:
    """What is purged is gone; without --yes it is only counted."""
    for reason in ("expired", "expired", "rejected"):
        await stage.park(reason=reason)
    with pytest.raises(ConfigurationError, match="--all"):
        await command("purge", "--yes")
    with pytest.raises(ConfigurationError, match="Add --yes"):
        await command("purge", "--reason", "expired")
    dry = await command("purge", "--reason", "expired", "--dry-run")
    assert (dry.code, dry.out.split(" (")[0]) == (0, "2 of 2 dead letters would be purged")
    await stage.dead(3)
    [report] = (await command("purge", "--reason", "expired", "--yes", "--json")).documents
    assert (report["purged"], report["by_reason"]) == (2, {"expired": 2})
    assert [letter.reason for letter in await stage.listed()] == ["rejected"]


# Values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds_ago"),
    [
        ("90s", 90),
        ("30m", 1_800),
        ("1h30m", 5_400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("0.5h", 1_800),
    ],
)
def test_a_duration_is_that_long_ago(text: str, seconds_ago: int) -> None:
    """Units from milliseconds to weeks, which can be joined."""
    assert abs(moment(text) - (time.time() - seconds_ago) * 1_000) < 5_000


def test_an_iso_time_is_that_moment() -> None:
    """With an offset, or Z."""
    assert moment("1970-01-01T00:00:01Z") == 1_000
    assert moment("1970-01-01T02:00:00+02:00") == 0


@pytest.mark.parametrize("text", ["yesterday", "", "5", "h", "-1h", "99999-01-01"])
def test_other_times_are_refused(text: str) -> None:
    """With both forms in the sentence."""
    with pytest.raises(argparse.ArgumentTypeError, match="ISO time"):
        moment(text)


@pytest.mark.parametrize(
    ("text", "a_second"), [("20/s", 20), ("20", 20), ("120/m", 2), ("1800/h", 0.5), ("0.5/s", 0.5)]
)
def test_a_rate_is_so_many_a_second(text: str, a_second: float) -> None:
    """By second, minute or hour."""
    assert rate(text) == pytest.approx(a_second)


@pytest.mark.parametrize("text", ["0", "-1", "fast", "20/d", "1e999"])
def test_other_rates_are_refused(text: str) -> None:
    """Nothing and nonsense."""
    with pytest.raises(argparse.ArgumentTypeError, match="expected a rate"):
        rate(text)


def test_ages_are_in_one_unit() -> None:
    """The largest that fits; unknown times are empty, and clocks may differ."""
    assert [age(10**9 - ms, 10**9) for ms in (0, 59_000, 61_000, 7_200_000, 10**8 * 2)] == [
        "0s", "59s", "1m", "2h", "2d",
    ]  # fmt: skip
    assert (age(0, 5), age(9_000, 5)) == ("", "0s")


def test_pretty_json_is_printable_and_still_json() -> None:
    """Readable letters stay, what a terminal obeys is escaped, and it reads back the same."""
    tree = {"text": f"Grüße {HOSTILE} \U000e0001 😀", "n": [1e16, -0.0]}
    text = pretty(tree)
    assert text.replace("\n", "").isprintable()
    assert "Grüße" in text
    assert json.loads(text) == tree


# The whole command -----------------------------------------------------------------------------


def test_memory_has_no_letters_of_other_processes(capsys: pytest.CaptureFixture[str]) -> None:
    """The default broker cannot be meant; the sentence says what to give."""
    result = effectmq(capsys, "dead", "list")
    assert result.code == 2
    assert "--broker or EFFECTMQ_BROKER" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--broker", "http://ada:hunter2@127.0.0.1:1/"),
        ("list", "--since", "amqp://ada:hunter2@127.0.0.1:1/"),
        ("replay", "--all", "--rate", "amqp://ada:hunter2@127.0.0.1:1/"),
    ],
)
def test_passwords_of_addresses_are_never_printed(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Whatever goes wrong with an address, and wherever it was put."""
    result = effectmq(capsys, "dead", *words)
    assert result.code != 0
    assert result.err
    assert "hunter2" not in result.out + result.err


async def test_a_message_that_nobody_can_read_does_not_stop_a_list_for_ever(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What came before it is shown, and the sentence says how to go on."""
    where = ("--broker", broker.url, "--namespace", namespace)
    async with dead_stage(broker.url, namespace) as stage:
        await stage.park()
        await publish_bomb(broker.url, stage.names.dead, "tool_call")
        async with asyncio.timeout(30):
            result = await asyncio.to_thread(effectmq, capsys, "dead", "list", *where)
    assert result.code == (1 if "can read the next message" in result.err else 0)
    assert result.out


async def test_the_command_works_on_a_real_broker(
    broker: Broker,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """List, show, replay, purge; a wrong password is refused without being shown."""
    where = ("--broker", broker.url, "--namespace", namespace)
    monkeypatch.setattr(opening, "_PATIENCE_S", 2.0)

    async def command(*words: str) -> Result:
        return await asyncio.to_thread(effectmq, capsys, "dead", *words, *where)

    async with dead_stage(broker.url, namespace) as stage:
        request = await stage.park()
        await stage.raw(Message(body=b"\xc1"))
        listed = (await command("list", "--json")).documents
        assert [letter["reason"] for letter in listed] == ["exhausted", "raw"]
        assert request.hash in (await command("show", listed[0]["id"])).out
        assert (await command("replay", "--all")).code == 1
        await stage.work("exec_code", 1)
        assert (await command("show", "ffffffffffff")).code == 1
        assert (await command("purge", "--all")).code == 2
        assert (await command("purge", "--all", "--yes")).code == 0
        assert (await command("list")).out == "no dead letters\n"
        async with stage.letters.browse():
            busy = await command("list")
        assert (busy.code, "read by another reader" in busy.err) == (1, True)
        assert busy.err.startswith("waiting for a turn")
    wrong = broker.url.replace("guest@", "hunter2@")
    refused = await asyncio.to_thread(effectmq, capsys, "dead", "list", "--broker", wrong)
    assert refused.code == 2
    assert "hunter2" not in refused.err
