"""What was spent, and ceilings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = ["Amounts", "Ceiling", "CeilingAsked", "CeilingCleared", "CeilingMeant", "SpendReport"]

By = Literal["all", "tenant", "session", "model"]
Per = Literal["day", "month", "ever"]


class Amounts(Report):
    """Tokens and money."""

    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    nanos: int = Field(description="Billionths of a US dollar; exact.")
    usd: float
    unpriced_calls: int = Field(description="Calls without a known price.")


class Spender(Amounts):
    """What one of several has spent."""

    name: str | None = Field(description="null for effects that name none.")


class SpendDay(Amounts):
    """What was spent on one day (UTC)."""

    day: str = Field(description="Such as 2026-11-30.")


class Ceiling(Report):
    """How much may be spent."""

    by: By
    name: str | None = Field(description="null for each of them, and for everything.")
    per: Per
    usd: float | None
    nanos: int | None
    tokens: int | None
    on_exceeded: Literal["refuse", "wait"]
    source: Literal["program", "person"]
    changed_ms: int


class SpendReport(Report):
    """What was spent since a day, and the ceilings."""

    by: By
    rows: list[Spender] = Field(description="The most first.")
    days: list[SpendDay] = Field(description="The days on which something was spent.")
    total: Amounts
    ceilings: list[Ceiling]
    now_ms: int


class CeilingMeant(Asked):
    """A ceiling by what names it."""

    by: By
    name: str | None = Field(default=None, max_length=2_000)
    per: Per = "month"


class CeilingAsked(CeilingMeant):
    """A ceiling to set, or to change."""

    usd: float | str | None = Field(default=None, description="US dollars; exact as a text.")
    tokens: int | None = Field(default=None, ge=0, le=2**53)
    on_exceeded: Literal["refuse", "wait"] = "refuse"


class CeilingCleared(Report):
    """Whether there was such a ceiling."""

    cleared: bool
