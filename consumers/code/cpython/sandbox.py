"""
The command line that starts a program under bubblewrap, in its own namespaces.

The program sees the files of its interpreter, read only, and nothing that it could write to. It has
no network, no other processes, and an environment of ours. When bubblewrap or the worker ends, the
kernel ends everything in it.
"""

from __future__ import annotations

import os
import shutil
from itertools import chain
from pathlib import PurePosixPath

from effectmq.consumers.code.cpython.interpreter import Interpreter
from effectmq.protocol.errors import ConfigurationError

__all__ = ["NOBODY", "bubblewrap", "command_line"]

#: The user of a block when the worker is root: limits on processes do not bind root.
NOBODY = 65_534


def bubblewrap() -> str:
    """
    The path of bubblewrap.

    Raises:
        ConfigurationError: When it is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise ConfigurationError(
            "code cannot be run with the backend cpython: there is no bwrap on the PATH to isolate "
            "it with. Install bubblewrap (apt-get install bubblewrap), or use the backend monty"
        )
    return found


def command_line(program: str, interpreter: Interpreter) -> list[str]:
    """
    The whole command line.

    Args:
        program: The path of bubblewrap.
        interpreter: The interpreter that runs in it.
    """
    environment = chain.from_iterable(
        ("--setenv", name, value) for name, value in interpreter.environment.items()
    )
    return [
        program,
        *_namespaces(),
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        *environment,
        *_files(interpreter),
        "--chdir",
        "/",
        "--",
        *interpreter.command,
    ]


def _namespaces() -> list[str]:
    if os.geteuid() != 0:
        return ["--unshare-user", "--unshare-all", "--cap-drop", "ALL"]
    # All namespaces but that of users: in one, root could not become another user. The driver
    # needs the two capabilities to do that, and loses them with it.
    spaces = ("ipc", "pid", "net", "uts", "cgroup-try")
    capabilities = ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    return [*(f"--unshare-{space}" for space in spaces), *capabilities]


def _files(interpreter: Interpreter) -> list[str]:
    # First, because the interpreter may be inside.
    options = ["--tmpfs", "/tmp"]
    places = [*interpreter.shown.values(), *interpreter.links]
    for folder in _folders_above(places):
        # By itself, bubblewrap makes them for root only.
        options += ["--perms", "0755", "--dir", folder]
    for here, there in sorted(interpreter.shown.items(), key=lambda item: item[1]):
        options += ["--ro-bind", here, there]
    for place, target in interpreter.links.items():
        options += ["--symlink", target, place]
    for file in interpreter.blanked:
        options += ["--ro-bind", os.devnull, file]
    for folder in interpreter.hidden:
        options += ["--tmpfs", folder, "--remount-ro", folder]
    # A file in memory would count against no limit.
    return [*options, "--remount-ro", "/tmp", "--remount-ro", "/"]


def _folders_above(places: list[str]) -> list[str]:
    folders = {str(folder) for place in places for folder in PurePosixPath(place).parents}
    return sorted(folders - {"/"})
