"""
Tries to get out of the sandbox. Run as a block when an engine starts; returns what succeeded.
"""

from __future__ import annotations

import os
import socket

__all__ = ["breaches"]


def breaches(port: int) -> list[str]:
    """
    The attempts that should fail here and succeeded, in words.

    Args:
        port: A port on 127.0.0.1 on which the worker listens meanwhile.
    """
    attempts = {
        "the network can be reached": lambda: _connect(port),
        "files of the machine can be read (/etc/passwd)": lambda: open("/etc/passwd").close(),
        "files can be written (/tmp)": lambda: open("/tmp/probe", "w").close(),
        "processes can be started without a limit": _fork,
        "it runs as root": _be_root,
        "variables of the worker's environment can be read": _environment,
    }
    return [words for words, attempt in attempts.items() if _succeeds(attempt)]


def _succeeds(attempt: object) -> bool:
    assert callable(attempt)
    try:
        attempt()
    except OSError:
        return False
    return True


def _connect(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _be_root() -> None:
    os.setuid(0)


def _environment() -> None:
    if not set(os.environ) - {"PYTHONHASHSEED", "PWD", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"}:
        raise OSError("nothing of it is there")
