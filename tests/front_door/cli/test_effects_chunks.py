"""``effectmq effects tail --chunks``: what running effects stream, on a terminal."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from effectmq import Client, EffectContext, Worker
from effectmq.broker.client.fleet.fleet import Fleet
from effectmq.broker.place import Place
from effectmq.broker.store.journal.archive.archive import open_archive
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectSummary
from effectmq.broker.transports import open_transport
from effectmq.cli.effects.chunks import Chunks, Lines
from effectmq.cli.terminal.tables import Room
from effectmq.protocol.messages.fleet.watched import Watched
from effectmq.protocol.topology import Names
from tests.brokers.provide import Broker
from tests.front_door.cli.command import effectmq
from tests.front_door.recorded import record_session
from tests.waiting import eventually

DONE = {"type": "exec_code", "result": {"Err": "the end"}}


@pytest.fixture
async def effect(tmp_path: Path) -> EffectSummary:
    url = await asyncio.to_thread(record_session, tmp_path)
    async with open_archive(url) as archive:
        return (await archive.find(EffectFilter(), limit=1))[0]


def said(number: int, text: str, attempt: int = 1) -> Watched:
    return Watched("t", attempt, number, 1, text)


async def test_lines_are_whole_and_say_what_is_missing(effect: EffectSummary) -> None:
    written: list[str] = []
    lines = Lines(Room(80), written.append)

    def shown() -> list[str]:
        found = [line.split("streams", 1)[1].strip() for line in written]
        assert all(effect.hash[:8] in line and len(line) <= 80 for line in written)
        written.clear()
        return found

    lines.tell(effect, said(0, "one "))
    assert shown() == []
    lines.tell(effect, said(1, "two\nthr"))
    assert shown() == ["one two"]
    lines.tell(effect, None)
    assert shown() == ["thr"]
    lines.tell(effect, said(7, "late\n"))
    assert shown() == ["…late"]
    # Another attempt begins anew, and one whose beginning was missed says so.
    lines.tell(effect, said(0, "new\n", attempt=2))
    lines.tell(effect, said(4, "later\n", attempt=3))
    assert shown() == ["new", "…later"]
    lines.tell(effect, said(5, "x" * 120, attempt=3))
    lines.tell(effect, None)
    assert "".join(shown()) == "x" * 120


async def test_hostile_text_is_shown_as_text(effect: EffectSummary) -> None:
    written: list[str] = []
    lines = Lines(Room(), written.append)
    lines.tell(effect, said(0, "\x1b[2J\u202egnp\r\x07<script>\n" + "a" * 100_000))
    lines.tell(effect, None)
    assert written[0].endswith("streams    \\x1b[2J\\u202egnp\\r\\x07<script>")
    assert len(written) > 2
    assert all(line.isprintable() and len(line) < 1_200 for line in written)


async def test_a_reader_that_is_gone_ends_it(effect: EffectSummary) -> None:
    """As with ``| head``: the next look notices, although it happened in the background."""

    def gone(effect: EffectSummary, watched: Watched | None) -> None:
        raise BrokenPipeError

    address = secrets.token_hex(4)
    place = Place.of({"broker": f"memory://{address}", "journal": "none"})
    async with (
        Worker(place=place),
        open_transport(place.broker) as transport,
        Fleet(transport, Names("effects")) as fleet,
        Chunks(fleet, gone, print) as chunks,
    ):
        chunks.follow([replace(effect, status="in_progress")])
        await eventually(lambda: not chunks.following)
        with pytest.raises(BrokenPipeError):
            chunks.follow([])


def test_chunks_need_effects_in_progress_and_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("effects", "tail", "--chunks", "--journal", record_session(tmp_path))
    result = effectmq(capsys, *words, "--status", "failed")
    assert (result.code, "--status leaves those out" in result.err) == (2, True)
    result = effectmq(capsys, *words, "--broker", "memory://")
    assert (result.code, "memory:// is a broker inside one process" in result.err) == (2, True)


@pytest.mark.one_broker
async def test_the_command_prints_what_an_effect_streams(
    broker: Broker, namespace: str, tmp_path: Path
) -> None:
    journal = f"sqlite:///{tmp_path}/journal.db"
    place = Place.of({"broker": broker.url, "namespace": namespace, "journal": journal})
    worker = Worker(place=place, shutdown_grace_s=1.0, lease_s=1.0)
    words: asyncio.Queue[str | None] = asyncio.Queue()

    @worker.handler("exec_code")
    async def speak(command: object, context: EffectContext) -> object:
        while (word := await words.get()) is not None:
            context.stream(word)
        return DONE

    at = ("--journal", journal, "--broker", broker.url, "--namespace", namespace)
    async with asyncio.timeout(60), worker, Client(place=place) as client:
        asked = asyncio.create_task(client.turn("s", "t").exec_code("tell", timeout=40))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "effectmq", "effects", "tail", "--chunks", "--json", *at),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None

            async def next_() -> dict[str, Any]:
                assert process.stdout is not None
                found: dict[str, Any] = json.loads(await process.stdout.readline())
                return found

            running = await next_()
            assert running["status"] == "in_progress"
            watched = worker._running._chunks.watches.by_effect  # type: ignore[union-attr]
            await eventually(lambda: bool(watched))
            words.put_nowait("héllo\n")
            text = await next_()
            assert (text["text"], text["attempt"]) == ("héllo\n", 1)
            assert (text["scope_id"], text["effect_id"]) == ("t", running["effect_id"])
            # Its lease is renewed meanwhile, which is no news.
            words.put_nowait(None)
            assert (await next_())["status"] == "failed"
            await asked
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
