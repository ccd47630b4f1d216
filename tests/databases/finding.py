"""Finding PostgreSQL's programs: installed anywhere, or from apt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.brokers.finding import found_or_installed

__all__ = ["programs"]

# Debian keeps the server's programs out of the PATH, one folder for each major version.
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def programs() -> Path:
    """
    The folder of ``initdb`` and ``postgres``, of the newest version that is installed.

    Raises:
        Unavailable: When there is none, and none can be installed.
    """
    return found_or_installed(
        _installed,
        "postgresql",
        "PostgreSQL server here",
        "; install one, or name a running one in EFFECTMQ_TEST_POSTGRES",
    )


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
