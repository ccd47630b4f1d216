"""Waiting for a condition, so that no test sleeps for a duration."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

__all__ = ["eventually"]

_POLL_S = 0.01


async def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
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
