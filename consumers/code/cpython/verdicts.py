"""
How a block ended, from the last message of its process or from its exit status. Pure.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from effectmq.consumers.code.engine import BlockStoppedError, EngineCrashedError
from effectmq.consumers.code.faults import limit_reached, over_memory, over_state, over_time
from effectmq.consumers.code.settings import CodeSettings

__all__ = ["FORGED", "ended", "explained_error", "fault"]

#: The sentence for a block that wrote to the pipe of its process.
FORGED = "the block's process sent a message that is not in the protocol; do not write to its pipe"


def explained_error(document: Mapping[str, object], settings: CodeSettings) -> str | None:
    """
    The error of a block that ran to its end.

    Args:
        document: The last message of its process.
        settings: The limits.

    Returns:
        The traceback, after the sentence of the limit that caused it, if any; ``None`` without an
        error.
    """
    text, exception = str(document.get("error", "")), str(document.get("exception", ""))
    if not text:
        return None
    if _one_more(exception, text):
        return f"a block is one process and can start no other process and no threads\n{text}"
    reached = limit_reached(exception, settings) if exception.startswith("Recursion") else None
    return f"{reached.sentence}\n{text}" if reached is not None else text


def _one_more(exception: str, text: str) -> bool:
    """Whether it failed because it tried to start a process or a thread."""
    if exception.startswith("BlockingIOError: [Errno 11]"):
        return "fork" in text
    return exception.startswith("RuntimeError: can't start new thread")


def fault(document: Mapping[str, object], settings: CodeSettings) -> str | None:
    """The limit that a block's process says it reached, as a sentence."""
    match document.get("fault"):
        case None:
            return None
        case "memory":
            return over_memory(settings)
        case "state":
            size = document.get("size_bytes")
            return over_state(size if isinstance(size, int) else 0, settings)
        case _:
            return FORGED


def ended(status: int, settings: CodeSettings) -> Exception:
    """
    The error for a process that ended before its last message.

    Args:
        status: How bubblewrap ended: its exit status, or minus the signal that ended it. bubblewrap
            passes on the status of the process, and a signal as 128 plus its number.
        settings: The limits.
    """
    if status == 128 + signal.SIGXCPU:
        return BlockStoppedError(over_time(settings))
    if status < 0 or status == 128 + signal.SIGKILL:
        number = -status if status < 0 else signal.SIGKILL.value
        return EngineCrashedError(f"signal {number} ended it")
    return BlockStoppedError(f"the block ended its own process (exit status {status})")
