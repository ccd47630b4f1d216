"""How far effects are on a terminal: one effect, the list for scripts, and changes as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from effectmq.broker.store.journal.archive.archive import Archive, open_archive
from effectmq.broker.store.journal.archive.summaries import EffectSummary
from effectmq.broker.store.journal.archive.tail import News
from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.store.journal.records import Renew
from effectmq.cli.effects.chunks import Lines, chunk_facts
from effectmq.cli.terminal.tables import Room
from effectmq.protocol.messages.fleet.watched import Watched
from effectmq.protocol.messages.progress import Progress
from tests.conformance.asking import LEASE_MS, effect, finished, granted, said
from tests.front_door.cli.command import Result, effectmq

PAGE_3 = Progress(3, 12, r"page\n 3")
Command = Callable[..., Result]


async def tell(journal: Journal, key: str, told: Progress, *, lease_ms: int = LEASE_MS) -> None:
    """The first holder of an effect says how far it is."""
    await journal.hand_back(Renew(effect(key).identity, 1, lease_ms, told))


async def record(url: str) -> None:
    """One that runs, one that runs once more, one that has ended, and one that told nothing."""
    async with Journal(url) as journal:
        await journal.check_writable()
        for key, lease_ms in (("runs", LEASE_MS), ("again", 0), ("ended", LEASE_MS)):
            answer = await granted(journal, effect(key), lease_ms=lease_ms)
            await tell(journal, key, PAGE_3, lease_ms=lease_ms)
        await journal.record(said(effect("ended"), answer))
        await granted(journal, effect("again"))
        await finished(journal, effect("never"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A journal with these."""
    address = f"sqlite:///{tmp_path / 'journal.db'}"
    asyncio.run(record(address))
    return address


@pytest.fixture
def effects(url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``effectmq effects`` on it."""

    def run(*words: str) -> Result:
        return effectmq(capsys, "effects", *words, "--journal", url)

    return run


def progress_line(effects: Command, key: str) -> str:
    """What ``get`` says about it; empty for nothing."""
    lines = effects("get", key).out.splitlines()
    return next((line for line in lines if line.startswith("progress")), "")


def test_one_effect_says_how_far_it_is(effects: Command) -> None:
    """Whose word it is, and how old; nothing where there is none."""
    assert r"3 of 12 (25 %): page\n 3; attempt 1, " in progress_line(effects, "runs")
    assert r"3 of 12 (25 %): page\n 3; attempt 1, " in progress_line(effects, "ended")
    assert "; an earlier run, " in progress_line(effects, "again")
    assert progress_line(effects, "never") == ""


def test_scripts_get_the_same_of_one_and_of_many(effects: Command) -> None:
    """With stable keys."""
    listed = {each["replay_key"]: each["progress"] for each in effects("list", "--json").documents}
    moment = listed["runs"].pop("told_ms")
    assert moment > 0
    told = {"done": 3, "total": 12, "note": r"page\n 3", "attempt": 1}
    assert listed["runs"] == {**told, "former": False}
    assert [listed[key]["former"] for key in ("again", "ended")] == [True, False]
    assert listed["never"] is None
    (shown,) = effects("get", "runs", "--json").documents
    assert shown["progress"] == {**told, "former": False, "told_ms": moment}


@pytest.mark.parametrize("style", [(), ("--json",)])
def test_tail_tells_what_the_records_say(
    style: tuple[str, ...], effects: Command, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, of those that run; not the word of an earlier run."""
    monkeypatch.setattr("effectmq.cli.effects.tailing._POLL_S", 0)
    real, looks = Archive.since, iter(("real", "real", "further", "end"))

    async def since(archive: Archive, news: News) -> list[EffectSummary]:
        look = next(looks)
        if look == "end":
            raise KeyboardInterrupt
        if look == "further":
            async with Journal(url) as journal:
                await tell(journal, "runs", Progress(4, 12))
        return await real(archive, news)

    monkeypatch.setattr(Archive, "since", since)
    result = effects("tail", "--since", "1h", *style)
    assert result.code == 130
    if style:
        told: list[Any] = [each for each in result.documents if "status" not in each]
        assert [each["replay_key"] for each in told] == ["runs", "runs"]
        assert [each["progress"]["done"] for each in told] == [3, 4]
        return
    lines = [line.split("progress", 1)[1].strip() for line in result.out.splitlines()[4:]]
    assert lines == [r"3 of 12 (25 %): page\n 3", "4 of 12 (33 %)"]


async def test_chunks_tell_it_as_it_comes(url: str) -> None:
    """Beside text, and each but once; scripts get it with the chunks."""
    async with open_archive(url) as archive:
        shown = await archive.get("runs")
    written: list[str] = []
    lines = Lines(Room(80), written.append)
    watched = Watched("t", 1, 0, 2, "text\n", progress=Progress(1, 4, "one"))
    for each in (watched, Watched("t", 1, 2, 1, "", progress=Progress(1, 4, "one"))):
        lines.tell(shown, each)
    lines.tell(shown, Watched("t", 2, 0, 1, "", progress=Progress(0, 4)))
    said_ = [line.split(shown.hash[:8], 1)[1].split(maxsplit=1) for line in written]
    assert said_ == [
        ["streams", "text"],
        ["progress", "1 of 4 (25 %): one"],
        ["progress", "0 of 4 (0 %)"],
    ]
    assert chunk_facts(shown, watched)["progress"] == {"done": 1, "total": 4, "note": "one"}
    assert chunk_facts(shown, Watched("t"))["progress"] is None
