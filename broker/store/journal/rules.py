"""
The rules of the journal: an entry and an operation in, an answer and the changed entry out.

Pure functions; time is an argument. Both databases run them inside their transactions, and the
simulation runs them without a database.

=============================  ===================================================================
claim meets                    answer
=============================  ===================================================================
nothing                        ``Granted``; with strict replay ``Missing``
the same token                 ``Granted`` again, for a full lease: the first answer was lost
a parking that is replayed     ``Granted``, whatever the envelope is now
another envelope               ``Mismatch``
a finished entry               ``Recorded``
a handed-out entry             ``HandedOut``; from its deadline on ``Recorded``, as a failure
a live lease                   ``Busy``
a lease that ran out           ``Granted`` with the next fence; *uncertain* if it must not run twice
                               and a death, if its body had begun
a wait                         ``Granted`` with the next fence, and how long there is to wait
=============================  ===================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from effectmq.broker.store.database.port import LeaseTime
from effectmq.broker.store.journal.attempt_times import noted
from effectmq.broker.store.journal.handed_out.values import HandedOut, HandOut, Settle
from effectmq.broker.store.journal.records import (
    FINISHED,
    HANDED_OUT,
    STATUSES,
    UNSUCCESSFUL,
    Abandon,
    Accepted,
    Begin,
    Busy,
    Cancel,
    Cancelled,
    Claim,
    ClaimAnswer,
    Entry,
    Granted,
    InProgress,
    Letter,
    Lost,
    Mismatch,
    Missing,
    Operation,
    OperationAnswer,
    Record,
    Recorded,
    Release,
    Renew,
    ended_as,
    public_status,
)
from effectmq.protocol.encoding.canonical import canonical_json
from effectmq.protocol.text import printable

__all__ = [
    "LARGEST",
    "Now",
    "cancel",
    "claim",
    "decide",
    "first_entry",
    "hand_back",
    "hand_out",
    "look",
    "record",
    "settle",
    "sound",
]

#: The largest number of a column: the latest time, and more attempts than are ever made. A larger
#: number in a stranger's message must not fail the transaction of others.
LARGEST = 2**63 - 1

#: How many of the workers that died are named, and with how many characters each.
_MOST_NAMES = 5
_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Now:
    """
    The time of one transaction.

    Attributes:
        wall_ms: Unix milliseconds, for people, and for due times after a reboot of the host.
        lease: The clock of leases.
    """

    wall_ms: int
    lease: LeaseTime


def first_entry(asked: Claim, now: Now) -> Entry:
    """The entry of a first claim."""
    return Entry(
        hash=asked.effect.hash,
        status="in_progress",
        attempts=asked.attempt,
        fence=1,
        lease_token=asked.token,
        lease_clock=now.lease.clock,
        lease_expires_ms=now.lease.now_ms + asked.lease_ms,
        **(_due(now, asked.due_in_ms) if asked.due_in_ms else {}),
        worker=asked.worker,
        # An effect that must wait first has no body yet; all others begin when they are granted.
        begun=not asked.due_in_ms,
    )


def sound(entry: Entry) -> Entry:
    """
    The entry; an inconsistent one is replaced by a recorded error that says so.

    Such a row was damaged or written by another program. To run its effect again would be a guess.
    """
    problem = ""
    if entry.status in ("completed", UNSUCCESSFUL) and not entry.outcome_json:
        problem = f"{entry.status} runtime effect row is missing outcome_json"
    elif entry.status in ("failed", "cancelled") and not entry.error_json:
        problem = f"{entry.status} runtime effect row is missing error_json"
    elif public_status(entry.status) not in STATUSES:
        problem = f"unknown runtime effect replay status `{entry.status}`"
    if not problem:
        return entry
    error = canonical_json({"code": "effectmq_corrupt_row", "message": problem}).decode()
    return replace(entry, status="failed", outcome_json="", error_json=error)


def decide(
    entry: Entry | None, operation: Operation, now: Now
) -> tuple[OperationAnswer, Entry | None]:
    """The answer to any operation, and the entry to write; ``None`` when nothing changes."""
    answer, made = _decided(entry, operation, now)
    if entry is not None and made is not None:
        made = noted(entry, made, operation, now.wall_ms)
    return answer, made


def _decided(
    entry: Entry | None, operation: Operation, now: Now
) -> tuple[OperationAnswer, Entry | None]:
    match operation:
        case Claim():
            return claim(entry, operation, now)
        case Record():
            return record(entry, operation)
        case Cancel():
            return cancel(entry, operation)
        case HandOut():
            return hand_out(entry, operation, now)
        case Settle():
            return settle(entry, operation, now)
        case _:
            return hand_back(entry, operation, now)


def claim(entry: Entry | None, asked: Claim, now: Now) -> tuple[ClaimAnswer, Entry | None]:
    """
    Whether an effect may be run.

    Returns:
        The answer, and the entry to write; ``None`` when nothing changes.
    """
    if entry is None:
        if asked.strict:
            return Missing(), None
        made = first_entry(asked, now)
        return _granted(made, now, asked), made
    if _replays(entry, asked):
        made = replace(
            first_entry(asked, now),
            fence=entry.fence + 1,
            parks=entry.parks,
            attempt_times=entry.attempt_times,
            former_deaths=entry.former_deaths + entry.deaths,
        )
        return _granted(made, now, asked), made
    denied = _denied(entry, asked, now)
    if denied is not None:
        return denied
    if entry.status == "in_progress":
        if entry.lease_token == asked.token:
            held = _leased(entry, asked.lease_ms, now)
            return _granted(held, now, asked), held
        left_ms = _lease_left_ms(entry, now)
        if left_ms > 0:
            return Busy(left_ms), None
    died = entry.status == "in_progress"
    taken = replace(
        _leased(_buried(entry) if died else entry, asked.lease_ms, now),
        status="in_progress",
        attempts=max(entry.attempts, asked.attempt),
        fence=entry.fence + 1,
        lease_token=asked.token,
        uncertain=entry.uncertain or (died and asked.on_uncertain != "retry"),
        worker=asked.worker,
    )
    # Counted as a death only when it is certain that the body had begun.
    taken = replace(taken, begun=not taken.deaths and not _due_left_ms(taken, now))
    return _granted(taken, now, asked, entry.worker if died else ""), taken


def _denied(
    entry: Entry, asked: Claim, now: Now
) -> tuple[Mismatch | Recorded | Missing | HandedOut, Entry | None] | None:
    """Why a known effect may not be run, whoever holds it; ``None`` when it may."""
    if entry.hash and entry.hash != asked.effect.hash:
        return Mismatch(entry.hash), None
    if entry.status in FINISHED:
        return _recorded(entry), None
    if asked.strict:
        return Missing(), None
    if entry.status == HANDED_OUT:
        left_ms = _due_left_ms(entry, now)
        return (HandedOut(left_ms), None) if left_ms else _ran_out(entry)
    return None


def record(entry: Entry | None, said: Record) -> tuple[Accepted | Lost, Entry | None]:
    """Whether the holder of a lease may record how it ended."""
    if entry is None or entry.fence != said.fence:
        return Lost(), None
    if entry.status in FINISHED:
        # Recorded already; the answer to the first time was lost.
        same = (entry.outcome_json, entry.error_json) == (said.outcome_json, said.error_json)
        return (Accepted(entry.parks) if same else Lost()), None
    if entry.status != "in_progress":
        return Lost(), None
    parks = entry.parks + bool(said.park_reason)
    made = replace(
        entry,
        status=said.status,
        attempts=min(said.attempts, LARGEST),
        lease_token="",
        lease_expires_ms=0,
        outcome_json=said.outcome_json,
        error_json=said.error_json,
        park_reason=said.park_reason,
        trace=said.trace,
        parks=parks,
        letter_sent=False,
    )
    return Accepted(parks), made


# One case for each operation of a holder.
def hand_back(  # noqa: C901
    entry: Entry | None, said: Release | Begin | Abandon | Renew | Letter, now: Now
) -> tuple[Accepted | Lost, Entry | None]:
    """The smaller operations of a lease holder."""
    if entry is None:
        return Lost(), None
    if isinstance(said, Letter):
        if entry.parks != said.parks or not entry.park_reason:
            return Lost(), None
        return Accepted(), replace(entry, letter_sent=True)
    if entry.fence != said.fence:
        return Lost(), None
    if isinstance(said, Release) and entry.status == "waiting":
        return Accepted(), None
    if entry.status != "in_progress":
        return Lost(), None
    match said:
        case Release():
            changed = replace(
                entry,
                status="waiting",
                attempts=min(said.attempts, LARGEST),
                lease_token="",
                lease_expires_ms=0,
            )
            if said.due_in_ms is not None:
                changed = replace(changed, **_due(now, said.due_in_ms))
        case Abandon():
            changed = replace(entry, lease_token="", lease_expires_ms=0, begun=False)
        case Begin():
            if not entry.lease_token:
                return Lost(), None
            changed = replace(entry, begun=True)
        case Renew():
            if not entry.lease_token:
                # Abandoned meanwhile: a late renewal must not keep others out.
                return Lost(), None
            changed = _leased(entry, said.lease_ms, now)
    return Accepted(), changed


def cancel(
    entry: Entry | None, asked: Cancel
) -> tuple[Cancelled | Recorded | Mismatch | InProgress, Entry | None]:
    """Cancel an effect, unless it is finished: exactly one of the two wins."""
    if entry is None:
        made = Entry(asked.effect.hash, "cancelled", attempts=0, error_json=asked.error_json)
        return Cancelled(), made
    if entry.hash and asked.effect.hash and entry.hash != asked.effect.hash:
        return Mismatch(entry.hash), None
    if entry.status == "cancelled":
        return Cancelled(), None
    if entry.status in FINISHED:
        return _recorded(entry), None
    if asked.unclaimed:
        return InProgress(), None
    changed = replace(
        entry,
        status="cancelled",
        fence=entry.fence + 1,
        lease_token="",
        lease_expires_ms=0,
        outcome_json="",
        error_json=asked.error_json,
    )
    return Cancelled(), changed


def hand_out(entry: Entry | None, said: HandOut, now: Now) -> tuple[Accepted | Lost, Entry | None]:
    """Whether the holder of a lease may hand its effect out."""
    if entry is None or entry.fence != said.fence:
        return Lost(), None
    if entry.status == HANDED_OUT:
        # Handed out already; the answer to the first time was lost.
        return (Accepted() if entry.lease_token == said.question.token_hash else Lost()), None
    if entry.status != "in_progress":
        return Lost(), None
    changed = replace(
        entry,
        status=HANDED_OUT,
        attempts=min(said.attempts, LARGEST),
        lease_token=said.question.token_hash,
        lease_expires_ms=0,
        outcome_json=said.outcome_json,
        error_json=said.error_json,
        **_due(now, said.due_in_ms),
    )
    return Accepted(), changed


def settle(
    entry: Entry | None, said: Settle, now: Now
) -> tuple[Accepted | Recorded | Lost, Entry | None]:
    """Answer a handed-out effect: exactly one of answer, deadline and cancel wins."""
    if entry is None:
        return Lost(), None
    if entry.status in FINISHED:
        # The same answer once more: what was said to the first may have been lost.
        same = (entry.outcome_json, entry.error_json) == (said.outcome_json, said.error_json)
        return (Accepted() if same else _recorded(entry)), None
    if entry.status != HANDED_OUT or entry.lease_token != said.token_hash:
        return Lost(), None
    if not _due_left_ms(entry, now):
        return _ran_out(entry)
    return Accepted(), _ended(entry, said.outcome_json, said.error_json)


def _ran_out(entry: Entry) -> tuple[Recorded, Entry]:
    """The end of an effect that nobody has answered in time."""
    ended = _ended(entry, entry.outcome_json, entry.error_json)
    return replace(_recorded(ended), ran_out=True), ended


def _ended(entry: Entry, outcome_json: str, error_json: str) -> Entry:
    status = ended_as(outcome_json, error_json)
    return replace(
        entry,
        status=status,
        lease_token="",
        lease_expires_ms=0,
        outcome_json=outcome_json,
        error_json=error_json,
    )


def look(entry: Entry | None, hash_: str) -> Recorded | Mismatch | InProgress | None:
    """What is known of an effect, without claiming it; ``None`` for nothing."""
    if entry is None:
        return None
    if entry.hash and hash_ and entry.hash != hash_:
        return Mismatch(entry.hash)
    return _recorded(entry) if entry.status in FINISHED else InProgress()


def _replays(entry: Entry, asked: Claim) -> bool:
    """
    Whether an operator replays the dead letter of this parking.

    It is compared by number, so that a second copy of the message, which arrives after the next
    parking, does not replay that parking as well.
    """
    parked = entry.status == "failed" and bool(entry.park_reason)
    return parked and asked.parked_as == entry.parks and not asked.strict


def _buried(entry: Entry) -> Entry:
    """An entry whose holder is gone: a death is counted, when the body may have begun."""
    if not entry.begun:
        return entry
    last = printable(entry.worker, _NAME_CHARACTERS) or "one without a name"
    names = [*entry.dead_workers.splitlines(), last]
    named = "\n".join(names[-_MOST_NAMES:])
    return replace(entry, deaths=entry.deaths + 1, dead_workers=named)


def _lease_left_ms(entry: Entry, now: Now) -> int:
    if entry.lease_clock != now.lease.clock:
        return 0
    return max(0, entry.lease_expires_ms - now.lease.now_ms)


def _leased(entry: Entry, lease_ms: int, now: Now) -> Entry:
    return replace(entry, lease_clock=now.lease.clock, lease_expires_ms=now.lease.now_ms + lease_ms)


def _later(moment_ms: int, wait_ms: int) -> int:
    return min(moment_ms + wait_ms, LARGEST)


def _due(now: Now, wait_ms: int) -> dict[str, Any]:
    """The due time by both clocks."""
    return {
        "due_at_ms": _later(now.wall_ms, wait_ms),
        "due_clock": now.lease.clock,
        "due_clock_ms": _later(now.lease.now_ms, wait_ms),
    }


def _due_left_ms(entry: Entry, now: Now) -> int:
    """The time left to wait; by the wall clock only when the host was rebooted since."""
    if not entry.due_at_ms:
        return 0
    if entry.due_clock == now.lease.clock:
        return max(0, entry.due_clock_ms - now.lease.now_ms)
    return max(0, entry.due_at_ms - now.wall_ms)


def _granted(entry: Entry, now: Now, asked: Claim, taken_from: str = "") -> Granted:
    due_in_ms = _due_left_ms(entry, now)
    uncertain = entry.uncertain and asked.on_uncertain == "park"
    return Granted(
        entry.fence,
        entry.attempts,
        due_in_ms,
        uncertain,
        entry.deaths,
        entry.former_deaths,
        tuple(entry.dead_workers.splitlines()),
        entry.begun,
        taken_from,
    )


def _recorded(entry: Entry) -> Recorded:
    unsent = bool(entry.park_reason) and not entry.letter_sent and entry.status == "failed"
    return Recorded(
        public_status(entry.status),
        entry.attempts,
        entry.outcome_json,
        "" if entry.outcome_json else entry.error_json,
        entry.park_reason if unsent else "",
        entry.parks,
        entry.deaths if unsent else 0,
        entry.former_deaths if unsent else 0,
        entry.trace,
    )
