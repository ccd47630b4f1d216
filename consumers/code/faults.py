"""
The limits that stop a block, in words: which one, and how to raise it. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from effectmq.consumers.code.settings import CodeSettings

__all__ = [
    "OUT_OF_TIME",
    "OVER_QUESTIONS",
    "Limit",
    "limit_reached",
    "over_calls",
    "over_memory",
    "over_output",
    "over_sleeps",
    "over_state",
    "over_time",
    "stopped",
]

#: The interpreter's text when a process was killed because it computed too long.
OUT_OF_TIME = "TimeoutError: feed time limit exceeded"

#: The sentence for a block with too many questions.
OVER_QUESTIONS = "the block asked for the time, files or names too often; ask once and keep it"

_HEAP = re.compile(r"MemoryError: memory limit exceeded: \d+ bytes > (\d+) bytes")
_PROCESS = "MemoryError: the worker exceeded its memory limit"
_DEPTH = "RecursionError: maximum recursion depth exceeded"
_SUSPENSIONS = "RuntimeError: suspension limit"


@dataclass(frozen=True, slots=True)
class Limit:
    """
    A limit that a block reached.

    Attributes:
        sentence: The limit, and how to raise it.
        sound: Whether the changes of the block can be trusted and kept.
    """

    sentence: str
    sound: bool = False


def limit_reached(error: str, settings: CodeSettings) -> Limit | None:
    """
    The limit that an error of the interpreter is about.

    Args:
        error: The error as ``Type: message``.
        settings: The limits.

    Returns:
        The limit; ``None`` when it is an error of the code.
    """
    if error.startswith(OUT_OF_TIME):
        return Limit(over_time(settings))
    heap = _HEAP.match(error)
    if heap is not None and int(heap[1]) == settings.output_bytes:
        return Limit(over_output(settings))
    if heap is not None or error.startswith(_PROCESS):
        return Limit(over_memory(settings))
    if error.startswith(_SUSPENSIONS):
        return Limit(OVER_QUESTIONS)
    if error.startswith(_DEPTH):
        depth = settings.max_recursion_depth
        sentence = f"calls were nested deeper than the limit of {depth} (max_recursion_depth)"
        return Limit(sentence, sound=True)
    return None


def over_time(settings: CodeSettings) -> str:
    """The sentence for computing too long."""
    limit_s = settings.time_limit_s
    return f"the block computed longer than its limit of {limit_s:g} s (time_limit_s)"


def over_output(settings: CodeSettings) -> str:
    """The sentence for printing too much."""
    return f"the block printed more than its limit of {settings.output_bytes} bytes (output_bytes)"


def over_memory(settings: CodeSettings) -> str:
    """The sentence for variables that are too large while the block runs."""
    return (
        f"the block needed more memory than its limit of {settings.memory_bytes} bytes "
        "(memory_bytes)"
    )


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
    """The error of a block that reached a limit, so that nothing of it is kept."""
    whole = f"{sentence}. What it changed is not kept; the session is as it was before"
    return f"{whole}\n{details}" if details else whole
