"""The environment of the peers: a virtual environment of their own, and a Redis."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from benchmarks.peers.promises import PACKAGES
from tests.brokers.finding import Unavailable, apt_install, services_stay_down
from tests.brokers.node import free_ports

__all__ = ["installed", "redis_address", "versions"]

_WHERE = Path("~/.cache/effectmq").expanduser()
_START_S = 20.0


def installed() -> tuple[Path, dict[str, str]]:
    """
    The interpreter of the peers, which are installed when they are not there yet.

    Returns:
        It, and why a library cannot be had, for each that cannot.
    """
    wanted = sha256(repr((PACKAGES, sys.version_info[:2])).encode()).hexdigest()[:12]
    folder = _WHERE / f"peers-{wanted}"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    missing: dict[str, str] = {}
    for name, packages in PACKAGES.items():
        stamp = folder / f"{name}.installed"
        if stamp.exists():
            continue
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        done = subprocess.run([*command, *packages], capture_output=True, text=True)
        if done.returncode == 0:
            stamp.touch()
        else:
            missing[name] = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
    return python, missing


def versions(python: Path) -> dict[str, str]:
    """What is installed there, by name."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "list", "--format", "freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    pairs = (line.partition("==") for line in listed.splitlines())
    return {name.lower(): number for name, _, number in pairs}


@contextmanager
def redis_address() -> Generator[str]:
    """
    A Redis of our own that keeps nothing on the disk, as most that hold results.

    Raises:
        Unavailable: When there is no ``redis-server``, and apt cannot install it.
    """
    program = shutil.which("redis-server") or _from_apt()
    (port,) = free_ports(1)
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="effectmq-redis-") as folder:
        process = subprocess.Popen(
            [program, *words, "--dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def _from_apt() -> str:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable("there is no redis-server; install it, on Debian as root with apt-get")
    with services_stay_down():
        apt_install("redis-server")
    found = shutil.which("redis-server")
    if found is None:
        raise Unavailable("apt-get installed redis-server, but there is none on the PATH")
    return found


def _wait_for(port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Unavailable(f"redis-server does not listen on port {port} after {_START_S:.0f} s")
