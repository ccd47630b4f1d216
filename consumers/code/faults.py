"""
What stopped a block, in words: which limit it ran into, and how to raise it. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from effectmq.consumers.code.settings import CodeSettings

__all__ = [
    "OUT_OF_TIME",
    "Limit",
    "limit_reached",
    "over_calls",
    "over_sleeps",
    "over_state",
    "stopped",
]

#: What the interpreter says when a process had to be killed because it computed on.
OUT_OF_TIME = "TimeoutError: feed time limit exceeded"

_HEAP = re.compile(r"MemoryError: memory limit exceeded: \d+ bytes > (\d+) bytes")
_PROCESS = "MemoryError: the worker exceeded its memory limit"
_DEPTH = "RecursionError: maximum recursion depth exceeded"
_SUSPENSIONS = "RuntimeError: suspension limit"


@dataclass(frozen=True, slots=True)
class Limit:
    """
    A limit that was reached.

    Attributes:
        sentence: Which one, and how to raise it.
        sound: Whether what the block has changed can be trusted and kept.
    """

    sentence: str
    sound: bool = False


def limit_reached(error: str, settings: CodeSettings) -> Limit | None:
    """
    The limit that an error of the interpreter tells of.

    Args:
        error: The error as ``Type: message``.
        settings: The limits.

    Returns:
        The limit; ``None`` when it is an error of the code's own.
    """
    if error.startswith(OUT_OF_TIME):
        limit_s = settings.time_limit_s
        return Limit(f"the block computed longer than its limit of {limit_s:g} s (time_limit_s)")
    heap = _HEAP.match(error)
    if heap is not None and int(heap[1]) == settings.output_bytes:
        return Limit(
            f"the block printed more than its limit of {settings.output_bytes} bytes (output_bytes)"
        )
    if heap is not None or error.startswith(_PROCESS):
        return Limit(
            f"the block needed more memory than its limit of {settings.memory_bytes} bytes "
            "(memory_bytes)"
        )
    if error.startswith(_SUSPENSIONS):
        return Limit("the block asked for the time, files or names too often; ask once and keep it")
    if error.startswith(_DEPTH):
        depth = settings.max_recursion_depth
        sentence = f"calls were nested deeper than the limit of {depth} (max_recursion_depth)"
        return Limit(sentence, sound=True)
    return None


def over_calls(settings: CodeSettings) -> str:
    """The sentence for one tool call too many."""
    return f"the block called more than {settings.max_tool_calls} tools (max_tool_calls)"


def over_sleeps(settings: CodeSettings) -> str:
    """The sentence for one sleep too many."""
    return f"the block slept more than {settings.max_sleeps} times (max_sleeps)"


def over_state(size_bytes: int, settings: CodeSettings) -> str:
    """The sentence for a session that has become too large to keep."""
    return (
        f"the session's variables take {size_bytes} bytes and the limit is {settings.state_bytes} "
        "(state_bytes)"
    )


def stopped(sentence: str, details: str = "") -> str:
    """The error of a block that ran into a limit and of which nothing is kept."""
    whole = f"{sentence}. What it changed is not kept; the session is as it was before"
    return f"{whole}\n{details}" if details else whole
