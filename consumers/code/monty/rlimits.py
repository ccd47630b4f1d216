"""
Limits of the operating system on an interpreter's process, in addition to its own.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress

__all__ = ["confine"]

#: What the process needs besides the heap of the code: program, threads, buffers, and room to
#: pass a state on.
_OVERHEAD_BYTES = 1024 * 1024 * 1024
_OPEN_FILES = 256


def confine(process_id: int, memory_bytes: int) -> None:
    """
    Limit the memory of a process, its files, and what it can write; Linux only.

    Args:
        process_id: A child process. When it has ended already, nothing happens.
        memory_bytes: How much memory the code in it may use.
    """
    if sys.platform != "linux":
        return
    address_space = 2 * memory_bytes + _OVERHEAD_BYTES
    with suppress(ProcessLookupError):
        for limit, value in (
            (resource.RLIMIT_AS, address_space),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_NOFILE, _OPEN_FILES),
        ):
            _lower(process_id, limit, value)


def _lower(process_id: int, limit: int, value: int) -> None:
    hard = resource.prlimit(process_id, limit)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(process_id, limit, (wanted, wanted))
