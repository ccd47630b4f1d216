"""Metrics and health over HTTP, as a probe and a scraper see them."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from effectmq import Worker
from effectmq.monitoring.server import HttpServer, address_of
from effectmq.protocol.errors import AttachmentStoreError, ConfigurationError
from tests.consumers.stage import logged
from tests.databases.cluster import Cluster
from tests.waiting import eventually


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


async def get(port: int, path: str) -> Answer:
    """As any client asks."""

    def ask() -> Answer:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return Answer(answer.status, answer.read(), answer.headers["Content-Type"])
        except HTTPError as refused:
            return Answer(refused.code, refused.read(), refused.headers["Content-Type"])

    return await asyncio.to_thread(ask)


@pytest.fixture
def made(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Any:
    """Makes a worker of the front door with a broker of its own, which listens on a free port."""
    caplog.set_level("INFO")

    def make(**arguments: Any) -> Worker:
        broker = f"memory://{request.node.name}"
        return Worker(broker, http="127.0.0.1:0", **{"journal": "none", **arguments})

    return make


def port_of(caplog: pytest.LogCaptureFixture) -> int:
    (record,) = logged(caplog, "http_served")
    port: int = record.port  # type: ignore[attr-defined]
    return port


async def test_a_worker_that_works_is_live_and_ready(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """And tells its metrics; what is not there is not found, and nothing can be changed."""
    async with made(name="one"):
        port = port_of(caplog)
        assert (await get(port, "/ready")).json == {
            "worker": "one",
            "ready": True,
            "problems": {},
            "paused": {},
        }
        live = await get(port, "/live")
        assert live.status == 200
        assert live.json["loop_lag_s"] < 5
        metrics = await get(port, "/metrics")
        assert b"effectmq_ready 1.0" in metrics.body
        assert metrics.content_type.startswith("text/plain")
        assert (await get(port, "/")).status == 404
    with pytest.raises(OSError, match="refused"):
        await get(port, "/live")


async def test_a_worker_that_waits_at_its_start_is_live_and_not_ready(
    made: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The probe says what it waits for."""
    holder = sqlite3.connect(tmp_path / "j.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    worker = made(journal=f"sqlite:///{tmp_path / 'j.db'}")
    starting = asyncio.create_task(worker.start())
    await eventually(lambda: worker.health.state == "waiting")
    port = port_of(caplog)
    ready = await get(port, "/ready")
    assert ready.status == 503
    assert "the journal" in ready.json["problems"]["worker"]
    assert (await get(port, "/live")).status == 200
    holder.execute("COMMIT")
    holder.close()
    await starting
    assert (await get(port, "/ready")).status == 200
    await worker.stop()


async def test_a_journal_that_goes_away_is_named(
    made: Any, caplog: pytest.LogCaptureFixture, private_postgres: Cluster
) -> None:
    """An idle worker would not notice by itself; when it is back the worker is ready again."""
    async with made(journal=private_postgres.url):
        port = port_of(caplog)
        await asyncio.to_thread(private_postgres.stop)
        away = await get(port, "/ready")
        assert away.status == 503
        assert list(away.json["problems"]) == ["journal"]
        await asyncio.to_thread(private_postgres.start)
        async with asyncio.timeout(30):
            # Each answer takes until the journal has been asked.
            while (await get(port, "/ready")).status != 200:
                pass


async def test_a_store_that_does_not_answer_is_named(
    made: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the probe's time, though the store takes for ever."""
    worker = made(attachments="memory://store")
    async with worker:

        async def silent() -> None:
            await asyncio.Event().wait()

        async def full() -> None:
            raise AttachmentStoreError("the disk is full")

        monkeypatch.setattr(worker.attachments, "check", silent)
        assert await worker.problems(0.01) == {"attachments": "no answer within 0.01 s"}
        monkeypatch.setattr(worker.attachments, "check", full)
        answer = await get(port_of(caplog), "/ready")
        assert answer.status == 503
        assert "the disk is full" in answer.json["problems"]["attachments"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:80", ("::1", 80)),
        (":9464", ("", 9464)),
        (" localhost:0 ", ("localhost", 0)),
    ],
)
def test_addresses(text: str, found: tuple[str, int]) -> None:
    """Host and port."""
    assert address_of(text) == found


@pytest.mark.parametrize("text", ["", "9464", "host", "host:", "host:x", "host:65536", "h:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Before the worker starts."""
    with pytest.raises(ConfigurationError, match="expected host:port"):
        address_of(text)


async def test_an_address_that_is_taken_ends_the_start(made: Any) -> None:
    """Waiting would not help."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = Worker("memory://taken", journal="none", name="w")
        server = HttpServer(worker, f"127.0.0.1:{taken.getsockname()[1]}")
        worker.use(server)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await worker.start()
        assert worker.health.state == "stopped"
