"""Effects of the journal."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from effectmq.api.models.common import Asked, Report

__all__ = [
    "AttemptTime",
    "CancelAsked",
    "Cancelled",
    "Change",
    "Diff",
    "Effect",
    "EffectDetail",
    "EffectPage",
    "EffectProgress",
    "EffectSpend",
    "EffectStatus",
    "Failure",
    "Kin",
    "PruneOneAsked",
    "Pruned",
    "Submission",
    "Submitted",
    "Tokens",
]

EffectStatus = Literal["in_progress", "waiting", "completed", "failed", "cancelled", "forgotten"]


class Failure(Report):
    """Why an effect has no outcome."""

    code: str
    message: str


class Tokens(Report):
    """The tokens of a call to a model."""

    input: int
    output: int
    cached_input: int
    reasoning: int


class EffectSpend(Report):
    """What an effect has spent, over all of its attempts."""

    tenant: str | None
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    nanos: int = Field(description="Billionths of a US dollar; exact.")
    usd: float
    unpriced_calls: int = Field(description="Calls without a known price.")


class EffectProgress(Report):
    """How far an effect was when it was told last, as its handler said."""

    done: int | float = Field(description="From 0, in any unit.")
    total: int | float | None = Field(description="In the same unit; null when it is not known.")
    note: str = Field(description="For people; one line of printable text.")
    attempt: int
    told_ms: int = Field(description="When it was recorded, Unix milliseconds.")
    former: bool = Field(description="Another run has begun since, which has told nothing yet.")


class Effect(Report):
    """One effect, without its payloads. Times are Unix milliseconds."""

    id: str = Field(description="Names the effect in paths of this API, and nowhere else.")
    scope_id: str
    replay_key: str
    effect_id: str
    kind: str = Field(description="Empty when it was cancelled before a worker saw it.")
    tool: str = Field(description="Of a tool call; empty when unknown.")
    model: str = Field(description="Of a call to a model; empty when unknown.")
    tokens: Tokens | None = None
    cost_usd: float | None = Field(
        default=None,
        description="What a call to a model has cost, in US dollars; null when it is not known.",
    )
    spend: EffectSpend | None = Field(
        default=None, description="What was recorded with its end; null for nothing."
    )
    progress: EffectProgress | None = Field(
        default=None, description="How far it was when it was told last; null when it never was."
    )
    status: EffectStatus
    attempts: int
    claims: int = Field(description="How often a worker took it.")
    replayed: bool = Field(description="It was parked before, and sent back.")
    hash: str
    session_id: str
    turn_id: str | None
    caused_by: Any = None
    worker: str | None
    deaths: int
    former_deaths: int
    dead_workers: list[str]
    park_reason: str | None
    parks: int
    error: Failure | None
    due_ms: int | None
    created_ms: int
    updated_ms: int
    ended_ms: int | None = Field(description="When it was settled; null while it is not.")


class EffectPage(Report):
    """Some effects, what changed last first."""

    effects: list[Effect]
    next: str | None = Field(
        description="Where the next page begins; null on the last. A page that was searched by "
        "tool or model may be short, or empty, and have a next one."
    )
    now_ms: int


class Kin(Report):
    """One effect of a tree of causes."""

    depth: int
    focus: bool = Field(description="It is the one that was asked for.")
    effect: Effect


class AttemptTime(Report):
    """
    The attempts of one stay at a worker: one, or several with waits of at most a second between
    them. Times are Unix milliseconds, null when they are not known.
    """

    attempt: int = Field(description="The first; one that is taken over keeps its number.")
    last: int = Field(description="The last; the same for one, and when it is not known.")
    began_ms: int | None
    ended_ms: int | None
    ended: (
        Literal["again", "died", "left", "handed_out", "parked", "cancelled", "settled"] | None
    ) = Field(
        description="Given back to be tried again; its worker died, or stopped in order; it was "
        "parked, cancelled, or settled with what the effect has now. Null while it runs."
    )


class EffectDetail(Effect):
    """One effect with everything that is kept of it."""

    letter_sent: bool | None
    lease_left_ms: int
    attempt_times: list[AttemptTime] = Field(
        description="Its attempts in their order, the last fifty times, as far as they are kept."
    )
    envelope: Any = None
    outcome: Any = None
    lineage: list[Kin] = Field(
        description="The tree of its causes, from the root; each before what it caused."
    )
    lineage_cause: Any = Field(
        default=None, description="The common cause, when it is no effect of the journal."
    )
    lineage_more: bool = Field(description="The tree has more effects than are listed.")
    now_ms: int


class Change(Report):
    """One member that differs."""

    part: Literal["envelope", "outcome"]
    change: Literal["added", "removed", "changed"]
    path: str
    before: Any = None
    after: Any = None


class Diff(Report):
    """What differs between two effects."""

    same: bool
    changes: list[Change]
    more: bool = Field(description="There are more than are listed.")


class Submission(Asked):
    """An effect to submit: a whole envelope, or what an envelope is made of."""

    envelope: dict[str, Any] | None = None
    tool: str | None = Field(default=None, max_length=200)
    kind: str | None = Field(default=None, max_length=40)
    args: dict[str, Any] = Field(
        default_factory=dict, description="The tool's arguments, or the members of the command."
    )
    session: str = Field(default="api", min_length=1, max_length=400)
    turn: str | None = Field(default=None, max_length=400)
    call_id: str = Field(default="call-1", min_length=1, max_length=400)
    lane: str | None = Field(default=None, max_length=100)
    delay_s: float | None = Field(
        default=None, ge=0, description="Seconds from now before which no worker begins it."
    )
    not_before: AwareDatetime | None = Field(
        default=None, description="Instead of it the moment, with its offset."
    )
    debounce: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="A key: of the effects with it that are submitted within the delay of the one "
        "before, only the last runs.",
    )
    debounce_max_s: float | None = Field(
        default=None,
        gt=0,
        description="For how long that may go on since the first of them, in seconds; by default "
        "ten times the delay.",
    )
    wait_s: float = Field(
        default=0.0, ge=0, le=60, description="How long to wait for the outcome, in seconds."
    )


class Submitted(Report):
    """An effect that the broker has."""

    id: str
    effect_id: str
    scope_id: str
    replay_key: str
    hash: str
    reply: Any = Field(
        default=None, description="The answer, when it came within wait_s; as in effectmq submit."
    )


class CancelAsked(Asked):
    """Which effects to cancel: one by its name, or those that a filter means."""

    id: str | None = Field(
        default=None, max_length=8_000, description="Id, replay key, effect id, or part of a hash."
    )
    scope_id: str | None = Field(default=None, max_length=2_000)
    replay_key: str | None = Field(default=None, max_length=4_000)
    kinds: list[str] = Field(default_factory=list, max_length=20)
    session: str = ""
    turn: str = ""
    worker: str = ""
    newer_than_s: float | None = Field(default=None, ge=0, le=1e10)
    older_than_s: float | None = Field(default=None, ge=0, le=1e10)
    all: bool = Field(default=False, description="Really all that is in progress.")
    reason: str = Field(min_length=1, max_length=1_000, description="Goes into the error.")
    limit: int | None = Field(default=None, ge=1, le=10**9)
    dry_run: bool = False


class PruneOneAsked(Asked):
    """Which effect to prune, whatever its age."""

    id: str = Field(
        min_length=1, max_length=8_000, description="Id, replay key, effect id, or part of a hash."
    )
    keep_key: bool = Field(default=True, description="Asking for it again is an error then.")
    parked: bool = Field(default=False, description="Also when it is parked.")


class Pruned(Report):
    """What became of one effect that was to be pruned."""

    id: str
    pruned: bool = Field(description="False when it changed in this moment.")


class Cancelled(Report):
    """What became of one effect that was to be cancelled."""

    id: str
    won: Literal["cancelled", "outcome", "neither"]
    status: str | None
