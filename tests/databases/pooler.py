"""
A private PgBouncer in front of a server, in transaction mode: every transaction may be carried out
by another session of the server, which others have used before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.brokers.finding import found_or_installed
from tests.brokers.node import NodeError, free_ports, start_watchdog
from tests.databases.cluster import somebody

__all__ = ["Pooler", "pooler_program"]

_START_SECONDS = 20.0
_SETTINGS = """\
[databases]
* = host={host} port={server_port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
"""


def pooler_program() -> Path:
    """
    PgBouncer, installed or from apt.

    Raises:
        Unavailable: When it is not there and cannot be installed.
    """
    return found_or_installed(_installed, "pgbouncer", "pgbouncer here")


def _installed() -> Path | None:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None


class Pooler:
    """
    Started when made; gone when closed.

    Args:
        program: PgBouncer.
        server: The address of the server behind it.
        size: How many sessions of the server it uses.

    Attributes:
        url: The same database, through the pooler.
    """

    def __init__(self, program: Path, server: str, *, size: int = 3) -> None:
        (port,) = free_ports(1)
        fields = conninfo_to_dict(server)
        self.url = f"postgresql://anybody@127.0.0.1:{port}/{fields['dbname']}"
        self._folder = Path(tempfile.mkdtemp(prefix="effectmq-pooler-"))
        settings = self._folder / "settings.ini"
        settings.write_text(
            _SETTINGS.format(
                host=fields["host"],
                server_port=fields.get("port", 5432),
                user=fields["user"],
                port=port,
                size=size,
                folder=self._folder,
            )
        )
        account: dict[str, int] = {}
        if os.geteuid() == 0:
            # It refuses to be root.
            found = somebody()
            account = {"user": found.pw_uid, "group": found.pw_gid}
            for path in (self._folder, settings):
                os.chown(path, found.pw_uid, found.pw_gid)
        self._watchdog = start_watchdog(self._folder)
        self._process = subprocess.Popen(
            [str(program), "-q", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **account,  # type: ignore[call-overload]
        )
        (self._folder / "pids").write_text(str(self._process.pid))
        self._wait_for(port)

    def _wait_for(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.02)
        log = self._folder / "log"
        said = log.read_text(errors="replace") if log.exists() else ""
        self.close()
        raise NodeError(f"pgbouncer did not start; its log says:\n{said}")

    def close(self) -> None:
        """Kill it and remove every trace."""
        self._process.kill()
        self._process.wait()
        if self._watchdog.stdin is not None and not self._watchdog.stdin.closed:
            (self._folder / "pids").unlink(missing_ok=True)
            self._watchdog.stdin.close()
            self._watchdog.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
