"""``effectmq doctor``: what is well, what is not, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiormq
import pytest

from effectmq.broker.store.journal.journal import Journal
from effectmq.broker.transports import open_transport
from effectmq.broker.transports.memory import MemoryTransport
from effectmq.cli.doctor import checks
from effectmq.cli.doctor.checks import Checkup, Finding
from effectmq.cli.program.schemas import SCHEMAS
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import BrokerBlockedError
from effectmq.protocol.messages.message import Message
from effectmq.protocol.permissions import Permissions, operator_permissions
from effectmq.protocol.topology import (
    Names,
    Queue,
    Topology,
    TopologySettings,
    shared_topology,
    work_topology,
)
from tests.brokers.node import BrokerNode
from tests.brokers.provide import Broker
from tests.front_door.cli.command import Result, effectmq

Write = Callable[[str], str]

_SETTINGS = TopologySettings()
_NAMES = Names()


def _checkup(transport: MemoryTransport, broker: str = "memory://") -> Checkup:
    return Checkup(transport, broker, _SETTINGS, ("sleep",), 600.0, 1_800.0)


async def _findings(checkup: Checkup) -> dict[str, Finding]:
    return {finding.check: finding async for finding in checkup.findings()}


def _statuses(result: Result) -> dict[str, str]:
    return {row["check"]: row["status"] for row in result.documents}


def test_a_fresh_memory_broker_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing fails; that nothing is declared yet is worth a warning."""
    result = effectmq(capsys, "doctor", "--json")
    assert result.code == 0
    assert _statuses(result) == {
        "connection": "OK",
        "broker": "OK",
        "encryption": "OK",
        "topology": "WARN",
        "unroutable": "OK",
        "delivery": "OK",
        "consumer timeout": "OK",
        "clock": "OK",
        "journal": "OK",
        "attachments": "OK",
    }
    assert all(list(row) == ["check", "status", "detail"] for row in result.documents)


def test_people_get_a_line_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    """The status comes first; ``--quiet`` leaves out what is well."""
    lines = effectmq(capsys, "doctor").out.splitlines()
    assert {line.split()[0] for line in lines} == {"OK", "WARN"}
    (line,) = effectmq(capsys, "doctor", "--quiet").out.splitlines()
    assert line.startswith("WARN  topology")


def test_no_connection_is_a_failed_check(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the address without its password, and the exit code is 1."""
    result = effectmq(
        capsys, "doctor", "--json", "--broker", "amqp://guest:geheim@127.0.0.1:1/", "--quiet"
    )
    assert result.code == 1
    assert _statuses(result) == {"connection": "FAIL", "journal": "OK", "attachments": "OK"}
    assert "127.0.0.1:1" in result.out
    assert "geheim" not in result.out + result.err


async def test_consumers_limbo_and_dead_letters_are_counted() -> None:
    """Waiting effects without a worker fail; limbo and dead letters are warnings."""
    async with MemoryTransport() as transport:
        await transport.declare(work_topology(_SETTINGS, ["sleep"]) | shared_topology(_SETTINGS))
        found = await _findings(_checkup(transport))
        assert found["topology"].status == "OK"
        assert found["consumers sleep"].status == "WARN"
        assert found["limbo"].status == found["dead letters"].status == "OK"
        for queue in (_NAMES.work_queue("sleep"), _NAMES.limbo, _NAMES.dead):
            await transport.publish("", queue, Message(body=b"x"))
        found = await _findings(_checkup(transport))
        assert found["consumers sleep"].status == "FAIL"
        assert "1 effect(s) wait" in found["consumers sleep"].detail
        assert found["limbo"].status == found["dead letters"].status == "WARN"
        assert "effectmq dead list" in found["dead letters"].detail
        consumer = await transport.consume(_NAMES.work_queue("sleep"), prefetch=1)
        found = await _findings(_checkup(transport))
        assert found["consumers sleep"].status == "OK"
        await consumer.close()


async def test_every_queue_that_differs_is_named() -> None:
    """Not only the first one, as a worker's start would."""
    async with MemoryTransport() as transport:
        wrong = {"x-queue-type": "quorum", "x-delivery-limit": 5}
        await transport.declare(shared_topology(_SETTINGS))
        transport.broker.delete_queue(_NAMES.dead)
        await transport.declare(
            Topology(queues=(Queue(_NAMES.dead, wrong), Queue(_NAMES.work_queue("sleep"), wrong)))
        )
        found = [one async for one in _checkup(transport).findings() if one.check == "topology"]
    # Declared by hand, they have no bindings either.
    assert len(found) == 4
    found = [one for one in found if "exists with" in one.detail]
    assert [finding.status for finding in found] == ["FAIL", "FAIL"]
    assert _NAMES.work_queue("sleep") in found[0].detail
    assert _NAMES.dead in found[1].detail


async def test_a_missing_delay_level_fails() -> None:
    """A retry would have nowhere to wait."""
    async with MemoryTransport() as transport:
        await transport.declare(work_topology(_SETTINGS, ["sleep"]) | shared_topology(_SETTINGS))
        transport.broker.delete_queue(_NAMES.delay(1_000))
        found = await _findings(_checkup(transport))
        assert found["topology"].status == "FAIL"
        assert _NAMES.delay(1_000) in found["topology"].detail
        # Looking has not mended it.
        assert await transport.stats(_NAMES.delay(1_000)) is None


async def test_a_broker_with_an_alarm_fails_the_delivery() -> None:
    """The sentence is the transport's own."""

    class Blocked(MemoryTransport):
        async def publish(self, *args: object, **options: object) -> None:
            raise BrokerBlockedError("the broker has an alarm")

    async with Blocked() as transport:
        found = await _findings(_checkup(transport))
    assert (found["delivery"].status, found["delivery"].detail) == (
        "FAIL",
        "the broker has an alarm",
    )


async def test_a_message_that_does_not_come_back_fails_the_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Confirmed and lost is what no other check would see."""

    class Swallowing(MemoryTransport):
        async def publish(self, *args: object, **options: object) -> None:
            return

    monkeypatch.setattr(checks, "_ROUND_TRIP_S", 0.05)
    async with Swallowing() as transport:
        found = await _findings(_checkup(transport))
    assert found["delivery"].status == "FAIL"
    assert "did not come back" in found["delivery"].detail


@pytest.mark.parametrize(
    ("broker", "status"),
    [
        ("amqp://u:geheim@rabbit.example.org/", "WARN"),
        ("amqps://u:geheim@rabbit.example.org/", "OK"),
        ("amqp://127.0.0.2/", "OK"),
        ("amqp://[::1]/", "OK"),
        ("amqp:///", "OK"),
    ],
)
async def test_a_plain_connection_to_another_machine_is_a_warning(broker: str, status: str) -> None:
    """Inside this machine there is nobody to listen."""
    async with MemoryTransport() as transport:
        finding = (await _findings(_checkup(transport, broker)))["encryption"]
    assert finding.status == status
    assert "geheim" not in finding.detail


@pytest.mark.parametrize(
    ("server", "status"),
    [
        ("RabbitMQ 3.10.8", "OK"),
        ("RabbitMQ 4.3.0-rc.1", "OK"),
        ("RabbitMQ 3.9.29", "FAIL"),
        ("LavinMQ 2.0.0", "WARN"),
        ("", "WARN"),
    ],
)
async def test_the_brokers_version_is_judged(server: str, status: str) -> None:
    """3.10 is the oldest that has what the topology needs."""

    class Named(MemoryTransport):
        @property
        def server(self) -> str:
            return server

    async with Named() as transport:
        finding = (await _findings(_checkup(transport, "amqp://localhost/")))["broker"]
    assert finding.status == status
    assert server in finding.detail


async def test_an_attempt_longer_than_the_brokers_patience_is_a_warning() -> None:
    """The setting to change is named on both sides."""
    async with MemoryTransport() as transport:
        checkup = _checkup(transport, "amqp://localhost/")
        assert (await _findings(checkup))["consumer timeout"].status == "OK"
        checkup.longest_s = 1_800
        finding = (await _findings(checkup))["consumer timeout"]
    assert finding.status == "WARN"
    assert "consumer_timeout in rabbitmq.conf" in finding.detail
    assert "time_limit_s" in finding.detail


async def test_a_clock_that_jumps_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that was never set is a failure."""
    now = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    walls = iter([now, now + 60])
    async with MemoryTransport() as transport:
        monkeypatch.setattr(checks.time, "time", lambda: next(walls))
        assert (await _findings(_checkup(transport)))["clock"].status == "WARN"
        monkeypatch.setattr(checks.time, "time", lambda: 86_400.0)
        assert (await _findings(_checkup(transport)))["clock"].status == "FAIL"


def test_a_worker_brings_its_broker_and_time_limits(
    write_module: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--worker`` checks what that worker would use; options still win."""
    module = (
        "from effectmq import Worker, WorkerSettings\n"
        "app = Worker('memory://', namespace='mine', settings=WorkerSettings(time_limit_s=5))\n"
        "@app.tool(time_limit_s=7200)\n"
        "def slow() -> None: ...\n"
        "assert app.longest_time_limit_s == 7200\n"
    )
    assert "'mine'" in effectmq(capsys, "doctor", "--worker", f"{write_module(module)}:app").out
    words = ("doctor", "--worker", f"{write_module(module)}:app", "--namespace", "other")
    assert "'other'" in effectmq(capsys, *words).out


def test_a_real_broker_from_nothing_to_well(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before and after ``topology apply``, with version and address, and without a password."""
    at = ("--broker", broker.url, "--namespace", namespace)
    before = effectmq(capsys, "doctor", "--json", *at)
    assert before.code == 0
    assert _statuses(before)["topology"] == "WARN"
    effectmq(capsys, "topology", "apply", "--kind", "sleep", *at)
    after = effectmq(capsys, "doctor", "--json", *at)
    assert after.code == 0
    statuses = _statuses(after)
    assert statuses.pop("consumers sleep") == "WARN"
    assert set(statuses.values()) == {"OK"}
    rows = {row["check"]: row["detail"] for row in after.documents}
    assert rows["broker"].startswith("RabbitMQ ")
    assert "guest:guest" not in after.out


def test_an_alternate_exchange_on_a_real_broker_is_found(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It turns a missing kind into a confirmation, so it must not go unnoticed."""
    exchange, stray = Names(namespace).work_exchange, f"{namespace}.stray"
    settings = TopologySettings(namespace=namespace)

    async def prepare() -> None:
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel()
        await channel.exchange_declare(stray, exchange_type="fanout")
        await channel.queue_declare(stray)
        await channel.queue_bind(stray, stray)
        await channel.exchange_declare(
            exchange,
            exchange_type="direct",
            durable=True,
            arguments={"alternate-exchange": stray},
        )
        await connection.close()
        async with open_transport(broker.url) as transport:
            queues = work_topology(settings, ["sleep"]).queues
            await transport.declare(Topology(queues=queues))

    async def tidy_up() -> None:
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel()
        await channel.queue_delete(stray)
        await channel.exchange_delete(stray)
        await connection.close()

    asyncio.run(prepare())
    try:
        result = effectmq(
            capsys, "doctor", "--json", "--broker", broker.url, "--namespace", namespace
        )
    finally:
        asyncio.run(tidy_up())
    assert result.code == 1
    rows = {row["check"]: row for row in result.documents}
    assert rows["unroutable"]["status"] == "FAIL"
    assert "an alternate exchange" in rows["unroutable"]["detail"]


@pytest.mark.parametrize("workers", [False, True])
@pytest.mark.parametrize("what", ["binding", "exchange", "delay", "dead", "limbo"])
async def test_what_was_deleted_is_named_and_not_mended(workers: bool, what: str) -> None:
    """A FAIL before and after: looking changes nothing, and leaves nothing behind."""
    url = f"memory://doctor-{what}-{workers}"
    async with MemoryTransport(url) as transport, AsyncExitStack() as stack:
        await transport.declare(work_topology(_SETTINGS, ["sleep"]) | shared_topology(_SETTINGS))
        if workers:
            worker = EffectWorker(url, name="w")
            await worker.start()
            stack.push_async_callback(worker.stop, 0.0)
        checkup = _checkup(transport, url)
        assert (await _findings(checkup))["topology"].status == "OK"
        broker = transport.broker
        match what:
            case "exchange":
                broker.delete_exchange(_NAMES.work_exchange)
            case "binding":
                broker.unbind(_NAMES.work_exchange, _NAMES.work_queue("sleep"))
            case "delay":
                broker.unbind(_NAMES.delay(1_000), _NAMES.delay(1_000))
            case _:
                broker.unbind(getattr(_NAMES, what), getattr(_NAMES, what))
        for _ in range(2):
            finding = (await _findings(checkup))["topology"]
            assert finding.status == "FAIL"
            assert "effectmq topology apply" in finding.detail
        assert what == "exchange" or "the binding between them" in finding.detail
        for queue in (_NAMES.work_queue("sleep"), _NAMES.limbo, _NAMES.dead, _NAMES.delay(1_000)):
            stats = await transport.stats(queue)
            assert stats is not None
            assert stats.ready == 0


@pytest.mark.one_broker
def test_a_deleted_binding_on_a_real_broker_is_applied_by_whoever_is_told_to(
    broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``doctor`` says so with exit code 1 again and again, ``apply`` mends it and says what."""
    at = ("--broker", broker.url, "--namespace", namespace)
    names = Names(namespace)
    queue = names.work_queue("sleep")
    effectmq(capsys, "topology", "apply", "--kind", "sleep", *at)

    async def unbind() -> None:
        connection = await aiormq.connect(broker.url)
        channel = await connection.channel()
        await channel.queue_unbind(queue, names.work_exchange, "sleep")
        await connection.close()

    asyncio.run(unbind())
    for _ in range(2):
        result = effectmq(capsys, "doctor", "--json", *at)
        assert result.code == 1
        (found,) = [row for row in result.documents if row["status"] == "FAIL"]
        assert f"the queue '{queue}' are there, the binding between them" in found["detail"]
        assert "run: effectmq topology apply --kind sleep" in found["detail"]
    applied = effectmq(capsys, "topology", "apply", "--kind", "sleep", "--json", *at)
    created = [row for row in applied.documents if row["state"] == "created"]
    assert [(row["object"], row["name"]) for row in created] == [("binding", queue)]
    assert effectmq(capsys, "doctor", *at).code == 0


@pytest.mark.one_broker
def test_a_missing_permission_has_a_line_and_nothing_is_made_by_asking(
    private_broker: BrokerNode, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each of the three, with the command that grants all that an operator needs."""
    ctl = private_broker.ctl
    ctl("add_user", "limited", "pw")
    url = private_broker.url.replace("guest:guest", "limited:pw")
    full = operator_permissions("t")

    def permissions(*given: str) -> dict[str, dict[str, str]]:
        ctl("set_permissions", "limited", *given)
        result = effectmq(capsys, "doctor", "--json", "--broker", url, "--namespace", "t")
        rows = {row["check"]: row for row in result.documents}
        assert result.code == ("FAIL" in {row["status"] for row in rows.values()})
        return {each: rows[f"permission {each}"] for each in Permissions._fields}

    for declared in (False, True):
        for missing in Permissions._fields:
            but = r"^(?!t\.control)(t\..*|amq\.default)$"
            rows = permissions(*full._replace(**{missing: but}))
            assert [each for each in rows if rows[each]["status"] != "OK"] == [missing]
            assert rows[missing]["status"] == "FAIL"
            sentence = rows[missing]["detail"]
            assert "user 'limited' has none on " in sentence
            assert "exchange 't.control'" in sentence
            command = re.search(r"(set_permissions) -p / limited '(\S+)' '(\S+)' '(\S+)'", sentence)
            assert command is not None
            assert Permissions(*command.groups()[1:]) == full
        assert {row["status"] for row in permissions(*full).values()} == {"OK"}
        if not declared:
            assert not ctl("list_queues", "name").split()
            assert "t." not in ctl("list_exchanges", "name")
            owner = ("--broker", private_broker.url, "--namespace", "t")
            effectmq(capsys, "topology", "apply", "--kind", "sleep", *owner)
    # What is there need not be declared again.
    rows = permissions(*full._replace(configure=r"^t\.(control\.worker-|reply\.).*$"))
    assert rows["configure"]["status"] == "WARN"


@pytest.mark.parametrize("what", ["nobody", "garbage", "missing", "empty", "none", "good"])
def test_the_journal_is_checked(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dead, damaged, not there yet, none, and well; nothing is made by looking."""
    path = tmp_path / "j.db"
    url = f"sqlite:///{path}"
    if what == "garbage":
        path.write_bytes(b"my precious letter" * 500)
    elif what == "empty":
        path.touch()
    elif what == "nobody":
        url = "postgresql://postgres:geheim@127.0.0.1:1/x"
    elif what == "none":
        url = "none"
    elif what == "good":
        asyncio.run(_open(url))
    result = effectmq(capsys, "doctor", "--json", "--journal", url)
    rows = {row["check"]: row for row in result.documents}
    wrong = {"nobody": "FAIL", "garbage": "FAIL", "missing": "WARN", "empty": "WARN"}
    expected = wrong.get(what, "OK")
    assert rows["journal"]["status"] == expected
    assert result.code == (1 if expected == "FAIL" else 0)
    assert "geheim" not in result.out
    assert path.exists() == (what in ("garbage", "good", "empty"))
    assert what != "empty" or not path.stat().st_size


@pytest.mark.parametrize("component", [schema.component for schema in SCHEMAS])
@pytest.mark.parametrize("version", ["older", "newer"])
def test_tables_of_another_version_are_found_and_left_as_they_are(
    component: str, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker would refuse them; the sentence says who has to change."""
    path, url = tmp_path / "j.db", f"sqlite:///{tmp_path / 'j.db'}"
    asyncio.run(_open(url))
    effectmq(capsys, "journal", "migrate", "--journal", url)
    other = 99 if version == "newer" else -1
    with sqlite3.connect(path) as changed:
        changed.execute(
            "UPDATE effectmq_schema SET version = ? WHERE component = ?", (other, component)
        )
    before = path.read_bytes()
    result = effectmq(capsys, "doctor", "--json", "--journal", url)
    (row,) = [row for row in result.documents if row["check"] == "journal"]
    assert (result.code, row["status"]) == (1, "FAIL")
    assert f"the {component} tables in" in row["detail"]
    advice = "upgrade this one" if version == "newer" else "run: effectmq journal migrate"
    assert advice in row["detail"]
    assert path.read_bytes() == before


def test_a_database_without_tables_is_no_journal_yet(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker makes them; looking does not."""
    for status in ("WARN", "OK"):
        rows = _statuses(effectmq(capsys, "doctor", "--json", "--journal", postgres_url))
        assert rows["journal"] == status
        asyncio.run(_open(postgres_url))


#: Root may read and write everywhere, unless this is taken from it.
_AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def _looked_at(option: str, address: str) -> subprocess.CompletedProcess[str]:
    """What ``doctor`` says to somebody to whom permissions apply."""
    as_others = _AS_OTHERS if os.geteuid() == 0 else []
    return subprocess.run(
        [*as_others, sys.executable, "-m", "effectmq", "doctor", "--quiet", option, address],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_journal_that_cannot_be_written_fails(what: str, tmp_path: Path) -> None:
    """It says which of the two it is, and does not change it."""
    path = tmp_path / "j.db"
    asyncio.run(_open(f"sqlite:///{path}"))
    closed = path if what == "file" else tmp_path
    closed.chmod(0o555)
    done = _looked_at("--journal", f"sqlite:///{path}")
    assert closed.stat().st_mode & 0o777 == 0o555
    closed.chmod(0o755)
    assert done.returncode == 1
    assert f"its {what} is read-only" in done.stdout
    assert not done.stderr


def test_what_lies_where_one_may_not_look_fails_with_a_sentence(tmp_path: Path) -> None:
    """Neither is it missing nor is that a defect of effectmq."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    journal = _looked_at("--journal", f"sqlite:///{closed}/j.db")
    store = _looked_at("--attachments", f"file://{closed}/store")
    closed.chmod(0o755)
    assert "its folder is read-only" in journal.stdout
    assert "permission is denied" in store.stdout
    for done in (journal, store):
        assert done.returncode == 1
        assert not done.stderr


async def _open(url: str) -> None:
    async with Journal(url):
        pass


def test_the_attachment_store_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be written is a FAIL."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EFFECTMQ_ATTACHMENTS", f"file://{tmp_path}/file/store")
    result = effectmq(capsys, "doctor", "--json")
    assert result.code == 1
    assert _statuses(result)["attachments"] == "FAIL"
    monkeypatch.setenv("EFFECTMQ_ATTACHMENTS", f"file://{tmp_path}/folder/store")
    assert _statuses(effectmq(capsys, "doctor", "--json"))["attachments"] == "WARN"
    assert not (tmp_path / "folder").exists(), "doctor makes nothing"
    (tmp_path / "folder" / "store").mkdir(parents=True)
    assert _statuses(effectmq(capsys, "doctor", "--json"))["attachments"] == "OK"
    assert not list((tmp_path / "folder" / "store").iterdir())
