"""Finding PostgreSQL's programs: installed anywhere, or from apt."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tests.brokers.finding import Unavailable, apt_install, services_stay_down

__all__ = ["programs"]

# Debian keeps the server's programs out of the PATH, one folder for each major version.
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def programs() -> Path:
    """
    The folder of ``initdb`` and ``postgres``, of the newest version that is installed.

    Raises:
        Unavailable: When there is none, and none can be installed.
    """
    found = _installed()
    if found is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable(
            "there is no PostgreSQL server here, and installing one with apt-get needs Debian and "
            "root; install one, or name a running one in EFFECTMQ_TEST_POSTGRES"
        )
    with services_stay_down():
        apt_install("postgresql")
    found = _installed()
    if found is None:
        raise Unavailable("apt-get installed postgresql, but there is no initdb")
    return found


def _installed() -> Path | None:
    folders = [
        folder
        for pattern in _FOLDERS
        for folder in Path("/").glob(pattern.removeprefix("/"))
        if (folder / "initdb").exists()
    ]
    if folders:
        return max(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", str(folder))])
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent
