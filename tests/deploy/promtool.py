"""
Prometheus' promtool: on the PATH, or unpacked from Debian's package into the cache.

The package is not installed, so no Prometheus is started on the machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.brokers.finding import Unavailable, apt_extract

__all__ = ["Promtool", "find_promtool"]

_SECONDS = 60.0


class Promtool:
    """
    The program.

    Args:
        program: Where it is.
    """

    def __init__(self, program: Path) -> None:
        self._program = program

    def __call__(self, *arguments: str | Path, given: bytes = b"") -> str:
        """What it printed; the test fails with that when it is not content."""
        done = subprocess.run(
            [self._program, *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
        )
        told = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"promtool {' '.join(map(str, arguments))}:\n{told}"
        return told


def find_promtool() -> Promtool:
    """
    The program, fetched the first time.

    Raises:
        Unavailable: When it is not there and cannot be fetched.
    """
    found = shutil.which("promtool")
    if found is not None:
        return Promtool(Path(found))
    cache = Path("~/.cache/effectmq").expanduser()
    program = cache / "promtool"
    cache.mkdir(parents=True, exist_ok=True)
    # Processes of one test run ask at the same time.
    with (cache / "promtool.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                apt_extract("prometheus", Path(folder))
                unpacked = Path(folder, "usr/bin/promtool")
                if not unpacked.exists():
                    raise Unavailable("Debian's package prometheus holds no promtool")
                os.replace(unpacked, program)
    return Promtool(program)
