"""
How much freed memory the C library keeps, in a process that is a worker's alone.

By itself glibc gives memory above some megabytes back to the system as soon as it is freed, and
asks for it again with the next large body. The system clears each page anew: of a megabyte that is
read or written, that was more than half of the time. So freed memory is kept here for the next
bodies, and what was not needed for a minute is given back.

Whoever has set glibc's own variables, or brings another allocator, has decided; then nothing is
done, and neither is it where there is no glibc.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, cast

__all__ = ["keeping_freed_memory"]

#: The names of ``mallopt`` for the size above which the top of the heap is given back, and for that
#: above which an object has pages of its own; glibc takes no more than 32 MiB for the second.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 128 * 1024 * 1024
_OWN_PAGES_BYTES = 32 * 1024 * 1024
_GIVE_BACK_S = 60.0
_DECIDED_BY = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "PYTHONMALLOC",
)


class Allocator(Protocol):
    """What is used of the C library."""

    mallopt: Callable[[int, int], int]
    malloc_trim: Callable[[int], int]


def allocator() -> Allocator | None:
    """The C library's, or ``None`` where somebody has decided already, or there is no glibc."""
    if any(os.environ.get(name) for name in _DECIDED_BY):
        return None
    # Only a process of our own needs it.
    import ctypes

    try:
        library = ctypes.CDLL(None)
        found = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
    except (OSError, TypeError):
        return None
    return cast("Allocator", library) if found else None


@asynccontextmanager
async def keeping_freed_memory(
    library: Allocator | None, give_back_s: float = _GIVE_BACK_S
) -> AsyncGenerator[None]:
    """
    Keep freed memory for what comes next while the body runs; for a whole process only.

    Args:
        library: From ``allocator``; ``None`` does nothing.
        give_back_s: How often to give back what is not used, in seconds.
    """
    if library is None:
        yield
        return
    library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    library.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
    giving = asyncio.get_running_loop().create_task(_give_back(library, give_back_s))
    try:
        yield
    finally:
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)


async def _give_back(library: Allocator, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        # It takes some milliseconds when much is free.
        await asyncio.to_thread(library.malloc_trim, 0)
