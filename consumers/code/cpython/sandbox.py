"""
The command line that starts a program under bubblewrap, in namespaces of its own.

It sees the files that its interpreter needs, read only, and nothing that it could write to; no
network, no other processes, an environment of ours. When bubblewrap or the worker ends, the kernel
ends everything in it.
"""

from __future__ import annotations

import os
import shutil
from itertools import chain
from pathlib import PurePosixPath

from effectmq.consumers.code.cpython.interpreter import Interpreter
from effectmq.protocol.errors import ConfigurationError

__all__ = ["NOBODY", "bubblewrap", "command_line"]

#: Who runs a block when the worker is root: no limit on processes binds root.
NOBODY = 65_534


def bubblewrap() -> str:
    """
    The program.

    Raises:
        ConfigurationError: When there is none.
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
    The whole command.

    Args:
        program: bubblewrap.
        interpreter: What runs in it.
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
    # Everything but a namespace of users: in one, root could not become anybody else. The driver
    # needs the two capabilities to do that, and loses them with it.
    spaces = ("ipc", "pid", "net", "uts", "cgroup-try")
    capabilities = ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    return [*(f"--unshare-{space}" for space in spaces), *capabilities]


def _files(interpreter: Interpreter) -> list[str]:
    # First, should the interpreter lie in there.
    options = ["--tmpfs", "/tmp"]
    places = [*interpreter.shown.values(), *interpreter.links]
    for folder in _folders_above(places):
        # Left to itself, bubblewrap makes them for root only.
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
