"""Users with exactly the documented permissions, with too few, and with one that is withdrawn."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest

from effectmq.broker.client.client import EffectClient
from effectmq.broker.dead_letters.dead_letters import DeadFilter, DeadLetters
from effectmq.broker.transports import open_transport
from effectmq.cli import main
from effectmq.consumers.settings import WorkerSettings
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.encoding.serde.tagging import Err
from effectmq.protocol.errors import (
    AccessRefusedError,
    EffectCancelledError,
    EffectFailedError,
    UnroutableError,
)
from effectmq.protocol.permissions import (
    Permissions,
    operator_permissions,
    producer_permissions,
    worker_permissions,
)
from effectmq.protocol.topology import Names, TopologySettings
from effectmq.protocol.wire.outcome import RuntimeEffectOutcomeExecCode
from tests.brokers.node import BrokerNode
from tests.consumers.stage import AT_ONCE, NAMES, code, hurry, logged, nap, outcome
from tests.waiting import eventually

DONE = RuntimeEffectOutcomeExecCode(result=Err("done"))
_DOCS = Path(__file__).parents[3] / "docs" / "operations.md"


class _Place:
    """A virtual host of a real broker, and users in it."""

    def __init__(self, node: BrokerNode, stack: AsyncExitStack) -> None:
        self.node = node
        self.vhost = f"v-{secrets.token_hex(3)}"
        self.topology = TopologySettings(namespace="t", delay_levels_ms=(100, 1_000))
        self.runs: list[str] = []
        self._stack = stack
        node.ctl("add_vhost", self.vhost)
        node.ctl("set_permissions", "-p", self.vhost, "guest", ".*", ".*", ".*")

    def user(self, name: str, permissions: Permissions) -> str:
        """A user who may do just that; its address."""
        known = self.node.ctl("list_users")
        if not re.search(rf"^{name}\s", known, re.MULTILINE):
            self.node.ctl("add_user", name, "pw")
        self.node.ctl("set_permissions", "-p", self.vhost, name, *permissions)
        return self.url(f"{name}:pw")

    def url(self, login: str = "guest:guest") -> str:
        parts = urlsplit(self.node.url)
        return f"amqp://{login}@{parts.hostname}:{parts.port}/{self.vhost}"

    def worker(self, url: str, journal: str | None = None) -> EffectWorker:
        """It runs code, in the ways that need every road."""
        app = EffectWorker(
            url,
            settings=WorkerSettings(shutdown_grace_s=5.0),
            topology=self.topology,
            name="w",
            journal=journal,
        )

        @app.handler("exec_code", retry=AT_ONCE)
        async def run(command: Any) -> object:
            self.runs.append(command.code)
            if command.code == "fail":
                raise OSError("no")
            return DONE

        return app

    async def start(self, app: EffectWorker) -> EffectWorker:
        await app.start()
        self._stack.push_async_callback(app.stop, 0.0)
        return app

    async def client(self, url: str, identity: str, **options: Any) -> EffectClient:
        client = EffectClient(url, identity=identity, topology=self.topology, **options)
        return await self._stack.enter_async_context(client)


@pytest.fixture
async def place(node: BrokerNode) -> AsyncIterator[_Place]:
    """A fresh virtual host; gone afterwards."""
    async with AsyncExitStack() as stack:
        made = await asyncio.to_thread(_Place, node, stack)
        yield made
    await asyncio.to_thread(node.ctl, "delete_vhost", made.vhost)


def _documented(role: str, namespace: str, identity: str = "") -> Permissions:
    """The row of the table, filled in as the page says."""
    row = next(line for line in _DOCS.read_text().splitlines() if line.startswith(f"| {role} |"))
    cells = [cell.strip(" |`").replace(r"\|", "|") for cell in row.split(" | ")][1:]
    return Permissions(
        *(cell.replace("<ns>", namespace).replace("<identity>", identity) for cell in cells[:3])
    )


def test_the_page_says_what_the_code_says() -> None:
    """The command in an error grants what the table shows."""
    assert _documented("worker", "my-ns") == worker_permissions("my-ns")
    assert _documented("operator", "my-ns") == operator_permissions("my-ns")
    assert _documented("producer", "my-ns", "p1") == producer_permissions("my-ns", "p1")


async def test_the_documented_permissions_are_enough(
    place: _Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each role does everything that it is for: answer, delay, park, cancel, replay, look."""
    hurry(monkeypatch)
    journal = f"sqlite:///{tmp_path}/j.db"
    worker = place.user("worker", _documented("worker", "t"))
    producer = place.user("producer", _documented("producer", "t", "p1"))
    operator = place.user("operator", _documented("operator", "t"))
    app = await place.start(place.worker(worker, journal))
    assert app.ready
    client = await place.client(producer, "p1", journal=journal)
    await outcome(await client.submit(code("one", "1")))
    await outcome(await client.submit(nap(150, "2")))
    with pytest.raises(EffectFailedError):
        await outcome(await client.submit(code("fail", "3")))
    sleeping = await client.submit(nap(3_600_000, "4"))
    assert await client.cancel(sleeping)
    with pytest.raises(EffectCancelledError):
        await outcome(sleeping)
    async with open_transport(operator) as transport:
        letters = DeadLetters(transport, place.topology)
        report = await letters.replay(DeadFilter())
        assert report.done == 1
    at = ["--broker", operator, "--namespace", "t", "--delay-levels", "100ms,1s"]
    assert await asyncio.to_thread(main, ["topology", "apply", "--quiet", *at]) == 0
    capsys.readouterr()
    code_of_exit = await asyncio.to_thread(main, ["doctor", "--json", "--journal", journal, *at])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row["status"] == "FAIL"] == []
    assert code_of_exit == 0
    permissions = {row["check"]: row["status"] for row in rows if "permission" in row["check"]}
    assert permissions == {f"permission {each}": "OK" for each in Permissions._fields}


@pytest.mark.parametrize("journal", [False, True])
async def test_all_that_a_worker_may_not_do_is_named_at_its_start(
    place: _Place, tmp_path: Path, journal: bool
) -> None:
    """One sentence, and nothing has run or been published; the command in it mends everything."""
    own = r"t\..*"
    # May declare, answer nobody, delay at one level only, and read neither limbo nor control.
    url = place.user(
        "narrow",
        Permissions(
            f"^{own}$",
            r"^t\.(work.*|limbo|control.*|delay\.100|dead)$",
            r"^t\.(work|dead|delay).*$",
        ),
    )
    chosen = f"sqlite:///{tmp_path}/j.db" if journal else None
    operator = await place.start(place.worker(place.url()))
    await operator.stop()
    async with asyncio.timeout(15):
        with pytest.raises(AccessRefusedError) as refused:
            await place.worker(url, chosen).start()
    sentence = str(refused.value)
    for name in ("amq.default", "t.delay.1000", "t.limbo", "t.control"):
        assert f"'{name}" in sentence
    assert "t.delay.100'" not in sentence
    assert refused.value.user == "narrow"
    command = re.search(
        r"rabbitmqctl (set_permissions -p \S+ narrow) '(\S+)' '(\S+)' '(\S+)'", sentence
    )
    assert command is not None
    place.node.ctl(*command[1].split(), command[2], command[3], command[4])
    assert (await place.start(place.worker(url, chosen))).ready
    async with open_transport(place.url()) as transport:
        dead = await transport.stats(NAMES.dead)
        assert dead is not None
        assert dead.ready == 0


@pytest.mark.one_broker
@pytest.mark.parametrize("name", ["work", "limbo", "dead", "control", "work.exec_code"])
@pytest.mark.parametrize("permission", ["configure", "write", "read"])
async def test_a_missing_permission_is_what_is_said_where_nothing_is_declared_yet(
    place: _Place, permission: str, name: str
) -> None:
    """Not the queues and exchanges that are missing because of it."""
    but = rf"^(?!t\.{re.escape(name)}$)(t\..*|amq\.default)$"
    url = place.user("narrow", worker_permissions("t")._replace(**{permission: but}))
    async with asyncio.timeout(15):
        with pytest.raises(AccessRefusedError) as refused:
            await place.start(place.worker(url))
    assert f"{permission} on" in str(refused.value)
    assert f"'t.{name}'" in str(refused.value)


@pytest.mark.one_broker
async def test_a_worker_whose_permission_is_withdrawn_keeps_what_it_has_and_takes_no_more(
    place: _Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Bodies run once, others wait in the queue, and all are answered when it is granted again."""
    full = worker_permissions("t")
    url = place.user("withdrawn", full)
    app = await place.start(place.worker(url))
    client = await place.client(place.url(), "p1")
    narrow = full._replace(write=r"^t\..*$")
    await asyncio.to_thread(place.user, "withdrawn", narrow)
    first = await client.submit(code("one", "1"))
    running = app._running
    assert running is not None
    # Its consumers are stopped one after the other.
    await eventually(lambda: (task := running._serving._turning) and task.done(), timeout_s=30)
    assert not running._serving.consuming
    assert app.health.state == "paused"
    assert "'amq.default'" in app.health.detail
    assert not app.ready
    assert len(logged(caplog, "worker_paused")) == 1
    transport = client._transport
    assert transport is not None
    queue = Names("t").work_queue("exec_code")

    async def all_wait() -> bool:
        found = await transport.stats(queue)
        return found is not None and found.ready == 3

    others = [await client.submit(code("more", f"m{n}")) for n in range(3)]
    await eventually(all_wait)
    assert place.runs == ["one"]
    await asyncio.to_thread(place.user, "withdrawn", full)
    await asyncio.gather(*(outcome(each) for each in (first, *others)))
    await eventually(lambda: app.ready)
    assert sorted(place.runs) == ["more"] * 3 + ["one"]
    assert first.done


async def test_a_producer_without_permission_is_told_at_once(place: _Place) -> None:
    """Not that the connection was lost: nothing may have arrived."""
    app = await place.start(place.worker(place.url()))
    url = place.user("reader", Permissions(".*", "^nothing$", ".*"))
    client = await place.client(url, "p1")
    failures = await asyncio.gather(
        *(client.submit(code("x", str(n)), timeout=20) for n in range(50)), return_exceptions=True
    )
    assert {type(each) for each in failures} == {AccessRefusedError}
    assert "no write permission on exchange 't.work'" in str(failures[0])
    assert app.counters["delivered"] == 0


@pytest.mark.one_broker
@pytest.mark.parametrize("role", ["documented", "narrow"])
async def test_a_producer_mends_what_it_may_and_says_what_it_may_not(
    place: _Place, role: str
) -> None:
    """With the documented permissions a deleted binding is bound again; with fewer it is named."""
    app = await place.start(place.worker(place.url()))
    await app.stop()
    permissions = producer_permissions("t", "p1")
    if role == "narrow":
        permissions = permissions._replace(write=r"^t\.work$", read=r"^t\.reply\.p1$")
    client = await place.client(place.user(f"producer-{role}", permissions), "p1")
    queue = Names("t").work_queue("exec_code")
    async with await aio_pika.connect(place.url()) as connection:
        found = await (await connection.channel()).get_queue(queue)
        await found.unbind(Names("t").work_exchange, "exec_code")
    if role == "documented":
        await client.submit(code("x", "1"), timeout=20)
        return
    failures = await asyncio.gather(
        *(client.submit(code("x", str(n)), timeout=20) for n in range(50)), return_exceptions=True
    )
    assert {type(each) for each in failures} == {UnroutableError}
    assert queue in str(failures[0])
    assert "permission" in str(failures[0])
    assert client._transport is not None
    assert client._transport.counters["reconnects"] == 0
