"""
How far a running effect is, as its handler says.

It is told while the effect runs, in a chunk without text; see ``chunk``. The last one counts, and
any may get lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from effectmq.protocol.encoding.narrowing import is_object
from effectmq.protocol.errors import ConfigurationError, MalformedError
from effectmq.protocol.numbers import check_number
from effectmq.protocol.text import printable

__all__ = ["Progress", "progress_of", "progress_tree", "read_progress"]

#: The characters of a note that are kept.
MOST_OF_A_NOTE = 200
#: Of a note that is read: a cut one ends with how much is missing.
_MOST_READ = 300
#: Every language reads whole numbers up to it exactly.
_LARGEST = 2**53
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far one attempt at an effect is.

    Attributes:
        done: How much is done, a finite number from 0, in any unit.
        total: How much there is in the same unit; ``None`` when that is not known. It may change,
            and ``done`` may be above it.
        note: What is being done, for people: one line of printable text, at most 200 characters
            and how many were cut off; may be empty.
        attempt: The attempt that says it, from 1. A higher one begins anew.
    """

    done: float
    total: float | None = None
    note: str = ""
    attempt: int = 1

    @property
    def share(self) -> float | None:
        """The part that is done, from 0 to 1; ``None`` when the total is not known, or 0."""
        return min(self.done / self.total, 1.0) if self.total else None

    def __str__(self) -> str:
        """For people, on one line, as in ``3 of 12 (25 %): page 3``."""
        said = _shown(self.done)
        if self.total is not None:
            said += f" of {_shown(self.total)}"
        if self.share is not None:
            # Not rounded: what is not done must not look so.
            said += f" ({math.floor(self.share * 100)} %)"
        return f"{said}: {self.note}" if self.note else said


def progress_of(done: object, total: object, note: object, attempt: int) -> Progress:
    """
    What a handler says, checked.

    Raises:
        ConfigurationError: When a number is none, not finite, negative or above 2⁵³, or the note is
            no text.
    """
    if not isinstance(note, str):
        raise ConfigurationError(
            f"the note of progress is a {type(note).__name__}; expected text that says to a person "
            "what is being done"
        )
    return Progress(
        _given("done", done),
        None if total is None else _given("total", total),
        printable(note, MOST_OF_A_NOTE),
        attempt,
    )


def progress_tree(progress: Progress) -> dict[str, object]:
    """Progress as plain data; the attempt is told beside it."""
    return {"done": progress.done, "total": progress.total, "note": progress.note}


def read_progress(tree: object, attempt: int) -> Progress:
    """
    Read what somebody sent, or wrote into a database.

    Raises:
        MalformedError: When it is none; carries the path.
    """
    if not is_object(tree):
        raise MalformedError("progress", f"found {type(tree).__name__}, expected an object")
    note = tree.get("note", "")
    if not isinstance(note, str):
        raise MalformedError("progress.note", f"found {type(note).__name__}, expected text")
    total = tree.get("total")
    return Progress(
        _read(tree.get("done"), "done"),
        None if total is None else _read(total, "total"),
        printable(note, _MOST_READ),
        attempt,
    )


def _given(name: str, value: object) -> float:
    number = _number(value)
    if number is None:
        check_number(f"the {name} of progress", value, whole=False)
        raise ConfigurationError(
            f"the {name} of progress is {printable(repr(value), _MOST_SHOWN)}; expected a finite "
            "number from 0 to 2^53"
        )
    return number


def _read(value: object, name: str) -> float:
    number = _number(value)
    if number is None:
        raise MalformedError(f"progress.{name}", "expected a finite number from 0 to 2^53")
    return number


def _number(value: object) -> float | None:
    """The number, if it is one that can be told; a whole one stays whole."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LARGEST else None


def _shown(number: float) -> str:
    return f"{number:.0f}" if number == round(number) else f"{number:.6g}"
