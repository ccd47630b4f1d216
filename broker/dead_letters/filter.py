"""A choice of dead letters: by id, by their effects, by time and reason of the parking."""

from __future__ import annotations

from dataclasses import dataclass

from effectmq.protocol.messages.dead_letter import DeadLetter

__all__ = ["EVERY_LETTER", "DeadFilter"]


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """
    A choice of dead letters. Values of one field are alternatives; different fields must all match.

    Attributes:
        ids: Letter ids, or their beginnings.
        kinds: Effect kinds.
        reasons: Park reasons; ``raw`` for letters that the broker moved.
        codes: Codes of the controller error.
        effect_ids: Effect ids, whole.
        since_ms: Parked at this time or later, Unix milliseconds; ``None`` for any time. Letters
            without a time, because the broker moved them, are in no range.
        until_ms: Parked before this time, Unix milliseconds; ``None`` for any time.
        edited: Whether the envelope is the result of an edit; ``None`` for either.
    """

    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    effect_ids: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    edited: bool | None = None

    @property
    def empty(self) -> bool:
        """Whether every letter matches."""
        return self == EVERY_LETTER

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter is chosen."""
        return (
            _among(letter.kind, self.kinds)
            and _among(letter.reason, self.reasons)
            and _among(letter.code, self.codes)
            and _among(letter.effect_id, self.effect_ids)
            and self._in_time(letter.parked_ms)
            and (self.edited is None or self.edited == bool(letter.edited_from))
            # Last, because the id is a digest over the whole letter.
            and (not self.ids or letter.id.startswith(self.ids))
        )

    def _in_time(self, parked_ms: int) -> bool:
        if self.since_ms is None and self.until_ms is None:
            return True
        if not parked_ms or (self.since_ms is not None and parked_ms < self.since_ms):
            return False
        return self.until_ms is None or parked_ms < self.until_ms


def _among(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


#: A choice without restrictions.
EVERY_LETTER = DeadFilter()
