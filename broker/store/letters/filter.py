"""Which dead letters are meant: by id, by what they are, by when and why they were parked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from effectmq.broker.store.letters.facts import LetterFacts, clipped, row_of
from effectmq.protocol.messages.dead_letter import DeadLetter

__all__ = ["EVERY_LETTER", "DeadFilter"]


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """
    A choice of dead letters. Several values of one field mean any of them; several fields, all.

    Attributes:
        ids: Letter ids, or the beginnings of some.
        kinds: Effect kinds.
        reasons: Park reasons; ``raw`` for what the broker moved by itself.
        codes: Codes of the controller error.
        effect_ids: Effect ids, whole.
        since_ms: Parked at this moment or later, Unix milliseconds; ``None`` for any time. What
            has no time, because the broker moved it, is in no range.
        until_ms: Parked before this moment, Unix milliseconds; ``None`` for any time.
        edited: Whether the envelope is the result of an edit; ``None`` for either.
        routes: Where a replay goes: a kind, or ``kind.lane``.
        tools: Names of tools.
        models: Names of models.
        sessions: Session ids, whole.
        errors: Errors without what differs from case to case, as facets name them.
        text: A piece of the error's code or message, capitals as they are; empty for any.
    """

    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    effect_ids: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    edited: bool | None = None
    routes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    text: str = ""

    @property
    def empty(self) -> bool:
        """Whether every letter matches."""
        return self == EVERY_LETTER

    @property
    def looks_inside(self) -> bool:
        """Whether it asks for what only the body, or the whole error, says."""
        return bool(self.tools or self.models or self.sessions or self.errors or self.text)

    def matches(self, letter: DeadLetter, tree: object = None) -> bool:
        """
        Whether the letter is meant.

        Args:
            letter: Any dead letter.
            tree: Its body as data, when it is kept out of line and somebody has fetched it.
        """
        return (
            _among(letter.kind, self.kinds)
            and _among(letter.reason, self.reasons)
            and _among(letter.route, self.routes)
            and _among(letter.code, self.codes)
            and _among(letter.effect_id, self.effect_ids)
            and self._in_time(letter.parked_ms)
            and (self.edited is None or self.edited == bool(letter.edited_from))
            # Then what has to be decoded, and last the id, a digest over the whole letter.
            and (not self.looks_inside or self._inside(row_of(letter, tree)))
            and (not self.ids or letter.id.startswith(self.ids))
        )

    def _inside(self, facts: LetterFacts) -> bool:
        return (
            _among(facts.tool, _clipped("tool", self.tools))
            and _among(facts.model, _clipped("model", self.models))
            and _among(facts.session_id, _clipped("session_id", self.sessions))
            and _among(facts.error, self.errors)
            and (self.text in facts.code or self.text in facts.detail)
        )

    def _in_time(self, parked_ms: int) -> bool:
        if self.since_ms is None and self.until_ms is None:
            return True
        if not parked_ms or (self.since_ms is not None and parked_ms < self.since_ms):
            return False
        return self.until_ms is None or parked_ms < self.until_ms


def _among(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


def _clipped(column: str, values: Iterable[str]) -> tuple[str, ...]:
    return tuple(clipped(column, value) for value in values)


#: No restriction.
EVERY_LETTER = DeadFilter()
