"""
The changes in a journal, as they happen.

There is no feed to subscribe to, only rows with the time of their last change, and a transaction
that began earlier may become visible later. So each look begins a little before the end of the one
before, and what was returned already is not returned again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from effectmq.broker.store.database.port import Transaction
from effectmq.broker.store.journal.archive.summaries import EffectFilter, EffectSummary, Place, find
from effectmq.broker.store.journal.records import FINISHED
from effectmq.protocol.messages.request import Identity

__all__ = ["News"]

#: How far back each look begins. A transaction of PostgreSQL may take that long; those of SQLite
#: take turns, so only the steps of the clock matter.
_LOOK_BACK_MS = {"sqlite": 1_000, "postgres": 15_000}
_PAGE = 500

_State = tuple[str, int, int, int]


class News:
    """
    Remembers its position, and what was returned.

    Args:
        chosen: Which effects; ``since_ms`` is the beginning, without it everything is returned.

    Attributes:
        running: The effects in progress that were looked at last, also those without a change.
    """

    def __init__(self, chosen: EffectFilter) -> None:
        self._chosen = chosen
        self._from_ms = self._newest_ms = chosen.since_ms or 0
        self._after: Place | None = None
        self._told: dict[Identity, tuple[int, _State]] = {}
        self.running: list[EffectSummary] = []

    def told(self, effects: Iterable[EffectSummary]) -> None:
        """These were told otherwise; they are news when they change."""
        for effect in effects:
            self._is_news(effect)

    @property
    def more(self) -> bool:
        """Whether there is more to read at once."""
        return self._after is not None

    def page(self, tx: Transaction) -> list[EffectSummary]:
        """The next rows to look at, for ``take``."""
        chosen = replace(self._chosen, since_ms=self._from_ms)
        return find(tx, chosen, limit=_PAGE, after=self._after, oldest_first=True)

    def take(self, page: list[EffectSummary], dialect: str) -> list[EffectSummary]:
        """The new ones among them, in the order of changes. A renewed lease is no change."""
        fresh = [effect for effect in page if self._is_news(effect)]
        self.running = [effect for effect in page if effect.status == "in_progress"]
        if page:
            self._newest_ms = max(self._newest_ms, page[-1].updated_ms)
        self._after = page[-1].place if len(page) == _PAGE else None
        if not self.more:
            self._move_on(_LOOK_BACK_MS[dialect])
        return fresh

    def _is_news(self, effect: EffectSummary) -> bool:
        state = (effect.status, effect.attempts, effect.fence, effect.parks)
        told = self._told.get(effect.identity)
        self._told[effect.identity] = (effect.updated_ms, state)
        return told is None or told[1] != state

    def _move_on(self, look_back_ms: int) -> None:
        self._from_ms = max(self._from_ms, self._newest_ms - look_back_ms)
        # An unfinished effect may be renewed at any time, so it stays known.
        self._told = {
            identity: (updated_ms, state)
            for identity, (updated_ms, state) in self._told.items()
            if updated_ms >= self._from_ms or state[0] not in FINISHED
        }
