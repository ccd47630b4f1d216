"""A worker with an attachment store: large bodies go round the broker, in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from effectmq.broker.store.attachments import AttachmentSettings, AttachmentStore
from effectmq.broker.store.attachments.directory import DirectoryObjects
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import EffectFailedError, RejectEffectError
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.dead_letter import revived_message
from effectmq.protocol.wire.envelope import RuntimeEffectCommandExecCode
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.consumers.stage import NAMES, PATIENCE_S, Stage, code, hurry, outcome
from tests.waiting import eventually

LARGE = "x" * 50_000


def store(folder: Path) -> AttachmentStore:
    """A store that takes everything over a kilobyte out of line."""
    return AttachmentStore(DirectoryObjects(folder), AttachmentSettings(body_threshold_bytes=1_000))


def kept(folder: Path) -> int:
    """How many objects a store has."""
    return sum(file.is_file() for file in folder.rglob("*"))


def echo(app: EffectWorker) -> EffectWorker:
    """Answers with what it was asked, which is as large."""

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        return RuntimeEffectOutcomeExecCode(result=Err(command.code))

    return app


async def test_large_bodies_go_round_the_broker(stage: Stage, tmp_path: Path) -> None:
    """Neither the request nor the answer passes a queue, and both arrive whole."""
    worker = await stage.start(echo(stage.worker(attachments=store(tmp_path))))
    client = await stage.client(attachments=store(tmp_path))
    assert await outcome(await client.submit(code(LARGE))) == RuntimeEffectOutcomeExecCode(
        result=Err(LARGE)
    )
    assert worker.counters["completed"] == 1
    assert kept(tmp_path) == 2


async def test_an_answer_goes_inline_to_whoever_has_no_store(stage: Stage, tmp_path: Path) -> None:
    """A producer in another language never said that it can fetch."""
    await stage.start(echo(stage.worker(attachments=store(tmp_path))))
    client = await stage.client()
    assert await outcome(await client.submit(code(LARGE))) == RuntimeEffectOutcomeExecCode(
        result=Err(LARGE)
    )


async def test_a_worker_without_a_store_says_what_is_missing(stage: Stage, tmp_path: Path) -> None:
    """Parked with a sentence, and a replay on a worker that has one succeeds."""
    without = await stage.start(echo(stage.worker()))
    client = await stage.client(attachments=store(tmp_path))
    with pytest.raises(EffectFailedError, match="set EFFECTMQ_ATTACHMENTS"):
        await outcome(await client.submit(code(LARGE)))
    (letter,) = await stage.parked()
    await without.stop()
    worker = await stage.start(echo(stage.worker(attachments=store(tmp_path))))
    await stage.publish("exec_code", revived_message(letter))
    await eventually(lambda: worker.counters["completed"] == 1)


async def test_a_missing_body_is_parked_with_its_name(stage: Stage, tmp_path: Path) -> None:
    """Nothing of the effect is known but its headers; the letter keeps the reference."""
    client = await stage.client(attachments=store(tmp_path / "here"))
    worker = await stage.start(echo(stage.worker(attachments=store(tmp_path / "elsewhere"))))
    with pytest.raises(EffectFailedError, match="effectmq_body_missing"):
        await outcome(await client.submit(code(LARGE)))
    (letter,) = await stage.parked()
    assert names.BODY in letter.message.headers
    await stage.idle(worker, "exec_code")


async def test_retry_and_dead_letter_carry_the_reference(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body is not sent again; it is fetched again."""
    hurry(monkeypatch)
    app = stage.worker(attachments=store(tmp_path), journal=f"sqlite:///{tmp_path}/j.db")
    runs = 0

    @app.handler("exec_code")
    async def run(command: RuntimeEffectCommandExecCode) -> object:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise OSError("not yet")
        raise RejectEffectError("no_good", "never")

    await stage.start(app)
    client = await stage.client(attachments=store(tmp_path))
    with pytest.raises(EffectFailedError, match="no_good"):
        await (await client.submit(code(LARGE))).outcome(PATIENCE_S)
    (letter,) = await stage.parked()
    assert letter.message.body == b""
    assert stage.ready(NAMES.work_queue("exec_code")) == 0
