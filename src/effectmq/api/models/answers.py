"""Effects that somebody else answers, as the API speaks of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = ["AnswerAsked", "Answered", "Waiting", "WaitingPage"]


class Waiting(Report):
    """One effect that waits for an answer. Times are Unix milliseconds."""

    id: str
    scope_id: str
    replay_key: str
    effect_id: str
    kind: str
    hash: str
    session_id: str
    turn_id: str | None
    worker: str | None = Field(description="The worker that handed it out.")
    note: str = Field(description="What is asked, for people.")
    value_schema: Any = Field(description="JSON Schema of the value; null when every value fits.")
    asked_ms: int
    deadline_ms: int


class WaitingPage(Report):
    """The first of those that wait."""

    waiting: list[Waiting]
    total: int
    now_ms: int


class AnswerAsked(Asked):
    """An answer: for which effect, and a value or an error."""

    token: str | None = Field(default=None, max_length=200, description="As its handler got it.")
    id: str | None = Field(
        default=None, max_length=8_000, description="Id, replay key, effect id, or part of a hash."
    )
    value: Any = Field(
        default=None,
        description="Of a tool call, what the tool would have returned; of another kind, its "
        "outcome.",
    )
    error: str | None = Field(
        default=None, min_length=1, max_length=2_000, description="Why it is refused."
    )
    code: str = Field(default="", max_length=200, description="The code of the refusal.")


class Answered(Report):
    """What became of an answer."""

    id: str
    counts: bool = Field(description="Whether this answer is the outcome.")
    status: str = Field(description="The status of the effect now.")
    ran_out: bool = Field(description="Whether the deadline came first, just now.")
