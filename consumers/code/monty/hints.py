"""
What Monty lacks of Python's ways to wait for several things, and what to write instead. Pure.

The author of a block is most often a model, which tries again: so it is told what exists.
"""

from __future__ import annotations

import re

from effectmq.consumers.code.cpython.inside.awaited import gathered_with

__all__ = ["hinted", "refused"]

_EACH = (
    "To go on when one fails, catch it in a function: async def safe(x): try: return await tool(x) "
    "except Exception as e: return e; then await asyncio.gather(safe(1), safe(2))"
)
_HAS = (
    "Of asyncio there is gather (without keywords), run and sleep; no tasks, no limits of time, no "
    "async with. Calls inside of await asyncio.gather(...) run side by side"
)
_AT_ONCE = (
    "A call of a tool that is not directly after await, inside gather(...), or assigned to a name "
    "that is awaited or gathered returns its result at once, which cannot be awaited. Call it "
    "there: await asyncio.gather(*[tool(x) for x in items])"
)
_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"gather\(\) does not yet support keyword"), _EACH),
    (re.compile(r"module 'asyncio' has no attribute"), _HAS),
    (re.compile(r"cannot import name '\w+' from 'asyncio'"), _HAS),
    (re.compile(r"'coroutine' object has no attribute"), _HAS),
    (re.compile(r"does not yet support (async context|async for|exception groups)"), _HAS),
    (re.compile(r"coroutine or an awaitable is required"), _AT_ONCE),
    (re.compile(r"object can't be awaited"), _AT_ONCE),
    (
        re.compile(r"cannot suspend in this synchronous context"),
        "Only the block itself can call a tool; map, sorted and the like cannot. Use a "
        "comprehension: [tool(x) for x in items]",
    ),
)


def hinted(error: str, last: str) -> str:
    """
    An error, with the way to write it instead, if one is known.

    Args:
        error: The whole error.
        last: Its last line, which has its type and message.
    """
    hint = next((hint for found, hint in _HINTS if found.search(last)), None)
    return error if hint is None else f"{error}\n{hint}"


def refused(code: str) -> str | None:
    """
    Why a block is not begun: it would fail after its calls have been made.

    Args:
        code: The block.
    """
    found = gathered_with(code)
    if found is None:
        return None
    line, keyword = found
    return (
        f"NotImplementedError: line {line}: asyncio.gather() takes no keywords here, and "
        f"{keyword}= is one; the block was not begun, so nothing was called. {_EACH}"
    )
