"""
A private RabbitMQ node: own data, ports, cookie and epmd, on the loopback only, gone when closed.

It shares nothing with the machine's own RabbitMQ or with another private node, so a test may kill,
freeze, fill or misconfigure it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.brokers.finding import Installation
from tests.brokers.greeting import greet
from tests.freezing import freeze, thaw

__all__ = ["BrokerNode", "Family", "NodeError", "Startable", "free_ports", "start_watchdog"]

# Below every system's range of ephemeral ports (Linux from 32768, macOS from 49152). Inside it, a
# client that keeps knocking at a dead node's port can be given that very port as its own, connect
# to itself, and keep the node from ever coming back.
_PORTS = range(20_000, 32_000)

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_CTL_SECONDS = 60.0
_SETTLE_SECONDS = 10.0
_POLL_SECONDS = 0.05

# When the test process is gone, however it died, its end of the pipe closes: kill, then clean up.
_WATCHDOG = """
cat > /dev/null
for pid in $(cat "$1/pids" 2> /dev/null); do kill -9 "$pid" 2> /dev/null; done
rm -rf --one-file-system "$1" || rm -rf "$1"
"""


class NodeError(Exception):
    """A private node that did not do what it was told; the text ends with its log."""


@dataclass(frozen=True, slots=True)
class Family:
    """
    What the nodes of one cluster share, so that they find and trust each other.

    Attributes:
        cookie: The secret of their distribution.
        epmd_port: Where their names are kept.
        tick_s: Erlang's ``net_ticktime``: how long a silent node is waited for, in seconds.
        first: The name of the node that the others join at their first start.
    """

    cookie: str = field(default_factory=lambda: secrets.token_hex(16))
    epmd_port: int = field(default_factory=lambda: free_ports(1)[0])
    tick_s: int = 60
    first: str = ""


class Startable:
    """The base of what is started by ``with`` and closed behind it, also when its start fails."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it, and wait until it is there."""
        raise NotImplementedError

    def close(self) -> None:
        """End it, and leave nothing behind."""
        raise NotImplementedError


class BrokerNode(Startable):
    """
    One private node, made stopped.

    Every method blocks until the broker has done it: from an async test, call the slow ones as
    ``await asyncio.to_thread(node.restart)``, or the loop stands still with the broker.

    Attributes:
        name: The Erlang node name, ``<random>@localhost``.
        port: Its AMQP port on 127.0.0.1; the same for all its life.
        url: ``amqp://guest:guest@127.0.0.1:<port>/``.
        version: RabbitMQ's version, such as ``3.10.8``.
        folder: Its own folder: configuration, data, log.
        management_url: Its management API; empty without one, which starts sooner.
    """

    def __init__(
        self,
        installation: Installation,
        family: Family | None = None,
        *,
        management: bool = False,
    ) -> None:
        self.version = installation.version
        self._family = family or Family()
        self.name = f"effectmq-{secrets.token_hex(4)}@localhost"
        self.port, dist_port, self._management_port = free_ports(3)
        if not management:
            self._management_port = 0
        self.management_url = f"http://127.0.0.1:{self._management_port}" if management else ""
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._installation = installation
        self.folder = _make_folder(installation)
        self._environment = self._make_environment(dist_port)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watchdog = start_watchdog(self.folder)
        self._write_files()

    @property
    def pid(self) -> int | None:
        """Process id of the broker's virtual machine; ``None`` while it is not running."""
        process = self._processes.get("server")
        return None if process is None or process.poll() is not None else process.pid

    def start(self) -> None:
        """
        Start it and wait until it answers an AMQP greeting; its data are those it stopped with.

        Raises:
            NodeError: When it exits, or does not answer within a minute.
        """
        if self.pid is not None:
            return
        port = self._family.epmd_port
        if not _listens(port):
            self._spawn("epmd", "/usr/bin/env", "epmd", "-port", str(port), "-address", "127.0.0.1")
        self._spawn("server", self._installation.scripts / "rabbitmq-server")
        try:
            self._wait_for_greeting()
        except BaseException:
            self.kill9()
            raise

    def stop(self) -> None:
        """Shut it down in good order: connections are closed with a reason, data are flushed."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """End it at once, as a power failure of the process would; the data folder stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in good order and start again, with the same port and data."""
        self.stop()
        self.start()

    def settle(self) -> None:
        """
        Wait until a kill would spare every quorum queue declared so far (about a second).

        RabbitMQ keeps the register of a node's quorum queues in a file that it writes once a
        second. Killed before that, it comes back with a queue that has no leader, and whatever was
        confirmed into it is out of reach. Declare, settle, then kill.

        Raises:
            NodeError: When the register does not name them all in time.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while missing := self._unregistered():
            if time.monotonic() > deadline:
                raise NodeError(f"{self.name} has not registered its quorum queues {missing}")
            time.sleep(_POLL_SECONDS)

    def sigstop(self) -> None:
        """Freeze it: its port still accepts connections, but nobody answers."""
        freeze(self._running("freeze"))

    def sigcont(self) -> None:
        """Thaw it; what was sent meanwhile is processed now."""
        thaw(self._running("thaw"))

    def wipe(self) -> None:
        """
        Forget all data, so that the next start is that of a new broker on the old address.

        Raises:
            NodeError: When it is running.
        """
        if self.pid is not None:
            raise NodeError(f"{self.name} is running; stop or kill it before wiping its data")
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def ctl(self, *arguments: str) -> str:
        """
        Run ``rabbitmqctl`` against this node and return what it printed.

        Raises:
            NodeError: When it fails, or takes longer than a minute (a frozen node never answers).
        """
        command = self._installation.command(
            self._installation.scripts / "rabbitmqctl", "--quiet", "--node", self.name, *arguments
        )
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                timeout=_CTL_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise NodeError(
                f"rabbitmqctl {' '.join(arguments)}: no answer from {self.name} within "
                f"{_CTL_SECONDS:.0f} s"
            ) from error
        if done.returncode != 0:
            raise NodeError(
                f"rabbitmqctl {' '.join(arguments)} exited with {done.returncode}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done.stdout

    def log_tail(self, lines: int = 80) -> str:
        """The end of its log, all starts in one file."""
        log = self.folder / "console.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Kill it and remove every trace: processes, data, logs."""
        self.kill9()
        epmd = self._processes.pop("epmd", None)
        if epmd is not None:
            epmd.kill()
            epmd.wait()
        # Its folder is the watchdog's to remove: one place that cleans up, for all endings.
        if self._watchdog.stdin is not None and not self._watchdog.stdin.closed:
            (self.folder / "pids").unlink(missing_ok=True)
            self._watchdog.stdin.close()
            self._watchdog.wait()

    def _make_environment(self, dist_port: int) -> dict[str, str]:
        """The node's whole environment: nothing of ours, such as another node's ERL_FLAGS."""
        inside = self._installation.inside
        system_path = "/usr/sbin:/usr/bin:/sbin:/bin"
        own_path = self._installation.root is None and os.environ.get("PATH")
        return {
            "PATH": f"{own_path}:{system_path}" if own_path else system_path,
            "LANG": "C.UTF-8",  # rabbitmqctl warns on every call without it
            "HOME": inside(self.folder),  # where Erlang looks for the cookie
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_CONFIG_FILE": inside(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": inside(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": inside(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": inside(self.folder / "data"),
            # To standard output: the log file is written behind, and its tail is what we show.
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": inside(self.folder),
            "RABBITMQ_PID_FILE": inside(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} "
                f"-kernel net_ticktime {self._family.tick_s}"
            ),
            # The start script then becomes the virtual machine instead of waiting for it, and the
            # process we started is the one to signal.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._family.epmd_port),
            "ERL_CRASH_DUMP_SECONDS": "0",
        }

    def _write_files(self) -> None:
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(self._family.cookie)
        cookie.chmod(0o400)
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\n"
            # Of a cluster: the part without a majority stops, and joins the others again.
            "cluster_partition_handling = pause_minority\n" + self._managing() + self._joining()
        )
        plugins = "rabbitmq_management" if self._management_port else ""
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        # Present and empty, so that the machine's /etc/rabbitmq/rabbitmq-env.conf is not read.
        (self.folder / "rabbitmq-env.conf").touch()

    def _managing(self) -> str:
        if not self._management_port:
            return ""
        return (
            f"management.tcp.port = {self._management_port}\n"
            "management.tcp.ip = 127.0.0.1\n"
            "collect_statistics_interval = 500\n"
        )

    def _joining(self) -> str:
        if not self._family.first:
            return ""
        return (
            "cluster_formation.peer_discovery_backend = classic_config\n"
            f"cluster_formation.classic_config.nodes.1 = {self._family.first}\n"
            f"cluster_formation.classic_config.nodes.2 = {self.name}\n"
        )

    def _spawn(self, role: str, program: str | Path, *arguments: str) -> None:
        with (self.folder / "console.log").open("ab") as console:
            self._processes[role] = subprocess.Popen(
                self._installation.command(program, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=self._environment,
                cwd="/",
                start_new_session=True,  # a Ctrl-C is for pytest, which then stops the node
            )
        self._note_pids()

    def _note_pids(self) -> None:
        """Tell the watchdog what lives now: a pid that is gone may soon be somebody else's."""
        alive = [str(each.pid) for each in self._processes.values() if each.returncode is None]
        (self.folder / "pids").write_text("\n".join(alive))

    def _wait_for_greeting(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self.pid is not None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                greet(self.url, timeout=1.0)
                return
            time.sleep(_POLL_SECONDS)
        code = self._processes["server"].poll()
        silent = f"did not answer within {_START_SECONDS:.0f} s"
        why = silent if code is None else f"exited with {code}"
        raise NodeError(
            f"RabbitMQ {self.version} ({self.name}, port {self.port}) {why}; its log ends with:\n"
            f"{self.log_tail()}"
        )

    def _unregistered(self) -> list[str]:
        """Quorum queues, by the name of their folder, that the register does not name yet."""
        base = self.folder / "data" / self.name / "quorum" / self.name
        register = base / "names.dets"
        known = register.read_bytes() if register.exists() else b""
        queues = [config.parent.name for config in base.glob("*/config")]
        return [queue for queue in queues if queue.encode() not in known]

    def _running(self, purpose: str) -> int:
        if self.pid is None:
            raise NodeError(f"{self.name} is not running; there is nothing to {purpose}")
        return self.pid

    def _end(self, number: signal.Signals) -> None:
        process = self._processes.get("server")
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen process cannot shut itself down
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._note_pids()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """
    Ports that nobody listens on, and that no other call gets while this process runs.

    A node that is killed and started again finds its port free: others in between were given
    another one.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _reserve(port)
            found.append(port)
        if len(found) == count:
            return found
    raise NodeError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")


_reserved: set[int] = set()


def _reserve(port: int) -> None:
    """
    Take a port for this process, by a lock on the byte of that number in a file of all ports.

    Raises:
        OSError: When somebody has it.
    """
    if port in _reserved:
        raise BlockingIOError(f"port {port} is given already")
    fcntl.lockf(_ports_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    _reserved.add(port)


@functools.cache
def _ports_file() -> int:
    """The file of all ports; its locks end with this process, however that ends."""
    path = Path(tempfile.gettempdir()) / f"effectmq-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _make_folder(installation: Installation) -> Path:
    """The node's own folder, below the root of a chroot, which sees nothing outside of it."""
    parent = None if installation.root is None else installation.root / "srv"
    return Path(tempfile.mkdtemp(prefix="effectmq-rabbitmq-", dir=parent))


def start_watchdog(folder: Path) -> subprocess.Popen[bytes]:
    """
    A process that outlives us by a moment: it kills what the file ``pids`` names, and removes the
    folder, as soon as its standard input is closed.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
