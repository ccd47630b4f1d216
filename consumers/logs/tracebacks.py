"""
Tracebacks that may stand in a log: files, lines and code as usual, and the text of each exception
without secrets and values.

The exception itself is not given to ``logging``: a handler there would print its text as it is, and
some (Sentry's) also send what the variables hold.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from effectmq.consumers.logs.withheld import words_of
from effectmq.protocol.text import is_group, printable

__all__ = ["log_raised", "traceback_of"]

#: The innermost calls of each exception, and how many exceptions of a chain or group.
_MOST_FRAMES = 20
_MOST_CHAINED = 8
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"

_OURS = f"{Path(__file__).parents[2]}{os.sep}"

Cleaner = Callable[[str], str]


def log_raised(
    logger: logging.Logger,
    level: int,
    sentence: str,
    problem: BaseException,
    clean: Cleaner,
    extra: Mapping[str, object],
) -> None:
    """
    Log a sentence with the traceback of an exception.

    Args:
        logger: The logger.
        level: The level.
        sentence: The whole line.
        problem: The exception.
        clean: Takes values out of the text of an exception.
        extra: What names the effect.
    """
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(
        logger.name, level, "", 0, "%s", (sentence,), None, extra=dict(extra)
    )
    # Printed by every formatter as the traceback of the record.
    try:
        record.exc_text = traceback_of(problem, clean)
    except Exception as odd:
        # What a stranger raised may be of any shape, and its effect must go on.
        record.exc_text = f"(its traceback cannot be shown: {type(odd).__name__})"
    logger.handle(record)


def traceback_of(problem: BaseException, clean: Cleaner = str) -> str:
    """The traceback of an exception, with the exceptions that led to it."""
    parts: list[str] = []
    seen: set[int] = set()
    at: BaseException | None = problem
    while at is not None and len(seen) < _MOST_CHAINED and id(at) not in seen:
        seen.add(id(at))
        parts.insert(0, _one(at, clean))
        joined = _CAUSE if at.__cause__ is not None else _CONTEXT
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
        if at is not None and len(seen) < _MOST_CHAINED and id(at) not in seen:
            parts.insert(0, joined)
    return "\n\n".join(parts)


def _foreign(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Without our own calls that led to the first one of somebody else."""
    foreign = (at for at, frame in enumerate(frames) if not frame.filename.startswith(_OURS))
    return frames[next(foreign, 0) :]


def _one(problem: BaseException, clean: Cleaner) -> str:
    lines: list[str] = []
    if problem.__traceback__ is not None:
        frames = _foreign(traceback.extract_tb(problem.__traceback__, limit=-_MOST_FRAMES))
        lines.append("Traceback (most recent call last):")
        lines += [line for entry in traceback.format_list(frames) for line in entry.splitlines()]
    if is_group(problem):
        # Its parts are told in full; its own text counts them.
        lines.append(f"{type(problem).__name__}: {len(problem.exceptions)} exceptions, the first:")
        inner = traceback_of(problem.exceptions[0], clean).splitlines()
        return "\n".join((*map(printable, lines), *(f"  {line}" for line in inner)))
    words, name = clean(words_of(problem)), type(problem).__name__
    # Our own errors are sentences without their class; a traceback ends with it.
    return "\n".join((*map(printable, lines), words if name in words else f"{name}: {words}"))
