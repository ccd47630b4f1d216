"""The journal's rules with one fault each: what the simulation has to catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from effectmq.broker.store.journal import rules
from effectmq.broker.store.journal.handed_out.values import HandedOut, Settle
from effectmq.broker.store.journal.records import (
    FINISHED,
    HANDED_OUT,
    Abandon,
    Accepted,
    Begin,
    Cancel,
    Cancelled,
    Claim,
    Entry,
    Granted,
    Operation,
    OperationAnswer,
    Record,
    Recorded,
    Release,
    Renew,
)
from effectmq.broker.store.journal.rules import Now

__all__ = ["BROKEN"]

Decision = tuple[OperationAnswer, Entry | None]
Decide = Callable[[Entry | None, Operation, Now], Decision]


def ignores_the_fence(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Whoever lost the lease is heard all the same."""
    if entry is not None and isinstance(asked, Record | Release | Renew | Abandon):
        asked = replace(asked, fence=entry.fence)
    return rules.decide(entry, asked, now)


def forgets_to_count(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A takeover keeps the fence."""
    answer, made = rules.decide(entry, asked, now)
    if isinstance(answer, Granted) and made is not None and entry is not None:
        return replace(answer, fence=entry.fence), replace(made, fence=entry.fence)
    return answer, made


def ignores_leases(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Everybody is granted what is not finished."""
    if entry is not None and isinstance(asked, Claim):
        entry = replace(entry, lease_expires_ms=0)
    return rules.decide(entry, asked, now)


def trusts_any_clock(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A lease of another boot is read by the clock of this one."""
    if entry is not None and entry.lease_clock:
        entry = replace(entry, lease_clock=now.lease.clock)
    return rules.decide(entry, asked, now)


def forgets_uncertainty(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A claim that is asked again after its answer was lost sounds certain."""
    answer, made = rules.decide(entry, asked, now)
    return answer, None if made is None else replace(made, uncertain=False)


def never_uncertain(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A dead holder is no reason for doubt."""
    if isinstance(asked, Claim):
        asked = replace(asked, on_uncertain="retry")
    return rules.decide(entry, asked, now)


def overwrites_outcomes(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """The last record wins."""
    if entry is not None and entry.status in FINISHED and isinstance(asked, Record | Claim):
        entry = replace(entry, status="waiting", outcome_json="", error_json="")
    return rules.decide(entry, asked, now)


def cancels_what_is_finished(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A cancel always wins."""
    if entry is not None and isinstance(asked, Cancel):
        return Cancelled(), replace(entry, status="cancelled", error_json=asked.error_json)
    return rules.decide(entry, asked, now)


def runs_what_was_cancelled(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A tombstone is overlooked."""
    if entry is not None and entry.status == "cancelled" and isinstance(asked, Claim):
        entry = replace(entry, status="waiting")
    return rules.decide(entry, asked, now)


def replays_any_parking(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A copy of a replayed letter replays the next parking, too."""
    if entry is not None and isinstance(asked, Claim) and asked.parked_as:
        asked = replace(asked, parked_as=entry.parks)
    return rules.decide(entry, asked, now)


def forgets_the_letter(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Whoever asks is not told that the dead letter may not be out."""
    answer, made = rules.decide(entry, asked, now)
    return (replace(answer, park_reason="") if isinstance(answer, Recorded) else answer), made


def takes_letters_for_sent(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Parking counts as having sent the letter."""
    answer, made = rules.decide(entry, asked, now)
    if isinstance(asked, Record) and made is not None:
        made = replace(made, letter_sent=True)
    return answer, made


def renews_what_is_lost(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Renewing needs no fence: a zombie holds on to what somebody else has."""
    if entry is not None and isinstance(asked, Renew):
        asked = replace(asked, fence=entry.fence)
    return rules.decide(entry, asked, now)


def accepts_a_second_outcome(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A record of what is finished is called the same without being compared."""
    if entry is not None and entry.status in FINISHED and isinstance(asked, Record):
        return Accepted(entry.parks), None
    return rules.decide(entry, asked, now)


def never_counts_deaths(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A takeover is a first claim like another."""
    answer, made = rules.decide(entry, asked, now)
    if isinstance(answer, Granted) and made is not None:
        return replace(answer, deaths=0), replace(made, deaths=0)
    return answer, made


def blames_whoever_waited(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A suspect whose body has not begun is counted all the same."""
    if entry is not None and isinstance(asked, Claim) and entry.lease_token:
        entry = replace(entry, begun=True)
    return rules.decide(entry, asked, now)


def blames_whoever_was_left(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """A worker that leaves in order counts as one that died."""
    answer, made = rules.decide(entry, asked, now)
    if isinstance(asked, Abandon) and made is not None:
        made = replace(made, begun=True)
    return answer, made


def misses_the_beginning(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """What a suspect's worker says before its body is forgotten."""
    answer, made = rules.decide(entry, asked, now)
    return answer, (None if isinstance(asked, Begin) else made)


def hears_every_answer(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Who answers second, or too late, is heard as the first."""
    if isinstance(asked, Settle) and entry is not None:
        entry = replace(
            entry,
            status=HANDED_OUT,
            lease_token=asked.token_hash,
            due_at_ms=1,
            due_clock=now.lease.clock,
            due_clock_ms=rules.LARGEST,
        )
    return rules.decide(entry, asked, now)


def forgets_the_deadline(entry: Entry | None, asked: Operation, now: Now) -> Decision:
    """Nobody answers, and nothing happens."""
    if isinstance(asked, Claim) and entry is not None and entry.status == HANDED_OUT:
        return HandedOut(1_000), None
    return rules.decide(entry, asked, now)


BROKEN: list[Decide] = [
    ignores_the_fence,
    forgets_to_count,
    ignores_leases,
    trusts_any_clock,
    forgets_uncertainty,
    never_uncertain,
    overwrites_outcomes,
    cancels_what_is_finished,
    runs_what_was_cancelled,
    replays_any_parking,
    forgets_the_letter,
    takes_letters_for_sent,
    renews_what_is_lost,
    accepts_a_second_outcome,
    never_counts_deaths,
    blames_whoever_waited,
    blames_whoever_was_left,
    misses_the_beginning,
    hears_every_answer,
    forgets_the_deadline,
]
