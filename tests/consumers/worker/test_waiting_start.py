"""A worker that starts while its broker, journal or store is away waits, says so, and begins."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.transports.memory.broker import MemoryBroker
from effectmq.broker.transports.rabbitmq.driver.channels.channel import Channel
from effectmq.broker.transports.settings import TransportSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerUnreachableError,
    ConfigurationError,
    DatabaseUnavailableError,
    EffectmqError,
    VirtualHostError,
)
from effectmq.protocol.topology import Queue, TopologySettings
from tests.brokers.node import BrokerNode, free_ports
from tests.brokers.proxy import ChaosProxy
from tests.consumers.stage import TOPOLOGY, Stage, logged, nap, outcome
from tests.databases.cluster import Cluster
from tests.waiting import eventually

_QUICK = TransportSettings(connect_timeout_s=1.0)


@asynccontextmanager
async def starting(app: EffectWorker) -> AsyncIterator[asyncio.Task[None]]:
    """A worker on its way; stopped afterwards, however far it has come."""
    task = asyncio.create_task(app.start())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await app.stop(0.0)
        assert app.health.state == "stopped"


def _worker(broker: str, namespace: str, **options: object) -> EffectWorker:
    return EffectWorker(
        broker,
        topology=TopologySettings(namespace=namespace),
        transport=_QUICK,
        name="w",
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.one_broker
async def test_a_broker_that_is_away_is_waited_for(
    node: BrokerNode, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not ready meanwhile, one line in the log, and effects of a client that waits too are done."""
    caplog.set_level("INFO")
    await asyncio.to_thread(node.stop)
    app = _worker(node.url, namespace)
    assert app.health.state == "stopped"
    async with starting(app) as task:
        await eventually(lambda: app.health.state == "waiting", timeout_s=20)
        assert not app.ready
        assert "nothing listens there" in app.health.detail
        settings = TransportSettings(connect_timeout_s=60)
        client = EffectClient(
            node.url, topology=TopologySettings(namespace=namespace), transport=settings
        )
        entering = asyncio.create_task(client.__aenter__())
        # Several tries fail before it is back.
        await eventually(lambda: len(logged(caplog, "worker_waits")) == 1)
        await asyncio.to_thread(node.start)
        await task
        await eventually(lambda: app.ready, timeout_s=20)
        await entering
        try:
            await outcome(await client.submit(nap(1)))
        finally:
            await client.__aexit__(None, None, None)
    (line,) = logged(caplog, "worker_waits")
    assert "is not ready, it waits for the broker amqp://" in line.getMessage()
    assert len(logged(caplog, "worker_goes_on")) == 1


@pytest.mark.one_broker
async def test_a_broker_that_dies_while_it_is_declared_on_is_waited_for(
    node: BrokerNode, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was declared by then, all of it is there in the end."""
    app: EffectWorker
    declare = Channel.declare_queue
    cuts = 0

    async def cut_in(self: Channel, queue: Queue) -> None:
        nonlocal cuts
        cuts += 1
        if cuts in (3, 9):
            proxy.cut()
        await declare(self, queue)

    monkeypatch.setattr(Channel, "declare_queue", cut_in)
    async with ChaosProxy.to(node.url) as proxy:
        app = _worker(proxy.url(node.url), namespace)
        async with starting(app) as task:
            async with asyncio.timeout(60):
                await task
            assert app.ready
            assert cuts > 9


async def test_a_control_queue_that_a_dying_broker_spoilt_is_not_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be declared and never answers; the next try has another one."""
    asked: list[str] = []
    declare = MemoryBroker.declare_own

    def spoilt(self: MemoryBroker, exchange: str, name: str, connection: object) -> None:
        asked.append(name)
        if len(asked) == 2:
            raise BrokerUnreachableError("no answer")
        declare(self, exchange, name, connection)

    monkeypatch.setattr(MemoryBroker, "declare_own", spoilt)
    worker = await stage.start(stage.worker())

    # The first was asked for to see whether this worker may have one.
    assert len(asked) == 3
    assert len(set(asked)) == 3
    assert worker.ready


async def test_a_journal_that_is_away_is_waited_for(
    stage: Stage, private_postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker is not even asked before; then the worker records as if it had been there."""
    await asyncio.to_thread(private_postgres.stop)
    app = stage.worker(journal=private_postgres.url)
    async with starting(app) as task:
        await eventually(lambda: app.health.state == "waiting", timeout_s=20)
        assert "the journal postgresql://" in app.health.detail
        await asyncio.to_thread(private_postgres.start)
        await task
        assert app.ready
    assert len(logged(caplog, "worker_waits")) == 1


async def test_a_client_waits_for_its_journal_within_its_time(
    stage: Stage, private_postgres: Cluster
) -> None:
    """It has somebody who waits for it, so not for ever; a wrong address is told at once."""
    await asyncio.to_thread(private_postgres.stop)
    briefly = TransportSettings(connect_timeout_s=0.5)
    with pytest.raises(DatabaseUnavailableError):
        await stage.client(journal=private_postgres.url, transport=briefly)
    patiently = TransportSettings(connect_timeout_s=60)
    entering = asyncio.create_task(stage.client(journal=private_postgres.url, transport=patiently))
    await asyncio.to_thread(private_postgres.start)
    await entering
    wrong = f"postgresql://nobody@127.0.0.1:{private_postgres.port}/postgres"
    async with asyncio.timeout(30):
        with pytest.raises((DatabaseUnavailableError, ConfigurationError)):
            await stage.client(journal=wrong, transport=patiently)


async def test_a_locked_journal_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    """SQLite: another process migrates, or copies."""
    path = tmp_path / "j.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    app = stage.worker(journal=f"sqlite:///{path}")
    async with starting(app) as task:
        await eventually(lambda: app.health.state == "waiting", timeout_s=20)
        holder.execute("COMMIT")
        holder.close()
        await task
        assert app.ready


async def test_a_store_that_is_away_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    """A full disk is mended by somebody who need not know of us."""
    from effectmq.broker.store.attachments import open_attachments
    from effectmq.protocol.errors import AttachmentStoreError

    store = open_attachments(f"file://{tmp_path}/store")
    assert store is not None
    enter = type(store).__aenter__
    away = True

    async def entered(self: object) -> object:
        if away:
            raise AttachmentStoreError("the disk is full")
        return await enter(self)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "__aenter__", entered)
        app = stage.worker(attachments=store)
        async with starting(app) as task:
            await eventually(lambda: "the disk is full" in app.health.detail)
            away = False
            await task
            assert app.ready


@pytest.mark.one_broker
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("password", AccessRefusedError),
        ("vhost", VirtualHostError),
        ("name", BrokerUnreachableError),
        ("tls", BrokerUnreachableError),
        ("scheme", ConfigurationError),
    ],
)
async def test_a_wrong_address_of_the_broker_fails_at_once(
    node: BrokerNode,
    namespace: str,
    change: str,
    error: type[EffectmqError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that comes back would mend it."""
    parts = urlsplit(node.url)
    at = f"{parts.hostname}:{parts.port}"
    url = {
        "password": f"amqp://guest:wrong@{at}/",
        "vhost": f"amqp://guest:guest@{at}/no-such-vhost",
        "name": f"amqp://guest:guest@no-such-host.invalid:{parts.port}/",
        "tls": f"amqps://guest:guest@{at}/",
        "scheme": f"http://guest:guest@{at}/",
    }[change]
    if change == "name":
        import socket

        async def unknown(*args: object, **options: object) -> object:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with asyncio.timeout(15):
        with pytest.raises(error):
            await _worker(url, namespace).start()


async def test_a_wrong_address_of_the_journal_fails_at_once(
    stage: Stage, private_postgres: Cluster, tmp_path: Path
) -> None:
    """User, database, schema; a file that is none, or that cannot be made."""
    at = f"127.0.0.1:{private_postgres.port}"
    (tmp_path / "letter.db").write_bytes(b"my precious letter" * 500)
    (tmp_path / "file").write_text("")
    for url in (
        f"postgresql://nobody@{at}/postgres",
        f"postgresql://postgres@{at}/missing",
        f"postgresql://postgres@{at}/postgres?options=-csearch_path%3Dmissing",
        f"postgresql://postgres@{at}/postgres?sslmode=require",
        f"sqlite:///{tmp_path}/letter.db",
        f"sqlite:///{tmp_path}/file/j.db",
    ):
        async with asyncio.timeout(15):
            with pytest.raises((DatabaseUnavailableError, ConfigurationError)):
                await stage.worker(journal=url).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_waiting(tmp_path: Path, number: signal.Signals) -> None:
    """At once, in good order, and the parent sees why."""
    (tmp_path / "waiting_app.py").write_text("from effectmq import Worker\napp = Worker()\n")
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "effectmq", "worker", "waiting_app:app", "--journal", "none"),
        *("--broker", f"amqp://127.0.0.1:{port}/", "--namespace", TOPOLOGY.namespace),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            said = b""
            while b"is not ready, it waits for the broker" not in said:
                line = await process.stderr.readline()
                assert line, said
                said += line
            process.send_signal(number)
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    assert code in (-number, 130)
