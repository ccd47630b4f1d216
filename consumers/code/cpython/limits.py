"""
The kernel's limits on the process of a block, by their names in ``resource``. Pure.
"""

from __future__ import annotations

import math

from effectmq.consumers.code.settings import CodeSettings

__all__ = ["limits"]

#: What the interpreter needs before the code does: program, libraries, modules.
_INTERPRETER_BYTES = 64 * 1024 * 1024
_OPEN_FILES = 32


def limits(settings: CodeSettings) -> dict[str, int]:
    """
    The limits for one block.

    The process may start no other process and no thread, so that none need be counted, and no file
    may grow, those in memory included.
    """
    return {
        "RLIMIT_AS": settings.memory_bytes + _INTERPRETER_BYTES,
        # A second limit: the worker counts the time that passes, and this one the time that a block
        # computes while it claims to wait.
        "RLIMIT_CPU": math.ceil(settings.time_limit_s) + 2,
        "RLIMIT_NPROC": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
