"""
A private PostgreSQL server: own data and port, on the loopback only, gone when closed.

It shares nothing with the machine's own server, so a test may kill, freeze or misconfigure it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from tests.brokers.node import NodeError, free_ports, start_watchdog

__all__ = ["Cluster", "somebody"]

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_INIT_SECONDS = 120.0
_POLL_SECONDS = 0.05

#: Everybody is trusted but this user, whose password it is.
GUARDED = ("guarded", "s3cret-Pass")

_ACCESS = """\
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 30
shared_buffers = 16MB
logging_collector = off
log_destination = 'stderr'
"""


class Cluster:
    """
    One private server, made stopped. Every method blocks until the server has done it.

    Args:
        programs: The folder of ``initdb`` and ``postgres``.
        template: A folder for data that were never used, to begin from; filled by the first one.

    Attributes:
        port: Its port on 127.0.0.1; the same for all its life.
        url: ``postgresql://postgres@127.0.0.1:<port>/postgres``.
        variables: What is in its environment beside that of the tests, from its next start on.
    """

    def __init__(self, programs: Path, template: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.variables: Mapping[str, str] = {}
        self._programs = programs
        self._template = template
        self.folder = Path(tempfile.mkdtemp(prefix="effectmq-postgres-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # The server refuses to be root.
            account = somebody()
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._user = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog = start_watchdog(self.folder)

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def start(self) -> None:
        """
        Start it and wait until it takes connections.

        Raises:
            NodeError: When it exits, or does not answer within a minute.
        """
        if not self.data.exists():
            if not self._template.exists():
                self._initialize()
                _copy(self.data, self._template)
            else:
                _copy(self._template, self.data)
            self._settle_in()
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                env={**os.environ, **self.variables},
                **self._user,
            )
        (self.folder / "pids").write_text(str(self._server.pid))
        deadline = time.monotonic() + _START_SECONDS
        while self._server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            time.sleep(_POLL_SECONDS)
        self.kill9()
        raise NodeError(f"PostgreSQL did not start; its log ends with:\n{self.log_tail()}")

    def stop(self) -> None:
        """Shut it down in good order; whoever is connected is told so."""
        server = self._server
        if server is None or server.poll() is not None:
            return
        server.send_signal(signal.SIGINT)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()

    def kill9(self) -> None:
        """End it and all its backends at once; the data stay."""
        server = self._server
        if server is None or server.poll() is not None:
            return
        family = [server.pid, *self.backends()]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.wait()
        # A backend that is left would keep the next server from starting.
        deadline = time.monotonic() + _STOP_SECONDS
        while any(_alive(pid) for pid in family) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def restart(self) -> None:
        """Stop in good order and start again, with the same port and data."""
        self.stop()
        self.start()

    def backends(self) -> list[int]:
        """The processes below it, one for each connection among them."""
        server = self._server
        if server is None:
            return []
        try:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in children.split()]

    def backends_of(self, application: str) -> list[int]:
        """The processes that serve connections of one application."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (application,)
            ).fetchall()
        return [int(pid) for (pid,) in found]

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        log = self.folder / "log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def close(self) -> None:
        """Kill it and remove every trace."""
        self.kill9()
        if self._watchdog.stdin is not None and not self._watchdog.stdin.closed:
            (self.folder / "pids").unlink(missing_ok=True)
            self._watchdog.stdin.close()
            self._watchdog.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialize(self) -> None:
        command = [str(self._programs / "initdb"), "-D", str(self.data), "-U", "postgres"]
        try:
            subprocess.run(
                [*command, "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync"],
                check=True,
                capture_output=True,
                text=True,
                cwd="/",
                timeout=_INIT_SECONDS,
                **self._user,
            )
        except subprocess.SubprocessError as problem:
            said = getattr(problem, "stderr", "") or ""
            raise NodeError(f"initdb failed: {problem}\n{said}") from None

    def _settle_in(self) -> None:
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(port=self.port))


def _copy(source: Path, target: Path) -> None:
    # With its owner: PostgreSQL wants its data to be its own.
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def somebody() -> pwd.struct_passwd:
    """An account for programs that refuse to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NodeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
