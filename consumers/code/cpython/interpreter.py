"""
What the sandbox must show of this machine to run its Python: the program, its standard library and
the system's shared libraries; no packages, no settings, no files of users.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Interpreter", "this_interpreter"]

#: The folder of the driver in the sandbox; its modules have the same names there as here.
_ROOT = "/effectmq/consumers/code/cpython/inside"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """
    A Python program and the files that it needs.

    Attributes:
        command: The command line that runs the driver, as the sandbox sees it.
        shown: Files and folders to show, each with its path outside and inside.
        hidden: Folders inside these to hide.
        blanked: Files inside these that must not be readable.
        links: Symbolic links to make: path and target.
        environment: The environment variables.
    """

    command: tuple[str, ...]
    shown: dict[str, str]
    hidden: tuple[str, ...] = ()
    blanked: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict[str, str])
    environment: dict[str, str] = field(default_factory=dict[str, str])


def this_interpreter() -> Interpreter:
    """The interpreter of the worker, without the worker's virtual environment."""
    # The program of a virtual environment is a link to the original one.
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    shown = {program: program, str(Path(__file__).parent / "inside"): _ROOT}
    library_folders = _standard_library()
    for path in [*library_folders, *_own_library(), *_system_libraries(), *_time_zones()]:
        shown[path] = path
    packages = [Path(folder) / "site-packages" for folder in library_folders]
    start = "import sys; sys.path.append('/'); from {} import main; main()"
    # Not -I, which ignores the seed of hashes in the environment: sets must keep their order when a
    # block is run again. The environment is ours anyway; -s, -S and -P are the rest of -I and -S.
    driver = start.format("effectmq.consumers.code.cpython.inside.driver")
    return Interpreter(
        command=(program, "-s", "-S", "-P", "-B", "-c", driver),
        shown=shown,
        hidden=tuple(str(folder) for folder in packages if folder.is_dir()),
        blanked=tuple(_native(library_folders)),
        links={str(top): os.readlink(top) for top in _TOP if top.is_symlink()},
        environment=_environment(),
    )


def _standard_library() -> set[str]:
    """The folder, or two where code for this machine has its own."""
    base = {"platbase": sys.base_exec_prefix}
    return {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib", vars=base)}


def _native(library_folders: set[str]) -> list[str]:
    """
    The modules with which code could write to any memory and make any system call, for instance to
    get memory that counts against no limit.
    """
    return [
        str(module)
        for folder in sorted(library_folders)
        for name in ("_ctypes*.so", "_test*.so", "_xxtest*.so")
        for module in sorted((Path(folder) / "lib-dynload").glob(name))
    ]


def _time_zones() -> list[str]:
    return [path for path in ("/usr/share/zoneinfo",) if os.path.isdir(path)]


_TOP = (Path("/lib"), Path("/lib64"))


def _own_library() -> list[str]:
    """The shared library of the interpreter, if it has one."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return []
    library = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME")
    return [str(library)] if library.exists() else []


def _system_libraries() -> list[str]:
    """The folders of the loader, and the loader; as few as the system allows."""
    tops = [top for top in (Path("/usr/lib"), Path("/usr/lib64"), *_TOP) if top.is_dir()]
    real = [top for top in tops if not top.is_symlink()]
    architecture = sysconfig.get_config_var("MULTIARCH") or "none"
    narrow = [top / architecture for top in real if (top / architecture).is_dir()]
    if not narrow:
        return [str(top) for top in real]
    loaders = [path for top in real for path in top.glob("ld-linux*")]
    return [str(path) for path in (*narrow, *loaders)]


def _environment() -> dict[str, str]:
    environment = {"PYTHONHASHSEED": "0", "TZ": "UTC"}
    if _own_library():
        environment["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    return environment
