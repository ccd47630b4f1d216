"""
How often Python looks for unreachable objects, in a process that is a worker's alone.

A worker has many objects that live as long as the process: modules, classes, schemas. Python looks
at all of them again and again for cycles of references that nobody reaches, and at those of an
effect in flight several times before it ends. So what was made by the start is set aside for ever,
and the youngest objects are looked at seldom.

Cycles of user code must still go, the large ones soon: an exception often holds its own frames, and
these a whole payload. The number of objects says nothing about their size, so young objects are
also looked at once a second, and all that were not set aside once a minute. Python would look at
those by itself as well, but only when new objects come faster than others go, and not in a worker
that is idle.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from effectmq.settings.environment import read_variable
from effectmq.settings.table import settings_of

__all__ = ["collecting_seldom", "is_seldom"]

#: New objects after which the youngest are looked at; Python's own number is 700, later 2,000. With
#: a hundred effects in flight, looking took 59 µs of each effect at 700, 23 at 2,000, up to 49 at
#: 10,000, where more objects are alive at each look, and nothing from 20,000 on; with a thousand in
#: flight 227, 102, 64 and, at 50,000, 23. A larger number would stop the loop for longer at a time.
_YOUNGEST = 50_000
_YOUNG_S = 1.0
_ALL_S = 60.0


def is_seldom(said: str | None) -> bool:
    """
    Whether it is wanted: by the option, else by the variable, else by default.

    Raises:
        ConfigurationError: When the variable cannot be used.
    """
    (setting,) = settings_of("program")
    return (said or read_variable(setting) or setting.default) == "seldom"


@asynccontextmanager
async def collecting_seldom(
    young_s: float = _YOUNG_S, all_s: float = _ALL_S
) -> AsyncGenerator[None]:
    """
    Look for unreachable objects seldom while the body runs; for a whole process only.

    Args:
        young_s: How often to look at young objects in any case, in seconds.
        all_s: How often to look at all that were made since, in seconds.
    """
    former = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNGEST, *former[1:])
    looking = asyncio.get_running_loop().create_task(_look(young_s, all_s), name="effectmq gc")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        gc.set_threshold(*former)
        gc.unfreeze()


async def _look(young_s: float, all_s: float) -> None:
    loop = asyncio.get_running_loop()
    next_s = loop.time() + all_s
    while True:
        await asyncio.sleep(young_s)
        if loop.time() < next_s:
            gc.collect(1)
        else:
            gc.collect()
            next_s = loop.time() + all_s
