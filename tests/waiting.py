"""Waiting for a condition, and limits that a busy machine does not break."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

__all__ = ["eventually", "within"]

_POLL_S = 0.01
_TICK_S = 0.05


async def eventually(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """
    Ask every 10 ms until the answer is true.

    Args:
        condition: A function, or a coroutine function, without arguments.
        timeout_s: When to give up, in seconds.

    Raises:
        AssertionError: The answer was not true in time; says what was asked and answered last.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if asyncio.get_running_loop().time() > deadline:
            source = inspect.getsource(condition).strip()
            raise AssertionError(f"{source}\nwas still {answer!r} after {timeout_s:g} s")
        await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def within(seconds: float) -> AsyncGenerator[None]:
    """
    What is inside ends before the event loop has waited for so many seconds.

    They are counted in short waits of the loop itself. A process that the machine leaves waiting
    counts fewer of them, so that only what waits too long by its own will is found.
    """
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(_TICK_S)
            ticks += 1

    counting = asyncio.create_task(count())
    try:
        yield
    finally:
        counting.cancel()
    waited_s = ticks * _TICK_S
    assert waited_s < seconds, f"it took {waited_s:g} s of waiting; at most {seconds:g} s is right"
