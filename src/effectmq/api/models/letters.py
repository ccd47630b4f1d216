"""Dead letters, and what is done with them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from effectmq.api.models.common import Asked, Report

__all__ = [
    "AuditEntry",
    "AuditPage",
    "EditAsked",
    "FacetReport",
    "Letter",
    "LetterChoice",
    "LetterDetail",
    "LetterPage",
    "Operation",
    "OperationList",
    "PurgeAsked",
    "ReplayAsked",
]


class Letter(Report):
    """One dead letter, as it is listed. Times are Unix milliseconds."""

    id: str
    parked_ms: int
    reason: str
    kind: str
    route: str
    tool: str
    model: str
    code: str
    error: str = Field(description="Without what differs from case to case, as facets count it.")
    session_id: str
    turn_id: str
    effect_id: str
    replay_key: str
    hash: str
    edited_from: str
    attempts: int
    deaths: int
    former_deaths: int
    parked_by: str
    reply_to: str
    body_bytes: int
    detail: str


class LetterPage(Report):
    """Some dead letters."""

    letters: list[Letter]
    next: str | None = Field(description="Where the next page begins; null on the last.")
    total: int = Field(description="All dead letters, whatever was chosen.")
    exact: bool = Field(description="The index has what the queue has, as far as is known.")
    now_ms: int


class FacetReport(Report):
    """How many dead letters have what."""

    letters: int
    oldest_ms: int | None
    facets: dict[str, dict[str, int]]
    exact: bool
    now_ms: int


class LetterDetail(Report):
    """Everything about one dead letter, as ``effectmq dead show --json`` has it."""

    id: str
    record: dict[str, Any]
    replayable: bool = Field(description="It can be replayed as it is.")
    now_ms: int


class LetterChoice(Asked):
    """
    Which dead letters are meant. Several values of one member mean any of them; several members,
    all. Nothing at all is refused, unless ``all`` says so.
    """

    ids: list[str] = Field(default_factory=list, max_length=1_000)
    kinds: list[str] = Field(default_factory=list, max_length=100)
    reasons: list[str] = Field(default_factory=list, max_length=100)
    routes: list[str] = Field(default_factory=list, max_length=100)
    tools: list[str] = Field(default_factory=list, max_length=100)
    models: list[str] = Field(default_factory=list, max_length=100)
    codes: list[str] = Field(default_factory=list, max_length=100)
    sessions: list[str] = Field(default_factory=list, max_length=100)
    errors: list[str] = Field(default_factory=list, max_length=100)
    effect_ids: list[str] = Field(default_factory=list, max_length=100)
    text: str = Field(default="", max_length=1_000)
    edited: bool | None = None
    newer_than_s: float | None = Field(default=None, ge=0, le=1e10)
    older_than_s: float | None = Field(default=None, ge=0, le=1e10)
    all: bool = False


class _Deed(Asked):
    choice: LetterChoice
    limit: int | None = Field(default=None, ge=1, le=10**9, description="The oldest so many.")
    dry_run: bool = Field(default=False, description="Only say what would become of them.")


_WAIT = (
    "Of one letter, how long the operation waits for its outcome, in seconds; it is then in "
    "report.reply, and passed on to the producer that asked."
)


class ReplayAsked(_Deed):
    """Dead letters to send back as they are."""

    rate: float = Field(default=50.0, gt=0, le=100_000, description="The most a second.")
    wait_s: float = Field(default=0.0, ge=0, le=600, description=_WAIT)


class EditAsked(_Deed):
    """
    Dead letters to send back with their envelopes changed: by a JSON Patch (RFC 6902), or one of
    them by a whole new envelope.
    """

    patch: list[dict[str, Any]] | None = Field(default=None, max_length=1_000)
    envelope: dict[str, Any] | None = None
    rate: float = Field(default=50.0, gt=0, le=100_000)
    wait_s: float = Field(default=0.0, ge=0, le=600, description=_WAIT)


class PurgeAsked(_Deed):
    """Dead letters to throw away, for ever."""

    expect: int | None = Field(
        default=None,
        ge=0,
        description="How many are meant, as who asks has seen it; refused when it is another "
        "number.",
    )


class Operation(Report):
    """Something that goes on for a while, and what has become of it so far."""

    id: str
    action: Literal["replay", "edit", "purge", "cancel", "prune", "verify"]
    who: str
    dry_run: bool
    state: Literal["running", "done", "stopped", "failed"]
    began_ms: int
    ended_ms: int | None
    done: int
    total: int | None = Field(description="null until it is known.")
    choice: dict[str, Any]
    report: dict[str, Any] | None = Field(description="The counts, when it has ended.")
    problem: str | None = Field(description="Why it failed, or ended early.")


class OperationList(Report):
    """What goes on in this process, and what has ended of late; the newest first."""

    operations: list[Operation]


class AuditEntry(Report):
    """One thing that somebody did."""

    id: str
    began_ms: int
    ended_ms: int | None
    who: str
    action: str
    choice: Any = None
    report: Any = None


class AuditPage(Report):
    """Who did what, the newest first."""

    lines: list[AuditEntry]
    now_ms: int
