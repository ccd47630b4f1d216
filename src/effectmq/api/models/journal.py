"""The journal in numbers, and its pruning."""

from __future__ import annotations

from pydantic import Field

from effectmq.api.models.common import Asked, Report
from effectmq.api.models.effects import Effect

__all__ = ["JournalReport", "KindCount", "PruneAsked"]


class KindCount(Report):
    """How many effects of a kind have a status."""

    kind: str
    status: str
    effects: int


class JournalReport(Report):
    """A journal in numbers."""

    where: str
    size_bytes: int
    effects: int
    counts: list[KindCount]
    parked: dict[str, int] = Field(description="Parked effects by reason.")
    letters_unsent: int
    unheld: int = Field(description="Effects in progress without a worker.")
    oldest_in_progress: Effect | None
    now_ms: int


class PruneAsked(Asked):
    """Which effects of the journal to prune."""

    older_than_s: float = Field(ge=0, le=1e10, description="Not changed for so long, in seconds.")
    keep_keys: bool = True
    parked: bool = Field(default=False, description="Also parked ones whose dead letter is out.")
    dry_run: bool = False
