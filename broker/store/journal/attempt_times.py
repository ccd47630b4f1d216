"""
When the attempts of an effect began and ended, kept beside its entry.

The first attempt begins when its row is made, and an outcome comes when the row is changed last. So
an effect that ends at its first worker, which nearly all do, needs nothing more. What happens in
between is written down with the changes that are made anyway: a claim, a release, a parking. A
short wait is no such change: attempts that follow each other at one worker are one time.

Times are kept as words: ``2..3:1700000000000-1700000002500a`` are the second and the third attempt,
when the one began and the other ended, Unix milliseconds by the clock of the database, and how.
Without a beginning it began when the row was made; a beginning of 0 is not known, nor is the end of
a worker that died.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, NamedTuple

from effectmq.broker.store.journal.handed_out.values import HandOut
from effectmq.broker.store.journal.records import (
    FINISHED,
    Abandon,
    Cancel,
    Claim,
    Entry,
    Operation,
    Record,
    Release,
    Status,
)

__all__ = ["AttemptEnd", "AttemptTime", "noted", "read_attempt_times"]

#: How it ended. ``again``: given back, to be tried again; ``died``: its worker did;
#: ``left``: its worker stopped in order; ``handed_out``: somebody else is asked for the outcome;
#: ``settled``: with what the effect has now.
AttemptEnd = Literal["again", "died", "left", "handed_out", "parked", "cancelled", "settled"]

_LETTERS: dict[str, AttemptEnd] = {
    "a": "again",
    "d": "died",
    "l": "left",
    "h": "handed_out",
    "p": "parked",
    "c": "cancelled",
}
#: The last times are kept, so that a row does not grow for ever.
_MOST = 50
_N = r"(\d{1,19})"
_WORD = re.compile(rf"{_N}(?:\.\.{_N})?(?::{_N})?(?:-{_N})?([adhlpc]?)", re.ASCII)


class AttemptTime(NamedTuple):
    """
    The attempts of one stay at a worker: one, or several with short waits between them.

    Attributes:
        attempt: The number of the first; one that is taken over after a death keeps it.
        last: The number of the last; the same for one, and when it is not known.
        began_ms: Unix milliseconds; ``None`` when it is not known.
        ended_ms: Unix milliseconds; ``None`` while it runs, and when it is not known.
        ended: How it ended; ``None`` while it runs.
    """

    attempt: int
    last: int
    began_ms: int | None
    ended_ms: int | None
    ended: AttemptEnd | None


def noted(before: Entry, after: Entry, operation: Operation, now_ms: int) -> Entry:
    """The changed entry, with the attempt that began or ended by that."""
    was, runs = _runs(before), _runs(after)
    if was == runs and (not runs or before.fence == after.fence):
        return after
    words = before.attempt_times.split()
    if was and _letter(operation):
        words = [*words[:-1], _closed(words[-1] if words else _first(before), operation, now_ms)]
    if runs:
        words.append(f"{after.attempts}:{now_ms}")
    return replace(after, attempt_times=" ".join(words[-_MOST:]))


def _runs(entry: Entry) -> bool:
    """Whether a worker holds it, and its body has begun."""
    return entry.status == "in_progress" and entry.begun and bool(entry.lease_token)


def _first(entry: Entry) -> str:
    # Without a word for it, the first claim began it; or a version that kept no times did.
    return str(entry.attempts) if entry.fence == 1 else f"{entry.attempts}:0"


def _closed(word: str, operation: Operation, now_ms: int) -> str:
    letter = _letter(operation)
    if letter == "d":
        # A claim that takes over knows that the worker died, and not when.
        return f"{word}d"
    number, colon, began = word.partition(":")
    last = 0
    if isinstance(operation, Record | HandOut):
        last = operation.attempts
    elif isinstance(operation, Release):
        # It has the number of the next, unless this one does not count.
        last = operation.attempts - 1
    several = f"..{last}" if number.isdigit() and last > int(number) else ""
    return f"{number}{several}{colon}{began}-{now_ms}{letter}"


def _letter(operation: Operation) -> str:
    """How an operation ends an attempt; empty when the last change of the row says it."""
    match operation:
        case Claim():
            return "d"
        case Release():
            return "a"
        case Abandon():
            return "l"
        case HandOut():
            return "h"
        case Cancel():
            return "c"
        case Record() if operation.park_reason:
            return "p"
        case _:
            return ""


def read_attempt_times(
    words: str, *, status: Status, attempts: int, fence: int, created_ms: int, updated_ms: int
) -> list[AttemptTime]:
    """
    The times of a row, in their order; none when they were not kept.

    What cannot be read is left out.
    """
    if not words and (fence != 1 or not attempts or status == "waiting"):
        return []
    found: list[AttemptTime] = []
    for word in words.split() or ["1"]:
        if read := _WORD.fullmatch(word):
            first, last, began, ended, letter = read.groups()
            began_ms = int(began) or None if began else created_ms
            ended_ms = int(ended) if ended else None
            number = int(first)
            until = max(number, int(last or 0))
            found.append(AttemptTime(number, until, began_ms, ended_ms, _LETTERS.get(letter)))
    if found and found[-1].ended is None and status in FINISHED:
        now = found[-1]
        last_of_all = max(now.last, attempts)
        found[-1] = now._replace(last=last_of_all, ended_ms=updated_ms, ended="settled")
    return found
