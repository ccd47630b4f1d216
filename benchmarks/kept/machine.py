"""On what and with what a run was made."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["described_machine", "package_versions"]

_PACKAGES = ("effectmq", "aio-pika", "aiormq", "pamqp", "msgpack", "pydantic", "psycopg", "uvloop")


def described_machine() -> dict[str, Any]:
    """Processor, cores, memory in GiB and system."""
    return {
        "cpu": _of("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": os.cpu_count(),
        "memory_gib": round(int((_of("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20),
        "system": f"{platform.system()} {platform.machine()}",
    }


def package_versions() -> dict[str, str]:
    """Of Python and of the packages that are installed, as far as they matter."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _of(file: str, name: str) -> str:
    """The first value of a name in a file of the kernel; empty where there is none."""
    path = Path(file)
    for line in path.read_text().splitlines() if path.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
