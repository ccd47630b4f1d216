"""The result of an operation on dead letters: counts, and sentences about letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from effectmq.broker.dead_letters.filter import DeadFilter
from effectmq.protocol.encoding.differences import Difference
from effectmq.protocol.errors import EffectmqError
from effectmq.protocol.messages.dead_letter import DeadLetter
from effectmq.protocol.text import printable

__all__ = [
    "DeadLetterIdError",
    "DeadReport",
    "EditPreview",
    "check_ids",
    "no_queue",
    "no_reply_queue",
    "no_such_letter",
    "not_as_it_is",
]

_MAX_PROBLEMS = 100


class DeadLetterIdError(EffectmqError):
    """An id that fits no dead letter, or more than one."""


@dataclass(frozen=True, slots=True)
class EditPreview:
    """
    What an edit makes of one letter.

    Attributes:
        id: The letter.
        effect_id: The effect, as the edit leaves it.
        hash_before: Its hash until now.
        hash: Its hash after the edit.
        changes: Where the envelopes differ, the first hundred members.
    """

    id: str
    effect_id: str
    hash_before: str
    hash: str
    changes: tuple[Difference, ...]


@dataclass(slots=True)
class DeadReport:
    """
    The result of an operation on chosen dead letters.

    Attributes:
        dry_run: Whether nothing was changed; ``done`` is then what would have been done.
        chosen: How many letters matched.
        by_reason: The same by park reason.
        done: How many were replayed, or purged.
        copies: Second copies of a letter replayed in the same run, removed without another replay.
        skipped: Letters that cannot be replayed unchanged; still there.
        failed: Letters that no queue accepted; still there.
        gone: Letters that were no longer there when their turn came.
        unseen: Letters that were counted but gone before they could be read.
        problems: A sentence for each of the first hundred skipped or failed letters.
        stopped: Why the run ended early; empty when it did not.
        edits: What a patch makes of the first hundred letters.
    """

    dry_run: bool = False
    chosen: int = 0
    by_reason: Counter[str] = field(default_factory=Counter[str])
    done: int = 0
    copies: int = 0
    skipped: int = 0
    failed: int = 0
    gone: int = 0
    unseen: int = 0
    problems: list[str] = field(default_factory=list[str])
    stopped: str = ""
    edits: list[EditPreview] = field(default_factory=list["EditPreview"])

    @property
    def settled(self) -> int:
        """How many letters have had their turn."""
        return self.done + self.copies + self.skipped + self.failed

    def facts(self) -> dict[str, Any]:
        """The counts, as JSON data."""
        return {
            "dry_run": self.dry_run,
            "chosen": self.chosen,
            "by_reason": dict(self.by_reason),
            "done": self.done,
            "copies": self.copies,
            "skipped": self.skipped,
            "failed": self.failed,
            "gone": self.gone,
            "unseen": self.unseen,
            "stopped": self.stopped,
        }

    def edit_facts(self) -> list[dict[str, Any]]:
        """What a patch makes of letters, as JSON data."""
        return [
            {
                "id": each.id,
                "effect_id": each.effect_id,
                "edited_from": each.hash_before,
                "hash": each.hash,
                "changes": [change.facts() for change in each.changes],
            }
            for each in self.edits
        ]

    def preview(self, edit: EditPreview) -> None:
        """Keep what an edit makes of a letter, if there is room."""
        if len(self.edits) < _MAX_PROBLEMS:
            self.edits.append(edit)

    def note(self, letter: DeadLetter, problem: str) -> None:
        """Keep a sentence, if there is room."""
        if len(self.problems) < _MAX_PROBLEMS:
            effect = printable(letter.effect_id, 100) or "(no effect id)"
            self.problems.append(f"{letter.id} {effect}: {problem}")


def check_ids(chosen: DeadFilter, letters: Iterable[str]) -> None:
    """
    Check that each id of a filter fits exactly one letter.

    Args:
        chosen: The filter.
        letters: The ids of all letters that it means.

    Raises:
        DeadLetterIdError: When one fits none, or several.
    """
    found = set(letters)
    for wanted in chosen.ids:
        matching = sorted(letter_id for letter_id in found if letter_id.startswith(wanted))
        if not matching:
            raise DeadLetterIdError(no_such_letter(wanted))
        if len(matching) > 1:
            raise DeadLetterIdError(
                f"{len(matching)} dead letters have an id that begins with {wanted!r}: "
                f"{', '.join(matching[:5])}{' …' if len(matching) > 5 else ''}. Give more of the id"
            )


def no_such_letter(wanted: str) -> str:
    """The sentence for an id that fits no letter."""
    return (
        f"there is no dead letter with an id that begins with {printable(wanted, 100)!r}; list the "
        "ids with: effectmq dead list"
    )


def not_as_it_is(problem: str) -> str:
    """The sentence for a letter that would only be parked again."""
    return (
        f"it cannot be replayed unchanged: {problem}. Correct the envelope and replay it with "
        "--edit, or purge it"
    )


def no_reply_queue(queue: str) -> str:
    """The sentence for an outcome whose producer has no reply queue."""
    shown = printable(queue, 200)
    return (
        f"the outcome inside has no reply queue {shown!r}: start the producer under its identity, "
        "or name another queue for it (--reply-to)"
    )


def no_queue(route: str) -> str:
    """The sentence for a route without a queue."""
    shown = printable(route, 200)
    return (
        f"there is no queue for {shown!r}: start a worker for it (effectmq worker module:app "
        f"--kind {shown}) or declare it (effectmq topology apply)"
    )
