"""
The values of the journal: the record of an effect, the operations, and their answers.

The rules that connect them are in ``rules``, the tables that keep them in ``tables``, and the way
to both in ``journal``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from effectmq.broker.store.journal.handed_out.values import HandedOut, HandOut, Settle
from effectmq.broker.store.spend.records import Spend
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.encoding.serde.model import to_tree
from effectmq.protocol.exact.envelopes import write_cause
from effectmq.protocol.identity.invocations import causal_ref
from effectmq.protocol.messages.progress import Progress
from effectmq.protocol.messages.request import Identity, Request
from effectmq.protocol.wire.invocation import RuntimeInvocation

__all__ = [
    "FINISHED",
    "HANDED_OUT",
    "STATUSES",
    "UNSUCCESSFUL",
    "Abandon",
    "Accepted",
    "Begin",
    "Busy",
    "Cancel",
    "Cancelled",
    "Claim",
    "ClaimAnswer",
    "Effect",
    "Entry",
    "Granted",
    "InProgress",
    "Letter",
    "Lost",
    "Mismatch",
    "Missing",
    "OnUncertain",
    "Operation",
    "OperationAnswer",
    "Record",
    "Recorded",
    "Release",
    "Renew",
    "Status",
    "WhenDoubtful",
    "effect_of",
    "ended_as",
    "public_status",
    "reference_of",
]

Status = Literal[
    "in_progress",
    "waiting",
    "handed_out",
    "completed",
    "failed",
    "unsuccessful",
    "cancelled",
    "forgotten",
]
OnUncertain = Literal["retry", "park"]
#: ``undecided`` is the answer of a worker without the effect's tool: one that has it will decide.
WhenDoubtful = Literal["retry", "park", "undecided"]

#: The meaning of each status, in the words of the documentation.
STATUSES: dict[Status, str] = {
    "in_progress": "a worker holds its lease, or died holding it",
    "waiting": "between attempts, asleep, or handed out to be answered; no worker holds it",
    "completed": "has its outcome, for ever",
    "failed": "has a failure of its tool or model as its outcome, or its controller error; parked, "
    "when there is a reason",
    "cancelled": "was cancelled before it had an outcome, and never will have one",
    "forgotten": "was finished, and pruned: its key is kept, its outcome is not",
}

#: How the database calls an effect whose recorded outcome is a failure. It is finished as a
#: completed one is, and shown as ``failed``, with code and message of the failure as its error.
UNSUCCESSFUL: Status = "unsuccessful"

#: How the database calls an effect that a person or another system answers. It waits as others do,
#: and is shown as ``waiting``; a claim does not run it.
HANDED_OUT: Status = "handed_out"

#: The statuses in which an effect has its final answer.
FINISHED: tuple[Status, ...] = ("completed", "failed", UNSUCCESSFUL, "cancelled", "forgotten")


_PUBLIC: dict[Status, Status] = {UNSUCCESSFUL: "failed", HANDED_OUT: "waiting"}


def public_status(status: Status) -> Status:
    """The status of a row as people and programs are told it; one of ``STATUSES``."""
    return _PUBLIC.get(status, status)


def ended_as(outcome_json: str, error_json: str) -> Status:
    """The status of an effect that ended with this outcome, this error, or both."""
    if not error_json:
        return "completed"
    return UNSUCCESSFUL if outcome_json else "failed"


@dataclass(frozen=True, slots=True)
class Effect:
    """
    An effect as it is written at its first claim.

    Attributes:
        identity: Scope id and replay key, the primary key.
        hash: SHA-256 of the canonical envelope; empty when only the name is known.
        kind: The effect kind.
        effect_id: Its id inside its scope.
        session_id: The session that asked for it.
        turn_id: The turn, or empty.
        caused_by: Canonical JSON of its cause, or empty.
        envelope_json: The canonical envelope; empty when only the name is known.
    """

    identity: Identity
    hash: str = ""
    kind: str = ""
    effect_id: str = ""
    session_id: str = ""
    turn_id: str = ""
    caused_by: str = ""
    envelope_json: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    The part of a row that the rules use.

    Attributes:
        hash: The hash of the envelope with the key; empty when it was cancelled before its first
            claim.
        status: See ``STATUSES``, ``UNSUCCESSFUL`` and ``HANDED_OUT``.
        attempts: The number of attempts begun.
        fence: The number of claims; a worker with an older number can change nothing.
        lease_token: The claim that holds the lease; while it is handed out, the hash of the token
            of whoever answers.
        lease_clock: The clock of ``lease_expires_ms``.
        lease_expires_ms: When the lease ends; 0 without a holder.
        due_at_ms: The earliest time of the next run, Unix milliseconds.
        outcome_json: The recorded outcome, canonical JSON; empty without one. While it is handed
            out, the one that counts at the deadline, and so for the error.
        error_json: The recorded controller error; or code and message of a recorded outcome that
            is a failure; empty without one.
        park_reason: Why it was given up; empty when it was not.
        parks: How often it was parked.
        letter_sent: Whether the dead letter of its last parking is known to be out.
        uncertain: Whether a worker died holding it, and the worker that took it over must not run
            it twice; this stays for every later claim.
        worker: The worker that claimed it last, for people.
        deaths: Workers that died while its body ran, since it was first seen or last replayed.
        begun: Whether its holder may have begun its body; a worker that dies before that is no
            death of this effect.
        former_deaths: Deaths before it was replayed.
        dead_workers: The names of the workers that died last, one on a line.
        due_clock: The clock of ``due_clock_ms``, that of leases; empty when nothing is due.
        due_clock_ms: The time of ``due_at_ms`` by that clock, which does not jump.
        trace: The W3C trace context of the attempt that gave its outcome; empty when it was not
            traced.
        attempt_times: When its attempts began and ended, as ``attempt_times`` writes it; empty
            while the times of the row say it.
    """

    hash: str
    status: Status
    attempts: int = 1
    fence: int = 1
    lease_token: str = ""
    lease_clock: str = ""
    lease_expires_ms: int = 0
    due_at_ms: int = 0
    outcome_json: str = ""
    error_json: str = ""
    park_reason: str = ""
    parks: int = 0
    letter_sent: bool = False
    uncertain: bool = False
    worker: str = ""
    deaths: int = 0
    begun: bool = True
    former_deaths: int = 0
    dead_workers: str = ""
    due_clock: str = ""
    due_clock_ms: int = 0
    trace: str = ""
    attempt_times: str = ""


# Operations ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """
    Ask to run an effect.

    Attributes:
        effect: The effect.
        worker: The worker that asks, for people.
        token: Unique; the same claim asked again is granted again.
        lease_ms: How long the lease lasts.
        attempt: The number of the attempt, from the message.
        due_in_ms: For a sleep seen for the first time: its length.
        on_uncertain: What to do when a worker died holding it; ``undecided`` runs nothing and
            leaves the decision to the next claim.
        parked_as: For a replayed dead letter: the number of the parking that it came from.
        strict: Whether never to grant, and to answer that it is missing.
        durable: Whether a first claim must survive a loss of power. If not, the effect may be one
            that was never claimed after that: its body may run again, and no death is counted.
    """

    effect: Effect
    worker: str
    token: str
    lease_ms: int
    attempt: int = 1
    due_in_ms: int = 0
    on_uncertain: WhenDoubtful = "retry"
    parked_as: int = 0
    strict: bool = False
    durable: bool = True

    @property
    def identity(self) -> Identity:
        """The primary key."""
        return self.effect.identity


@dataclass(frozen=True, slots=True)
class Record:
    """
    Record how it ended: an outcome or an error.

    Attributes:
        identity: The effect.
        fence: From the claim.
        attempts: The number of attempts made.
        outcome_json: The outcome, canonical JSON.
        error_json: Or the controller error. Beside an outcome that is a failure: its code and
            message, for people; the outcome is the answer.
        park_reason: Why it is given up.
        trace: The W3C trace context of its last attempt, if that was traced.
        spend: What was spent on it under this lease; ``None`` for nothing.
    """

    identity: Identity
    fence: int
    attempts: int
    outcome_json: str = ""
    error_json: str = ""
    park_reason: str = ""
    trace: str = ""
    spend: Spend | None = None

    @property
    def status(self) -> Status:
        """The status of an effect that ended so."""
        return ended_as(self.outcome_json, self.error_json)


@dataclass(frozen=True, slots=True)
class Release:
    """
    Release it until it is due: the next attempt, or the end of a sleep.

    Attributes:
        identity: The effect.
        fence: From the claim.
        attempts: The number of attempts made.
        due_in_ms: The time until then; ``None`` keeps the due time that was fixed before.
        spend: What was spent on it under this lease; ``None`` for nothing.
    """

    identity: Identity
    fence: int
    attempts: int
    due_in_ms: int | None
    spend: Spend | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Record that its body begins now; needed only where the answer to the claim said so."""

    identity: Identity
    fence: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """
    End the lease now, on leaving in order while a body may be half done.

    The next claim takes it over as after a death, but no death is counted.
    """

    identity: Identity
    fence: int


@dataclass(frozen=True, slots=True)
class Renew:
    """
    Renew the lease.

    Attributes:
        identity: The effect.
        fence: From the claim.
        lease_ms: How long the lease lasts from now on.
        progress: How far the effect is, to be put on its record; ``None`` for no news.
    """

    identity: Identity
    fence: int
    lease_ms: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """Record that the dead letter of this parking is out."""

    identity: Identity
    parks: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """
    Record this error, unless the effect is finished already.

    Attributes:
        effect: The effect.
        error_json: The controller error, canonical JSON.
        unclaimed: Whether to leave alone what a worker has claimed already.
    """

    effect: Effect
    error_json: str
    unclaimed: bool = False

    @property
    def identity(self) -> Identity:
        """The primary key."""
        return self.effect.identity


Operation = Claim | Record | Release | Begin | Abandon | Renew | Letter | Cancel | HandOut | Settle


# Answers ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """
    The claim is granted: run the effect.

    Attributes:
        fence: Must be sent with every later operation.
        attempt: The number of this attempt.
        due_in_ms: How long to wait first.
        uncertain: Whether a worker died holding it and it must not run twice.
        deaths: How many workers died while its body ran.
        former_deaths: How many died before it was replayed.
        dead_workers: The names of those that died last.
        begun: Whether a death from now on counts; if not, send ``Begin`` before its body.
        taken_from: The worker that held it until now and no longer does, for people.
    """

    fence: int
    attempt: int
    due_in_ms: int = 0
    uncertain: bool = False
    deaths: int = 0
    former_deaths: int = 0
    dead_workers: tuple[str, ...] = ()
    begun: bool = True
    taken_from: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    The effect is finished: answer with this.

    Attributes:
        status: ``completed``, ``failed``, ``cancelled`` or ``forgotten``.
        attempts: The number of attempts made.
        outcome_json: The outcome, byte for byte as it was recorded.
        error_json: Or the controller error, when there is no outcome.
        park_reason: Why it was parked, when its dead letter may not be out yet; else empty.
        parks: The number of that parking.
        deaths: How many workers had died while they held it, for that dead letter.
        former_deaths: How many died before an earlier replay.
        trace: The W3C trace context of its last attempt, if that was traced.
        ran_out: Whether it was handed out, and its deadline has just decided.
    """

    status: Status
    attempts: int
    outcome_json: str
    error_json: str
    park_reason: str = ""
    parks: int = 0
    deaths: int = 0
    former_deaths: int = 0
    trace: str = ""
    ran_out: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """Another worker holds the lease, for at most so many milliseconds from now."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """
    The key belongs to another envelope.

    Attributes:
        hash: The hash of the envelope that has the key.
        envelope_json: That envelope, canonical; empty when it is not kept.
    """

    hash: str
    envelope_json: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """Strict replay, and there is no finished record."""


@dataclass(frozen=True, slots=True)
class InProgress:
    """The effect is claimed and not finished; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    The operation is recorded.

    Attributes:
        parks: The number of the parking, when it was one.
    """

    parks: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """Another holder has a newer fence; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The effect is cancelled, now or since earlier."""


ClaimAnswer = Granted | Recorded | Busy | HandedOut | Mismatch | Missing
OperationAnswer = ClaimAnswer | Accepted | Lost | Cancelled | InProgress


def effect_of(request: Request) -> Effect:
    """The part of a request that the journal records."""
    invocation = request.envelope.invocation
    cause = invocation.caused_by
    return Effect(
        identity=request.identity,
        hash=request.hash,
        kind=request.kind,
        effect_id=request.effect_id,
        session_id=invocation.scope.session_id,
        turn_id=invocation.scope.turn_id or "",
        caused_by="" if cause is None else write_cause(cause).decode(),
        envelope_json=request.canonical.decode(),
    )


def reference_of(invocation: RuntimeInvocation) -> str:
    """The text that the effects caused by this one have as ``caused_by``."""
    return canonical_json(to_tree(causal_ref(invocation))).decode()
