"""The brokers that all other tests stand on keep their own promises."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import aiormq
import pytest
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity
from pamqp.commands import Basic
from pamqp.common import FieldValue

from effectmq.protocol.topology import TopologySettings, shared_topology, work_topology
from tests.brokers.finding import Installation, Unavailable, existing_folder
from tests.brokers.greeting import greet
from tests.brokers.node import BrokerNode, NodeError
from tests.brokers.provide import Broker, Brokers, label
from tests.brokers.proxy import ChaosProxy
from tests.brokers.settings import read_settings
from tests.brokers.sweep import sweep
from tests.waiting import eventually

_ROOT = Path(__file__).parents[1]
_QUORUM: dict[str, FieldValue] = {"x-queue-type": "quorum", "x-delivery-limit": 20}
_PERSISTENT = Basic.Properties(delivery_mode=2)


async def _open(url: str) -> tuple[AbstractConnection, AbstractChannel]:
    connection = await aiormq.connect(url)
    return connection, await connection.channel()


async def _kept(url: str, queue: str) -> bytes | None:
    connection, channel = await _open(url)
    try:
        return (await channel.basic_get(queue, no_ack=True)).body
    finally:
        await connection.close()


def _gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody reaps in a container has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.one_broker
class TestPrivateNode:
    async def test_a_confirmed_message_survives_kill_9_and_a_freeze(
        self, private_broker: BrokerNode
    ) -> None:
        """What the broker confirmed into a settled queue is there, whatever became of its node."""
        node = private_broker
        connection, channel = await _open(node.url)
        await channel.queue_declare("kept", durable=True, arguments=_QUORUM)
        await channel.basic_publish(b"precious", routing_key="kept", properties=_PERSISTENT)
        assert "kept" in node.ctl("list_queues", "name")
        node.settle()
        first = node.pid
        node.kill9()
        assert node.pid is None
        with pytest.raises(OSError, match=r"refused|reset"):
            greet(node.url, timeout=1.0)
        await connection.close()

        node.start()
        assert node.pid != first
        node.sigstop()
        with pytest.raises(TimeoutError):
            greet(node.url, timeout=0.5)
        node.sigcont()
        assert greet(node.url, timeout=10.0).version == node.version

        assert await _kept(node.url, "kept") == b"precious"

        # A test may fail while its broker is frozen; cleaning up must not hang on it.
        pid, folder = node.pid, node.folder
        assert pid is not None
        node.sigstop()
        node.close()
        assert _gone(pid)
        assert not folder.exists()
        with pytest.raises(NodeError, match="not running"):
            node.sigcont()

    async def test_a_wiped_node_comes_back_empty_on_the_same_address(
        self, private_broker: BrokerNode
    ) -> None:
        """A broker that lost its disk answers where it did, and knows nothing."""
        node = private_broker
        connection, channel = await _open(node.url)
        await channel.queue_declare("forgotten", durable=True, arguments=_QUORUM)
        await connection.close()
        with pytest.raises(NodeError, match="is running"):
            node.wipe()
        node.stop()
        node.wipe()
        node.start()
        assert "forgotten" not in node.ctl("list_queues", "name")

    async def test_a_node_dies_with_the_process_that_started_it(
        self, installation: Installation
    ) -> None:
        """Even a test session that is killed with SIGKILL leaves no broker behind."""
        program = (
            "import os, signal; from pathlib import Path\n"
            "from tests.brokers.finding import Installation\n"
            "from tests.brokers.node import BrokerNode\n"
            f"root = {str(installation.root)!r}\n"
            f"scripts = Path({str(installation.scripts)!r})\n"
            "node = BrokerNode(Installation(scripts, None if root == 'None' else Path(root)))\n"
            "node.start()\n"
            "print(node.pid, node.folder, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            cwd=_ROOT,
        )
        pid, folder = done.stdout.split()
        await eventually(lambda: _gone(int(pid)) and not Path(folder).exists())

    def test_a_node_that_cannot_start_says_why_with_its_log(
        self, installation: Installation
    ) -> None:
        """The error of a failed start carries the end of the log, and nothing keeps running."""
        node = BrokerNode(installation)
        try:
            (node.folder / "rabbitmq.conf").write_text("no.such.key = 1\n")
            with pytest.raises(NodeError, match=r"(?s)exited with.*no.such.key"):
                node.start()
            assert node.pid is None
        finally:
            node.close()

    def test_free_disk_and_memory_are_known_and_a_failed_command_is_quoted(
        self, broker: Broker
    ) -> None:
        """Alarms can be provoked, even in a chroot; ``ctl`` raises what rabbitmqctl printed."""
        if not isinstance(broker, BrokerNode):
            pytest.skip("the broker at an address is not ours to ask")
        free = broker.ctl("eval", "rabbit_disk_monitor:get_disk_free().")
        assert int(free) > 0
        assert int(broker.ctl("eval", "vm_memory_monitor:get_total_memory().")) > 2**30
        with pytest.raises(NodeError, match="no-such-vhost"):
            broker.ctl("delete_vhost", "no-such-vhost")


class TestSharedBroker:
    async def test_it_is_the_wanted_version_and_not_the_machines_own(self, broker: Broker) -> None:
        """The shared node greets with its version, on a port of its own."""
        assert greet(broker.url, timeout=5.0).version == broker.version
        if isinstance(broker, BrokerNode):
            assert broker.port != 5672

    async def test_a_sweep_removes_what_a_namespace_declared(
        self, broker: Broker, namespace: str
    ) -> None:
        """The fixture's cleaning removes work queues, delay levels, limbo and dead."""
        settings = TopologySettings(namespace=namespace)
        topology = work_topology(settings, ["sleep"]) | shared_topology(settings)
        connection, channel = await _open(broker.url)
        for queue in topology.queues:
            await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
        await connection.close()

        await asyncio.to_thread(sweep, broker.url, namespace)

        for queue in topology.queues:
            connection, channel = await _open(broker.url)
            with pytest.raises(ChannelNotFoundEntity):
                await channel.queue_declare(queue.name, passive=True)
            await connection.close()

    def test_a_sweep_of_a_broker_that_is_gone_is_over_at_once(self, namespace: str) -> None:
        """A test that lost its broker must not fail a second time while cleaning up."""
        sweep("amqp://guest:guest@127.0.0.1:1/", namespace)


class TestThroughTheProxy:
    async def test_amqp_passes_and_a_cut_reaches_the_client(self, broker: Broker) -> None:
        """A client works through the proxy, sees the reset, and may connect again."""
        async with ChaosProxy.to(broker.url) as proxy:
            connection, _ = await _open(proxy.url(broker.url))
            proxy.cut()
            await eventually(lambda: connection.is_closed)
            again, _ = await _open(proxy.url(broker.url))
            assert proxy.accepted == 2
            await again.close()

    async def test_a_corrupted_frame_ends_the_connection(self, broker: Broker) -> None:
        """One inverted byte is noticed by the broker, never decoded into something else."""
        async with ChaosProxy.to(broker.url) as proxy:
            connection, channel = await _open(proxy.url(broker.url))
            proxy.corrupt_byte("to_server")
            with pytest.raises(AMQPError):
                await channel.queue_declare("never", passive=True, timeout=10)
            assert proxy.corrupted == 1
            await connection.close()


class TestSettings:
    def test_a_laptop_uses_what_it_has(self) -> None:
        """Without any variable: the default broker, and skipping when there is none."""
        settings = read_settings({})
        assert (settings.wanted, settings.address, settings.strict) == (("default",), None, False)

    def test_ci_wants_both_versions_and_fails_without_them(self) -> None:
        """CI must not turn green because a broker was missing."""
        settings = read_settings({"CI": "true"})
        assert (settings.wanted, settings.strict) == (("3.10", "4.0"), True)

    def test_an_address_is_the_default_broker(self) -> None:
        """The test variable wins over the application's; ``memory://`` is not meant."""
        mine, other = "amqp://test", "amqp://app"
        both = {"EFFECTMQ_TEST_BROKER": mine, "EFFECTMQ_BROKER": other}
        assert read_settings(both).address == mine
        assert read_settings({"EFFECTMQ_BROKER": other, "CI": "1"}).wanted == ("default", "4.0")
        assert read_settings({"EFFECTMQ_BROKER": "memory://"}).address is None

    def test_a_misspelt_broker_is_refused(self) -> None:
        """A typing error must not become tests that silently do not run."""
        with pytest.raises(ValueError, match=r"'4\.O'.*3\.10"):
            read_settings({"EFFECTMQ_TEST_BROKERS": "3.10, 4.O"})

    def test_an_address_where_nobody_answers_is_named_without_its_password(self) -> None:
        """The refusal names the place; the password stays out of the report."""
        settings = read_settings({"EFFECTMQ_TEST_BROKER": "amqp://me:secret@127.0.0.1:1/"})
        assert label(settings, "default") == "address"
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/") as caught:
            Brokers(settings).shared("default")
        assert "secret" not in str(caught.value)

    def test_a_folder_with_another_version_is_not_used(self, tmp_path: Path) -> None:
        """A cache that holds something else is named, not run."""
        scripts = tmp_path / "trixie/usr/lib/rabbitmq/bin"
        scripts.mkdir(parents=True)
        (scripts / "rabbitmq-server").touch()
        (scripts.parent / "plugins" / "rabbit-4.1.2").mkdir(parents=True)
        with pytest.raises(Unavailable, match=r"4\.1\.2, expected 4\.0\.x"):
            existing_folder("4.0", tmp_path)

    def test_an_unfinished_folder_is_not_taken_for_a_finished_one(self, tmp_path: Path) -> None:
        """An interrupted build lies beside the place where a finished one would."""
        (tmp_path / "trixie.building-x/usr/lib/rabbitmq/bin").mkdir(parents=True)
        assert existing_folder("4.0", tmp_path) is None

    def test_something_else_called_rabbitmq_server_is_named(self, tmp_path: Path) -> None:
        """A script of that name without RabbitMQ around it is refused with its place."""
        with pytest.raises(Unavailable, match=str(tmp_path)):
            assert Installation(tmp_path / "bin").version

    def test_no_variable_of_the_shell_reaches_a_test(self) -> None:
        """The environment was cleared before the first test."""
        assert not [name for name in os.environ if name.startswith("EFFECTMQ_")]
