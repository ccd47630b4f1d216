"""Sessions, as lists and as waterfalls."""

from __future__ import annotations

from pydantic import Field

from effectmq.api.models.common import Report
from effectmq.api.models.effects import Effect

__all__ = ["Session", "SessionDetail", "SessionPage", "TurnSpan"]


class Session(Report):
    """One session, in numbers. Times are Unix milliseconds."""

    session_id: str
    effects: int
    more: bool = Field(description="It has more effects than were counted.")
    in_progress: int
    first_ms: int
    last_ms: int


class SessionPage(Report):
    """Sessions, in which something changed last first."""

    sessions: list[Session]
    next: str | None
    now_ms: int


class TurnSpan(Report):
    """One turn: from the first claim of its effects to their last change."""

    turn_id: str | None
    start_ms: int
    end_ms: int | None = Field(description="null while one of its effects goes on.")
    effects: int
    failed: int
    tokens_in: int
    tokens_out: int
    cost_usd: float | None = Field(
        description="Of those calls to models whose price is known; null when none is."
    )


class SessionDetail(Report):
    """The effects of a session, in the order in which they began, and its turns."""

    session_id: str
    turns: list[TurnSpan]
    effects: list[Effect]
    more: bool = Field(description="It has more effects than are listed; the newest are.")
    now_ms: int
